//! What matters of a pod.

use super::home_of;
use crate::objects::shape::shape;
use crate::objects::whose::Marks;
use crate::wire::Home;
use k8s_openapi::api::core::v1::{ContainerStatus, Pod};
use serde_json::json;
use std::fmt;
use std::net::IpAddr;
use valkeeper_kube_api::names::{ANNOTATION_SPEC_HASH, ANNOTATION_TEMPLATE, LABEL_ROLE};
use valkeeper_model::{InstanceName, TemplateHash};

/// A pod as far as it matters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PodSeen {
    pub(crate) uid: String,
    pub(crate) ip: Option<IpAddr>,
    pub(crate) state: PodState,
    pub(crate) role: Option<String>,
    pub(crate) spec_hash: Option<String>,
    /// By which template it was made.
    pub(crate) template: Option<TemplateHash>,
    pub(crate) marks: Marks,
    pub(crate) shape: String,
    /// Has its server's container run?
    pub(crate) started: bool,
    /// Does a container of it run now?
    pub(crate) runs: bool,
    pub(crate) node: Option<String>,
    /// Why Kubernetes takes it away.
    pub(crate) disrupted: Option<String>,
    /// Why it does not run, as far as Kubernetes says.
    pub(crate) trouble: Option<PodTrouble>,
}

/// Where a pod is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PodState {
    /// It runs, or will.
    Alive,
    /// It is being deleted.
    Ending,
    /// It has ended for good and is in the way of another of its name.
    Over,
}

/// Why a pod, or one container of it, does not run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum PodTrouble {
    /// No node takes it.
    Unscheduled(String),
    /// A container of it does not start: no image, a configuration that cannot be used, one that ends at once.
    Container(String),
    /// It has failed as a whole.
    Failed(String),
}

impl fmt::Display for PodTrouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unscheduled(why) => write!(f, "cannot be scheduled: {why}"),
            Self::Container(why) | Self::Failed(why) => f.write_str(why),
        }
    }
}

/// What matters of a pod, and whose it is. It is an instance's by its name, which nobody can edit.
pub(crate) fn pod_seen(pod: &Pod) -> Option<(Home, InstanceName, PodSeen)> {
    let metadata = &pod.metadata;
    let home = home_of(metadata.namespace.as_deref(), metadata.labels.as_ref())?;
    let name: InstanceName = metadata.name.as_deref()?.parse().ok()?;
    let status = pod.status.as_ref();
    let phase = status.and_then(|status| status.phase.as_deref());
    let state = if metadata.deletion_timestamp.is_some() {
        PodState::Ending
    } else if matches!(phase, Some("Failed" | "Succeeded")) {
        PodState::Over
    } else {
        PodState::Alive
    };
    let annotation = |key: &str| metadata.annotations.as_ref().and_then(|all| all.get(key)).cloned();
    let seen = PodSeen {
        uid: metadata.uid.clone()?,
        ip: status.and_then(|status| status.pod_ip.as_deref()).and_then(|ip| ip.parse().ok()),
        state,
        role: metadata.labels.as_ref().and_then(|labels| labels.get(LABEL_ROLE)).cloned(),
        spec_hash: annotation(ANNOTATION_SPEC_HASH),
        template: annotation(ANNOTATION_TEMPLATE).map(TemplateHash::new),
        marks: Marks::of(metadata),
        shape: shape(&json!({ "kind": "Pod", "metadata": metadata })),
        started: has_started(pod),
        runs: runs(pod),
        node: pod.spec.as_ref().and_then(|spec| spec.node_name.clone()),
        disrupted: disrupted(pod),
        trouble: trouble(pod),
    };
    Some((home, name, seen))
}

/// Why Kubernetes takes it away, in its words: evicted, preempted, its node given up.
fn disrupted(pod: &Pod) -> Option<String> {
    let conditions = pod.status.as_ref()?.conditions.as_ref()?;
    let found = conditions.iter().find(|one| one.type_ == "DisruptionTarget" && one.status == "True")?;
    let words = [found.reason.as_deref(), found.message.as_deref()];
    Some(words.into_iter().flatten().collect::<Vec<_>>().join(": "))
}

fn containers(pod: &Pod) -> impl Iterator<Item = &ContainerStatus> {
    pod.status.iter().flat_map(|status| status.container_statuses.iter().flatten())
}

fn runs(pod: &Pod) -> bool {
    containers(pod).any(|one| one.state.as_ref().is_some_and(|state| state.running.is_some()))
}

/// Has its server's container run, now or before?
pub(crate) fn has_started(pod: &Pod) -> bool {
    containers(pod).any(|container| {
        let state = container.state.as_ref();
        container.restart_count > 0
            || container.last_state.as_ref().is_some_and(|last| last.terminated.is_some())
            || state.is_some_and(|state| state.running.is_some() || state.terminated.is_some())
    })
}

fn trouble(pod: &Pod) -> Option<PodTrouble> {
    let status = pod.status.as_ref()?;
    let unscheduled = status
        .conditions
        .iter()
        .flatten()
        .find(|condition| condition.type_ == "PodScheduled" && condition.status == "False");
    if let Some(condition) = unscheduled {
        let why = condition.message.as_deref().or(condition.reason.as_deref()).unwrap_or("not scheduled");
        return Some(PodTrouble::Unscheduled(why.to_owned()));
    }
    let containers =
        status.init_container_statuses.iter().flatten().chain(status.container_statuses.iter().flatten());
    let waiting = containers.filter_map(|container| container.state.as_ref()?.waiting.as_ref());
    let mut reasons = waiting.filter_map(|waiting| {
        let reason = waiting.reason.as_deref()?;
        // On its way.
        if matches!(reason, "PodInitializing" | "ContainerCreating") {
            return None;
        }
        Some(PodTrouble::Container(match &waiting.message {
            Some(message) => format!("{reason}: {message}"),
            None => reason.to_owned(),
        }))
    });
    let failed = || status.reason.clone().filter(|_| status.phase.as_deref() == Some("Failed"));
    reasons.next().or_else(|| failed().map(PodTrouble::Failed))
}
