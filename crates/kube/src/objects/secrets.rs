//! Password, CA, certificates of agents and webhook. What is there is kept; what is missing or about to end is made anew.

use super::Owner;
use super::template::hash;
use crate::ca::{Ca, CaError, Issued, Issuing, Lifetimes, due_for_renewal};
use crate::wire::Who;
use k8s_openapi::api::core::v1::Secret;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use time::OffsetDateTime;
use valkeeper_client::Password;
use valkeeper_kube_api::names;
use valkeeper_model::{InstanceName, Mode};

/// What a Secret holds, as text.
pub(crate) type Data = BTreeMap<String, String>;

const CA: &str = "ca.crt";
const CA_KEY: &str = "ca.key";
const CA_BEFORE: &str = "previous.crt";
const CA_NEXT: &str = "next.crt";
const CA_NEXT_KEY: &str = "next.key";
const CA_NEXT_SINCE: &str = "next-since";
/// Which CA has issued the certificates of a Secret.
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

/// The Secret in which clients find how to connect.
pub(crate) fn connection(owner: &Owner, name: &str, mode: Mode, password: &Password) -> Value {
    let (cluster, namespace) = (&owner.home.cluster, &owner.home.namespace);
    let host = |service: String| format!("{service}.{namespace}.svc");
    let secret_text = password.reveal();
    let url = |host: &str| {
        let password: String = url_encoded(secret_text);
        format!("redis://default:{password}@{host}:{}", names::CLIENT_PORT)
    };
    let begin = host(match mode {
        Mode::Cluster => names::any_service(cluster),
        Mode::Standalone | Mode::Sentinel => names::primary_service(cluster),
    });
    let mut data = json!({
        "cluster_name": cluster, "namespace": namespace, "mode": mode, "host": begin,
        "port": names::CLIENT_PORT.to_string(), "username": "default", "password": secret_text,
        "url": url(&begin),
    });
    if !mode.has_slots() {
        let replica = host(names::replica_service(cluster));
        data["leader_host"] = json!(begin);
        data["leader_url"] = json!(url(&begin));
        data["replica_url"] = json!(url(&replica));
        data["replica_host"] = json!(replica);
    }
    if mode == Mode::Sentinel {
        data["sentinel_host"] = json!(host(names::sentinel_service(cluster)));
        data["sentinel_port"] = json!(names::SENTINEL_PORT.to_string());
        data["master_name"] = json!(cluster);
    }
    let mut secret = secret(owner, name, &data);
    secret["metadata"]["labels"][names::LABEL_CONNECTION_SECRET] = json!("true");
    secret
}

/// As a password stands in a URL.
fn url_encoded(text: &str) -> String {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~".contains(byte);
    text.bytes()
        .map(|byte| if plain(&byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}

/// The CA that a Secret holds.
pub(crate) fn read_ca(data: &Data) -> Option<Ca> {
    let text = |key: &str| data.get(key).filter(|text| !text.is_empty()).cloned();
    let next = || {
        let since = text(CA_NEXT_SINCE)?.parse().ok()?;
        Some((Issuing { certificate: text(CA_NEXT)?, key: text(CA_NEXT_KEY)? }, since))
    };
    Some(Ca {
        current: Issuing { certificate: text(CA)?, key: text(CA_KEY)? },
        previous: text(CA_BEFORE),
        next: next(),
    })
}

/// The CA to use from now on: the one there is, or another one if there is none.
pub(crate) fn ca(name: &str, there: Option<Ca>, now: OffsetDateTime, life: Lifetimes) -> Result<Ca, CaError> {
    match there {
        None => Ca::new(name, now, life),
        Some(there) => there.kept(name, now, life),
    }
}

/// What a Secret says of a CA.
fn ca_data(ca: &Ca) -> Data {
    let next = ca.next.as_ref();
    let data = [
        (CA, ca.current.certificate.clone()),
        (CA_KEY, ca.current.key.clone()),
        (CA_BEFORE, ca.previous.clone().unwrap_or_default()),
        (CA_NEXT, next.map(|(next, _)| next.certificate.clone()).unwrap_or_default()),
        (CA_NEXT_KEY, next.map(|(next, _)| next.key.clone()).unwrap_or_default()),
        (CA_NEXT_SINCE, next.map(|(_, since)| since.to_string()).unwrap_or_default()),
    ];
    data.map(|(key, value)| (key.to_owned(), value)).into()
}

/// Its Secret.
pub(crate) fn ca_secret(owner: &Owner, ca: &Ca) -> Value {
    secret(owner, &names::ca_secret(&owner.home.cluster), &json!(ca_data(ca)))
}

/// The certificate that a Secret holds beside the CA that made it.
pub(crate) fn read_certificate(data: &Data) -> Option<Issued> {
    let text = |key| data.get(key).cloned();
    Some(Issued { certificate: text(CERTIFICATE)?, key: text(CERTIFICATE_KEY)? })
}

/// What a Secret says of a CA and of the one certificate that it has made.
pub(crate) fn certificate_data(ca: &Ca, issued: &Issued) -> Data {
    let mut data = ca_data(ca);
    data.insert(CERTIFICATE.to_owned(), issued.certificate.clone());
    data.insert(CERTIFICATE_KEY.to_owned(), issued.key.clone());
    data
}

/// A Secret's data, as text.
pub(crate) fn text_of(secret: &Secret) -> Data {
    let text = |bytes: &k8s_openapi::ByteString| String::from_utf8_lossy(&bytes.0).into_owned();
    secret.data.iter().flatten().map(|(key, value)| (key.clone(), text(value))).collect()
}

/// The agents' certificates: those there are, and new ones for who has none, whose is about to end, or whose is not of the CA
/// that issues now: the one before it is trusted until all have arrived. `None`: nothing is to be written.
pub(crate) fn agents(
    owner: &Owner,
    ca: &Ca,
    instances: impl Iterator<Item = InstanceName>,
    there: &Data,
    now: OffsetDateTime,
    life: Lifetimes,
) -> Result<Option<Value>, CaError> {
    let trusted = ca.trusted();
    let issuer = hash(&json!(ca.current.certificate));
    let same_issuer = there.get(ISSUED_BY) == Some(&issuer);
    let mut changed = !same_issuer || there.get(CA) != Some(&trusted);
    let mut data = Data::from([(CA.to_owned(), trusted), (ISSUED_BY.to_owned(), issuer)]);
    for name in instances {
        let (certificate, key) = (format!("{name}.crt"), format!("{name}.key"));
        let kept = there.get(&certificate).zip(there.get(&key));
        let kept = kept.filter(|(certificate, _)| same_issuer && !due_for_renewal(certificate, now));
        let pair = if let Some((certificate, key)) = kept {
            Issued { certificate: certificate.clone(), key: key.clone() }
        } else {
            changed = true;
            ca.issue(vec![Who::Agent(name.clone()).name(&owner.home)], now, life)?
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Home;

    #[test]
    fn a_client_finds_all_that_it_needs() {
        let home = Home { namespace: "shop".to_owned(), cluster: "solo".parse().unwrap() };
        let owner = Owner { home, uid: "u".to_owned() };
        let of = |mode| connection(&owner, "app", mode, &Password::new("a/b"))["stringData"].clone();
        let standalone = of(Mode::Standalone);
        assert_eq!(standalone["url"], "redis://default:a%2Fb@solo-leader.shop.svc:6379");
        assert_eq!(standalone["leader_url"], standalone["url"]);
        assert_eq!(standalone["replica_host"], "solo-replica.shop.svc");
        assert_eq!((&standalone["mode"], &standalone["port"]), (&json!("standalone"), &json!("6379")));
        let cluster = of(Mode::Cluster);
        assert_eq!(cluster["host"], "solo-any.shop.svc");
        assert_eq!(cluster["leader_host"], Value::Null);
    }
}
