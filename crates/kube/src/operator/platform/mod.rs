//! Instances as pods, agents across the network. [`Platform::provision`] makes what is missing and says what has an address; a pod
//! that is still on its way has none, and whoever waits for it is told when it has (`Seen::reprovision`).
//!
//! | file | what |
//! | --- | --- |
//! | `mod.rs` | the port for pods and agents |
//! | `layout_store.rs` | the port for the layout |
//! | `secrets.rs` | the Secrets that pods mount |
//! | `connection_secret.rs` | the Secret in which clients find how to connect |
//! | `source_password.rs` | the password of the source, told to the agents of a cluster that follows another |
//! | `identity.rs` | a cluster's CA, and what the controller proves to its agents with |

mod connection_secret;
mod identity;
mod layout_store;
mod secrets;
mod source_password;

pub(crate) use layout_store::LayoutStore;

use crate::ca::{Ca, Lifetimes};
use crate::objects::pod::OperatorFacts;
use crate::objects::secrets::Data;
use crate::objects::template::Template;
use crate::objects::{Owner, layout_map};
use crate::operator::apply::backoff::Backoff;
use crate::operator::apply::founders_first::FoundersFirst;
use crate::operator::apply::missing_objects::{is_layout_missing, missing_objects};
use crate::operator::apply::object_writer::{NotDone, ObjectWriter, told};
use crate::operator::apply::wanted_objects::{PodsDue, Rendering};
use crate::operator::cache::{Object, PodSeen, PodTrouble, Seen};
use crate::operator::dns::new_names::NewNames;
use crate::operator::dns::propagation::DnsPropagation;
use crate::pod::ask_agent;
use crate::wire::{Caller, Credentials, CredentialsError, Repeat, Who, path};
use crate::{AGENT_PORT, BUS_PORT, CLIENT_PORT};
use identity::{controller_identity, ensure_ca};
use kube::Client;
use layout_store::Kept;
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use time::OffsetDateTime;
use tokio::task::JoinHandle;
use valkeeper_client::Password;
use valkeeper_engine::{Boxed, Platform};
use valkeeper_kube_api::names::{self, SENTINEL_PORT};
use valkeeper_model::{
    Address, AgentOrder, AgentReport, Answer, Ask, AskFailed, InstanceName, KubernetesWaiting, Layout,
    ProvisionError, StartFailure, TemplateHash, Unseen, Waiting,
};

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
    /// None while the manifest cannot be read.
    template: Mutex<Option<Template>>,
    writer: ObjectWriter,
    caller: Caller,
    credentials: Arc<Credentials>,
    /// One at a time: two would make everything twice.
    provisioning: tokio::sync::Mutex<Provisioned>,
    addresses: Mutex<BTreeMap<InstanceName, IpAddr>>,
    /// By which template each pod is to be made.
    templates: Mutex<BTreeMap<InstanceName, TemplateHash>>,
    dns: DnsPropagation,
    new_names: NewNames,
    source_password: source_password::Telling,
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
        of_object.unwrap_or_else(|| {
            let why = self.to_string();
            Waiting::Kubernetes(KubernetesWaiting::NotMade { kind, name, instance: None, why })
        })
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
                templates: Mutex::default(),
                dns: DnsPropagation::default(),
                new_names: NewNames::default(),
                source_password: source_password::Telling::default(),
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

    /// Makes what is missing and says what has an address. What cannot be made is told of the instance that lacks it
    /// ([`Seen::obstacles`]), and everything else goes on.
    async fn provision(self: &Arc<Self>, layout: &Layout) -> BTreeMap<InstanceName, Address> {
        let mut provisioned = self.provisioning.lock().await;
        let done = &mut *provisioned;
        let template = self.template.lock().unwrap_or_else(PoisonError::into_inner).clone();
        self.wants_templates(layout);
        let mut obstacles = Vec::new();
        obstacles.extend(self.restore_layout(layout, done).await);
        let lack = match self.foundations(layout, template.as_ref(), done).await {
            Ok(lack) => lack,
            Err(waiting) => {
                let why = waiting.to_string();
                obstacles.push(waiting);
                Some(why)
            }
        };
        obstacles.extend(self.publish_connection(layout, template.as_ref(), done).await);
        if lack.is_some() {
            self.look_again(&mut done.again, LACKING_LOOKED_AT);
        }
        obstacles.extend(self.make_missing(layout, template.as_ref(), lack.as_deref(), done).await);
        obstacles.sort();
        obstacles.dedup();
        self.seen.is_obstructed_by(obstacles);
        self.seen.lacks(lack.as_deref());
        let known = self.known_addresses(layout, done).await;
        self.tell_source_password(layout, done);
        let address = |ip| Address { ip, port: CLIENT_PORT, bus_port: BUS_PORT };
        let servers = known.into_iter().map(|(name, ip)| (name, address(ip)));
        let there = self.seen.addresses();
        let sentinels = layout.sentinels.iter().flat_map(|sentinels| sentinels.members.keys());
        let placed = sentinels.filter_map(|name| {
            let bus_port = SENTINEL_PORT.wrapping_add(Address::BUS_OFFSET);
            Some((name.clone(), Address { ip: *there.get(name)?, port: SENTINEL_PORT, bus_port }))
        });
        servers.chain(placed).collect()
    }

    /// Notes by which template each pod is to be made.
    fn wants_templates(&self, layout: &Layout) {
        let of = |name: &InstanceName| Some((name.clone(), layout.pod_template_of(name)?.clone()));
        let wanted = layout.instances.keys().filter_map(of).collect();
        *self.templates.lock().unwrap_or_else(PoisonError::into_inner) = wanted;
    }

    /// The pod of that instance, if it was made by another template than it is to be.
    fn outdated_pod(&self, name: &InstanceName) -> Option<PodSeen> {
        let templates = self.templates.lock().unwrap_or_else(PoisonError::into_inner);
        let wanted = templates.get(name)?;
        self.seen.pod(name).filter(|pod| pod.template.as_ref() != Some(wanted))
    }

    /// Makes the stored layout again if it was taken away; what keeps it from that.
    async fn restore_layout(&self, layout: &Layout, done: &mut Provisioned) -> Option<Waiting> {
        let cluster = &self.owner.home.cluster;
        if !is_layout_missing(cluster, &self.seen.all()) {
            return None;
        }
        let made = match layout_map::config_map(&self.owner, layout) {
            Ok(map) => self.writer.create(&map).await,
            Err(error) => Err(error.into()),
        };
        let error = made.err()?;
        self.look_again(&mut done.again, LACKING_LOOKED_AT);
        error.waiting(&Object::new("ConfigMap", &names::layout_config_map(cluster)), None)
    }

    /// Makes what is missing but for Secrets and layout, and puts right what is not as it should be; what is in the way of that.
    async fn make_missing(
        &self,
        layout: &Layout,
        template: Option<&Template>,
        lack: Option<&str>,
        done: &mut Provisioned,
    ) -> Vec<Waiting> {
        let seen = self.seen.all();
        let founders_first = done.founders_first.left(layout, seen.pods.is_empty(), Instant::now());
        if let Some(left) = founders_first {
            self.look_again(&mut done.again, left);
        }
        let rendering = Rendering {
            owner: &self.owner,
            template,
            operator: &self.operator,
            operator_namespace: &self.operator_namespace,
            pods_due: PodsDue::of(lack, founders_first),
        };
        let actions = missing_objects(layout, &seen, &rendering);
        self.writer.carry_out(&actions, &mut done.backoff).await;
        if let Some(after) = done.backoff.next(Instant::now()) {
            self.look_again(&mut done.again, after);
        }
        let refused = done.backoff.waiting().cloned();
        actions.told().chain(refused).chain(self.new_names.waiting()).collect()
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
                    tracing::warn!(home = %self.owner.home, %error, "where instances were last cannot be read");
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
                    tracing::warn!(home = %self.owner.home, %error, "where instances are cannot be kept");
                    self.look_again(&mut done.again, LACKING_LOOKED_AT);
                }
            }
        }
        known
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

impl Platform for PodPlatform {
    fn provision(&self, layout: &Layout) -> Boxed<Result<BTreeMap<InstanceName, Address>, ProvisionError>> {
        let (shared, layout) = (Arc::clone(&self.shared), layout.clone());
        Box::pin(async move { Ok(shared.provision(&layout).await) })
    }

    fn order(&self, order: AgentOrder) {
        let shared = Arc::clone(&self.shared);
        tokio::spawn(async move {
            let Some(at) = shared.address(&order.instance) else { return };
            // Before what it is needed for.
            if let Some(secret) = order.source.as_ref().and_then(|source| source.source.auth_secret.as_ref())
            {
                shared.tell_source_password_to(&order.instance, secret).await;
            }
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
            // Its agent hands over and ends its server when the pod goes, as for a restart.
            if matches!(ask, Ask::Restart)
                && let Some(pod) = shared.outdated_pod(&to)
            {
                let removed = shared.writer.remove_pod(&to, pod.uid).await;
                return removed
                    .map(|()| Answer::Done)
                    .map_err(|error| AskFailed::Refused(format!("its pod cannot be replaced: {error}")));
            }
            let Some(at) = shared.address(&to) else { return Err(AskFailed::Unseen(Unseen::NotAsked)) };
            let made_by = shared.seen.pod(&to).and_then(|pod| pod.template);
            let answer = ask_agent(&shared.caller, &Who::Agent(to), at, ask, within).await?;
            Ok(match answer {
                Answer::Report(report) => {
                    Answer::Report(Box::new(AgentReport { pod_template: made_by, ..*report }))
                }
                other => other,
            })
        })
    }

    fn names_elsewhere(&self) -> BTreeSet<InstanceName> {
        self.shared.dns.names()
    }

    fn not_starting(&self) -> BTreeMap<InstanceName, StartFailure> {
        // A pod without a node may get one that is being made.
        let failing = |pod: PodSeen| match pod.trouble {
            Some(PodTrouble::Container(detail)) => Some(StartFailure::ProgramUnusable { detail }),
            Some(PodTrouble::Unscheduled(_) | PodTrouble::Failed(_)) | None => None,
        };
        self.shared.seen.pods().into_iter().filter_map(|(name, pod)| Some((name, failing(pod)?))).collect()
    }
}
