//! `RedisCluster`: the object a user writes.

use crate::names::API_VERSION;
use crate::object;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::{Deserialize, Serialize, Serializer};
use valkeeper_model::manifest::{self, Manifest, Refused};

/// A cluster as its user wants it, and as it is.
#[derive(Debug, Clone, Default, Deserialize)]
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

/// What the operator says of a cluster.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RedisClusterStatus {}
