//! One cluster: a task that runs its controller, hands it what users want and what agents say, and tells people. It depends on no
//! other cluster's task.

pub(crate) mod agent_news;
mod dispatch;
mod requests;
mod status;
mod volumes;

pub(crate) use dispatch::dispatch;

use crate::ca::Lifetimes;
use crate::objects::Owner;
use crate::objects::pod::OperatorFacts;
use crate::objects::template::Template;
use crate::operator::agent_upgrade;
use crate::operator::apply::unstarted_pods;
use crate::operator::cache::{Cache, Object, Seen};
use crate::operator::platform::{LayoutStore, PlatformSetup, PodPlatform};
use crate::operator::status::events;
use crate::operator::status::status_writer::{self, Told};
use crate::wire::{Home, News};
use agent_news::{Listener, Listeners};
use k8s_openapi::api::core::v1::{ObjectReference, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::{Api, Client};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{Notify, Semaphore, mpsc, oneshot, watch};
use tokio::task::{AbortHandle, JoinHandle};
use valkeeper_engine::{Clock, Driver, RandomIds};
use valkeeper_kube_api::names::{self, API_VERSION};
use valkeeper_kube_api::{RedisCluster, RedisClusterRequest, RedisClusterStatus, Verdict};
use valkeeper_model::manifest::Refused;
use valkeeper_model::{
    ClusterSpec, Happened, InstanceName, KubernetesSpec, Layout, Observation, Refusal, Report, Request,
    Waiting, ZoneName,
};
use valkeeper_plan::controller::{Controller, Pace};

/// Agents say when something has changed, and Kubernetes when pods have: looks without news are for what got lost, and rare. At those that
/// have shown the same for twenty minutes they are rarer still: each costs a connection to every agent, and takes its time where
/// nobody is.
const PACE: Pace = Pace { at_rest_ms: 60_000, unsettled_ms: 50, stuck_ms: 120_000 };
/// Before the next try when the cluster's platform cannot be set up, doubled up to the second.
const AGAIN: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(30));
/// Certificates and objects are looked after this often although nobody says that they have changed.
const REVIEW: Duration = Duration::from_secs(600);
/// Events that wait for an API server that is away.
const EVENTS_KEPT: usize = 256;

/// What all clusters share.
pub(crate) struct Context {
    pub(crate) client: Client,
    pub(crate) cache: Arc<Cache>,
    pub(crate) zones: watch::Receiver<BTreeSet<ZoneName>>,
    pub(crate) operator: OperatorFacts,
    pub(crate) operator_namespace: String,
    pub(crate) life: Lifetimes,
    pub(crate) listeners: Arc<Listeners>,
    /// This operator, as events name it.
    pub(crate) reporter: String,
    /// Clusters that may be set up at a time.
    pub(crate) setting_up: Semaphore,
    pub(crate) phases: Arc<crate::operator::metrics::Phases>,
}

/// The way to a cluster's task.
pub(crate) struct ClusterHandle {
    object: watch::Sender<Arc<RedisCluster>>,
    requests: mpsc::UnboundedSender<Box<RedisClusterRequest>>,
    task: JoinHandle<()>,
}

impl ClusterHandle {
    pub(crate) fn start(context: Arc<Context>, home: Home, mut object: RedisCluster) -> Self {
        let status = object.status.take().map(Arc::new);
        let (sender, receiver) = watch::channel(Arc::new(object));
        let (requests, requested) = mpsc::unbounded_channel();
        let seen = context.cache.of(&home);
        let task =
            Task { context, home, seen, object: receiver, requests: requested, status, followed: None };
        Self { object: sender, requests, task: tokio::spawn(task.run()) }
    }

    /// The object has changed. What we write of it ourselves, the status, is no news.
    pub(crate) fn changed(&self, mut object: RedisCluster) {
        object.status = None;
        self.object.send_if_modified(|before| {
            let changed = **before != object;
            if changed {
                *before = Arc::new(object);
            }
            changed
        });
    }

    pub(crate) fn asked(&self, request: Box<RedisClusterRequest>) {
        let _ = self.requests.send(request);
    }
}

impl ClusterHandle {
    pub(crate) fn is_over(&self) -> bool {
        self.task.is_finished()
    }
}

impl Drop for ClusterHandle {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Ends a task with its owner.
struct Aborting(AbortHandle);

impl Drop for Aborting {
    fn drop(&mut self) {
        self.0.abort();
    }
}

fn spawn(task: impl Future<Output = ()> + Send + 'static) -> Aborting {
    Aborting(tokio::spawn(task).abort_handle())
}

struct Task {
    context: Arc<Context>,
    home: Home,
    seen: Arc<Seen>,
    object: watch::Receiver<Arc<RedisCluster>>,
    requests: mpsc::UnboundedReceiver<Box<RedisClusterRequest>>,
    status: Option<Arc<RedisClusterStatus>>,
    /// What only Kubernetes knows of the manifest that was followed last.
    followed: Option<KubernetesSpec>,
}

/// What became of the spec.
#[derive(Debug, Clone)]
enum Judged {
    Followed,
    Invalid(Refused),
    Unfit(Refusal),
}

impl Judged {
    fn verdict(&self) -> Verdict<'_> {
        match self {
            Self::Followed => Verdict::Followed,
            Self::Invalid(refused) => Verdict::Invalid(refused),
            Self::Unfit(refusal) => Verdict::Unfit(refusal),
        }
    }
}

/// How a round with one controller ended.
enum Ended {
    /// The spec cannot be followed.
    Refused(Refusal),
    /// The object is another one, or is going.
    Replaced,
}

/// A published explanation.
type Explained = (Layout, Option<Observation>, Report);

impl Task {
    async fn run(mut self) {
        let uid = self.object.borrow().metadata.uid.clone().unwrap_or_default();
        let owner = Owner { home: self.home.clone(), uid };
        let (tell, told) = watch::channel(Told::default());
        let _writing = spawn(status_writer::write(
            self.context.client.clone(),
            self.home.clone(),
            Arc::clone(&self.seen),
            self.status.clone(),
            told,
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
                    (manifest.spec, Some(template), judged)
                }
                (Ok(manifest), Some(refusal)) => {
                    (manifest.spec.clone(), Some(Template::of(&manifest)), Judged::Unfit(refusal))
                }
                (Err(problems), _) => {
                    (ClusterSpec::new(self.home.cluster.clone()), None, Judged::Invalid(problems))
                }
            };
            if let Some(platform) = self.set_up(&owner, &spec, template, &judged, &tell).await {
                let round = Round { spec, judged, events: events.clone() };
                match self.look_after(&owner, platform, round, &tell).await {
                    Ended::Refused(refusal) => refused = Some(refusal),
                    Ended::Replaced => return,
                }
            } else if !self.wait_for_another_spec(judged, &mut refused, &tell).await {
                return;
            }
        }
    }

    /// Nothing exists, and nothing can be made of this spec: waits for another one, or for other zones. False when the object is
    /// gone.
    async fn wait_for_another_spec(
        &mut self,
        judged: Judged,
        refused: &mut Option<Refusal>,
        tell: &watch::Sender<Told>,
    ) -> bool {
        self.tell_of_spec(&judged, tell);
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
        tell: &watch::Sender<Told>,
    ) -> Option<PodPlatform> {
        let mut pause = AGAIN.0;
        loop {
            // Told before anything is asked: what keeps it from being made may keep the first look away.
            if self.status.is_none() && matches!(judged, Judged::Followed) {
                self.tell_of_beginning(None, judged, tell);
            }
            let permit = self.context.setting_up.acquire().await;
            let store = self.store(owner, spec);
            let ca = Object::new("Secret", &names::ca_secret(&self.home.cluster));
            let attempt = async {
                if !matches!(judged, Judged::Followed) {
                    let stored = store.read().await.map_err(|why| Waiting::StoreFailed { why })?;
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
            self.tell_of_beginning(Some(waiting), judged, tell);
            // Many clusters that fail for one reason must not come back all at once.
            tokio::time::sleep(jittered(pause)).await;
            pause = (pause * 2).min(AGAIN.1);
        }
    }

    /// Has pods that do not begin on their node looked at again.
    fn touch(&self) -> Aborting {
        let pods: Api<Pod> = Api::namespaced(self.context.client.clone(), &self.home.namespace);
        spawn(unstarted_pods::run(pods, Arc::clone(&self.seen)))
    }

    fn store(&self, owner: &Owner, spec: &ClusterSpec) -> LayoutStore {
        LayoutStore {
            client: self.context.client.clone(),
            owner: owner.clone(),
            seen: Arc::clone(&self.seen),
            spec: spec.clone(),
        }
    }

    /// Runs a controller until its spec cannot be followed or the object is another.
    async fn look_after(
        &mut self,
        owner: &Owner,
        platform: PodPlatform,
        round: Round,
        tell: &watch::Sender<Told>,
    ) -> Ended {
        let Round { spec: mut followed, mut judged, events } = round;
        let nudge = Arc::new(Notify::new());
        let (explain, mut explained) = mpsc::unbounded_channel::<Box<Explained>>();
        let (wish, wishes) = mpsc::unbounded_channel::<(Request, oneshot::Sender<Result<(), Refusal>>)>();
        let (heard, mut news) = mpsc::unbounded_channel::<(InstanceName, Box<News>)>();
        let listener = Listener { credentials: Arc::clone(platform.credentials()), heard };
        self.context.listeners.add(self.home.clone(), listener);
        let _touching = self.touch();
        let record: Arc<dyn Fn(Happened) + Send + Sync> = {
            let (home, events) = (self.home.clone(), events);
            Arc::new(move |happened| {
                tracing::info!(%home, "{happened}");
                // Full while the API server is away: the log has it.
                let _ = events.try_send(happened);
            })
        };
        let mut zones_seen = self.context.zones.clone();
        let zones: Vec<ZoneName> = zones_seen.borrow_and_update().iter().cloned().collect();
        let mut controller = Controller::new(followed.clone(), zones, Box::new(RandomIds)).at_pace(PACE);
        if !matches!(judged, Judged::Followed) {
            controller = controller.keeping_layout();
        }
        let driver = Driver {
            controller,
            platform: Arc::new(platform.clone()),
            store: Arc::new(self.store(owner, &followed)),
            record: Arc::clone(&record),
            publish: Arc::new(move |layout, observation, report| {
                let _ = explain.send(Box::new((layout.clone(), observation.cloned(), report)));
            }),
            nudge: Arc::clone(&nudge),
            reprovision: Arc::clone(&self.seen.reprovision),
            clock: Clock(Instant::now()),
        };
        let mut driving = tokio::spawn(driver.run(wishes));
        let _driving = Aborting(driving.abort_handle());
        let (answer, mut answers) = mpsc::unbounded_channel::<Box<(ClusterSpec, Result<(), Refusal>)>>();
        let mut latest: Option<Box<Explained>> = None;
        let (mut replacing, mut disrupted): (Option<Aborting>, _) = (None, BTreeSet::new());
        let mut review = tokio::time::interval_at(tokio::time::Instant::now() + jittered(REVIEW), REVIEW);
        let ended = loop {
            tokio::select! {
                refusal = &mut driving => {
                    let why = |error: tokio::task::JoinError| format!("the controller failed: {error}");
                    break Ended::Refused(refusal.unwrap_or_else(|error| Refusal::Failed { why: why(error) }));
                }
                changed = self.object.changed() => {
                    let object = Arc::clone(&self.object.borrow_and_update());
                    let another = object.metadata.uid.as_deref() != Some(owner.uid.as_str());
                    if changed.is_err() || another || object.metadata.deletion_timestamp.is_some() {
                        break Ended::Replaced;
                    }
                    match object.manifest() {
                        Err(problems) => judged = Judged::Invalid(problems),
                        Ok(manifest) => match self.take_template(&platform, &manifest) {
                            Err(refusal) => judged = Judged::Unfit(refusal),
                            Ok(()) if manifest.spec == followed && matches!(judged, Judged::Followed) => {}
                            Ok(()) => apply(&wish, &answer, manifest.spec),
                        },
                    }
                    self.tell_latest(latest.as_deref(), &judged, tell);
                }
                Some(answer) = answers.recv() => {
                    let (spec, result) = *answer;
                    judged = match result {
                        Ok(()) => { followed = spec; Judged::Followed }
                        Err(refusal) => Judged::Unfit(refusal),
                    };
                    self.tell_latest(latest.as_deref(), &judged, tell);
                }
                Some(explanation) = explained.recv() => {
                    let healthy = explanation.2.healthy;
                    latest = Some(explanation);
                    // Newer ones may wait behind it.
                    while let Ok(newer) = explained.try_recv() { latest = Some(newer); }
                    self.tell_latest(latest.as_deref(), &judged, tell);
                    if healthy && replacing.is_none() {
                        replacing = latest.as_deref().map(|latest| replace(&platform, &latest.0));
                    }
                }
                Some((name, news)) = news.recv() => {
                    self.seen.hear(&name, &news.pod_uid, news.ip);
                    news.happened.into_iter().for_each(&*record);
                    nudge.notify_one();
                }
                Some(request) = self.requests.recv() => {
                    requests::carry_out(self.context.client.clone(), *request, &wish);
                }
                () = self.seen.told.notified() => {
                    events::disruptions(&self.seen, &mut disrupted).into_iter().for_each(&*record);
                    self.tell_latest(latest.as_deref(), &judged, tell);
                }
                Ok(()) = zones_seen.changed() => self.tell_latest(latest.as_deref(), &judged, tell),
                _ = review.tick() => self.seen.reprovision.notify_one(),
            }
        };
        self.context.listeners.remove(&self.home);
        ended
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        self.context.listeners.remove(&self.home);
        self.context.phases.forget(&self.home);
    }
}

/// What a round begins with.
struct Round {
    spec: ClusterSpec,
    judged: Judged,
    events: mpsc::Sender<Happened>,
}

/// Has its agents go on as our program.
fn replace(platform: &PodPlatform, layout: &Layout) -> Aborting {
    spawn(agent_upgrade::replace(platform.clone(), layout.instances.keys().cloned().collect()))
}

/// Asks the controller to follow another spec.
fn apply(
    wish: &mpsc::UnboundedSender<(Request, oneshot::Sender<Result<(), Refusal>>)>,
    answer: &mpsc::UnboundedSender<Box<(ClusterSpec, Result<(), Refusal>)>>,
    spec: ClusterSpec,
) {
    let (reply, replied) = oneshot::channel();
    let _ = wish.send((Request::Apply { spec: Box::new(spec.clone()) }, reply));
    let answer = answer.clone();
    tokio::spawn(async move {
        if let Ok(result) = replied.await {
            let _ = answer.send(Box::new((spec, result)));
        }
    });
}

fn now() -> Time {
    Time(jiff::Timestamp::now())
}

/// That long, give or take a quarter.
fn jittered(pause: Duration) -> Duration {
    let mut bytes = [0; 20];
    valkeeper_plan::placement::Ids::draw(&mut RandomIds).clone_into(&mut bytes);
    pause.mul_f64(0.75 + f64::from(bytes[0]) / 512.0)
}
