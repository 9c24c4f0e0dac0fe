//! The authority of one cluster, or of the webhook: makes certificates, and is followed by another before it ends. During a
//! change both are trusted, so that nobody is cut off while certificates are passed around.

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose,
};
use time::{Duration, OffsetDateTime};

/// Why a certificate could not be made.
#[derive(Debug, thiserror::Error)]
#[error("certificates: {0}")]
pub struct AuthorityError(#[from] rcgen::Error);

/// How long things are valid.
#[derive(Debug, Clone, Copy)]
pub struct Lifetimes {
    /// Of an authority.
    pub authority: Duration,
    /// Of a certificate made by it.
    pub certificate: Duration,
}

impl Default for Lifetimes {
    fn default() -> Self {
        Self { authority: Duration::days(5 * 365), certificate: Duration::days(90) }
    }
}

/// An authority.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Authority {
    /// Its certificate, PEM.
    pub(crate) certificate: String,
    /// Its key, PEM.
    pub(crate) key: String,
    /// The one before it, trusted as long as certificates of it are about.
    pub(crate) previous: Option<String>,
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Authority(…)")
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

impl Authority {
    /// A new one.
    pub(crate) fn new(name: &str, now: OffsetDateTime, life: Lifetimes) -> Result<Self, AuthorityError> {
        let mut params = CertificateParams::default();
        params.distinguished_name = named(name);
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
        valid(&mut params, now, life.authority);
        let key = KeyPair::generate()?;
        let certificate = params.self_signed(&key)?;
        Ok(Self { certificate: certificate.pem(), key: key.serialize_pem(), previous: None })
    }

    /// The one that takes over from this one.
    pub(crate) fn successor(
        &self,
        name: &str,
        now: OffsetDateTime,
        life: Lifetimes,
    ) -> Result<Self, AuthorityError> {
        Ok(Self { previous: Some(self.certificate.clone()), ..Self::new(name, now, life)? })
    }

    /// Whom to trust.
    pub(crate) fn trusted(&self) -> String {
        match &self.previous {
            Some(previous) => format!("{}{previous}", self.certificate),
            None => self.certificate.clone(),
        }
    }

    /// A certificate for these names, for both directions.
    pub(crate) fn issue(
        &self,
        names: Vec<String>,
        now: OffsetDateTime,
        life: Lifetimes,
    ) -> Result<Issued, AuthorityError> {
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
        let issuer = Issuer::from_ca_cert_pem(&self.certificate, KeyPair::from_pem(&self.key)?)?;
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
        let authority = Authority::new("test", now, life).unwrap();
        let issued = authority.issue(vec!["a.b.c".to_owned()], now, life).unwrap();
        assert!(!due_for_renewal(&issued.certificate, now));
        assert!(due_for_renewal(&issued.certificate, now + Duration::days(61)));
        assert!(due_for_renewal("nonsense", now));
        let next = authority.successor("test", now, life).unwrap();
        assert!(
            next.trusted().contains(&authority.certificate) && next.trusted().contains(&next.certificate)
        );
    }
}
