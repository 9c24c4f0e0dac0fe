//! Whose an object is that has the name of one of a cluster's. What is not the cluster's is never changed, adopted or deleted.

use super::Owner;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use valkeeper_kube_api::RedisCluster;
use valkeeper_kube_api::names::{GROUP, LABEL_CLUSTER};

/// Label: the program that made an object.
pub(crate) const LABEL_MANAGED_BY: &str = "app.kubernetes.io/managed-by";
/// Its value on all that is made here.
pub(crate) const MANAGED_BY: &str = "valkeeper";

/// What an object says about whose it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Marks {
    owned: Owned,
    /// The cluster of its label.
    cluster: Option<String>,
    /// Its label says that Valkeeper made it.
    managed: bool,
}

/// By whose owner reference.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Owned {
    Cluster { name: String, uid: String },
    Other,
    Nobody,
}

/// Whose an object is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Whose {
    /// The cluster's.
    Ours,
    /// A user made it and labelled it for the cluster.
    Prepared,
    /// It is of a `RedisCluster` of this name that was deleted, and goes with that.
    Leaving,
    /// Somebody else's.
    Foreign,
}

impl Marks {
    pub(crate) fn of(metadata: &ObjectMeta) -> Self {
        let owners = metadata.owner_references.as_deref().unwrap_or_default();
        let cluster = |owner: &&OwnerReference| {
            owner.kind == RedisCluster::KIND && owner.api_version.split('/').next() == Some(GROUP)
        };
        let owned = match owners.iter().find(cluster) {
            Some(owner) => Owned::Cluster { name: owner.name.clone(), uid: owner.uid.clone() },
            None if owners.is_empty() => Owned::Nobody,
            None => Owned::Other,
        };
        let label = |key: &str| metadata.labels.as_ref().and_then(|labels| labels.get(key));
        Self {
            owned,
            cluster: label(LABEL_CLUSTER).cloned(),
            managed: label(LABEL_MANAGED_BY).is_some_and(|by| by == MANAGED_BY),
        }
    }

    pub(crate) fn whose(&self, owner: &Owner) -> Whose {
        let cluster = owner.home.cluster.as_str();
        match &self.owned {
            Owned::Cluster { uid, .. } if *uid == owner.uid => Whose::Ours,
            Owned::Cluster { name, .. } if name == cluster => Whose::Leaving,
            Owned::Cluster { .. } | Owned::Other => Whose::Foreign,
            // Volumes have no owner, and what `--cascade=orphan` leaves has none any more.
            Owned::Nobody if self.cluster.as_deref() != Some(cluster) => Whose::Foreign,
            Owned::Nobody if self.managed => Whose::Ours,
            Owned::Nobody => Whose::Prepared,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn whose(metadata: &serde_json::Value) -> Whose {
        let owner = Owner {
            home: crate::wire::Home { namespace: "shop".to_owned(), cluster: "demo".parse().unwrap() },
            uid: "u1".to_owned(),
        };
        let metadata: ObjectMeta = serde_json::from_value(metadata.clone()).unwrap();
        Marks::of(&metadata).whose(&owner)
    }

    fn owned_by(kind: &str, api: &str, name: &str, uid: &str) -> serde_json::Value {
        json!({ "ownerReferences": [{ "apiVersion": api, "kind": kind, "name": name, "uid": uid }] })
    }

    #[test]
    fn an_owner_decides_before_labels() {
        assert_eq!(whose(&owned_by("RedisCluster", "redis.io/v1", "demo", "u1")), Whose::Ours);
        assert_eq!(whose(&owned_by("RedisCluster", "redis.io/v1", "demo", "u0")), Whose::Leaving);
        assert_eq!(whose(&owned_by("RedisCluster", "redis.io/v1", "other", "u0")), Whose::Foreign);
        assert_eq!(whose(&owned_by("RedisCluster", "else.io/v1", "demo", "u0")), Whose::Foreign);
        let mut labelled = owned_by("Deployment", "apps/v1", "web", "u2");
        labelled["labels"] = json!({ LABEL_CLUSTER: "demo", LABEL_MANAGED_BY: MANAGED_BY });
        assert_eq!(whose(&labelled), Whose::Foreign);
    }

    #[test]
    fn without_an_owner_labels_decide() {
        assert_eq!(whose(&json!({})), Whose::Foreign);
        assert_eq!(whose(&json!({ "labels": { LABEL_CLUSTER: "demo" } })), Whose::Prepared);
        assert_eq!(
            whose(&json!({ "labels": { LABEL_CLUSTER: "demo", LABEL_MANAGED_BY: MANAGED_BY } })),
            Whose::Ours
        );
        assert_eq!(
            whose(&json!({ "labels": { LABEL_CLUSTER: "else", LABEL_MANAGED_BY: MANAGED_BY } })),
            Whose::Foreign
        );
    }
}
