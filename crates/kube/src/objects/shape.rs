//! Is an object as it was made? Its shape is what a user may have edited: labels that others select by, its owner, and of Services,
//! budgets and policies the whole spec but what the API server itself fills in.

use super::template::hash;
use super::whose::LABEL_MANAGED_BY;
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::api::rbac::v1::{Role, RoleBinding};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};
use valkeeper_kube_api::names::{LABEL_CLUSTER, LABEL_INSTANCE, LABEL_SHARD, LABEL_WORKLOAD};

/// Labels that are put right. The role's is observed, and has a writer of its own.
const LABELS: [&str; 6] = [
    LABEL_CLUSTER,
    LABEL_INSTANCE,
    LABEL_SHARD,
    LABEL_WORKLOAD,
    LABEL_MANAGED_BY,
    "app.kubernetes.io/instance",
];
/// The fields of objects that have no spec. What a binding refers to cannot be changed.
const CONTENT: [&str; 2] = ["rules", "subjects"];
/// What the API server fills into the spec of a Service.
const GIVEN: [&str; 3] = ["clusterIPs", "ipFamilies", "ipFamilyPolicy"];

/// The shape of an object, as a word.
pub(crate) fn shape(object: &Value) -> String {
    hash(&shaped(object))
}

fn shaped(object: &Value) -> Value {
    let labels: Map<String, Value> = LABELS
        .iter()
        .filter_map(|label| Some(((*label).to_owned(), object["metadata"]["labels"].get(label)?.clone())))
        .collect();
    let owners = object["metadata"]["ownerReferences"].as_array();
    let owner = owners.and_then(|owners| owners.iter().find(|owner| owner["kind"] == "RedisCluster"));
    json!({ "labels": labels, "owner": owner.map(|owner| &owner["uid"]), "spec": spec_of(object) })
}

fn content_of(object: &Value) -> Value {
    CONTENT
        .iter()
        .filter_map(|field| Some(((*field).to_owned(), object.get(field)?.clone())))
        .collect::<Map<_, _>>()
        .into()
}

/// The spec as far as it is compared, in the words of the API's own types: a default is the same whether it is written or not.
fn spec_of(object: &Value) -> Value {
    fn typed<K: DeserializeOwned + Serialize>(object: &Value) -> Value {
        let whole = serde_json::from_value::<K>(object.clone()).ok();
        whole.and_then(|whole| serde_json::to_value(whole).ok()).unwrap_or_else(|| object.clone())
    }
    let mut whole = match object["kind"].as_str() {
        Some("Service") => typed::<Service>(object),
        Some("PodDisruptionBudget") => typed::<PodDisruptionBudget>(object),
        Some("NetworkPolicy") => typed::<NetworkPolicy>(object),
        Some("Role") => typed::<Role>(object),
        Some("RoleBinding") => typed::<RoleBinding>(object),
        _ => return Value::Null,
    };
    let mut spec = match object["kind"].as_str() {
        Some("Role" | "RoleBinding") => content_of(&whole),
        _ => whole["spec"].take(),
    };
    if let Some(fields) = spec.as_object_mut() {
        let headless = fields.get("clusterIP").is_some_and(|ip| ip == "None");
        fields.retain(|key, value| {
            !GIVEN.contains(&key.as_str()) && (key != "clusterIP" || headless) && *value != false
        });
    }
    spec
}

/// The merge patch (RFC 7386) that makes what is there what is wanted; none if it is. It holds for that very version only.
pub(crate) fn patch(there: &Value, wanted: &Value) -> Option<Value> {
    let mut metadata = Map::new();
    let (labels, wanted_labels) = (&there["metadata"]["labels"], &wanted["metadata"]["labels"]);
    let differing = LABELS.iter().filter(|label| labels.get(label) != wanted_labels.get(label));
    let labels: Map<String, Value> = differing
        .map(|label| ((*label).to_owned(), wanted_labels.get(label).cloned().unwrap_or_default()))
        .collect();
    if !labels.is_empty() {
        metadata.insert("labels".to_owned(), labels.into());
    }
    let owners = there["metadata"]["ownerReferences"].as_array().cloned().unwrap_or_default();
    let ours = wanted["metadata"]["ownerReferences"].as_array().cloned().unwrap_or_default();
    let missing = ours.into_iter().filter(|one| owners.iter().all(|there| there["uid"] != one["uid"]));
    let missing: Vec<Value> = missing.collect();
    if !missing.is_empty() {
        metadata.insert("ownerReferences".to_owned(), owners.into_iter().chain(missing).collect());
    }
    let spec = merge_patch(&spec_of(there), &spec_of(wanted));
    if metadata.is_empty() && spec.is_none() {
        return None;
    }
    metadata.insert("uid".to_owned(), there["metadata"]["uid"].clone());
    metadata.insert("resourceVersion".to_owned(), there["metadata"]["resourceVersion"].clone());
    let mut patch = json!({ "metadata": metadata });
    match spec {
        Some(Value::Object(content)) if CONTENT.iter().any(|field| content.contains_key(*field)) => {
            patch.as_object_mut().into_iter().for_each(|patch| patch.extend(content.clone()));
        }
        Some(spec) => patch["spec"] = spec,
        None => {}
    }
    Some(patch)
}

/// The merge patch from one to the other; `None` if they are the same.
pub(crate) fn merge_patch(there: &Value, wanted: &Value) -> Option<Value> {
    if there == wanted {
        return None;
    }
    let (Some(before), Some(after)) = (there.as_object(), wanted.as_object()) else {
        return Some(wanted.clone());
    };
    let gone = before.keys().filter(|key| !after.contains_key(*key)).map(|key| (key.clone(), Value::Null));
    let changed = after.iter().filter_map(|(key, value)| {
        let difference = before.get(key).map_or_else(|| Some(value.clone()), |old| merge_patch(old, value));
        Some((key.clone(), difference?))
    });
    Some(gone.chain(changed).collect::<Map<_, _>>().into())
}

#[cfg(test)]
pub(crate) mod tests;
