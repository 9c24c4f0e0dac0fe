//! What the operators prove with that it is they who answer: a CA of their own and one certificate of it, in one Secret.

use super::SERVICE;
use crate::ca::{Ca, CaError, Issued, Lifetimes, due_for_renewal};
use crate::objects::secrets::{self, Data};
use crate::wire::open_server;
use time::OffsetDateTime;

/// A certificate and the CA that made it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Certified {
    pub(super) ca: Ca,
    pub(super) issued: Issued,
}

impl Certified {
    /// The first one.
    pub(super) fn new(namespace: &str, now: OffsetDateTime, life: Lifetimes) -> Result<Self, CaError> {
        Self::of(secrets::ca(SERVICE, None, now, life)?, namespace, now, life)
    }

    /// The one to use when this one is about to end, or another CA is to issue or be trusted; `None` while nothing changes.
    pub(super) fn renewed(
        &self,
        namespace: &str,
        now: OffsetDateTime,
        life: Lifetimes,
    ) -> Result<Option<Self>, CaError> {
        let ca = secrets::ca(SERVICE, Some(self.ca.clone()), now, life)?;
        if ca.current != self.ca.current || due_for_renewal(&self.issued.certificate, now) {
            return Self::of(ca, namespace, now, life).map(Some);
        }
        let changed = ca != self.ca;
        Ok(changed.then(|| Self { ca, issued: self.issued.clone() }))
    }

    fn of(ca: Ca, namespace: &str, now: OffsetDateTime, life: Lifetimes) -> Result<Self, CaError> {
        // The name under which API servers call a Service.
        let issued = ca.issue(vec![format!("{SERVICE}.{namespace}.svc")], now, life)?;
        Ok(Self { ca, issued })
    }

    /// What the Secret holds; `None` if it is of no use.
    pub(super) fn read(data: &Data) -> Option<Self> {
        let read = Self { ca: secrets::read_ca(data)?, issued: secrets::read_certificate(data)? };
        open_server(&read.issued).is_ok().then_some(read)
    }

    /// What the Secret is to hold.
    pub(super) fn data(&self) -> Data {
        secrets::certificate_data(&self.ca, &self.issued)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use time::Duration;

    pub(in super::super) fn made() -> (Certified, OffsetDateTime, Lifetimes) {
        let (now, life) = (OffsetDateTime::now_utc(), Lifetimes::default());
        (Certified::new("system", now, life).unwrap(), now, life)
    }

    #[test]
    fn it_is_kept_and_found_again() {
        let (certified, now, life) = made();
        assert_eq!(Certified::read(&certified.data()), Some(certified.clone()));
        assert_eq!(certified.renewed("system", now, life).unwrap(), None);
    }

    #[test]
    fn a_secret_that_was_tampered_with_is_of_no_use() {
        let (certified, ..) = made();
        let (other, ..) = made();
        for key in ["ca.crt", "ca.key", "tls.crt", "tls.key"] {
            let mut data = certified.data();
            data.remove(key);
            assert_eq!(Certified::read(&data), None, "{key}");
        }
        let mut data = certified.data();
        data.insert("tls.key".to_owned(), other.issued.key);
        assert_eq!(Certified::read(&data), None);
    }

    #[test]
    fn it_is_renewed_under_its_ca_and_the_ca_is_followed_by_another() {
        let (certified, now, life) = made();
        let renewed = |one: &Certified, at| one.renewed("system", at, life).unwrap();
        let next = renewed(&certified, now + Duration::days(61)).unwrap();
        assert_eq!(next.ca, certified.ca);
        assert_ne!(next.issued, certified.issued);
        // Trusted first, and an hour later it issues.
        let late = now + life.ca * 2 / 3 + Duration::days(1);
        let late_one = Certified { issued: certified.ca.issue(vec![], late, life).unwrap(), ..certified };
        let changing = renewed(&late_one, late).unwrap();
        assert_eq!(changing.issued, late_one.issued);
        assert_ne!(changing.ca.trusted(), late_one.ca.trusted());
        assert_eq!(Certified::read(&changing.data()), Some(changing.clone()));
        assert_eq!(renewed(&changing, late + Duration::minutes(30)), None);
        let changed = renewed(&changing, late + Duration::minutes(61)).unwrap();
        assert_ne!(changed.issued, late_one.issued);
        assert!(changing.ca.trusted().contains(&changed.ca.current.certificate));
        assert!(changed.ca.trusted().contains(&late_one.ca.current.certificate));
    }
}
