//! What the manifest says for Kubernetes alone.

use serde_json::Value;
use sha2::{Digest as _, Sha256};
use std::fmt::Write as _;

/// Where data is kept.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Volume {
    /// A volume that outlives the pod.
    Claim { size: String, class: Option<String> },
    /// A folder of the pod: gone with it.
    EmptyDir { size: String },
}

/// How pods are made.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Template {
    pub(crate) image: String,
    pub(crate) image_pull_policy: String,
    pub(crate) volume: Volume,
    pub(crate) resources: Option<Value>,
    pub(crate) node_selector: Option<Value>,
    pub(crate) affinity: Option<Value>,
    pub(crate) tolerations: Option<Value>,
    pub(crate) topology_spread: Option<Value>,
    pub(crate) priority_class: Option<String>,
    pub(crate) one_per_host: bool,
    pub(crate) disruption_budget: bool,
    pub(crate) auth_secret: Option<String>,
    pub(crate) delete_volumes: bool,
    pub(crate) kernel_tuning: bool,
}

/// Tells one pod's spec from another.
pub(crate) fn hash(spec: &Value) -> String {
    let digest = Sha256::digest(spec.to_string());
    digest.iter().take(8).fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

impl Template {
    /// From the spec of a `RedisCluster` that its reader has found nothing wrong with.
    pub(crate) fn of(spec: &Value) -> Self {
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let given = |name: &str| spec.get(name).filter(|value| !value.is_null()).cloned();
        let flag = |name: &str, default: bool| spec[name].as_bool().unwrap_or(default);
        let storage = &spec["storage"];
        let size = text(&storage["size"]).unwrap_or_else(|| "1Gi".to_owned());
        Self {
            image: text(&spec["imageName"]).unwrap_or_else(|| "valkey/valkey:9.1.2".to_owned()),
            image_pull_policy: text(&spec["imagePullPolicy"]).unwrap_or_else(|| "IfNotPresent".to_owned()),
            volume: if storage["type"] == "emptyDir" {
                Volume::EmptyDir { size }
            } else {
                Volume::Claim { size, class: text(&storage["storageClassName"]) }
            },
            resources: given("resources"),
            node_selector: given("nodeSelector"),
            affinity: given("affinity"),
            tolerations: given("tolerations"),
            topology_spread: given("topologySpreadConstraints"),
            priority_class: text(&spec["priorityClassName"]),
            one_per_host: flag("onePerHost", false),
            disruption_budget: flag("enablePodDisruptionBudget", true),
            auth_secret: text(&spec["authSecret"]["name"]),
            delete_volumes: flag("deleteVolumes", false),
            kernel_tuning: flag("kernelTuning", false),
        }
    }
}
