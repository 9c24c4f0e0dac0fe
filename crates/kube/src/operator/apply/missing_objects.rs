//! What is missing or not as it should be, and what to do about it: from what the watches have seen and what the layout asks for.
//! Pure.

use super::wanted_objects::{PodWish, Rendering, Wanted, WantedClaim, WantedInstance};
use crate::objects::Owner;
use crate::objects::shape::shape;
use crate::objects::storage::Piece;
use crate::objects::template::hash;
use crate::objects::whose::Whose;
use crate::operator::cache::{Object, ObjectSeen, PodSeen, PodState, PodTrouble, SeenObjects};
use serde_json::Value;
use valkeeper_kube_api::names::{self, ANNOTATION_SPEC_HASH, ROLE_SENTINEL};
use valkeeper_model::{ClusterName, InstanceName, KubernetesWaiting, Layout, Waiting};

/// Something to do to one object.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Action {
    pub(crate) object: Object,
    /// Whose trouble it is if it cannot be done; of all otherwise.
    pub(crate) instance: Option<InstanceName>,
    pub(crate) what: What,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum What {
    /// Make it. What has its name all the same is looked at first.
    Create(Value),
    /// Put right what was edited, if it is the cluster's.
    Mend(Value),
    /// Bring the piece of layout on a claim up to date.
    Annotate(Value),
    /// Remove this very one.
    Remove { uid: String, version: Option<String> },
    /// Remove this very one without waiting for its node.
    LetGo { uid: String },
}

/// What there is to do.
#[derive(Debug, Default)]
pub(crate) struct Actions {
    /// Before pods are made: they need it.
    pub(crate) first: Vec<Action>,
    /// For each instance whose claim is as it should be.
    pub(crate) pods: Vec<Action>,
    /// What is in the way and stays.
    pub(crate) foreign: Vec<(Object, Option<InstanceName>)>,
    /// What is in the way and goes by itself.
    pub(crate) leaving: Vec<(Object, Option<InstanceName>)>,
}

impl Actions {
    /// Notes what is in the way; true if it is.
    fn is_in_the_way(&mut self, whose: Whose, object: &Object, instance: Option<&InstanceName>) -> bool {
        let list = match whose {
            Whose::Ours => return false,
            Whose::Prepared | Whose::Foreign => &mut self.foreign,
            Whose::Leaving => &mut self.leaving,
        };
        list.push((object.clone(), instance.cloned()));
        true
    }

    /// What people are told of what is in the way.
    pub(crate) fn told(&self) -> impl Iterator<Item = Waiting> {
        let foreign = self
            .foreign
            .iter()
            .cloned()
            .map(|(Object { kind, name }, instance)| KubernetesWaiting::NotOurs { kind, name, instance });
        let leaving = self
            .leaving
            .iter()
            .cloned()
            .map(|(Object { kind, name }, instance)| KubernetesWaiting::Leaving { kind, name, instance });
        foreign.chain(leaving).map(Waiting::Kubernetes)
    }

    /// Names the instances that something is in the way of.
    pub(crate) fn in_the_way(&self) -> impl Iterator<Item = &InstanceName> {
        self.foreign.iter().chain(&self.leaving).filter_map(|(_, instance)| instance.as_ref())
    }
}

/// What there is to do about what is there of a cluster, so that it consists of what its layout asks for.
pub(crate) fn missing_objects(layout: &Layout, seen: &SeenObjects, rendering: &Rendering<'_>) -> Actions {
    differences(rendering.owner, &Wanted::of(layout, rendering), seen)
}

/// Is the `ConfigMap` with the layout not there?
pub(crate) fn is_layout_missing(cluster: &ClusterName, seen: &SeenObjects) -> bool {
    seen.object(&Object::new("ConfigMap", &names::layout_config_map(cluster))).is_none()
}

fn differences(owner: &Owner, wanted: &Wanted, there: &SeenObjects) -> Actions {
    let mut actions = Actions::default();
    for object in &wanted.shared {
        let named = Object::of(object);
        match there.object(&named) {
            None => actions.first.push(action(named, None, What::Create(object.clone()))),
            Some(seen) if actions.is_in_the_way(seen.marks.whose(owner), &named, None) => {}
            Some(seen) if seen.shape.as_ref() != Some(&shape(object)) => {
                actions.first.push(action(named, None, What::Mend(object.clone())));
            }
            Some(_) => {}
        }
    }
    for named in &wanted.unwanted {
        if let Some(seen) = there.object(named).filter(|seen| seen.marks.whose(owner) == Whose::Ours) {
            let what = What::Remove { uid: seen.uid.clone(), version: None };
            actions.first.push(action(named.clone(), None, what));
        }
    }
    for (name, instance) in &wanted.instances {
        let pod = there.pods.get(name);
        if let Some(claim) = &instance.claim {
            of_claim(owner, name, claim, pod, there, &mut actions);
        }
        of_pod(owner, name, instance, pod, &mut actions);
    }
    // Without a template nothing is wanted by name, and nothing is too much.
    let is_too_much =
        |name: &InstanceName| !wanted.instances.is_empty() && !wanted.instances.contains_key(name);
    for (name, pod) in there
        .pods
        .iter()
        .filter(|(name, pod)| pod.role.as_deref() == Some(ROLE_SENTINEL) && is_too_much(name))
    {
        if pod.marks.whose(owner) == Whose::Ours && pod.state == PodState::Alive {
            let what = What::Remove { uid: pod.uid.clone(), version: None };
            actions.pods.push(action(Object::new("Pod", &names::pod(name)), Some(name), what));
        }
    }
    for name in &wanted.retired {
        let ours = |pod: &&PodSeen| pod.marks.whose(owner) == Whose::Ours;
        let Some(pod) = there.pods.get(name).filter(ours) else { continue };
        let what = match pod.state {
            PodState::Alive | PodState::Over => What::Remove { uid: pod.uid.clone(), version: None },
            // Its server is down, or its node is gone for good: nobody is waited for.
            PodState::Ending => What::LetGo { uid: pod.uid.clone() },
        };
        actions.pods.push(action(Object::new("Pod", &names::pod(name)), Some(name), what));
    }
    actions
}

fn action(object: Object, instance: Option<&InstanceName>, what: What) -> Action {
    Action { object, instance: instance.cloned(), what }
}

fn of_claim(
    owner: &Owner,
    name: &InstanceName,
    wanted: &WantedClaim,
    pod: Option<&PodSeen>,
    there: &SeenObjects,
    actions: &mut Actions,
) {
    let named = Object::of(&wanted.object);
    let Some(seen) = there.object(&named) else {
        return actions.first.push(action(named, Some(name), What::Create(wanted.object.clone())));
    };
    let whose = seen.marks.whose(owner);
    // One that a user has prepared is used as it is.
    if whose != Whose::Prepared && actions.is_in_the_way(whose, &named, Some(name)) {
        return;
    }
    if whose == Whose::Ours && was_never_used(seen, pod) && is_another(seen, &wanted.object) {
        let what = What::Remove { uid: seen.uid.clone(), version: Some(seen.version.clone()) };
        return actions.first.push(action(named, Some(name), what));
    }
    // What cannot be read may be of a newer version, or all that is left of a shard.
    let Ok(older) = seen.layout_piece.as_deref().map(Piece::read).transpose() else { return };
    let news = wanted.piece.as_ref().is_some_and(|piece| piece.is_news_to(older.as_ref()));
    // A claim of another cluster keeps its word: who is made again on it must not overwrite what it says.
    if news && older.is_none_or(|older| older.cluster == wanted.cluster) {
        actions.first.push(action(named, Some(name), What::Annotate(wanted.object.clone())));
    }
}

/// It has no volume, and nobody has begun to run on it: there is no data to lose.
fn was_never_used(claim: &ObjectSeen, pod: Option<&PodSeen>) -> bool {
    claim.unbound && pod.is_none_or(|pod| !pod.started)
}

/// It was made for another size or class.
fn is_another(claim: &ObjectSeen, wanted: &Value) -> bool {
    claim.made_from.as_deref().is_some_and(|made_from| made_from != hash(&wanted["spec"]))
}

fn of_pod(
    owner: &Owner,
    name: &InstanceName,
    wanted: &WantedInstance,
    pod: Option<&PodSeen>,
    actions: &mut Actions,
) {
    let named = Object::of(&wanted.pod);
    let Some(pod) = pod else {
        if wanted.wish == PodWish::Now {
            actions.pods.push(action(named, Some(name), What::Create(wanted.pod.clone())));
        }
        return;
    };
    if actions.is_in_the_way(pod.marks.whose(owner), &named, Some(name)) {
        return;
    }
    let remove = || What::Remove { uid: pod.uid.clone(), version: None };
    if wanted.wish == PodWish::Never {
        if pod.state != PodState::Ending {
            actions.pods.push(action(named, Some(name), remove()));
        }
        return;
    }
    let made_from = &wanted.pod["metadata"]["annotations"][ANNOTATION_SPEC_HASH];
    match pod.state {
        PodState::Over => actions.pods.push(action(named, Some(name), remove())),
        PodState::Alive if never_serves(pod) && pod.spec_hash.as_deref() != made_from.as_str() => {
            actions.pods.push(action(named, Some(name), remove()));
        }
        PodState::Alive if pod.shape != shape(&wanted.pod) => {
            actions.pods.push(action(named, Some(name), What::Mend(wanted.pod.clone())));
        }
        PodState::Alive | PodState::Ending => {}
    }
}

/// Has it never run, or can nothing of it start any more? It is not worth keeping when it would be made otherwise now.
fn never_serves(pod: &PodSeen) -> bool {
    !pod.started || !pod.runs && matches!(pod.trouble, Some(PodTrouble::Container(_)))
}

#[cfg(test)]
mod tests;
