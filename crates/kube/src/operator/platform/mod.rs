//! Instances as pods, agents across the network. [`Platform::provision`] makes what is missing and says what has an address; a pod
//! that is still on its way has none, and whoever waits for it is told when it has (`Seen::moved`).

mod identity;
mod layout_store;

pub(crate) use layout_store::LayoutStore;

use crate::ca::{Ca, Lifetimes, due_for_renewal};
use crate::objects::pod::OperatorFacts;
use crate::objects::secrets::{self, Data, text_of};
use crate::objects::storage::{self, Piece};
use crate::objects::template::Template;
use crate::objects::whose::{Marks, Whose};
use crate::objects::{Owner, network, pod};
use crate::operator::apply::backoff::Backoff;
use crate::operator::apply::founders_first::FoundersFirst;
use crate::operator::apply::missing_objects::{self, Wanted, WantedClaim, WantedInstance};
use crate::operator::apply::object_writer::{NotDone, ObjectWriter, told};
use crate::operator::cache::{Object, Seen};
use crate::operator::dns::new_names::NewNames;
use crate::operator::dns::propagation::DnsPropagation;
use crate::pod::ask_agent;
use crate::wire::{Caller, Credentials, CredentialsError, Repeat, Who, path};
use crate::{AGENT_PORT, BUS_PORT, CLIENT_PORT};
use identity::{controller_identity, ensure_ca};
use k8s_openapi::api::core::v1::Secret;
use kube::{Api, Client};
use layout_store::Kept;
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use time::OffsetDateTime;
use tokio::task::JoinHandle;
use valkeeper_client::Password;
use valkeeper_engine::{Boxed, Platform, password};
use valkeeper_kube_api::names;
use valkeeper_model::{
    Address, AgentOrder, Answer, Ask, AskFailed, Instance, InstanceName, Layout, Unseen, Waiting,
};

/// A CA is good for years: it is looked at seldom.
const REVIEWED_EVERY: Duration = Duration::from_secs(300);
/// Until it is seen whether the user has given what was missing.
const LACKING_LOOKED_AT: Duration = Duration::from_secs(3);
/// How long an order may take; the next look shows whether it was obeyed.
const ORDER_WITHIN: Duration = Duration::from_secs(5);
/// What is tried with a cluster's Secrets, as a word.
const SECRETS: &str = "all of them";

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
    /// None while the manifest cannot be read.
    template: Mutex<Option<Template>>,
    writer: ObjectWriter,
    caller: Caller,
    credentials: Arc<Credentials>,
    /// One at a time: two would make everything twice.
    provisioning: tokio::sync::Mutex<Provisioned>,
    addresses: Mutex<BTreeMap<InstanceName, IpAddr>>,
    dns: DnsPropagation,
    new_names: NewNames,
}

#[derive(Default)]
struct Provisioned {
    ca: Option<Ca>,
    /// When it was last read.
    reviewed: Option<Instant>,
    /// The controller's own certificate.
    own: String,
    agents: Data,
    /// Of the servers, when it is ours to keep.
    password: Option<Password>,
    kept: Option<Kept>,
    founders_first: FoundersFirst,
    backoff: Backoff,
    /// The look that is due when nobody tells that it is, and when.
    again: Option<(Instant, JoinHandle<()>)>,
}

/// Why a cluster's platform cannot be set up.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PlatformError {
    #[error("{}", told(.0))]
    Kubernetes(#[from] kube::Error),
    #[error(transparent)]
    NotDone(#[from] NotDone),
    #[error(transparent)]
    Ca(#[from] crate::ca::CaError),
    #[error(transparent)]
    Credentials(#[from] CredentialsError),
    #[error("an object of ours cannot be written: {0}")]
    Object(#[from] serde_json::Error),
}

impl PlatformError {
    /// What people are told, when it was about that object.
    pub(crate) fn waiting(&self, object: &Object) -> Waiting {
        let of_object = match self {
            Self::NotDone(error @ (NotDone::Foreign(other) | NotDone::Leaving(other))) => {
                error.waiting(other, None)
            }
            Self::NotDone(error) => error.waiting(object, None),
            _ => None,
        };
        let Object { kind, name } = object.clone();
        of_object.unwrap_or_else(|| Waiting::NotMade { kind, name, instance: None, why: self.to_string() })
    }
}

/// What a platform is made from.
pub(crate) struct PlatformSetup {
    pub(crate) client: Client,
    pub(crate) owner: Owner,
    pub(crate) seen: Arc<Seen>,
    pub(crate) store: LayoutStore,
    /// None if the manifest cannot be read.
    pub(crate) template: Option<Template>,
    pub(crate) operator: OperatorFacts,
    pub(crate) operator_namespace: String,
    pub(crate) life: Lifetimes,
}

impl PodPlatform {
    /// Reads or makes the cluster's CA, and a certificate for the controller, which only lives in memory.
    pub(crate) async fn new(setup: PlatformSetup) -> Result<Self, PlatformError> {
        let now = OffsetDateTime::now_utc();
        let ca = ensure_ca(&setup.client, &setup.owner, now, setup.life).await?;
        let identity = controller_identity(&setup.owner, &ca, now, setup.life)?;
        let own = identity.certificate.clone();
        let credentials = Arc::new(Credentials::new(identity)?);
        let caller = Caller::new(setup.owner.home.clone(), Who::Controller, Arc::clone(&credentials));
        let provisioned =
            Provisioned { ca: Some(ca), reviewed: Some(Instant::now()), own, ..Provisioned::default() };
        let writer = ObjectWriter { client: setup.client.clone(), owner: setup.owner.clone() };
        Ok(Self {
            shared: Arc::new(Shared {
                writer,
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
                dns: DnsPropagation::default(),
                new_names: NewNames::default(),
            }),
        })
    }

    pub(crate) fn credentials(&self) -> &Arc<Credentials> {
        &self.shared.credentials
    }

    /// Makes objects by this template from now on; true if it is another.
    pub(crate) fn set_template(&self, template: Template) -> bool {
        let mut current = self.shared.template.lock().unwrap_or_else(PoisonError::into_inner);
        let changed = current.as_ref() != Some(&template);
        *current = Some(template);
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

    /// Makes what is missing and says what has an address. What cannot be made is told of the instance that lacks it
    /// ([`Seen::obstacles`]), and everything else goes on.
    async fn provision(&self, layout: &Layout) -> BTreeMap<InstanceName, Address> {
        let mut provisioned = self.provisioning.lock().await;
        let done = &mut *provisioned;
        let template = self.template.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut obstacles = Vec::new();
        if let Err(error) = self.store.ensure(layout).await {
            let map = Object::new("ConfigMap", &names::layout_config_map(&self.owner.home.cluster));
            obstacles.extend(error.waiting(&map, None));
            self.look_again(&mut done.again, LACKING_LOOKED_AT);
        }
        let lack = match self.foundations(layout, template.as_ref(), done).await {
            Ok(lack) => lack,
            Err(waiting) => {
                let why = waiting.to_string();
                obstacles.push(waiting);
                Some(why)
            }
        };
        if lack.is_some() {
            self.look_again(&mut done.again, LACKING_LOOKED_AT);
        }
        let things = self.seen.all();
        let now = Instant::now();
        let founders_first = done.founders_first.left(layout, things.pods.is_empty(), now);
        if let Some(left) = founders_first {
            self.look_again(&mut done.again, left);
        }
        let founder = |name: &InstanceName| layout.shards.values().any(|shard| shard.founder == *name);
        let is_due = |name: &InstanceName| lack.is_none() && (founders_first.is_none() || founder(name));
        let wanted = self.wanted(layout, template.as_ref(), is_due);
        let plan = missing_objects::due(&self.owner, &wanted, &things);
        self.writer.carry_out(&plan, &mut done.backoff).await;
        obstacles.extend(plan.told());
        if let Some(after) = done.backoff.next(Instant::now()) {
            self.look_again(&mut done.again, after);
        }
        obstacles.extend(done.backoff.waiting().cloned().chain(self.new_names.waiting()));
        obstacles.sort();
        obstacles.dedup();
        self.seen.is_obstructed_by(obstacles);
        self.seen.lacks(lack.as_deref());
        let known = self.known_addresses(layout, done).await;
        let address = |ip| Address { ip, port: CLIENT_PORT, bus_port: BUS_PORT };
        known.into_iter().map(|(name, ip)| (name, address(ip))).collect()
    }

    /// Where instances are, or were last.
    async fn known_addresses(&self, layout: &Layout, done: &mut Provisioned) -> Kept {
        let seen = self.seen.addresses();
        *self.addresses.lock().unwrap_or_else(PoisonError::into_inner) = seen.clone();
        // Who is not there now is told of by where it was last, if that is known: the others still have it under that address.
        if done.kept.is_none() {
            match self.store.addresses().await {
                Ok(kept) => done.kept = Some(kept),
                Err(error) => {
                    tracing::warn!(home = %self.owner.home, error, "where instances were last cannot be read");
                    self.look_again(&mut done.again, LACKING_LOOKED_AT);
                }
            }
        }
        let mut known = done.kept.clone().unwrap_or_default();
        known.extend(seen);
        known.retain(|name, _| layout.instances.contains_key(name));
        let Some(before) = &done.kept else { return known };
        let names = (&self.owner.home, self.operator.domain.as_str());
        self.dns.follow(names, before, &known, &self.seen.reprovision);
        self.new_names.follow(names, before, &known, &self.seen.reprovision);
        if *before != known && known.len() == layout.instances.len() {
            match self.store.keep_addresses(&known).await {
                Ok(()) => done.kept = Some(known.clone()),
                Err(error) => {
                    tracing::warn!(home = %self.owner.home, error, "where instances are cannot be kept");
                    self.look_again(&mut done.again, LACKING_LOOKED_AT);
                }
            }
        }
        known
    }

    /// What the cluster is to consist of. Pods are made for those that are due.
    fn wanted(
        &self,
        layout: &Layout,
        template: Option<&Template>,
        is_due: impl Fn(&InstanceName) -> bool,
    ) -> Wanted {
        let owner = &self.owner;
        let mut wanted = Wanted {
            shared: vec![
                network::headless(owner),
                network::any(owner),
                network::policy(owner, &self.operator_namespace),
            ],
            ..Wanted::default()
        };
        let Some(template) = template else { return wanted };
        let budget = network::disruption_budget(owner, layout.instances.len());
        if template.kubernetes.pod_disruption_budget {
            wanted.shared.push(budget);
        } else {
            wanted.unwanted.push(Object::of(&budget));
        }
        let instance =
            |(name, instance): (&InstanceName, &Instance)| {
                let claim = storage::claim(owner, name, instance, layout, template).map(|object| {
                    WantedClaim { object, piece: Piece::of(layout, &instance.shard), cluster: layout.id }
                });
                let pod = pod::pod(owner, name, instance, template, &self.operator);
                (name.clone(), WantedInstance { pod, claim, due: is_due(name) })
            };
        wanted.instances = layout.instances.iter().map(instance).collect();
        wanted
    }

    /// The Secrets that pods mount. What is missing that only the user can give; or why ours cannot be made.
    async fn foundations(
        &self,
        layout: &Layout,
        template: Option<&Template>,
        done: &mut Provisioned,
    ) -> Result<Option<String>, Waiting> {
        let cluster = &self.owner.home.cluster;
        let secrets = Object::new("Secret", &names::agent_tls_secret(cluster));
        let backoff = |backoff: &Backoff| !backoff.lets(&secrets, SECRETS, Instant::now());
        if let Some(waiting) = done.backoff.waiting_for(&secrets).filter(|_| backoff(&done.backoff)) {
            return Err(waiting.clone());
        }
        let result = async {
            self.secrets(layout, template, done).await?;
            match template {
                Some(template) => self.lack(layout, template).await,
                None => Ok(Some("the manifest cannot be read, so that nothing is made by it".to_owned())),
            }
        };
        let result: Result<_, PlatformError> = result.await;
        match result {
            Ok(lack) => {
                done.backoff.done(&secrets);
                Ok(lack)
            }
            Err(error) => {
                tracing::warn!(home = %self.owner.home, %error, "the Secrets are not as they should be");
                let waiting = error.waiting(&secrets);
                done.backoff.refused(secrets, SECRETS.to_owned(), Some(waiting.clone()), Instant::now());
                Err(waiting)
            }
        }
    }

    async fn secrets(
        &self,
        layout: &Layout,
        template: Option<&Template>,
        done: &mut Provisioned,
    ) -> Result<(), PlatformError> {
        let cluster = &self.owner.home.cluster;
        let api: Api<Secret> = Api::namespaced(self.client.clone(), self.namespace());
        let own = names::auth_secret(cluster);
        let template = template.filter(|template| template.users_secret(cluster).is_none());
        let unknown = done.password.is_none() || self.seen.object("Secret", &own).is_none();
        if let Some(template) = template.filter(|_| unknown) {
            let there = api.get_opt(&own).await?;
            // One that the manifest names is used whosever it is.
            if template.auth_secret.is_none() {
                must_be_ours(&self.owner, there.as_ref(), &own)?;
            }
            let there = there.map(|secret| secrets::text_of(&secret));
            let kept = there.as_ref().and_then(|data| data.get(names::PASSWORD_KEY)).map(Password::new);
            // Taken away while servers have it: the same again, or those that start anew could not follow those that run.
            let own = kept.or_else(|| done.password.clone()).unwrap_or_else(password);
            if there.is_none() {
                self.writer.create(&secrets::auth(&self.owner, &own)).await?;
            }
            done.password = Some(own);
        }
        let now = OffsetDateTime::now_utc();
        let ca_gone = self.seen.object("Secret", &names::ca_secret(cluster)).is_none();
        if let Some(known) = done.ca.as_ref().filter(|_| ca_gone) {
            // Taken away while its certificates are about: the same again, or nobody would know anybody for minutes.
            self.writer.create(&secrets::ca_secret(&self.owner, known)).await?;
        }
        // Read again at each review: another operator may have changed it, and it is followed by another in time.
        let reviewed = done.reviewed.is_some_and(|at| at.elapsed() < REVIEWED_EVERY);
        if ca_gone || !reviewed {
            let ca = ensure_ca(&self.client, &self.owner, now, self.life).await?;
            let own_ends = due_for_renewal(&done.own, now);
            if done.ca.as_ref() != Some(&ca) || own_ends {
                let identity = controller_identity(&self.owner, &ca, now, self.life)?;
                done.own.clone_from(&identity.certificate);
                self.credentials.replace(identity)?;
                self.caller.forget();
            }
            done.ca = Some(ca);
            done.reviewed = Some(Instant::now());
        }
        let Some(ca) = &done.ca else { return Ok(()) };
        let name = names::agent_tls_secret(cluster);
        if done.agents.is_empty() || self.seen.object("Secret", &name).is_none() {
            done.agents = api.get_opt(&name).await?.map(|secret| text_of(&secret)).unwrap_or_default();
        }
        let instances = layout.instances.keys().cloned();
        if let Some(secret) = secrets::agents(&self.owner, ca, instances, &done.agents, now, self.life)? {
            self.writer.write(&secret).await?;
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

    /// For what nobody tells of: a Secret of the user's, which is not watched, the end of a head start, what was refused. One look is due
    /// at a time, the earliest: each has another follow it, and whatever else has us provision would otherwise add one of its own.
    fn look_again(&self, due: &mut Option<(Instant, JoinHandle<()>)>, after: Duration) {
        let at = Instant::now() + after;
        if let Some((before, look)) = due.take_if(|(_, look)| !look.is_finished()) {
            if before <= at {
                *due = Some((before, look));
                return;
            }
            look.abort();
        }
        let reprovision = Arc::clone(&self.seen.reprovision);
        let look = tokio::spawn(async move {
            tokio::time::sleep_until(at.into()).await;
            reprovision.notify_one();
        });
        *due = Some((at, look));
    }
}

/// What is there under the name of a Secret of ours is neither changed nor used unless it is.
pub(super) fn must_be_ours(owner: &Owner, there: Option<&Secret>, name: &str) -> Result<(), NotDone> {
    let Some(there) = there else { return Ok(()) };
    let named = Object::new("Secret", name);
    match Marks::of(&there.metadata).whose(owner) {
        Whose::Ours => Ok(()),
        Whose::Leaving => Err(NotDone::Leaving(named)),
        Whose::Prepared | Whose::Foreign => Err(NotDone::Foreign(named)),
    }
}

impl Platform for PodPlatform {
    fn provision(&self, layout: &Layout) -> Boxed<Result<BTreeMap<InstanceName, Address>, String>> {
        let (shared, layout) = (Arc::clone(&self.shared), layout.clone());
        Box::pin(async move { Ok(shared.provision(&layout).await) })
    }

    fn order(&self, order: AgentOrder) {
        let shared = Arc::clone(&self.shared);
        tokio::spawn(async move {
            let Some(at) = shared.address(&order.instance) else { return };
            let to = Who::Agent(order.instance.clone());
            let sent: Result<(), _> =
                shared.caller.call(&to, at, path::ORDER, &order, Repeat::Yes, ORDER_WITHIN).await;
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
        self.shared.dns.names()
    }
}
