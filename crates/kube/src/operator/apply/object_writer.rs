//! Makes, mends and removes objects, each for itself: what the API server refuses to one is no trouble of the others.

use super::backoff::Backoff;
use super::missing_objects::{Action, Actions, What};
use crate::objects::Owner;
use crate::objects::shape;
use crate::objects::template::hash;
use crate::objects::whose::{Marks, Whose};
use crate::operator::cache::Object;
use futures::future::join_all;
use kube::api::{ApiResource, DeleteParams, DynamicObject, Patch, PatchParams, PostParams, Preconditions};
use kube::{Api, Client};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::time::Instant;
use valkeeper_kube_api::names::{self, ANNOTATION_LAYOUT, field_managers};
use valkeeper_model::{InstanceName, KubernetesWaiting, Waiting};

/// How one cluster's objects are written.
#[derive(Clone)]
pub(crate) struct ObjectWriter {
    pub(crate) client: Client,
    pub(crate) owner: Owner,
}

/// Why an object is not as it should be.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotDone {
    /// Somebody else's object has its name.
    #[error("{} {} was not made by Valkeeper", .0.kind, .0.name)]
    Foreign(Object),
    /// One of a cluster that was deleted has its name.
    #[error("{} {} is of a RedisCluster that was deleted, and will go", .0.kind, .0.name)]
    Leaving(Object),
    /// It was changed by somebody else meanwhile.
    #[error("it was changed meanwhile")]
    Changed,
    /// The API server says no, or nothing.
    #[error("{}", told(.0))]
    Refused(kube::Error),
    #[error("an object of ours cannot be written: {0}")]
    Object(#[from] serde_json::Error),
}

/// What the API server says, for people.
pub(crate) fn told(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) if !status.message.is_empty() => status.message.clone(),
        other => other.to_string(),
    }
}

impl From<kube::Error> for NotDone {
    fn from(error: kube::Error) -> Self {
        match error {
            kube::Error::Api(status) if status.code == 409 => Self::Changed,
            other => Self::Refused(other),
        }
    }
}

impl NotDone {
    /// What people are told of it.
    pub(crate) fn waiting(&self, object: &Object, instance: Option<InstanceName>) -> Option<Waiting> {
        let Object { kind, name } = object.clone();
        Some(Waiting::Kubernetes(match self {
            Self::Changed => return None,
            Self::Foreign(_) => KubernetesWaiting::NotOurs { kind, name, instance },
            Self::Leaving(_) => KubernetesWaiting::Leaving { kind, name, instance },
            Self::Refused(_) | Self::Object(_) => {
                KubernetesWaiting::NotMade { kind, name, instance, why: self.to_string() }
            }
        }))
    }
}

impl ObjectWriter {
    pub(crate) fn api(&self, object: &Value) -> Api<DynamicObject> {
        Api::namespaced_with(self.client.clone(), &self.owner.home.namespace, &resource_of(object))
    }

    /// Does what is due and not held back. Pods are made for those instances only of which all else is there.
    pub(crate) async fn carry_out(&self, actions: &Actions, backoff: &mut Backoff) {
        let wanted: BTreeSet<&Object> =
            actions.first.iter().chain(&actions.pods).map(|due| &due.object).collect();
        backoff
            .keep(|object| wanted.contains(object) || object.kind == "Secret" || object.kind == "ConfigMap");
        let mut without: BTreeSet<InstanceName> = actions.in_the_way().cloned().collect();
        without.extend(self.carry_out_all(actions.first.iter(), backoff).await);
        let pods =
            actions.pods.iter().filter(|due| due.instance.as_ref().is_none_or(|it| !without.contains(it)));
        self.carry_out_all(pods, backoff).await;
    }

    /// Side by side; gives the instances for which something could not be done.
    async fn carry_out_all(
        &self,
        actions: impl Iterator<Item = &Action>,
        backoff: &mut Backoff,
    ) -> Vec<InstanceName> {
        let now = Instant::now();
        let (due, kept): (Vec<_>, Vec<_>) = actions
            .map(|action| (action, action.what.as_word()))
            .partition(|(action, word)| backoff.lets(&action.object, word, now));
        let done = join_all(due.iter().map(|(action, _)| self.carry_out_one(action))).await;
        let mut without: Vec<InstanceName> =
            kept.iter().filter_map(|(action, _)| action.instance.clone()).collect();
        for ((action, word), result) in due.into_iter().zip(done) {
            let Err(error) = result else {
                // Somebody who edits it again at once is not raced.
                match action.what {
                    What::Mend(_) => backoff.refused(action.object.clone(), word, None, Instant::now()),
                    _ => backoff.done(&action.object),
                }
                continue;
            };
            let Object { kind, name } = &action.object;
            tracing::warn!(home = %self.owner.home, kind, name, %error, "not as it should be");
            let waiting = error.waiting(&action.object, action.instance.clone());
            backoff.refused(action.object.clone(), word, waiting, Instant::now());
            without.extend(action.instance.clone());
        }
        without
    }

    /// Removes that very pod, with the time that its server needs to hand over and to end.
    pub(crate) async fn remove_pod(&self, name: &InstanceName, uid: String) -> Result<(), NotDone> {
        let what = What::Remove { uid, version: None };
        let object = Object::new("Pod", &names::pod(name));
        self.carry_out_one(&Action { object, instance: Some(name.clone()), what }).await
    }

    async fn carry_out_one(&self, action: &Action) -> Result<(), NotDone> {
        let Object { kind, name } = &action.object;
        match &action.what {
            What::Create(object) => self.create(object).await,
            What::Mend(object) => self.mend(object).await,
            What::Annotate(claim) => {
                let piece = &claim["metadata"]["annotations"][ANNOTATION_LAYOUT];
                let patch = json!({ "metadata": { "annotations": { ANNOTATION_LAYOUT: piece } } });
                missing_is_fine(self.api(claim).patch(name, &params(), &Patch::Merge(patch)).await)
            }
            What::Remove { uid, version } => {
                let api_version = if kind == "PodDisruptionBudget" { "policy/v1" } else { "v1" };
                let api = self.api(&json!({ "apiVersion": api_version, "kind": kind }));
                let preconditions =
                    Preconditions { uid: Some(uid.clone()), resource_version: version.clone() };
                let params = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::default() };
                missing_is_fine(api.delete(name, &params).await)
            }
            What::LetGo { uid } => {
                let api = self.api(&json!({ "apiVersion": "v1", "kind": kind }));
                let preconditions = Preconditions { uid: Some(uid.clone()), resource_version: None };
                let params = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::default() };
                missing_is_fine(api.delete(name, &params.grace_period(0)).await)
            }
        }
    }

    /// Makes it. If its name is taken: is that ours, it is put right, and otherwise left as it is.
    pub(crate) async fn create(&self, object: &Value) -> Result<(), NotDone> {
        let new: DynamicObject = serde_json::from_value(object.clone())?;
        let params =
            PostParams { field_manager: Some(field_managers::OBJECTS.to_owned()), ..PostParams::default() };
        match self.api(object).create(&params, &new).await {
            Ok(_) => Ok(()),
            Err(kube::Error::Api(status)) if status.code == 409 && status.reason == "AlreadyExists" => {
                self.mend(object).await
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Makes a Secret, or writes what it is to hold.
    pub(crate) async fn write(&self, secret: &Value) -> Result<(), NotDone> {
        let Some(there) = self.ours(secret).await? else { return self.create(secret).await };
        let mut patch = shape::patch(&there, secret).unwrap_or_else(|| json!({}));
        patch["stringData"] = secret["stringData"].clone();
        self.patch(secret, patch).await
    }

    /// Makes what is there what it should be, if it is ours. What a Secret holds is left: it may be newer. Gone meanwhile, it is made again
    /// when that is seen.
    pub(crate) async fn mend(&self, object: &Value) -> Result<(), NotDone> {
        let Some(there) = self.ours(object).await? else { return Ok(()) };
        match shape::patch(&there, object) {
            Some(patch) => self.patch(object, patch).await,
            None => Ok(()),
        }
    }

    /// What is there under its name, if anything; an error if that is not ours.
    async fn ours(&self, object: &Value) -> Result<Option<Value>, NotDone> {
        let named = Object::of(object);
        let Some(there) = self.api(object).get_opt(&named.name).await? else { return Ok(None) };
        match Marks::of(&there.metadata).whose(&self.owner) {
            Whose::Ours => {}
            // It stays the user's: nothing is put right on it.
            Whose::Prepared if named.kind == "PersistentVolumeClaim" => return Ok(None),
            Whose::Prepared | Whose::Foreign => return Err(NotDone::Foreign(named)),
            Whose::Leaving => return Err(NotDone::Leaving(named)),
        }
        let mut there = serde_json::to_value(&there)?;
        there["apiVersion"] = object["apiVersion"].clone();
        there["kind"] = object["kind"].clone();
        Ok(Some(there))
    }

    async fn patch(&self, object: &Value, patch: Value) -> Result<(), NotDone> {
        let name = Object::of(object).name;
        missing_is_fine(self.api(object).patch(&name, &params(), &Patch::Merge(patch)).await)
    }
}

fn params() -> PatchParams {
    PatchParams { field_manager: Some(field_managers::OBJECTS.to_owned()), ..PatchParams::default() }
}

fn missing_is_fine<T>(result: Result<T, kube::Error>) -> Result<(), NotDone> {
    match result {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
        Err(error) => Err(error.into()),
    }
}

impl What {
    /// Tells one thing to do from another.
    fn as_word(&self) -> String {
        match self {
            Self::Create(object) | Self::Mend(object) | Self::Annotate(object) => hash(object),
            Self::Remove { uid, version } => hash(&json!([uid, version])),
            Self::LetGo { uid } => hash(&json!(["let go", uid])),
        }
    }
}

/// Where objects of its kind are; those we make have regular plurals.
fn resource_of(object: &Value) -> ApiResource {
    let api_version = object["apiVersion"].as_str().unwrap_or_default();
    let kind = object["kind"].as_str().unwrap_or_default();
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    let lower = kind.to_lowercase();
    let plural = match lower.strip_suffix('y') {
        Some(stem) => format!("{stem}ies"),
        None => format!("{lower}s"),
    };
    ApiResource {
        group: group.to_owned(),
        version: version.to_owned(),
        api_version: api_version.to_owned(),
        kind: kind.to_owned(),
        plural,
    }
}
