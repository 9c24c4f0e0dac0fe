//! Other installs in the same Kubernetes. Two that look after the same clusters would undo each other's work: the one whose lease is
//! older acts, the other stands by until that one has ended, and says so.

use super::lease::{LEASE, WITHIN};
use crate::operator::cache::Scope;
use k8s_openapi::api::coordination::v1::Lease;
use kube::api::ListParams;
use kube::{Api, Client};
use std::time::Duration;

/// Annotation of the lease: the namespaces whose clusters are looked after, or all.
pub(crate) const WATCHES: &str = "valkeeper.io/watches";
const ALL: &str = "*";
const LOOK_EVERY: Duration = Duration::from_secs(10);

/// A scope, as the lease says it.
pub(crate) fn as_text(scope: &Scope) -> String {
    match scope {
        Scope::All => ALL.to_owned(),
        Scope::Only(namespaces) => namespaces.join(","),
    }
}

/// The install that acts in our place: one that is older, that somebody holds the lease of, and that watches what we do. What it
/// watches is not known of one of an older version: all, then.
fn acting<'lease>(namespace: &str, leases: &'lease [Lease]) -> Option<&'lease Lease> {
    let in_namespace = |lease: &Lease| lease.metadata.namespace.as_deref() == Some(namespace);
    let own = leases.iter().find(|lease| in_namespace(lease))?;
    let watches = |lease: &Lease| -> Vec<String> {
        let text = lease.metadata.annotations.as_ref().and_then(|all| all.get(WATCHES));
        text.map_or(ALL, String::as_str).split(',').map(str::to_owned).collect()
    };
    let mine = watches(own);
    let meets = |theirs: &[String]| {
        let all = |these: &[String]| these.iter().any(|one| one == ALL);
        all(&mine) || all(theirs) || theirs.iter().any(|one| mine.contains(one))
    };
    let age = |lease: &Lease| {
        let created = lease.metadata.creation_timestamp.as_ref().map(|time| time.0);
        (created, lease.metadata.namespace.clone())
    };
    let held = |lease: &&Lease| {
        let holder = lease.spec.as_ref().and_then(|spec| spec.holder_identity.as_deref());
        holder.is_some_and(|holder| !holder.is_empty())
    };
    let others = leases.iter().filter(|lease| !in_namespace(lease)).filter(held);
    others.filter(|lease| age(lease) < age(own) && meets(&watches(lease))).min_by_key(|lease| age(lease))
}

async fn look(client: &Client, namespace: &str) -> Option<String> {
    let leases: Api<Lease> = Api::all(client.clone());
    let named = ListParams::default().fields(&format!("metadata.name={LEASE}"));
    match tokio::time::timeout(WITHIN, leases.list(&named)).await {
        Ok(Ok(list)) => acting(namespace, &list.items).and_then(|lease| lease.metadata.namespace.clone()),
        Ok(Err(error)) => {
            tracing::debug!(%error, "other installs cannot be looked for");
            None
        }
        Err(_) => None,
    }
}

/// Waits until no other install acts in our place.
pub(crate) async fn until_none(client: &Client, namespace: &str) {
    let mut told = None;
    while let Some(other) = look(client, namespace).await {
        if told.as_ref() != Some(&other) {
            tracing::error!(
                "standing by: the install in namespace {other} is older and looks after the same clusters; \
                 remove one of the two, or give each its own namespaces with `--watch`"
            );
            told = Some(other);
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// Waits until another acts in our place: an older one that had ended and has come back.
pub(crate) async fn until_one(client: &Client, namespace: &str) {
    while look(client, namespace).await.is_none() {
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn lease(namespace: &str, minute: u8, holder: &str, watches: Option<&str>) -> Lease {
        let mut lease = json!({
            "metadata": { "name": LEASE, "namespace": namespace, "creationTimestamp": format!("2026-01-01T00:{minute:02}:00Z") },
            "spec": { "holderIdentity": holder },
        });
        if let Some(watches) = watches {
            lease["metadata"]["annotations"] = json!({ WATCHES: watches });
        }
        serde_json::from_value(lease).unwrap()
    }

    fn acts(own: Lease, other: Lease) -> bool {
        let namespace = own.metadata.namespace.clone().unwrap();
        acting(&namespace, &[own, other]).is_some()
    }

    #[test]
    fn the_older_of_two_that_watch_the_same_acts() {
        let all = Some(ALL);
        assert!(acts(lease("b", 2, "x", all), lease("a", 1, "y", all)));
        assert!(!acts(lease("b", 1, "x", all), lease("a", 2, "y", all)));
        assert!(acts(lease("b", 1, "x", all), lease("a", 1, "y", all)), "of one age, the first by name");
        assert!(!acts(lease("b", 2, "x", all), lease("a", 1, "", all)), "it has ended");
        assert!(acts(lease("b", 2, "x", Some("shop")), lease("a", 1, "y", None)), "an older version");
    }

    #[test]
    fn who_watches_other_namespaces_is_no_rival() {
        assert!(!acts(lease("b", 2, "x", Some("shop")), lease("a", 1, "y", Some("bank,club"))));
        assert!(acts(lease("b", 2, "x", Some("shop,club")), lease("a", 1, "y", Some("bank,club"))));
        assert!(acts(lease("b", 2, "x", Some("shop")), lease("a", 1, "y", Some(ALL))));
    }
}
