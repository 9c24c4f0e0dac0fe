//! A manifest, beside what is there: the stored layout, the zones, the object.

use super::error::RemoteError;
use super::reach::{Reach, Remote};
use crate::objects::template::{REPLACED_FOR, fields};
use crate::operator::has_started;
use k8s_openapi::api::core::v1::{ConfigMap, Node, Pod};
use kube::api::{ListParams, Patch, PatchParams};
use kube::{Api, ResourceExt};
use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeSet;
use std::fmt;
use valkeeper_kube_api::RedisCluster;
use valkeeper_kube_api::names::{self, LAYOUT_KEY, field_managers};
use valkeeper_model::{KubernetesSpec, Layout, ZoneName};

/// A change of what pods and volumes are to be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PodChange {
    /// What.
    pub what: String,
    /// Now; `None` if it is new.
    pub from: Option<String>,
    /// Then; `None` if it is dropped.
    pub to: Option<String>,
    /// Where it shows.
    pub applies_to: AppliesTo,
}

/// Where a change shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum AppliesTo {
    /// In the cluster's objects.
    #[serde(rename = "the cluster, at once")]
    Cluster,
    /// In all pods, which are replaced for it one after the other.
    #[serde(rename = "all pods, in turn")]
    AllPods,
    /// In pods that are made from then on, and in those whose server has never started.
    #[serde(rename = "new pods")]
    NewPods,
    /// In volumes that are made from then on.
    #[serde(rename = "new volumes")]
    NewVolumes,
    /// In all volumes.
    #[serde(rename = "volumes")]
    Volumes,
}

impl fmt::Display for AppliesTo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(f)
    }
}

impl Remote {
    /// The layout in force; `None` if the cluster does not exist yet.
    pub async fn layout(&self) -> Result<Option<Layout>, RemoteError> {
        let maps: Api<ConfigMap> = Api::namespaced(self.reach.client.clone(), &self.reach.namespace);
        let name = names::layout_config_map(&self.name);
        let map = maps.get_opt(&name).await.map_err(|error| self.failed(error))?;
        let Some(text) = map.and_then(|map| map.data?.remove(LAYOUT_KEY)) else { return Ok(None) };
        let layout = Layout::read(text.as_bytes());
        layout.map(Some).map_err(|why| RemoteError::Other(format!("ConfigMap {name} {why}")))
    }

    /// The cluster's pods whose server has never started: another manifest makes them anew. `None` if the user may not see pods.
    pub async fn never_started(&self) -> Result<Option<Vec<String>>, RemoteError> {
        let pods: Api<Pod> = Api::namespaced(self.reach.client.clone(), &self.reach.namespace);
        let ours = ListParams::default().labels(&format!("{}={}", names::LABEL_CLUSTER, self.name));
        match pods.list(&ours).await.map_err(|error| self.failed(error)) {
            Ok(pods) => {
                let waiting = pods.items.iter().filter(|pod| !has_started(pod));
                Ok(Some(waiting.map(ResourceExt::name_any).collect()))
            }
            Err(RemoteError::Forbidden(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The object, if there is one.
    pub async fn object_if_any(&self) -> Result<Option<RedisCluster>, RemoteError> {
        self.reach.clusters().get_opt(self.name.as_str()).await.map_err(|error| self.failed(error))
    }

    /// Makes the object what the manifest says; what it says nothing about stays.
    pub async fn apply(&self, manifest: &Value) -> Result<RedisCluster, RemoteError> {
        let params = PatchParams::apply(field_managers::CLI);
        let patch = Patch::Apply(manifest);
        let applied = self.reach.clusters().patch(self.name.as_str(), &params, &patch).await;
        applied.map_err(|error| self.failed(error))
    }
}

impl Reach {
    /// The zones of all nodes; `None` if the user may not see nodes.
    pub async fn zones(&self) -> Result<Option<Vec<ZoneName>>, RemoteError> {
        let nodes: Api<Node> = Api::all(self.client.clone());
        match nodes.list_metadata(&ListParams::default()).await.map_err(|error| self.failed(error)) {
            Ok(nodes) => {
                let zone = |labels: &std::collections::BTreeMap<String, String>| {
                    labels.get(names::LABEL_ZONE).and_then(|zone| zone.parse().ok())
                };
                let zones: BTreeSet<ZoneName> =
                    nodes.items.iter().filter_map(|node| zone(node.labels())).collect();
                Ok(Some(zones.into_iter().collect()))
            }
            Err(RemoteError::Forbidden(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// What differs for pods and volumes.
pub fn pod_changes(from: &KubernetesSpec, to: &KubernetesSpec) -> Vec<PodChange> {
    let (before, after) = (fields(from), fields(to));
    let told = |value: Option<&Value>| match value {
        None | Some(Value::Null) => None,
        Some(Value::String(text)) => Some(text.clone()),
        Some(value) => Some(value.to_string()),
    };
    let differing = after.keys().filter(|what| before.get(*what) != after.get(*what));
    differing
        .map(|what| {
            let (name, applies_to) = told_as(what);
            let (from, to) = (told(before.get(what)), told(after.get(what)));
            PodChange { what: name.to_owned(), from, to, applies_to }
        })
        .collect()
}

/// The manifest's name of a field, and where a change of it shows.
fn told_as(field: &str) -> (&str, AppliesTo) {
    let of_pods = if REPLACED_FOR.contains(&field) { AppliesTo::AllPods } else { AppliesTo::NewPods };
    match field {
        "podDisruptionBudget" => ("enablePodDisruptionBudget", AppliesTo::Cluster),
        "maintenance" => ("nodeMaintenanceWindow", AppliesTo::Cluster),
        "connectionSecret" => (field, AppliesTo::Cluster),
        "deleteVolumes" => (field, AppliesTo::Volumes),
        "storage" => (field, AppliesTo::NewVolumes),
        "image" => ("imageName", of_pods),
        "priorityClass" => ("priorityClassName", of_pods),
        "topologySpread" => ("topologySpreadConstraints", of_pods),
        _ => (field, of_pods),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_a_change_shows_is_told() {
        let before = KubernetesSpec::default();
        let after = KubernetesSpec {
            image: "valkey/valkey:9.9".to_owned(),
            pod_disruption_budget: !before.pod_disruption_budget,
            ..before.clone()
        };
        assert_eq!(pod_changes(&before, &before), []);
        let changes = pod_changes(&before, &after);
        let told: Vec<_> =
            changes.iter().map(|one| (one.what.as_str(), one.applies_to.to_string())).collect();
        let expected =
            [("imageName", "all pods, in turn"), ("enablePodDisruptionBudget", "the cluster, at once")];
        assert_eq!(told, expected.map(|(what, shows)| (what, shows.to_owned())));
        assert_eq!(changes[0].from.as_deref(), Some(before.image.as_str()));
        assert_eq!(changes[0].to.as_deref(), Some("valkey/valkey:9.9"));
    }
}
