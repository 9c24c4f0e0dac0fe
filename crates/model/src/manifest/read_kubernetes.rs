//! The fields that mean something on Kubernetes only.

use super::check::Findings;
use super::read::{text_of, written};
use super::tree::{Meaning, Node, Scalar, Value};
use crate::kubernetes::{Bytes, ImagePullPolicy, KubernetesSpec, Maintenance, Storage};
use crate::spec::{parse_quantity_bytes, rules};
use serde_json::Value as Json;
use std::collections::BTreeMap;

/// What was found wrong already is left at its default.
pub(super) fn spec(fields: &Node, for_kubernetes: bool, findings: &mut Findings) -> KubernetesSpec {
    let default = KubernetesSpec::default();
    let flag = |key: &str, otherwise: bool| bool_of(fields, key).unwrap_or(otherwise);
    let spec = KubernetesSpec {
        image: text_of(fields, "imageName").map_or(default.image, str::to_owned),
        image_pull_policy: text_of(fields, "imagePullPolicy").and_then(ImagePullPolicy::from_word),
        storage: storage(fields, &default.storage, for_kubernetes, findings),
        resources: fields.get("resources").map_or(default.resources, json),
        node_selector: fields.get("nodeSelector").map(texts).unwrap_or_default(),
        affinity: fields.get("affinity").map(json),
        tolerations: list(fields, "tolerations"),
        topology_spread: list(fields, "topologySpreadConstraints"),
        priority_class: text_of(fields, "priorityClassName")
            .filter(|name| !name.is_empty())
            .map(str::to_owned),
        one_per_host: flag("onePerHost", default.one_per_host),
        pod_disruption_budget: flag("enablePodDisruptionBudget", default.pod_disruption_budget),
        delete_volumes: flag("deleteVolumes", default.delete_volumes),
        kernel_tuning: flag("kernelTuning", default.kernel_tuning),
        connection_secret: fields
            .get("connectionSecret")
            .and_then(|secret| text_of(secret, "name"))
            .filter(|name| !name.is_empty())
            .map(str::to_owned),
        maintenance: fields.get("nodeMaintenanceWindow").map(|window| Maintenance {
            in_progress: bool_of(window, "inProgress").unwrap_or(false),
            reuse_pvc: bool_of(window, "reusePVC").unwrap_or(true),
        }),
    };
    if for_kubernetes {
        for problem in spec.validate() {
            findings.problem(problem);
        }
    }
    spec
}

fn storage(fields: &Node, default: &Storage, for_kubernetes: bool, findings: &mut Findings) -> Storage {
    let Some(storage) = fields.get("storage") else { return default.clone() };
    let size = written(storage, "size")
        .and_then(|text| Some(Bytes { text: text.to_owned(), bytes: parse_quantity_bytes(text).ok()? }))
        .unwrap_or_else(|| default.size().clone());
    let class = text_of(storage, "storageClassName").map(str::to_owned);
    match text_of(storage, "type") {
        Some("emptyDir") => {
            if for_kubernetes && class.is_some() {
                findings.problem(rules::CLASS_OF_EMPTY_DIR.broken(&[]));
            }
            Storage::EmptyDir { size }
        }
        _ => Storage::Pvc { size, class },
    }
}

fn bool_of(node: &Node, key: &str) -> Option<bool> {
    match &node.get(key)?.value {
        Value::Scalar(scalar) => match scalar.meaning() {
            Meaning::Bool(value) => Some(value),
            _ => None,
        },
        _ => None,
    }
}

fn texts(node: &Node) -> BTreeMap<String, String> {
    let Value::Map(entries) = &node.value else { return BTreeMap::new() };
    let text = |node: &Node| match &node.value {
        Value::Scalar(scalar) => Some(scalar.text.clone()),
        _ => None,
    };
    entries.iter().filter_map(|(key, node)| Some((key.text.clone(), text(node)?))).collect()
}

fn list(fields: &Node, key: &str) -> Vec<Json> {
    match fields.get(key).map(|node| &node.value) {
        Some(Value::List(items)) => items.iter().map(json).collect(),
        _ => Vec::new(),
    }
}

/// As Kubernetes' own reader of YAML would hand it to the API server.
fn json(node: &Node) -> Json {
    match &node.value {
        Value::Scalar(scalar) => scalar_json(scalar),
        Value::List(items) => items.iter().map(json).collect(),
        Value::Map(entries) => {
            Json::Object(entries.iter().map(|(key, node)| (key.text.clone(), json(node))).collect())
        }
    }
}

fn scalar_json(scalar: &Scalar) -> Json {
    let text = scalar.text.as_str();
    match scalar.meaning() {
        Meaning::Nothing => Json::Null,
        Meaning::Bool(value) => value.into(),
        Meaning::Integer => text.parse::<i64>().map_or_else(|_| text.into(), Json::from),
        Meaning::Fraction => text.parse::<f64>().map_or_else(|_| text.into(), Json::from),
        Meaning::Text => text.into(),
    }
}
