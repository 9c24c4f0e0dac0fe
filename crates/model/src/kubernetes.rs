//! What a manifest says of a cluster on Kubernetes beyond its spec: pods and volumes.

use crate::Refusal;
use crate::manifest::schema::{DEFAULT_IMAGE, DEFAULT_STORAGE};
use crate::spec::{FieldProblem, parse_quantity_bytes, rules};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// The fields that mean something on Kubernetes only, with every default filled in. Types of Kubernetes' own that are
/// handed on to it as they are stay JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[expect(clippy::struct_excessive_bools, reason = "the switches of the manifest, each with its own meaning")]
pub struct KubernetesSpec {
    /// The servers' image.
    pub image: String,
    /// When it is pulled; `None`: Kubernetes decides.
    pub image_pull_policy: Option<ImagePullPolicy>,
    /// Where an instance keeps its data.
    pub storage: Storage,
    /// core/v1 `ResourceRequirements` of a server, as written. See [`resources`](Self::resources).
    pub resources: Value,
    /// Labels of the nodes that pods may run on.
    pub node_selector: BTreeMap<String, String>,
    /// core/v1 `Affinity`.
    pub affinity: Option<Value>,
    /// core/v1 `Toleration`s.
    pub tolerations: Vec<Value>,
    /// core/v1 `TopologySpreadConstraint`s.
    pub topology_spread: Vec<Value>,
    /// The pods' priority class.
    pub priority_class: Option<String>,
    /// May no two pods of the cluster share a node?
    pub one_per_host: bool,
    /// Is there to be a disruption budget?
    pub pod_disruption_budget: bool,
    /// Are volumes deleted with the `RedisCluster` (law 9)?
    pub delete_volumes: bool,
    /// May a privileged init container tune the node's kernel?
    pub kernel_tuning: bool,
    /// Are nodes being worked on?
    pub maintenance: Option<Maintenance>,
    /// The Secret in which clients find how to connect.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connection_secret: Option<String>,
}

/// When an image is pulled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ImagePullPolicy {
    /// Before every start.
    Always,
    /// When the node does not have it.
    IfNotPresent,
    /// Never.
    Never,
}

impl ImagePullPolicy {
    /// Kubernetes' word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Always => "Always",
            Self::IfNotPresent => "IfNotPresent",
            Self::Never => "Never",
        }
    }

    pub(crate) fn from_word(word: &str) -> Option<Self> {
        [Self::Always, Self::IfNotPresent, Self::Never].into_iter().find(|policy| policy.as_str() == word)
    }
}

/// Where an instance keeps its data.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "camelCase")]
pub enum Storage {
    /// A volume that outlives the pod.
    Pvc {
        /// How large.
        size: Bytes,
        /// Its class; `None`: the default one.
        class: Option<String>,
    },
    /// A directory of the pod, lost with it.
    EmptyDir {
        /// How large it may grow.
        size: Bytes,
    },
}

impl Storage {
    /// How large.
    pub fn size(&self) -> &Bytes {
        match self {
            Self::Pvc { size, .. } | Self::EmptyDir { size } => size,
        }
    }
}

/// An amount of bytes as the user wrote it, for Kubernetes, and as a number.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bytes {
    /// As written: `1Gi`.
    pub text: String,
    /// In bytes.
    pub bytes: u64,
}

/// Nodes are being worked on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Maintenance {
    /// Now?
    pub in_progress: bool,
    /// Do pods wait for their volumes to come back?
    #[serde(rename = "reusePVC")]
    pub reuse_pvc: bool,
}

impl Default for KubernetesSpec {
    fn default() -> Self {
        let bytes = parse_quantity_bytes(DEFAULT_STORAGE).unwrap_or_default();
        Self {
            image: DEFAULT_IMAGE.to_owned(),
            image_pull_policy: None,
            storage: Storage::Pvc { size: Bytes { text: DEFAULT_STORAGE.to_owned(), bytes }, class: None },
            resources: json!({}),
            node_selector: BTreeMap::new(),
            affinity: None,
            tolerations: Vec::new(),
            topology_spread: Vec::new(),
            priority_class: None,
            one_per_host: false,
            pod_disruption_budget: true,
            delete_volumes: false,
            kernel_tuning: false,
            connection_secret: None,
            maintenance: None,
        }
    }
}

impl KubernetesSpec {
    /// The resources with what is set aside when the manifest does not say: of what has no limit, as Kubernetes sets aside
    /// the limit itself where there is one.
    pub fn resources(&self) -> Value {
        let mut resources = self.resources.as_object().cloned().unwrap_or_default();
        if !resources.contains_key("requests") {
            let limited =
                |name: &str| resources.get("limits").is_some_and(|limits| limits.get(name).is_some());
            let defaults =
                [("cpu", "100m"), ("memory", "128Mi")].into_iter().filter(|(name, _)| !limited(name));
            let requests: Map<String, Value> =
                defaults.map(|(name, amount)| (name.to_owned(), amount.into())).collect();
            if !requests.is_empty() {
                resources.insert("requests".to_owned(), requests.into());
            }
        }
        Value::Object(resources)
    }

    /// Why a running cluster cannot change from the other one to this: pods that keep data in another place would start
    /// without it, and no volume gets smaller.
    pub fn refuse_change_from(&self, before: &Self) -> Option<Refusal> {
        match (&self.storage, &before.storage) {
            (Storage::Pvc { size, .. }, Storage::Pvc { size: old, .. }) => {
                (size.bytes < old.bytes).then(|| Refusal::CannotShrink {
                    field: "spec.storage.size".to_owned(),
                    from: old.text.clone(),
                    to: size.text.clone(),
                })
            }
            (Storage::EmptyDir { .. }, Storage::EmptyDir { .. }) => None,
            _ => Some(Refusal::CannotChange { field: "spec.storage.type".to_owned() }),
        }
    }

    /// What is impossible. Whether the nodes have it is Kubernetes' question.
    pub(crate) fn validate(&self) -> Vec<FieldProblem> {
        let mut problems = Vec::new();
        if self.image.is_empty() {
            problems.push(rules::NO_IMAGE.broken(&[]));
        }
        if self.storage.size().bytes == 0 {
            problems.push(rules::NO_STORAGE.broken(&[]));
        }
        problems
    }

    /// What is possible and costs something.
    pub(crate) fn warnings(&self) -> Vec<FieldProblem> {
        match self.storage {
            Storage::Pvc { .. } => Vec::new(),
            Storage::EmptyDir { .. } => {
                let reason =
                    "an instance loses its data with its pod, and a shard all data when all its pods go";
                vec![FieldProblem::new("spec.storage.type", reason).hint("write type: pvc")]
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_does_not_move_to_another_kind_of_storage() {
        let volume = KubernetesSpec::default();
        let size = Bytes { text: "2Gi".to_owned(), bytes: 2 << 30 };
        let larger = Storage::Pvc { size: size.clone(), class: None };
        let of = |storage| KubernetesSpec { storage, ..KubernetesSpec::default() };
        assert_eq!(of(larger).refuse_change_from(&volume), None);
        assert!(of(Storage::EmptyDir { size }).refuse_change_from(&volume).is_some());
    }

    #[test]
    fn a_volume_grows_and_never_shrinks() {
        let sized = |text: &str, bytes| Bytes { text: text.to_owned(), bytes };
        let volume = |text, bytes| KubernetesSpec {
            storage: Storage::Pvc { size: sized(text, bytes), class: None },
            ..KubernetesSpec::default()
        };
        let (one, two) = (volume("1Gi", 1 << 30), volume("2Gi", 2 << 30));
        assert_eq!(two.refuse_change_from(&one), None);
        // Another way to write the same.
        assert_eq!(volume("1024Mi", 1 << 30).refuse_change_from(&one), None);
        let refusal = one
            .refuse_change_from(&two)
            .as_ref()
            .map(|refusal| refusal.with_hint(crate::CalledAs::default()));
        assert_eq!(
            refusal.as_deref(),
            Some(
                "spec.storage.size cannot shrink from 2Gi to 1Gi: a volume only grows\n  \
                 hint: put the old value back, or make a new cluster"
            )
        );
        // A limit on what is lost with the pod anyway.
        let emptied = |bytes| KubernetesSpec {
            storage: Storage::EmptyDir { size: sized("?", bytes) },
            ..KubernetesSpec::default()
        };
        assert_eq!(emptied(1).refuse_change_from(&emptied(2)), None);
    }

    #[test]
    fn something_is_set_aside_for_what_has_no_limit() {
        let of = |resources| KubernetesSpec { resources, ..KubernetesSpec::default() }.resources();
        assert_eq!(of(json!({})), json!({"requests": {"cpu": "100m", "memory": "128Mi"}}));
        assert_eq!(
            of(json!({"limits": {"memory": "64Mi"}})),
            json!({"limits": {"memory": "64Mi"}, "requests": {"cpu": "100m"}})
        );
        assert_eq!(of(json!({"requests": {}})), json!({"requests": {}}));
        let all = json!({"limits": {"memory": "64Mi", "cpu": 1}});
        assert_eq!(of(all.clone()), all);
    }
}
