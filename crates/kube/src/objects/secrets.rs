//! Password, authority, certificates of agents and webhook. What is there is kept; what is missing or about to end is made anew.

use super::Owner;
use super::template::hash;
use crate::authority::{Authority, AuthorityError, Issued, Issuing, Lifetimes, due_for_renewal};
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
const AUTHORITY_NEXT: &str = "next.crt";
const AUTHORITY_NEXT_KEY: &str = "next.key";
const AUTHORITY_NEXT_SINCE: &str = "next-since";
/// Which authority has issued the certificates of a Secret.
const ISSUED_BY: &str = "issued-by";
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
    name: &str,
    there: Option<Authority>,
    now: OffsetDateTime,
    life: Lifetimes,
) -> Result<Authority, AuthorityError> {
    match there {
        None => Authority::new(name, now, life),
        Some(there) => there.kept(name, now, life),
    }
}

/// What a Secret says of an authority.
fn authority_data(authority: &Authority) -> Data {
    let next = authority.next.as_ref();
    let data = [
        (AUTHORITY, authority.current.certificate.clone()),
        (AUTHORITY_KEY, authority.current.key.clone()),
        (AUTHORITY_BEFORE, authority.previous.clone().unwrap_or_default()),
        (AUTHORITY_NEXT, next.map(|(next, _)| next.certificate.clone()).unwrap_or_default()),
        (AUTHORITY_NEXT_KEY, next.map(|(next, _)| next.key.clone()).unwrap_or_default()),
        (AUTHORITY_NEXT_SINCE, next.map(|(_, since)| since.to_string()).unwrap_or_default()),
    ];
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
