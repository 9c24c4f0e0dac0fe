//! What the watches have seen, by cluster: enough to act on, and no more, since it is kept for every pod there is.

use crate::wire::Home;
use k8s_openapi::api::core::v1::Pod;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::Notify;
use valkeeper_kube_api::names::{LABEL_CLUSTER, LABEL_INSTANCE};
use valkeeper_model::InstanceName;

/// A pod as far as it matters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PodSeen {
    pub(crate) uid: String,
    pub(crate) ip: Option<IpAddr>,
    pub(crate) state: PodState,
    pub(crate) role: Option<String>,
    pub(crate) spec_hash: Option<String>,
    /// Why it does not run, as far as Kubernetes says.
    pub(crate) trouble: Option<String>,
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

/// Another object as far as it matters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ObjectSeen {
    pub(crate) version: String,
    pub(crate) made_from: Option<String>,
    pub(crate) layout_piece: Option<String>,
}

/// What an object is called, with its kind.
pub(crate) type Named = (&'static str, String);

/// What is there of one cluster. Rings when something changes that its controller has to act on.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    inner: Mutex<Things>,
    pub(crate) moved: Arc<Notify>,
    /// Rung when something changes that people are told of.
    pub(crate) told: Arc<Notify>,
}

#[derive(Debug, Default, Clone)]
pub(crate) struct Things {
    pub(crate) pods: BTreeMap<InstanceName, PodSeen>,
    pub(crate) objects: BTreeMap<Named, ObjectSeen>,
    /// What agents have said of themselves before the kubelet had.
    said: BTreeMap<InstanceName, (String, IpAddr)>,
    /// What pods need and the user has not given: why those that are missing are not made.
    lack: Option<String>,
}

impl Seen {
    fn things(&self) -> std::sync::MutexGuard<'_, Things> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn pods(&self) -> BTreeMap<InstanceName, PodSeen> {
        self.things().pods.clone()
    }

    pub(crate) fn object(&self, kind: &'static str, name: &str) -> Option<ObjectSeen> {
        self.things().objects.get(&(kind, name.to_owned())).cloned()
    }

    pub(crate) fn objects_of(&self, kind: &'static str) -> BTreeMap<String, ObjectSeen> {
        let things = self.things();
        let of_kind = things.objects.iter().filter(|((of, _), _)| *of == kind);
        of_kind.map(|((_, name), seen)| (name.clone(), seen.clone())).collect()
    }

    /// Where the pods are that are there: by Kubernetes, or by their own word.
    pub(crate) fn addresses(&self) -> BTreeMap<InstanceName, IpAddr> {
        let things = self.things();
        let address = |name: &InstanceName, pod: &PodSeen| {
            let said = things.said.get(name).filter(|(uid, _)| *uid == pod.uid).map(|(_, ip)| *ip);
            (pod.state != PodState::Over).then_some(())?;
            pod.ip.or(said)
        };
        let known = things.pods.iter().filter_map(|(name, pod)| Some((name.clone(), address(name, pod)?)));
        known.collect()
    }

    /// Why pods that are missing are not made, if there is a reason.
    pub(crate) fn lack(&self) -> Option<String> {
        self.things().lack.clone()
    }

    /// Pods that are missing are not made for that reason, or for none any more.
    pub(crate) fn lacks(&self, why: Option<&str>) {
        let before = std::mem::replace(&mut self.things().lack, why.map(str::to_owned));
        if before.as_deref() != why {
            self.told.notify_one();
        }
    }

    /// An agent says where it is.
    pub(crate) fn hear(&self, name: &InstanceName, uid: &str, ip: IpAddr) {
        let mut things = self.things();
        let before = things.said.insert(name.clone(), (uid.to_owned(), ip));
        let news = before.is_none_or(|before| before != (uid.to_owned(), ip));
        drop(things);
        if news {
            self.moved.notify_one();
        }
    }

    pub(crate) fn saw_pod(&self, name: InstanceName, pod: Option<PodSeen>) {
        let mut things = self.things();
        let before = match pod.clone() {
            Some(pod) => things.pods.insert(name, pod),
            None => things.pods.remove(&name),
        };
        drop(things);
        let place = |pod: &Option<PodSeen>| pod.as_ref().map(|pod| (pod.uid.clone(), pod.ip, pod.state));
        if place(&before) != place(&pod) {
            self.moved.notify_one();
        }
        if before.map(|pod| (pod.trouble, pod.role)) != pod.map(|pod| (pod.trouble, pod.role)) {
            self.told.notify_one();
        }
    }

    pub(crate) fn saw_object(&self, name: Named, object: Option<ObjectSeen>) {
        let mut things = self.things();
        let before = match object.clone() {
            Some(object) => things.objects.insert(name, object),
            None => things.objects.remove(&name),
        };
        drop(things);
        if before.is_some() != object.is_some() {
            self.told.notify_one();
        }
        // Taken away, or changed by somebody else: it is made again.
        let changed = |before: &ObjectSeen, now: &ObjectSeen| before.made_from != now.made_from;
        match (before, object) {
            (Some(_), None) => self.moved.notify_one(),
            (Some(before), Some(now)) if changed(&before, &now) => self.moved.notify_one(),
            _ => {}
        }
    }
}

/// What is there of all clusters.
#[derive(Debug, Default)]
pub(crate) struct World {
    clusters: Mutex<BTreeMap<Home, Arc<Seen>>>,
}

impl World {
    /// What is there of one cluster, whether it exists or not.
    pub(crate) fn of(&self, home: &Home) -> Arc<Seen> {
        let mut clusters = self.clusters.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(clusters.entry(home.clone()).or_default())
    }
}

/// Whose an object is, by its labels.
pub(crate) fn home_of(namespace: Option<&str>, labels: Option<&BTreeMap<String, String>>) -> Option<Home> {
    let cluster = labels?.get(LABEL_CLUSTER)?.parse().ok()?;
    Some(Home { namespace: namespace?.to_owned(), cluster })
}

/// What matters of a pod, and whose it is.
pub(crate) fn pod_seen(pod: &Pod) -> Option<(Home, InstanceName, PodSeen)> {
    let metadata = &pod.metadata;
    let home = home_of(metadata.namespace.as_deref(), metadata.labels.as_ref())?;
    let labels = metadata.labels.as_ref()?;
    let name: InstanceName = labels.get(LABEL_INSTANCE)?.parse().ok()?;
    let status = pod.status.as_ref();
    let phase = status.and_then(|status| status.phase.as_deref());
    let state = if metadata.deletion_timestamp.is_some() {
        PodState::Ending
    } else if matches!(phase, Some("Failed" | "Succeeded")) {
        PodState::Over
    } else {
        PodState::Alive
    };
    let seen = PodSeen {
        uid: metadata.uid.clone()?,
        ip: status.and_then(|status| status.pod_ip.as_deref()).and_then(|ip| ip.parse().ok()),
        state,
        role: labels.get(valkeeper_kube_api::names::LABEL_ROLE).cloned(),
        spec_hash: metadata
            .annotations
            .as_ref()
            .and_then(|annotations| annotations.get(valkeeper_kube_api::names::ANNOTATION_SPEC_HASH))
            .cloned(),
        trouble: trouble(pod),
    };
    Some((home, name, seen))
}

/// Why a pod does not run: not scheduled, an image that cannot be had, a container that ends at once.
fn trouble(pod: &Pod) -> Option<String> {
    let status = pod.status.as_ref()?;
    let unscheduled = status
        .conditions
        .iter()
        .flatten()
        .find(|condition| condition.type_ == "PodScheduled" && condition.status == "False");
    if let Some(condition) = unscheduled {
        let why = condition.message.as_deref().or(condition.reason.as_deref()).unwrap_or("not scheduled");
        return Some(format!("cannot be scheduled: {why}"));
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
        Some(match &waiting.message {
            Some(message) => format!("{reason}: {message}"),
            None => reason.to_owned(),
        })
    });
    reasons.next().or_else(|| status.reason.clone().filter(|_| status.phase.as_deref() == Some("Failed")))
}
