//! The task of one cluster: sets it up, and has one controller after the other look after it.

use super::judged::Judged;
use super::round::{Beginning, Ended};
use super::{AGAIN, Context, jittered, requests, spawn};
use crate::objects::Owner;
use crate::objects::template::{Template, spec_of};
use crate::operator::cache::{Object, Seen};
use crate::operator::platform::{LayoutStore, PlatformSetup, PodPlatform};
use crate::operator::status::role_labels::{self, Mandate, Roles};
use crate::operator::status::{events, status_writer};
use crate::wire::Home;
use k8s_openapi::api::core::v1::ObjectReference;
use std::sync::Arc;
use tokio::sync::{mpsc, watch};
use valkeeper_kube_api::names::{self, API_VERSION};
use valkeeper_kube_api::{RedisCluster, RedisClusterRequest, RedisClusterStatus};
use valkeeper_model::{ClusterSpec, KubernetesSpec, Refusal, Waiting};

/// Events that wait for an API server that is away.
const EVENTS_KEPT: usize = 256;

pub(super) struct Task {
    pub(super) context: Arc<Context>,
    pub(super) home: Home,
    pub(super) seen: Arc<Seen>,
    pub(super) object: watch::Receiver<Arc<RedisCluster>>,
    pub(super) requests: mpsc::UnboundedReceiver<Box<RedisClusterRequest>>,
    pub(super) status: Option<Arc<RedisClusterStatus>>,
    pub(super) tell: watch::Sender<Option<Arc<RedisClusterStatus>>>,
    pub(super) roles: watch::Sender<Roles>,
    /// The newest that an agent has told of, in a cluster without slots.
    pub(super) mandate: Option<Mandate>,
    /// Why the annotations are not followed, or not yet.
    pub(super) annotations_wait: Option<Waiting>,
    /// What only Kubernetes knows of the manifest that was followed last.
    pub(super) followed: Option<KubernetesSpec>,
}

impl Task {
    pub(super) async fn run(mut self) {
        let uid = self.object.borrow().metadata.uid.clone().unwrap_or_default();
        let owner = Owner { home: self.home.clone(), uid };
        let _writing = spawn(status_writer::write(
            self.context.client.clone(),
            self.home.clone(),
            Arc::clone(&self.seen),
            self.status.clone(),
            self.tell.subscribe(),
        ));
        let _labelling = spawn(role_labels::write(
            self.context.client.clone(),
            self.home.clone(),
            Arc::clone(&self.seen),
            self.roles.subscribe(),
        ));
        let (events, happened) = mpsc::channel(EVENTS_KEPT);
        let about = ObjectReference {
            api_version: Some(API_VERSION.to_owned()),
            kind: Some(RedisCluster::KIND.to_owned()),
            name: Some(self.home.cluster.to_string()),
            namespace: Some(self.home.namespace.clone()),
            uid: Some(owner.uid.clone()),
            ..ObjectReference::default()
        };
        let _publishing = spawn(events::publish(
            self.context.client.clone(),
            self.context.reporter.clone(),
            about,
            happened,
        ));
        // What was refused once is not tried again with the same spec and the same zones.
        let mut refused: Option<Refusal> = None;
        loop {
            let object = Arc::clone(&self.object.borrow_and_update());
            if object.metadata.deletion_timestamp.is_some() {
                return;
            }
            let (spec, template, judged) = match (object.manifest(), refused.take()) {
                (Ok(manifest), None) => {
                    let (template, judged) = self.fit_volumes(&manifest).await;
                    (spec_of(&manifest), Some(template), judged)
                }
                (Ok(manifest), Some(refusal)) => {
                    (spec_of(&manifest), Some(Template::of(&manifest)), Judged::Unfit(refusal))
                }
                (Err(problems), _) => {
                    (ClusterSpec::new(self.home.cluster.clone()), None, Judged::Invalid(problems))
                }
            };
            if let Some(platform) = self.set_up(&owner, &spec, template, &judged).await {
                let beginning = Beginning { spec, judged, events: events.clone() };
                match self.look_after(&owner, platform, beginning).await {
                    Ended::Refused(refusal) => refused = Some(refusal),
                    Ended::Replaced => return,
                }
            } else if !self.wait_for_another_spec(judged, &mut refused).await {
                return;
            }
        }
    }

    /// Nothing exists, and nothing can be made of this spec: waits for another one, or for other zones. False when the object is
    /// gone.
    async fn wait_for_another_spec(&mut self, judged: Judged, refused: &mut Option<Refusal>) -> bool {
        self.tell_of_spec(&judged);
        let mut zones = self.context.zones.clone();
        zones.borrow_and_update();
        tokio::select! {
            changed = self.object.changed() => return changed.is_ok(),
            _ = zones.changed() => {}
            Some(request) = self.requests.recv() => {
                let refusal = Refusal::Failed { why: "the cluster does not exist yet".to_owned() };
                requests::answer(&self.context.client, &request, &Err(refusal)).await;
                *refused = match judged { Judged::Unfit(refusal) => Some(refusal), _ => None };
            }
        }
        true
    }

    /// The cluster's platform; `None` if there is nothing to run and nothing to make. Tries until Kubernetes answers.
    async fn set_up(
        &mut self,
        owner: &Owner,
        spec: &ClusterSpec,
        template: Option<Template>,
        judged: &Judged,
    ) -> Option<PodPlatform> {
        let mut pause = AGAIN.0;
        loop {
            // Told before anything is asked: what keeps it from being made may keep the first look away.
            if self.status.is_none() && matches!(judged, Judged::Followed) {
                self.tell_of_beginning(None, judged);
            }
            let permit = self.context.setting_up.acquire().await;
            let store = self.store(owner, spec);
            let ca = Object::new("Secret", &names::ca_secret(&self.home.cluster));
            let attempt = async {
                if !matches!(judged, Judged::Followed) {
                    let stored = store.read().await.map_err(|error| Waiting::StoreFailed { error })?;
                    if stored.is_none() {
                        return Ok(None);
                    }
                }
                let setup = PlatformSetup {
                    client: self.context.client.clone(),
                    owner: owner.clone(),
                    seen: Arc::clone(&self.seen),
                    store: store.clone(),
                    template: template.clone(),
                    operator: self.context.operator.clone(),
                    operator_namespace: self.context.operator_namespace.clone(),
                    life: self.context.life,
                };
                PodPlatform::new(setup).await.map(Some).map_err(|error| error.waiting(&ca))
            };
            let waiting = match attempt.await {
                Ok(platform) => return platform,
                Err(waiting) => waiting,
            };
            drop(permit);
            tracing::warn!(home = %self.home, %waiting, "a cluster cannot be set up");
            self.tell_of_beginning(Some(waiting), judged);
            // Many clusters that fail for one reason must not come back all at once.
            tokio::time::sleep(jittered(pause)).await;
            pause = (pause * 2).min(AGAIN.1);
        }
    }

    pub(super) fn store(&self, owner: &Owner, spec: &ClusterSpec) -> LayoutStore {
        LayoutStore { client: self.context.client.clone(), owner: owner.clone(), spec: spec.clone() }
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        self.context.listeners.remove(&self.home);
        self.context.phases.forget(&self.home);
    }
}
