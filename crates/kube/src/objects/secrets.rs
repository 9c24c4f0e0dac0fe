//! Password, authority, certificates of agents and webhook. What is there is kept; what is missing or about to end is made anew.

use super::Owner;
use crate::authority::{Authority, AuthorityError, Issued, Lifetimes, due_for_renewal};
use crate::wire::Who;
use k8s_openapi::api::core::v1::Secret;
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
const CERTIFICATE: &str = "tls.crt";
const CERTIFICATE_KEY: &str = "tls.key";

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
    name: &str,
    there: Option<Authority>,
    now: OffsetDateTime,
    life: Lifetimes,
) -> Result<Authority, AuthorityError> {
    match there {
        None => Authority::new(name, now, life),
        Some(there) if due_for_renewal(&there.certificate, now) => there.successor(name, now, life),
        Some(there) => Ok(there),
    }
}

/// What a Secret says of an authority.
fn authority_data(authority: &Authority) -> Data {
    let before = authority.previous.clone().unwrap_or_default();
    let (certificate, key) = (authority.certificate.clone(), authority.key.clone());
    let data = [(AUTHORITY, certificate), (AUTHORITY_KEY, key), (AUTHORITY_BEFORE, before)];
    data.map(|(key, value)| (key.to_owned(), value)).into()
}

/// Its Secret.
pub(crate) fn authority_secret(owner: &Owner, authority: &Authority) -> Value {
    secret(owner, &names::ca_secret(&owner.home.cluster), &json!(authority_data(authority)))
}

/// The certificate that a Secret holds beside the authority that made it.
pub(crate) fn read_certificate(data: &Data) -> Option<Issued> {
    let text = |key| data.get(key).cloned();
    Some(Issued { certificate: text(CERTIFICATE)?, key: text(CERTIFICATE_KEY)? })
}

/// What a Secret says of an authority and of the one certificate that it has made.
pub(crate) fn certificate_data(authority: &Authority, issued: &Issued) -> Data {
    let mut data = authority_data(authority);
    data.insert(CERTIFICATE.to_owned(), issued.certificate.clone());
    data.insert(CERTIFICATE_KEY.to_owned(), issued.key.clone());
    data
}

/// A Secret's data, as text.
pub(crate) fn text_of(secret: &Secret) -> Data {
    let text = |bytes: &k8s_openapi::ByteString| String::from_utf8_lossy(&bytes.0).into_owned();
    secret.data.iter().flatten().map(|(key, value)| (key.clone(), text(value))).collect()
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
