//! What the operators prove with that it is they who answer: an authority of their own and one certificate of it, in one Secret.

use super::SERVICE;
use crate::authority::{Authority, AuthorityError, Issued, Lifetimes, due_for_renewal};
use crate::objects::secrets::{self, Data};
use crate::wire::open_server;
use time::OffsetDateTime;

/// A certificate and the authority that made it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Certified {
    pub(super) authority: Authority,
    pub(super) issued: Issued,
}

impl Certified {
    /// Another one. `before`: an authority whose certificate is still in use, and trusted as long as that takes.
    pub(super) fn new(
        namespace: &str,
        before: Option<&Authority>,
        now: OffsetDateTime,
        life: Lifetimes,
    ) -> Result<Self, AuthorityError> {
        let authority = match before {
            Some(before) => before.successor(SERVICE, now, life)?,
            None => Authority::new(SERVICE, now, life)?,
        };
        Self::of(authority, namespace, now, life)
    }

    /// The one to use when this one is about to end, or its authority is; `None` while neither is.
    pub(super) fn renewed(
        &self,
        namespace: &str,
        now: OffsetDateTime,
        life: Lifetimes,
    ) -> Result<Option<Self>, AuthorityError> {
        let authority = secrets::authority(SERVICE, Some(self.authority.clone()), now, life)?;
        if authority == self.authority && !due_for_renewal(&self.issued.certificate, now) {
            return Ok(None);
        }
        Self::of(authority, namespace, now, life).map(Some)
    }

    fn of(
        authority: Authority,
        namespace: &str,
        now: OffsetDateTime,
        life: Lifetimes,
    ) -> Result<Self, AuthorityError> {
        // The name under which API servers call a Service.
        let issued = authority.issue(vec![format!("{SERVICE}.{namespace}.svc")], now, life)?;
        Ok(Self { authority, issued })
    }

    /// What the Secret holds; `None` if it is of no use.
    pub(super) fn read(data: &Data) -> Option<Self> {
        let read =
            Self { authority: secrets::read_authority(data)?, issued: secrets::read_certificate(data)? };
        open_server(&read.issued).is_ok().then_some(read)
    }

    /// What the Secret is to hold.
    pub(super) fn data(&self) -> Data {
        secrets::certificate_data(&self.authority, &self.issued)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use time::Duration;

    pub(in super::super) fn made() -> (Certified, OffsetDateTime, Lifetimes) {
        let (now, life) = (OffsetDateTime::now_utc(), Lifetimes::default());
        (Certified::new("system", None, now, life).unwrap(), now, life)
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
        for key in certified.data().keys().filter(|key| key.as_str() != "previous.crt") {
            let mut data = certified.data();
            data.remove(key);
            assert_eq!(Certified::read(&data), None, "{key}");
        }
        let mut data = certified.data();
        data.insert("tls.key".to_owned(), other.issued.key);
        assert_eq!(Certified::read(&data), None);
    }

    #[test]
    fn it_is_renewed_under_its_authority_and_the_authority_is_followed_by_another() {
        let (certified, now, life) = made();
        let later = now + Duration::days(61);
        let renewed = certified.renewed("system", later, life).unwrap().unwrap();
        assert_eq!(renewed.authority, certified.authority);
        assert_ne!(renewed.issued, certified.issued);
        let much_later = now + life.authority * 2 / 3 + Duration::days(1);
        let followed = renewed.renewed("system", much_later, life).unwrap().unwrap();
        assert_eq!(followed.authority.previous.as_ref(), Some(&certified.authority.certificate));
        assert!(followed.authority.trusted().contains(&followed.authority.certificate));
        // What is in use when the Secret is taken away is trusted beside what takes its place.
        let again = Certified::new("system", Some(&certified.authority), now, life).unwrap();
        assert!(again.authority.trusted().contains(&certified.authority.certificate));
    }
}
