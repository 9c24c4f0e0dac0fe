//! Instances as pods, agents across the network. [`Platform::provision`] makes what is missing and says what has an address; a pod
//! that is still on its way has none, and whoever waits for it is told when it has (`Seen::moved`).

use super::head_start::HeadStart;
use super::identity::{controller_identity, ensure_authority};
use super::moved::Moved;
use super::store::{Kept, LayoutStore};
use super::world::{PodSeen, PodState, Seen};
use crate::authority::{Authority, Lifetimes, due_for_renewal};
use crate::objects::pod::OperatorFacts;
use crate::objects::secrets::{self, Data, text_of};
use crate::objects::storage::{self, Piece};
use crate::objects::template::{Template, hash};
use crate::objects::{Owner, network, pod};
use crate::pod::ask_agent;
use crate::wire::{Caller, Credentials, CredentialsError, Who, path};
use crate::{AGENT_PORT, BUS_PORT, CLIENT_PORT};
use futures::future::try_join_all;
use k8s_openapi::api::core::v1::{Pod, Secret};
use kube::api::{ApiResource, DeleteParams, DynamicObject, Patch, PatchParams, PostParams, Preconditions};
use kube::{Api, Client};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use time::OffsetDateTime;
use tokio::task::JoinHandle;
use valkeeper_client::Password;
use valkeeper_engine::{Boxed, Platform, password};
use valkeeper_kube_api::names::{self, ANNOTATION_SPEC_HASH, field_managers};
use valkeeper_model::{Address, AgentOrder, Answer, Ask, AskFailed, InstanceName, Layout, Unseen};

/// An authority is good for years: it is looked at seldom.
const REVIEWED_EVERY: Duration = Duration::from_secs(300);
/// Until it is seen whether the user has given what was missing.
const LACKING_LOOKED_AT: Duration = Duration::from_secs(3);
/// How long an order may take; the next look shows whether it was obeyed.
const ORDER_WITHIN: Duration = Duration::from_secs(5);

/// The platform of one cluster. Cheap to clone.
#[derive(Clone)]
pub(crate) struct PodPlatform {
    shared: Arc<Shared>,
}

struct Shared {
    client: Client,
    owner: Owner,
    seen: Arc<Seen>,
    store: LayoutStore,
    operator: OperatorFacts,
    operator_namespace: String,
    life: Lifetimes,
    template: Mutex<Template>,
    caller: Caller,
    credentials: Arc<Credentials>,
    /// One at a time: two would make everything twice.
    provisioning: tokio::sync::Mutex<Provisioned>,
    addresses: Mutex<BTreeMap<InstanceName, IpAddr>>,
    moved: Moved,
}

#[derive(Default)]
struct Provisioned {
    authority: Option<Authority>,
    /// When it was last read.
    reviewed: Option<Instant>,
    /// The controller's own certificate.
    own: String,
    agents: Data,
    /// Of the servers, when it is ours to keep.
    password: Option<Password>,
    kept: Option<Kept>,
    head_start: HeadStart,
    /// The look that is due when nobody tells that it is.
    again: Option<JoinHandle<()>>,
}

/// Why a cluster's platform cannot be set up.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PlatformError {
    #[error(transparent)]
    Kubernetes(#[from] kube::Error),
    #[error(transparent)]
    Authority(#[from] crate::authority::AuthorityError),
    #[error(transparent)]
    Credentials(#[from] CredentialsError),
    #[error("an object of ours cannot be written: {0}")]
    Object(#[from] serde_json::Error),
    #[error("{0}")]
    Other(String),
}

/// What a platform is made from.
pub(crate) struct PlatformSetup {
    pub(crate) client: Client,
    pub(crate) owner: Owner,
    pub(crate) seen: Arc<Seen>,
    pub(crate) store: LayoutStore,
    pub(crate) template: Template,
    pub(crate) operator: OperatorFacts,
    pub(crate) operator_namespace: String,
    pub(crate) life: Lifetimes,
}

impl PodPlatform {
    /// Reads or makes the cluster's authority, and a certificate for the controller, which only lives in memory.
    pub(crate) async fn new(setup: PlatformSetup) -> Result<Self, PlatformError> {
        let now = OffsetDateTime::now_utc();
        let authority = ensure_authority(&setup.client, &setup.owner, now, setup.life).await?;
        let identity = controller_identity(&setup.owner, &authority, now, setup.life)?;
        let own = identity.certificate.clone();
        let credentials = Arc::new(Credentials::new(identity)?);
        let caller = Caller::new(setup.owner.home.clone(), Who::Controller, Arc::clone(&credentials));
        let provisioned = Provisioned {
            authority: Some(authority),
            reviewed: Some(Instant::now()),
            own,
            ..Provisioned::default()
        };
        Ok(Self {
            shared: Arc::new(Shared {
                client: setup.client,
                owner: setup.owner,
                seen: setup.seen,
                store: setup.store,
                operator: setup.operator,
                operator_namespace: setup.operator_namespace,
                life: setup.life,
                template: Mutex::new(setup.template),
                caller,
                credentials,
                provisioning: tokio::sync::Mutex::new(provisioned),
                addresses: Mutex::default(),
                moved: Moved::default(),
            }),
        })
    }

    pub(crate) fn credentials(&self) -> &Arc<Credentials> {
        &self.shared.credentials
    }

    /// Makes objects by this template from now on; true if it is another.
    pub(crate) fn set_template(&self, template: Template) -> bool {
        let mut current = self.shared.template.lock().unwrap_or_else(PoisonError::into_inner);
        let changed = *current != template;
        *current = template;
        changed
    }

    /// Sends an agent a request of another kind.
    pub(crate) async fn send(
        &self,
        to: &InstanceName,
        path: &str,
        body: bytes::Bytes,
        within: Duration,
    ) -> Result<bytes::Bytes, String> {
        let at = self.shared.address(to).ok_or("its pod has no address")?;
        let to = Who::Agent(to.clone());
        self.shared.caller.send(&to, at, path, body, within).await.map_err(|error| error.to_string())
    }
}

impl Shared {
    fn address(&self, name: &InstanceName) -> Option<SocketAddr> {
        let addresses = self.addresses.lock().unwrap_or_else(PoisonError::into_inner);
        addresses.get(name).map(|ip| (*ip, AGENT_PORT).into())
    }

    fn namespace(&self) -> &str {
        &self.owner.home.namespace
    }

    async fn provision(&self, layout: &Layout) -> Result<BTreeMap<InstanceName, Address>, PlatformError> {
        let mut done = self.provisioning.lock().await;
        let template = self.template.lock().unwrap_or_else(PoisonError::into_inner).clone();
        self.store.ensure(layout).await.map_err(PlatformError::Other)?;
        self.secrets(layout, &template, &mut done).await?;
        self.apply_if_changed("Service", &network::headless(&self.owner)).await?;
        self.apply_if_changed("Service", &network::any(&self.owner)).await?;
        self.apply_if_changed("NetworkPolicy", &network::policy(&self.owner, &self.operator_namespace))
            .await?;
        let budget = network::disruption_budget(&self.owner, layout.instances.len());
        if template.kubernetes.pod_disruption_budget {
            self.apply_if_changed("PodDisruptionBudget", &budget).await?;
        } else if self.seen.object("PodDisruptionBudget", name_of(&budget)).is_some() {
            let budgets = self.dynamic(&budget);
            ignore_missing(budgets.delete(name_of(&budget), &DeleteParams::default()).await.map(drop))?;
        }
        try_join_all(layout.instances.keys().map(|name| self.claim(layout, name, &template))).await?;
        let lack = self.lack(layout, &template).await?;
        if lack.is_some() {
            self.look_again(&mut done.again, LACKING_LOOKED_AT);
        } else {
            let pods = self.seen.pods();
            let head_start = done.head_start.left(layout, pods.is_empty(), Instant::now());
            let founder = |name: &InstanceName| layout.shards.values().any(|shard| shard.founder == *name);
            let due = layout.instances.keys().filter(|name| head_start.is_none() || founder(name));
            try_join_all(due.map(|name| self.pod(layout, name, &template, &pods))).await?;
            if let Some(left) = head_start {
                self.look_again(&mut done.again, left);
            }
        }
        self.seen.lacks(lack.as_deref());
        let seen = self.seen.addresses();
        *self.addresses.lock().unwrap_or_else(PoisonError::into_inner) = seen.clone();
        // Who is not there now is told of by where it was last, if that is known: the others still have it under that address.
        if done.kept.is_none() {
            done.kept = Some(self.store.addresses().await.map_err(PlatformError::Other)?);
        }
        let mut known = done.kept.clone().unwrap_or_default();
        known.extend(seen);
        known.retain(|name, _| layout.instances.contains_key(name));
        if let Some(before) = &done.kept {
            self.moved.follow(&self.owner.home, before, &known, &self.seen.moved);
        }
        if done.kept.as_ref() != Some(&known) && known.len() == layout.instances.len() {
            self.store.keep_addresses(&known).await.map_err(PlatformError::Other)?;
            done.kept = Some(known.clone());
        }
        let address = |ip| Address { ip, port: CLIENT_PORT, bus_port: BUS_PORT };
        Ok(known.into_iter().map(|(name, ip)| (name, address(ip))).collect())
    }

    async fn secrets(
        &self,
        layout: &Layout,
        template: &Template,
        done: &mut Provisioned,
    ) -> Result<(), PlatformError> {
        let cluster = &self.owner.home.cluster;
        let api: Api<Secret> = Api::namespaced(self.client.clone(), self.namespace());
        let own = names::auth_secret(cluster);
        if template.users_secret(cluster).is_none()
            && (done.password.is_none() || self.seen.object("Secret", &own).is_none())
        {
            let there = api.get_opt(&own).await?.map(|secret| secrets::text_of(&secret));
            let kept = there.as_ref().and_then(|data| data.get(names::PASSWORD_KEY)).map(Password::new);
            // Taken away while servers have it: the same again, or those that start anew could not follow those that run.
            let own = kept.or_else(|| done.password.clone()).unwrap_or_else(password);
            if there.is_none() {
                self.create(&secrets::auth(&self.owner, &own)).await?;
            }
            done.password = Some(own);
        }
        let now = OffsetDateTime::now_utc();
        let authority_gone = self.seen.object("Secret", &names::ca_secret(cluster)).is_none();
        if let Some(known) = done.authority.as_ref().filter(|_| authority_gone) {
            // Taken away while its certificates are about: the same again, or nobody would know anybody for minutes.
            self.create(&secrets::authority_secret(&self.owner, known)).await?;
        }
        // Read again at each review: another operator may have changed it, and it is followed by another in time.
        let reviewed = done.reviewed.is_some_and(|at| at.elapsed() < REVIEWED_EVERY);
        if authority_gone || !reviewed {
            let authority = ensure_authority(&self.client, &self.owner, now, self.life).await?;
            let own_ends = due_for_renewal(&done.own, now);
            if done.authority.as_ref() != Some(&authority) || own_ends {
                let identity = controller_identity(&self.owner, &authority, now, self.life)?;
                done.own.clone_from(&identity.certificate);
                self.credentials.replace(identity)?;
                self.caller.forget();
            }
            done.authority = Some(authority);
            done.reviewed = Some(Instant::now());
        }
        let Some(authority) = &done.authority else { return Ok(()) };
        let name = names::agent_tls_secret(cluster);
        if done.agents.is_empty() || self.seen.object("Secret", &name).is_none() {
            done.agents = api.get_opt(&name).await?.map(|secret| text_of(&secret)).unwrap_or_default();
        }
        let instances = layout.instances.keys().cloned();
        if let Some(secret) =
            secrets::agents(&self.owner, authority, instances, &done.agents, now, self.life)?
        {
            self.apply(&secret).await?;
            done.agents = serde_json::from_value(secret["stringData"].clone())?;
        }
        Ok(())
    }

    /// What pods that are missing need and the user has not given. A pod without it would wait for its volumes, and Kubernetes says of
    /// that nothing in the pod.
    async fn lack(&self, layout: &Layout, template: &Template) -> Result<Option<String>, PlatformError> {
        let Some(named) = template.users_secret(&self.owner.home.cluster) else { return Ok(None) };
        let pods = self.seen.pods();
        if layout.instances.keys().all(|name| pods.contains_key(name)) {
            return Ok(None);
        }
        let secrets: Api<Secret> = Api::namespaced(self.client.clone(), self.namespace());
        let (key, field) = (names::PASSWORD_KEY, "spec.authSecret.name");
        Ok(match secrets.get_opt(named).await? {
            None => Some(format!("the Secret {named} of {field} does not exist")),
            Some(secret) if text_of(&secret).get(key).is_none_or(String::is_empty) => {
                Some(format!("the Secret {named} of {field} has no key {key}"))
            }
            Some(_) => None,
        })
    }

    /// For what nobody tells of: a Secret of the user's, which is not watched, and the end of a head start. One look is due at a time: each
    /// has another follow it, and whatever else has us provision would otherwise add one of its own.
    fn look_again(&self, due: &mut Option<JoinHandle<()>>, after: Duration) {
        if due.as_ref().is_some_and(|due| !due.is_finished()) {
            return;
        }
        let moved = Arc::clone(&self.seen.moved);
        *due = Some(tokio::spawn(async move {
            tokio::time::sleep(after).await;
            moved.notify_one();
        }));
    }

    /// Makes the pod, unless it is there and alive.
    async fn pod(
        &self,
        layout: &Layout,
        name: &InstanceName,
        template: &Template,
        pods: &BTreeMap<InstanceName, PodSeen>,
    ) -> Result<(), PlatformError> {
        let Some(instance) = layout.instances.get(name) else { return Ok(()) };
        match pods.get(name) {
            None => self.create(&pod::pod(&self.owner, name, instance, template, &self.operator)).await,
            Some(pod) if pod.state == PodState::Over => self.remove(name, &pod.uid).await,
            Some(_) => Ok(()),
        }
    }

    /// Makes the claim, or brings the piece of layout on it up to date.
    async fn claim(
        &self,
        layout: &Layout,
        name: &InstanceName,
        template: &Template,
    ) -> Result<(), PlatformError> {
        let Some(instance) = layout.instances.get(name) else { return Ok(()) };
        let Some(claim) = storage::claim(&self.owner, name, instance, layout, template) else {
            return Ok(());
        };
        match self.seen.object("PersistentVolumeClaim", name_of(&claim)) {
            None => self.create(&claim).await,
            Some(there) => {
                let older = match there.layout_piece.as_deref().map(Piece::read).transpose() {
                    Ok(older) => older,
                    // It keeps its word, whatever that is.
                    Err(error) => {
                        tracing::warn!(%error, claim = name_of(&claim), "left as it is");
                        return Ok(());
                    }
                };
                let news =
                    Piece::of(layout, &instance.shard).is_some_and(|piece| piece.is_news_to(older.as_ref()));
                // A claim of another cluster keeps its word: who is made again on it must not overwrite what it says.
                if !news || older.is_some_and(|older| older.cluster != layout.id) {
                    return Ok(());
                }
                let patch = json!({ "metadata": { "annotations": claim["metadata"]["annotations"] } });
                let params = PatchParams {
                    field_manager: Some(field_managers::OBJECTS.to_owned()),
                    ..PatchParams::default()
                };
                let claims = self.dynamic(&claim);
                ignore_missing(claims.patch(name_of(&claim), &params, &Patch::Merge(patch)).await.map(drop))
            }
        }
    }

    fn dynamic(&self, object: &Value) -> Api<DynamicObject> {
        let resource = resource_of(object);
        Api::namespaced_with(self.client.clone(), self.namespace(), &resource)
    }

    /// Creates it unless it is there.
    async fn create(&self, object: &Value) -> Result<(), PlatformError> {
        let new: DynamicObject = serde_json::from_value(object.clone())?;
        let params =
            PostParams { field_manager: Some(field_managers::OBJECTS.to_owned()), ..PostParams::default() };
        match self.dynamic(object).create(&params, &new).await {
            Ok(_) => Ok(()),
            Err(kube::Error::Api(error)) if error.code == 409 && error.reason == "AlreadyExists" => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    async fn apply(&self, object: &Value) -> Result<(), PlatformError> {
        let params = PatchParams::apply(field_managers::OBJECTS).force();
        self.dynamic(object).patch(name_of(object), &params, &Patch::Apply(object)).await?;
        Ok(())
    }

    /// Applies it unless what is there was made from the same.
    async fn apply_if_changed(&self, kind: &'static str, object: &Value) -> Result<(), PlatformError> {
        let made_from = hash(object);
        let there = self.seen.object(kind, name_of(object)).and_then(|there| there.made_from);
        if there.as_ref() == Some(&made_from) {
            return Ok(());
        }
        let mut object = object.clone();
        object["metadata"]["annotations"][ANNOTATION_SPEC_HASH] = json!(made_from);
        self.apply(&object).await
    }

    /// Removes a pod that has ended for good: this very one.
    async fn remove(&self, name: &InstanceName, uid: &str) -> Result<(), PlatformError> {
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), self.namespace());
        let preconditions = Preconditions { uid: Some(uid.to_owned()), resource_version: None };
        let params = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::default() };
        match pods.delete(&names::pod(name), &params).await {
            Ok(_) => Ok(()),
            Err(kube::Error::Api(error)) if matches!(error.code, 404 | 409) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

fn ignore_missing(result: Result<(), kube::Error>) -> Result<(), PlatformError> {
    match result {
        Err(kube::Error::Api(error)) if error.code == 404 => Ok(()),
        other => other.map_err(Into::into),
    }
}

fn name_of(object: &Value) -> &str {
    object["metadata"]["name"].as_str().unwrap_or_default()
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

impl Platform for PodPlatform {
    fn provision(&self, layout: &Layout) -> Boxed<Result<BTreeMap<InstanceName, Address>, String>> {
        let (shared, layout) = (Arc::clone(&self.shared), layout.clone());
        Box::pin(async move {
            let result = shared.provision(&layout).await;
            result.map_err(|error| {
                tracing::warn!(home = %shared.owner.home, %error, "cannot provision");
                error.to_string()
            })
        })
    }

    fn order(&self, order: AgentOrder) {
        let shared = Arc::clone(&self.shared);
        tokio::spawn(async move {
            let Some(at) = shared.address(&order.instance) else { return };
            let to = Who::Agent(order.instance.clone());
            let sent: Result<(), _> = shared.caller.call(&to, at, path::ORDER, &order, ORDER_WITHIN).await;
            if let Err(error) = sent {
                tracing::debug!(home = %shared.owner.home, to = to.claim(), %error, "an order did not arrive");
            }
        });
    }

    fn ask(&self, to: &InstanceName, ask: Ask, within: Duration) -> Boxed<Result<Answer, AskFailed>> {
        let (shared, to) = (Arc::clone(&self.shared), to.clone());
        Box::pin(async move {
            let Some(at) = shared.address(&to) else { return Err(AskFailed::Unseen(Unseen::NotAsked)) };
            ask_agent(&shared.caller, &Who::Agent(to), at, ask, within).await
        })
    }

    fn names_elsewhere(&self) -> BTreeSet<InstanceName> {
        self.shared.moved.names()
    }
}
