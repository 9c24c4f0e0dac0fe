//! `RedisCluster`: the object a user writes.

use crate::names::API_VERSION;
use crate::object;
use crate::status::RedisClusterStatus;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::{Deserialize, Serialize, Serializer};
use valkeeper_model::manifest::{self, Manifest, Refused};

/// A cluster as its user wants it, and as it is.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
pub struct RedisCluster {
    /// Name, namespace and what Kubernetes notes.
    #[serde(default)]
    pub metadata: ObjectMeta,
    /// What is wanted, unread: [`manifest`](Self::manifest) reads it with the reader of manifest files, so that webhook,
    /// operator and command line say the same about it.
    #[serde(default)]
    pub spec: serde_json::Value,
    /// What is. Only the operator writes it.
    #[serde(default, deserialize_with = "object::readable")]
    pub status: Option<RedisClusterStatus>,
}

object::resource!(RedisCluster, "RedisCluster", "redisclusters");

impl RedisCluster {
    /// Its meaning, or everything that is wrong with it.
    pub fn manifest(&self) -> Result<Manifest, Refused> {
        let annotations = self.metadata.annotations.as_ref();
        let mut metadata = serde_json::Map::new();
        if let Some(name) = &self.metadata.name {
            metadata.insert("name".to_owned(), name.clone().into());
        }
        if let Some(annotations) = annotations {
            metadata.insert("annotations".to_owned(), serde_json::json!(annotations));
        }
        manifest::read_object(&serde_json::json!({
            "apiVersion": API_VERSION,
            "kind": Self::KIND,
            "metadata": metadata,
            "spec": self.spec,
        }))
    }
}

impl Serialize for RedisCluster {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        object::serialize((Self::KIND, &self.metadata, &self.spec, self.status.as_ref()), serializer)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that panics has failed, which is what it should do")]

    use super::*;
    use kube_core::Resource;
    use serde_json::json;

    fn cluster(spec: &serde_json::Value) -> RedisCluster {
        serde_json::from_value(json!({"metadata": {"name": "demo", "namespace": "shop"}, "spec": spec}))
            .unwrap()
    }

    #[test]
    fn it_is_written_with_kind_and_version_and_read_again() {
        let written = serde_json::to_value(cluster(&json!({"mode": "cluster"}))).unwrap();
        assert_eq!(
            written,
            json!({
                "apiVersion": "redis.io/v1",
                "kind": "RedisCluster",
                "metadata": {"name": "demo", "namespace": "shop"},
                "spec": {"mode": "cluster"},
            })
        );
        let read: RedisCluster = serde_json::from_value(written.clone()).unwrap();
        assert_eq!(serde_json::to_value(read).unwrap(), written);
        assert_eq!(
            RedisCluster::url_path(&(), Some("shop")),
            "/apis/redis.io/v1/namespaces/shop/redisclusters"
        );
    }

    #[test]
    fn a_status_of_another_version_stops_no_watch() {
        let read = |phase: serde_json::Value| -> RedisCluster {
            let object = json!({"metadata": {"name": "demo"}, "spec": {}, "status": {"phase": phase}});
            serde_json::from_value(object).unwrap()
        };
        // What else it says counts, whatever a newer version calls that.
        let phase = read("Dreaming".into()).status.and_then(|status| status.phase);
        assert_eq!(phase, Some(valkeeper_model::Phase::Other));
        assert_eq!(read(7.into()).status, None);
    }

    #[test]
    fn its_spec_is_read_by_the_reader_of_files() {
        let manifest =
            cluster(&json!({"mode": "cluster", "replicasPerShard": 1, "storage": {"size": "1Gi"}}));
        let manifest = manifest.manifest().unwrap();
        assert_eq!((manifest.spec.shards, manifest.spec.replicas_per_shard), (3, 1));
        // On Kubernetes they have an effect.
        assert_eq!(manifest.without_effect, []);
    }

    #[test]
    fn what_is_wrong_is_said_by_field_without_a_line() {
        let wrong =
            json!({"mode": "cluster", "shards": 2, "redis": {"maxclients": "10", "MaxClients": "10"}});
        let refused = cluster(&wrong).manifest().unwrap_err();
        assert_eq!(
            refused.to_string(),
            "spec.redis.maxclients: the same directive as `MaxClients`\n  hint: remove one of them\n\
             spec.shards: 2 is fewer than 3 shards\n  \
             hint: a primary is replaced by a majority vote of the others, which takes three"
        );
    }
}
