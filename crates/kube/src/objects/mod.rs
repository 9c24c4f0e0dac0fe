//! What a cluster consists of in Kubernetes, rendered from its layout and its template (law 5). Pure: the same in, the same out.
//!
//! | file | what |
//! | --- | --- |
//! | `mod.rs` | what all of them have |
//! | `template.rs` | what the manifest says for Kubernetes alone |
//! | `pod.rs` | an instance's pod |
//! | `sentinel.rs` | a Sentinel's pod, and the Service to all of them |
//! | `storage.rs` | its volume claim, with the piece of layout that it carries |
//! | `network.rs` | Services, disruption budget, network policy |
//! | `register.rs` | the seat that is no agent, in mode `standalone` |
//! | `layout_map.rs` | the layout, as it is stored |
//! | `secrets.rs` | password, CA, certificates |
//! | `whose.rs` | is what has a name of its objects one of them? |
//! | `shape.rs` | is it as it was made, and what puts it right |

pub(crate) mod layout_map;
pub(crate) mod network;
pub(crate) mod pod;
pub(crate) mod register;
pub(crate) mod secrets;
pub(crate) mod sentinel;
pub(crate) mod shape;
pub(crate) mod storage;
pub(crate) mod template;
pub(crate) mod whose;

use crate::wire::Home;
use serde_json::{Value, json};
use valkeeper_kube_api::RedisCluster;
use valkeeper_kube_api::names::{
    API_VERSION, LABEL_CLUSTER, LABEL_INSTANCE, LABEL_SHARD, LABEL_WORKLOAD, WORKLOAD_DATA,
};
use valkeeper_model::{Instance, InstanceName};
use whose::{LABEL_MANAGED_BY, MANAGED_BY};

/// The cluster that objects are made for.
#[derive(Debug, Clone)]
pub(crate) struct Owner {
    pub(crate) home: Home,
    /// Of its `RedisCluster`.
    pub(crate) uid: String,
}

impl Owner {
    /// What an object of the cluster begins with. Kubernetes removes it with its `RedisCluster`.
    pub(crate) fn metadata(&self, name: &str) -> Value {
        let mut metadata = self.lasting_metadata(name);
        metadata["ownerReferences"] = json!([self.reference()]);
        metadata
    }

    /// The same for what outlives the `RedisCluster` (law 9).
    pub(crate) fn lasting_metadata(&self, name: &str) -> Value {
        json!({
            "name": name,
            "namespace": self.home.namespace,
            "labels": {
                LABEL_CLUSTER: self.home.cluster,
                LABEL_MANAGED_BY: MANAGED_BY,
                "app.kubernetes.io/instance": self.home.cluster,
            },
        })
    }

    pub(crate) fn reference(&self) -> Value {
        json!({
            "apiVersion": API_VERSION, "kind": RedisCluster::KIND, "name": self.home.cluster, "uid": self.uid,
            "controller": true, "blockOwnerDeletion": true,
        })
    }
}

/// The pods of a cluster.
pub(crate) fn selector(home: &Home) -> Value {
    json!({ LABEL_CLUSTER: home.cluster, LABEL_WORKLOAD: WORKLOAD_DATA })
}

/// Labels of what belongs to one instance, beside the cluster's.
fn label_instance(metadata: &mut Value, name: &InstanceName, instance: &Instance) {
    metadata["labels"][LABEL_INSTANCE] = json!(name);
    metadata["labels"][LABEL_SHARD] = json!(instance.shard);
    metadata["labels"][LABEL_WORKLOAD] = json!(WORKLOAD_DATA);
}
