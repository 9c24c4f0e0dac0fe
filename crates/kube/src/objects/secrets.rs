//! Password, authority, agents' certificates. What is there is kept; what is missing or about to end is made anew.

use super::Owner;
use super::template::hash;
use crate::authority::{Authority, AuthorityError, Issued, Issuing, Lifetimes, due_for_renewal};
use crate::wire::Who;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use time::OffsetDateTime;
use valkeeper_client::Password;
use valkeeper_kube_api::names;
use valkeeper_model::InstanceName;

/// What a Secret holds, as text.
pub(crate) type Data = BTreeMap<String, String>;

const AUTHORITY: &str = "ca.crt";
const AUTHORITY_KEY: &str = "ca.key";
const AUTHORITY_BEFORE: &str = "previous.crt";
const AUTHORITY_NEXT: &str = "next.crt";
const AUTHORITY_NEXT_KEY: &str = "next.key";
const AUTHORITY_NEXT_SINCE: &str = "next-since";
/// Which authority has issued the certificates of a Secret.
const ISSUED_BY: &str = "issued-by";

/// The Secret of the password.
pub(crate) fn auth(owner: &Owner, password: &Password) -> Value {
    secret(
        owner,
        &names::auth_secret(&owner.home.cluster),
        &json!({ names::PASSWORD_KEY: password.reveal() }),
    )
}

/// The authority that a Secret holds.
pub(crate) fn read_authority(data: &Data) -> Option<Authority> {
    let text = |key: &str| data.get(key).filter(|text| !text.is_empty()).cloned();
    let next = || {
        let since = text(AUTHORITY_NEXT_SINCE)?.parse().ok()?;
        Some((Issuing { certificate: text(AUTHORITY_NEXT)?, key: text(AUTHORITY_NEXT_KEY)? }, since))
    };
    Some(Authority {
        current: Issuing { certificate: text(AUTHORITY)?, key: text(AUTHORITY_KEY)? },
        previous: text(AUTHORITY_BEFORE),
        next: next(),
    })
}

/// The authority to use from now on: the one there is, or another one if there is none.
pub(crate) fn authority(
    owner: &Owner,
    there: Option<Authority>,
    now: OffsetDateTime,
    life: Lifetimes,
) -> Result<Authority, AuthorityError> {
    let name = owner.home.to_string();
    match there {
        None => Authority::new(&name, now, life),
        Some(there) => there.kept(&name, now, life),
    }
}

/// Its Secret.
pub(crate) fn authority_secret(owner: &Owner, authority: &Authority) -> Value {
    let next = authority.next.as_ref();
    let data = json!({
        AUTHORITY: authority.current.certificate,
        AUTHORITY_KEY: authority.current.key,
        AUTHORITY_BEFORE: authority.previous.clone().unwrap_or_default(),
        AUTHORITY_NEXT: next.map(|(next, _)| next.certificate.clone()).unwrap_or_default(),
        AUTHORITY_NEXT_KEY: next.map(|(next, _)| next.key.clone()).unwrap_or_default(),
        AUTHORITY_NEXT_SINCE: next.map(|(_, since)| since.to_string()).unwrap_or_default(),
    });
    secret(owner, &names::ca_secret(&owner.home.cluster), &data)
}

/// The agents' certificates: those there are, and new ones for who has none, whose is about to end, or whose is not of the authority
/// that issues now: the one before it is trusted until all have arrived. `None`: nothing is to be written.
pub(crate) fn agents(
    owner: &Owner,
    authority: &Authority,
    instances: impl Iterator<Item = InstanceName>,
    there: &Data,
    now: OffsetDateTime,
    life: Lifetimes,
) -> Result<Option<Value>, AuthorityError> {
    let trusted = authority.trusted();
    let issuer = hash(&json!(authority.current.certificate));
    let same_issuer = there.get(ISSUED_BY) == Some(&issuer);
    let mut changed = !same_issuer || there.get(AUTHORITY) != Some(&trusted);
    let mut data = Data::from([(AUTHORITY.to_owned(), trusted), (ISSUED_BY.to_owned(), issuer)]);
    for name in instances {
        let (certificate, key) = (format!("{name}.crt"), format!("{name}.key"));
        let kept = there.get(&certificate).zip(there.get(&key));
        let kept = kept.filter(|(certificate, _)| same_issuer && !due_for_renewal(certificate, now));
        let pair = if let Some((certificate, key)) = kept {
            Issued { certificate: certificate.clone(), key: key.clone() }
        } else {
            changed = true;
            authority.issue(vec![Who::Agent(name.clone()).name(&owner.home)], now, life)?
        };
        data.insert(certificate, pair.certificate);
        data.insert(key, pair.key);
    }
    let name = names::agent_tls_secret(&owner.home.cluster);
    Ok(changed.then(|| secret(owner, &name, &json!(data))))
}

fn secret(owner: &Owner, name: &str, data: &Value) -> Value {
    json!({ "apiVersion": "v1", "kind": "Secret", "metadata": owner.metadata(name), "type": "Opaque", "stringData": data })
}
