//! What the watches have seen, by cluster: enough to act on, and no more, since it is kept for every pod there is.

use super::pod::{PodSeen, PodState};
use crate::objects::shape::shape;
use crate::objects::whose::Marks;
use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;
use tokio::sync::Notify;
use valkeeper_kube_api::names::{ANNOTATION_LAYOUT, ANNOTATION_SPEC_HASH};
use valkeeper_model::{InstanceName, KubernetesWaiting, Waiting};

/// Another object as far as it matters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ObjectSeen {
    pub(crate) uid: String,
    pub(crate) version: String,
    pub(crate) marks: Marks,
    /// Of kinds whose content may be edited.
    pub(crate) shape: Option<String>,
    /// What it was made from.
    pub(crate) made_from: Option<String>,
    /// A claim that has no volume.
    pub(crate) unbound: bool,
    pub(crate) layout_piece: Option<String>,
}

impl ObjectSeen {
    /// What its metadata tells.
    pub(crate) fn of(metadata: &ObjectMeta) -> Self {
        let annotation = |key: &str| metadata.annotations.as_ref().and_then(|all| all.get(key)).cloned();
        Self {
            uid: metadata.uid.clone().unwrap_or_default(),
            version: metadata.resource_version.clone().unwrap_or_default(),
            marks: Marks::of(metadata),
            shape: None,
            made_from: annotation(ANNOTATION_SPEC_HASH),
            unbound: false,
            layout_piece: annotation(ANNOTATION_LAYOUT),
        }
    }

    /// What matters of a volume claim. One that is being deleted is not one that waits for a volume.
    pub(crate) fn of_claim(claim: &PersistentVolumeClaim) -> Self {
        let phase = claim.status.as_ref().and_then(|status| status.phase.as_deref());
        let unbound = phase == Some("Pending") && claim.metadata.deletion_timestamp.is_none();
        Self { unbound, ..Self::of(&claim.metadata) }
    }

    /// What matters of an object that is compared as a whole.
    pub(crate) fn whole<K: Resource<DynamicType = ()> + Serialize>(object: &K) -> Self {
        let shape = serde_json::to_value(object).ok().map(|object| shape(&object));
        Self { shape, ..Self::of(object.meta()) }
    }
}

/// An object of a cluster's, by kind and name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Object {
    pub(crate) kind: String,
    pub(crate) name: String,
}

impl Object {
    pub(crate) fn new(kind: &str, name: &str) -> Self {
        Self { kind: kind.to_owned(), name: name.to_owned() }
    }

    pub(crate) fn of(object: &Value) -> Self {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        Self { kind: text(&object["kind"]), name: text(&object["metadata"]["name"]) }
    }
}

/// A pod that has got a node and is not known to run there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Placed {
    pub(crate) uid: String,
    pub(crate) since: Instant,
    /// How often it was touched.
    pub(crate) touched: usize,
}

/// What is there of one cluster. Rings when something changes that its controller has to act on.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    inner: Mutex<SeenObjects>,
    pub(crate) reprovision: Arc<Notify>,
    /// Rung when something changes that people are told of.
    pub(crate) told: Arc<Notify>,
    /// Rung when a pod has got a node.
    pub(crate) placed: Arc<Notify>,
}

#[derive(Debug, Default, Clone)]
pub(crate) struct SeenObjects {
    pub(crate) pods: BTreeMap<InstanceName, PodSeen>,
    pub(crate) objects: BTreeMap<Object, ObjectSeen>,
    pub(crate) placed: BTreeMap<InstanceName, Placed>,
    /// What agents have said of themselves before the kubelet had.
    said: BTreeMap<InstanceName, (String, IpAddr)>,
    /// What pods need and the user has not given: why those that are missing are not made.
    lack: Option<String>,
    /// What cannot be made, and what is in the way.
    obstacles: Vec<Waiting>,
    /// Fields of the status that the definition does not take.
    untold: Vec<String>,
}

impl SeenObjects {
    pub(crate) fn object(&self, object: &Object) -> Option<&ObjectSeen> {
        self.objects.get(object)
    }
}

impl Seen {
    pub(super) fn things(&self) -> std::sync::MutexGuard<'_, SeenObjects> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn pods(&self) -> BTreeMap<InstanceName, PodSeen> {
        self.things().pods.clone()
    }

    pub(crate) fn pod(&self, name: &InstanceName) -> Option<PodSeen> {
        self.things().pods.get(name).cloned()
    }

    /// All of it, as it is now.
    pub(crate) fn all(&self) -> SeenObjects {
        self.things().clone()
    }

    pub(crate) fn objects_of(&self, kind: &str) -> BTreeMap<String, ObjectSeen> {
        let things = self.things();
        let of_kind = things.objects.iter().filter(|(object, _)| object.kind == kind);
        of_kind.map(|(object, seen)| (object.name.clone(), seen.clone())).collect()
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

    /// What cannot be made, and what is in the way.
    pub(crate) fn obstacles(&self) -> Vec<Waiting> {
        self.things().obstacles.clone()
    }

    /// That is in the way now, and nothing else.
    pub(crate) fn is_obstructed_by(&self, obstacles: Vec<Waiting>) {
        let mut things = self.things();
        let news = things.obstacles != obstacles;
        things.obstacles = obstacles;
        drop(things);
        if news {
            self.told.notify_one();
        }
    }

    /// The definition of the kind does not take these fields of the status.
    pub(crate) fn untold(&self, fields: &[String]) {
        let before = std::mem::replace(&mut self.things().untold, fields.to_vec());
        if before != fields {
            self.told.notify_one();
        }
    }

    /// That the definition is older, if it is.
    pub(crate) fn definition_older(&self) -> Option<Waiting> {
        let fields = self.things().untold.clone();
        (!fields.is_empty()).then_some(Waiting::Kubernetes(KubernetesWaiting::DefinitionOlder { fields }))
    }

    /// Its pod was touched.
    pub(crate) fn touched(&self, name: &InstanceName, uid: &str) {
        if let Some(placed) = self.things().placed.get_mut(name).filter(|placed| placed.uid == uid) {
            placed.touched += 1;
        }
    }

    /// An agent says where it is.
    pub(crate) fn hear(&self, name: &InstanceName, uid: &str, ip: IpAddr) {
        let mut things = self.things();
        let before = things.said.insert(name.clone(), (uid.to_owned(), ip));
        let news = before.is_none_or(|before| before != (uid.to_owned(), ip));
        drop(things);
        if news {
            self.reprovision.notify_one();
        }
    }

    pub(crate) fn saw_pod(&self, name: InstanceName, pod: Option<PodSeen>) {
        let mut things = self.things();
        let waits =
            pod.as_ref().filter(|pod| pod.node.is_some() && pod.ip.is_none() && pod.state == PodState::Alive);
        match (waits, things.placed.get(&name)) {
            (Some(pod), before) if before.is_none_or(|placed| placed.uid != pod.uid) => {
                let placed = Placed { uid: pod.uid.clone(), since: Instant::now(), touched: 0 };
                things.placed.insert(name.clone(), placed);
                self.placed.notify_one();
            }
            (None, Some(_)) => _ = things.placed.remove(&name),
            _ => {}
        }
        let before = match pod.clone() {
            Some(pod) => things.pods.insert(name, pod),
            None => things.pods.remove(&name),
        };
        drop(things);
        let place = |pod: &Option<PodSeen>| {
            let edited = |pod: &PodSeen| (pod.shape.clone(), pod.spec_hash.clone(), pod.marks.clone());
            pod.as_ref().map(|pod| (pod.uid.clone(), pod.ip, pod.state, edited(pod)))
        };
        if place(&before) != place(&pod) {
            self.reprovision.notify_one();
        }
        let told = |pod: PodSeen| (pod.trouble, pod.role, pod.disrupted);
        if before.map(told) != pod.map(told) {
            self.told.notify_one();
        }
    }

    pub(crate) fn saw_object(&self, name: Object, object: Option<ObjectSeen>) {
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
        let edited = |seen: &ObjectSeen| (seen.uid.clone(), seen.shape.clone(), seen.marks.clone());
        let changed = |before: &ObjectSeen, now: &ObjectSeen| edited(before) != edited(now);
        match (before, object) {
            (Some(_), None) => self.reprovision.notify_one(),
            (Some(before), Some(now)) if changed(&before, &now) => self.reprovision.notify_one(),
            _ => {}
        }
    }
}
