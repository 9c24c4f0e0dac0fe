//! The CA of one cluster, or of the webhook: makes certificates, and is followed by another before it ends. During a
//! change both are trusted, so that nobody is cut off while certificates are passed around.

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose,
};
use time::{Duration, OffsetDateTime};

/// Why a certificate could not be made.
#[derive(Debug, thiserror::Error)]
#[error("certificates: {0}")]
pub(crate) struct CaError(#[from] rcgen::Error);

/// How long things are valid.
#[derive(Debug, Clone, Copy)]
pub struct Lifetimes {
    /// Of a CA.
    pub ca: Duration,
    /// Of a certificate made by it.
    pub certificate: Duration,
}

impl Default for Lifetimes {
    fn default() -> Self {
        Self { ca: Duration::days(5 * 365), certificate: Duration::days(90) }
    }
}

/// The certificate of a CA and its key, PEM.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Issuing {
    pub(crate) certificate: String,
    pub(crate) key: String,
}

/// A CA, with those before and after it.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Ca {
    /// The one that issues.
    pub(crate) current: Issuing,
    /// The one before it, trusted as long as certificates of it are about.
    pub(crate) previous: Option<String>,
    /// The one that will follow, and since when it is passed around, seconds since 1970: it issues once everybody trusts it.
    pub(crate) next: Option<(Issuing, i64)>,
}

/// How long a CA is passed around before it issues. The kubelet brings Secrets to pods within a minute or two.
const PASSED_AROUND: i64 = 3_600;

impl std::fmt::Debug for Issuing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Issuing(…)")
    }
}

impl std::fmt::Debug for Ca {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Ca(…)")
    }
}

/// A certificate and its key, PEM.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Issued {
    pub(crate) certificate: String,
    pub(crate) key: String,
}

impl std::fmt::Debug for Issued {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Issued(…)")
    }
}

impl Ca {
    /// A new one.
    pub(crate) fn new(name: &str, now: OffsetDateTime, life: Lifetimes) -> Result<Self, CaError> {
        Ok(Self { current: issuing(name, now, life)?, previous: None, next: None })
    }

    /// This one as it is to be now: followed by another, in two steps, before it ends.
    pub(crate) fn kept(self, name: &str, now: OffsetDateTime, life: Lifetimes) -> Result<Self, CaError> {
        match self.next {
            Some((next, since)) if now.unix_timestamp() - since >= PASSED_AROUND => {
                Ok(Self { current: next, previous: Some(self.current.certificate), next: None })
            }
            None if due_for_renewal(&self.current.certificate, now) => {
                let next = issuing(name, now, life)?;
                Ok(Self { next: Some((next, now.unix_timestamp())), ..self })
            }
            _ => Ok(self),
        }
    }

    /// Whom to trust.
    pub(crate) fn trusted(&self) -> String {
        let next = self.next.as_ref().map(|(next, _)| next.certificate.as_str());
        let all = [Some(self.current.certificate.as_str()), self.previous.as_deref(), next];
        all.into_iter().flatten().collect()
    }

    /// A certificate for these names, for both directions.
    pub(crate) fn issue(
        &self,
        names: Vec<String>,
        now: OffsetDateTime,
        life: Lifetimes,
    ) -> Result<Issued, CaError> {
        // At most 64 characters; the names that count are the alternative ones.
        let common: String = names.first().map(|name| name.chars().take(60).collect()).unwrap_or_default();
        let mut params = CertificateParams::new(names)?;
        params.distinguished_name = named(&common);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        params.use_authority_key_identifier_extension = true;
        valid(&mut params, now, life.certificate);
        let key = KeyPair::generate()?;
        let issuer =
            Issuer::from_ca_cert_pem(&self.current.certificate, KeyPair::from_pem(&self.current.key)?)?;
        let certificate = params.signed_by(&key, &issuer)?;
        Ok(Issued { certificate: certificate.pem(), key: key.serialize_pem() })
    }
}

/// Is less than a third of its life left, or can it not be read? Then it is time for another one.
pub(crate) fn due_for_renewal(certificate: &str, now: OffsetDateTime) -> bool {
    let validity = |pem: &x509_parser::pem::Pem| {
        let validity = pem.parse_x509().ok()?.validity().clone();
        Some((validity.not_before.timestamp(), validity.not_after.timestamp()))
    };
    let read = x509_parser::pem::parse_x509_pem(certificate.as_bytes()).ok();
    read.and_then(|(_, pem)| validity(&pem))
        .is_none_or(|(from, until)| (until - now.unix_timestamp()).saturating_mul(3) < until - from)
}

fn issuing(name: &str, now: OffsetDateTime, life: Lifetimes) -> Result<Issuing, CaError> {
    let mut params = CertificateParams::default();
    params.distinguished_name = named(name);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
    valid(&mut params, now, life.ca);
    let key = KeyPair::generate()?;
    let certificate = params.self_signed(&key)?;
    Ok(Issuing { certificate: certificate.pem(), key: key.serialize_pem() })
}

fn named(name: &str) -> DistinguishedName {
    let mut named = DistinguishedName::new();
    named.push(DnType::CommonName, name);
    named
}

/// Valid from a while ago: clocks of nodes differ.
fn valid(params: &mut CertificateParams, now: OffsetDateTime, life: Duration) {
    params.not_before = now - Duration::minutes(5);
    params.not_after = now + life;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn renewed_in_its_last_third_and_trusted_beside_its_successor() {
        let (now, life) = (OffsetDateTime::now_utc(), Lifetimes::default());
        let ca = Ca::new("test", now, life).unwrap();
        let issued = ca.issue(vec!["a.b.c".to_owned()], now, life).unwrap();
        assert!(!due_for_renewal(&issued.certificate, now));
        assert!(due_for_renewal(&issued.certificate, now + Duration::days(61)));
        assert!(due_for_renewal("nonsense", now));
        let late = now + Duration::days(4 * 365);
        let changing = ca.clone().kept("test", late, life).unwrap();
        // Passed around first: whoever has not heard of it yet goes on trusting what it is shown.
        assert_eq!(changing.current, ca.current);
        let next = changing.next.clone().unwrap().0;
        assert!(changing.trusted().contains(&next.certificate));
        assert_eq!(changing.clone().kept("test", late + Duration::minutes(59), life).unwrap(), changing);
        let changed = changing.kept("test", late + Duration::minutes(61), life).unwrap();
        assert_eq!(changed.current, next);
        assert!(changed.trusted().contains(&ca.current.certificate));
    }
}
