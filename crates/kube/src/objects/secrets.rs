//! Password, authority, agents' certificates. What is there is kept; what is missing or about to end is made anew.

use super::Owner;
use crate::authority::{Authority, AuthorityError, Issued, Lifetimes, due_for_renewal};
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
    Some(Authority {
        certificate: data.get(AUTHORITY)?.clone(),
        key: data.get(AUTHORITY_KEY)?.clone(),
        previous: data.get(AUTHORITY_BEFORE).filter(|previous| !previous.is_empty()).cloned(),
    })
}

/// The authority to use from now on: the one there is, or another one if there is none or it is about to end.
pub(crate) fn authority(
    owner: &Owner,
    there: Option<Authority>,
    now: OffsetDateTime,
    life: Lifetimes,
) -> Result<Authority, AuthorityError> {
    let name = owner.home.to_string();
    match there {
        None => Authority::new(&name, now, life),
        Some(there) if due_for_renewal(&there.certificate, now) => there.successor(&name, now, life),
        Some(there) => Ok(there),
    }
}

/// Its Secret.
pub(crate) fn authority_secret(owner: &Owner, authority: &Authority) -> Value {
    let data = json!({
        AUTHORITY: authority.certificate,
        AUTHORITY_KEY: authority.key,
        AUTHORITY_BEFORE: authority.previous.clone().unwrap_or_default(),
    });
    secret(owner, &names::ca_secret(&owner.home.cluster), &data)
}

/// The agents' certificates: those there are, and new ones for who has none, whose is about to end, or whose is of an authority
/// that is not trusted any more. `None`: nothing is to be written.
pub(crate) fn agents(
    owner: &Owner,
    authority: &Authority,
    instances: impl Iterator<Item = InstanceName>,
    there: &Data,
    now: OffsetDateTime,
    life: Lifetimes,
) -> Result<Option<Value>, AuthorityError> {
    let trusted = authority.trusted();
    // With another authority all certificates are made anew at once; the old ones are good until they have arrived.
    let same_authority = there.get(AUTHORITY) == Some(&trusted);
    let (mut data, mut changed) = (Data::new(), !same_authority);
    data.insert(AUTHORITY.to_owned(), trusted);
    for name in instances {
        let (certificate, key) = (format!("{name}.crt"), format!("{name}.key"));
        let kept = there.get(&certificate).zip(there.get(&key));
        let kept = kept.filter(|(certificate, _)| same_authority && !due_for_renewal(certificate, now));
        let issued = match kept {
            Some((certificate, key)) => Issued { certificate: certificate.clone(), key: key.clone() },
            None => {
                changed = true;
                authority.issue(vec![Who::Agent(name.clone()).name(&owner.home)], now, life)?
            }
        };
        data.insert(certificate, issued.certificate);
        data.insert(key, issued.key);
    }
    let name = names::agent_tls_secret(&owner.home.cluster);
    Ok(changed.then(|| secret(owner, &name, &json!(data))))
}

fn secret(owner: &Owner, name: &str, data: &Value) -> Value {
    json!({ "apiVersion": "v1", "kind": "Secret", "metadata": owner.metadata(name), "type": "Opaque", "stringData": data })
}
