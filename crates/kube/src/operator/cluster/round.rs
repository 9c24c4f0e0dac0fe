//! A round: one controller looks after the cluster until its spec cannot be followed or the object is another one.

use super::agent_news::Listener;
use super::annotations::{Annotations, StepNews};
use super::approval::Approvals;
use super::judged::Judged;
use super::requests::Wish;
use super::task::Task;
use super::{Aborting, jittered, requests, spawn};
use crate::objects::Owner;
use crate::objects::template::spec_of;
use crate::operator::agent_upgrade;
use crate::operator::apply::unstarted_pods;
use crate::operator::platform::PodPlatform;
use crate::operator::status::events;
use crate::operator::status::role_labels::Mandate;
use crate::wire::News;
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use valkeeper_engine::{Clock, Driver, RandomIds};
use valkeeper_kube_api::RedisClusterRequest;
use valkeeper_model::{
    ClusterSpec, Happened, HibernationStage, InstanceName, Layout, Observation, Refusal, Report, Request,
    ZoneName,
};
use valkeeper_plan::controller::{Controller, Pace};

/// Agents say when something has changed, and Kubernetes when pods have: looks without news are for what got lost, and rare. At those that
/// have shown the same for twenty minutes they are rarer still: each costs a connection to every agent, and takes its time where
/// nobody is.
const PACE: Pace = Pace { at_rest_ms: 60_000, unsettled_ms: 50, stuck_ms: 120_000 };
/// Certificates and objects are looked after this often although nobody says that they have changed.
const REVIEW: Duration = Duration::from_secs(600);

/// What a round begins with.
pub(super) struct Beginning {
    pub(super) spec: ClusterSpec,
    pub(super) judged: Judged,
    pub(super) events: mpsc::Sender<Happened>,
}

/// How a round ended.
pub(super) enum Ended {
    /// The spec cannot be followed.
    Refused(Refusal),
    /// The object is another one, or is going.
    Replaced,
}

/// What a controller says of the cluster.
pub(super) struct Explanation {
    layout: Layout,
    pub(super) observation: Option<Observation>,
    pub(super) report: Report,
}

/// What became of a spec that the controller was asked to follow.
struct SpecAnswer {
    spec: ClusterSpec,
    result: Result<(), Refusal>,
}

/// What a round waits for.
enum Occurrence {
    ControllerEnded(Refusal),
    ObjectChanged,
    ObjectGone,
    SpecAnswered(Box<SpecAnswer>),
    Explained(Box<Explanation>),
    AgentNews(InstanceName, Box<News>),
    Requested(Box<RedisClusterRequest>),
    /// A step of what annotations ask for.
    AnnotationStep(StepNews),
    /// Something is seen in Kubernetes that people are told of.
    Seen,
    ZonesChanged,
    ReviewDue,
}

/// Where that comes from, beside the task's own channels.
struct Inbox {
    driving: JoinHandle<Refusal>,
    explained: mpsc::UnboundedReceiver<Box<Explanation>>,
    answers: mpsc::UnboundedReceiver<Box<SpecAnswer>>,
    news: mpsc::UnboundedReceiver<(InstanceName, Box<News>)>,
    steps: mpsc::UnboundedReceiver<StepNews>,
    zones: watch::Receiver<BTreeSet<ZoneName>>,
    review: tokio::time::Interval,
}

impl Inbox {
    async fn next(&mut self, task: &mut Task) -> Occurrence {
        tokio::select! {
            refusal = &mut self.driving => {
                let failed = |error: tokio::task::JoinError| Refusal::Failed { why: format!("the controller failed: {error}") };
                Occurrence::ControllerEnded(refusal.unwrap_or_else(failed))
            }
            changed = task.object.changed() => match changed {
                Ok(()) => Occurrence::ObjectChanged,
                Err(_) => Occurrence::ObjectGone,
            },
            Some(answer) = self.answers.recv() => Occurrence::SpecAnswered(answer),
            Some(mut newest) = self.explained.recv() => {
                // Newer ones may wait behind it.
                while let Ok(newer) = self.explained.try_recv() { newest = newer; }
                Occurrence::Explained(newest)
            }
            Some((name, news)) = self.news.recv() => Occurrence::AgentNews(name, news),
            Some(news) = self.steps.recv() => Occurrence::AnnotationStep(news),
            Some(request) = task.requests.recv() => Occurrence::Requested(request),
            () = task.seen.told.notified() => Occurrence::Seen,
            Ok(()) = self.zones.changed() => Occurrence::ZonesChanged,
            _ = self.review.tick() => Occurrence::ReviewDue,
        }
    }
}

impl Drop for Inbox {
    fn drop(&mut self) {
        self.driving.abort();
    }
}

/// What a round knows, and the ways to its controller.
struct Round {
    /// Of the `RedisCluster` that it is for.
    uid: String,
    platform: PodPlatform,
    /// What the controller follows.
    spec: ClusterSpec,
    judged: Judged,
    latest: Option<Box<Explanation>>,
    wish: Wish,
    answer: mpsc::UnboundedSender<Box<SpecAnswer>>,
    record: Arc<dyn Fn(Happened) + Send + Sync>,
    nudge: Arc<Notify>,
    upgrading: Option<Aborting>,
    approvals: Approvals,
    annotations: Annotations,
    /// The pods, by their uid, of which it is told that Kubernetes takes them away.
    disrupted: BTreeSet<String>,
}

impl Task {
    /// Runs a controller until its spec cannot be followed or the object is another.
    pub(super) async fn look_after(
        &mut self,
        owner: &Owner,
        platform: PodPlatform,
        beginning: Beginning,
    ) -> Ended {
        let (mut round, mut inbox) = self.begin(owner, platform, beginning);
        let _touching = self.touch_unstarted_pods();
        let ended = loop {
            let occurrence = inbox.next(self).await;
            if let ControlFlow::Break(ended) = self.react(occurrence, &mut round) {
                break ended;
            }
        };
        self.context.listeners.remove(&self.home);
        ended
    }

    /// Starts the controller, and listens to the agents.
    fn begin(&mut self, owner: &Owner, platform: PodPlatform, beginning: Beginning) -> (Round, Inbox) {
        let Beginning { spec, judged, events } = beginning;
        let (heard, news) = mpsc::unbounded_channel();
        let listener = Listener { credentials: Arc::clone(platform.credentials()), heard };
        self.context.listeners.add(self.home.clone(), listener);
        let mut zones = self.context.zones.clone();
        let known_zones: Vec<ZoneName> = zones.borrow_and_update().iter().cloned().collect();
        let mut controller = Controller::new(spec.clone(), known_zones, Box::new(RandomIds)).at_pace(PACE);
        if !matches!(judged, Judged::Followed) {
            controller = controller.keeping_layout();
        }
        let (record, nudge) = (self.recorder(events), Arc::new(Notify::new()));
        let (explain, explained) = mpsc::unbounded_channel();
        let (wish, wishes) = mpsc::unbounded_channel();
        let (answer, answers) = mpsc::unbounded_channel();
        let driver = Driver {
            controller,
            platform: Arc::new(platform.clone()),
            store: Arc::new(self.store(owner, &spec)),
            record: Arc::clone(&record),
            publish: Arc::new(move |layout, observation, report| {
                let (layout, observation) = (layout.clone(), observation.cloned());
                let _ = explain.send(Box::new(Explanation { layout, observation, report }));
            }),
            nudge: Arc::clone(&nudge),
            reprovision: Arc::clone(&self.seen.reprovision),
            clock: Clock(Instant::now()),
        };
        let driving = tokio::spawn(driver.run(wishes));
        let review = tokio::time::interval_at(tokio::time::Instant::now() + jittered(REVIEW), REVIEW);
        let (tell, steps) = mpsc::unbounded_channel();
        let inbox = Inbox { driving, explained, answers, news, steps, zones, review };
        let mut round = Round {
            uid: owner.uid.clone(),
            platform,
            spec,
            judged,
            latest: None,
            wish,
            answer,
            record,
            nudge,
            upgrading: None,
            approvals: Approvals::default(),
            annotations: Annotations::new(tell),
            disrupted: BTreeSet::new(),
        };
        if let Ok(manifest) = self.object.borrow().manifest() {
            round.annotations.read(&manifest.annotated);
        }
        self.annotations_wait = None;
        (round, inbox)
    }

    /// Takes what happens to the cluster.
    fn recorder(&self, events: mpsc::Sender<Happened>) -> Arc<dyn Fn(Happened) + Send + Sync> {
        let home = self.home.clone();
        Arc::new(move |happened| {
            tracing::info!(%home, "{happened}");
            // Full while the API server is away: the log has it.
            let _ = events.try_send(happened);
        })
    }

    /// Has pods that do not begin on their node looked at again.
    fn touch_unstarted_pods(&self) -> Aborting {
        let pods: Api<Pod> = Api::namespaced(self.context.client.clone(), &self.home.namespace);
        spawn(unstarted_pods::run(pods, Arc::clone(&self.seen)))
    }

    fn react(&mut self, occurrence: Occurrence, round: &mut Round) -> ControlFlow<Ended> {
        match occurrence {
            Occurrence::ControllerEnded(refusal) => return ControlFlow::Break(Ended::Refused(refusal)),
            Occurrence::ObjectGone => return ControlFlow::Break(Ended::Replaced),
            Occurrence::ObjectChanged => return self.take_object(round),
            Occurrence::SpecAnswered(answer) => self.take_answer(*answer, round),
            Occurrence::Explained(explanation) => self.take_explanation(explanation, round),
            Occurrence::AgentNews(name, news) => {
                self.seen.hear(&name, &news.pod_uid, news.ip);
                if let Some(term) = news.primary_of.filter(|_| !round.spec.mode.has_slots()) {
                    self.take_mandate(Mandate { primary: name, term });
                }
                news.happened.into_iter().for_each(&*round.record);
                round.nudge.notify_one();
            }
            Occurrence::AnnotationStep(news) => {
                round.annotations.heard(news);
                self.follow_annotations(round);
                self.tell_latest(round.latest.as_deref(), &round.judged);
            }
            Occurrence::Requested(request) => {
                requests::carry_out(self.context.client.clone(), *request, &round.wish);
            }
            Occurrence::Seen => {
                events::disruptions(&self.seen, &mut round.disrupted).into_iter().for_each(&*round.record);
                self.tell_latest(round.latest.as_deref(), &round.judged);
            }
            Occurrence::ZonesChanged => self.tell_latest(round.latest.as_deref(), &round.judged),
            Occurrence::ReviewDue => self.seen.reprovision.notify_one(),
        }
        ControlFlow::Continue(())
    }

    /// Follows what the user has written, if it is of the same cluster.
    fn take_object(&mut self, round: &mut Round) -> ControlFlow<Ended> {
        let object = Arc::clone(&self.object.borrow_and_update());
        let another = object.metadata.uid.as_deref() != Some(round.uid.as_str());
        if another || object.metadata.deletion_timestamp.is_some() {
            return ControlFlow::Break(Ended::Replaced);
        }
        match object.manifest() {
            Err(problems) => round.judged = Judged::Invalid(problems),
            Ok(manifest) => {
                round.annotations.read(&manifest.annotated);
                let spec = spec_of(&manifest);
                match self.take_template(&round.platform, &manifest) {
                    Err(refusal) => round.judged = Judged::Unfit(refusal),
                    Ok(()) if spec == round.spec && matches!(round.judged, Judged::Followed) => {}
                    Ok(()) => round.apply(spec),
                }
            }
        }
        self.follow_annotations(round);
        self.tell_latest(round.latest.as_deref(), &round.judged);
        self.take_approval(round);
        ControlFlow::Continue(())
    }

    /// Does what annotations ask for, and notes why not.
    fn follow_annotations(&mut self, round: &mut Round) {
        if let Some(latest) = &round.latest {
            round.annotations.look(&latest.layout, &round.wish);
        }
        self.annotations_wait = round.annotations.waiting();
    }

    /// What was refused while the cluster hibernated is asked for again when it does no more.
    fn take_spec_again(&self, round: &Round) {
        let refused = matches!(&round.judged, Judged::Unfit(Refusal::Hibernation(_)));
        let awake = |latest: &Explanation| latest.layout.hibernation_stage() == HibernationStage::Awake;
        if refused
            && round.latest.as_deref().is_some_and(awake)
            && let Ok(manifest) = self.object.borrow().manifest()
        {
            round.apply(spec_of(&manifest));
        }
    }

    /// Has primaries restarted if the user has approved of it and a roll waits for that.
    fn take_approval(&self, round: &Round) {
        let layout = round.latest.as_ref().map(|latest| &latest.layout);
        let place = (&self.context.client, &self.home);
        round.approvals.look(&self.object.borrow(), layout, place, &round.wish);
    }

    fn take_answer(&mut self, answer: SpecAnswer, round: &mut Round) {
        round.judged = match answer.result {
            Ok(()) => {
                round.spec = answer.spec;
                Judged::Followed
            }
            Err(refusal) => Judged::Unfit(refusal),
        };
        self.tell_latest(round.latest.as_deref(), &round.judged);
    }

    /// Tells it, and has agents go on as this program once the cluster is healthy.
    fn take_explanation(&mut self, explanation: Box<Explanation>, round: &mut Round) {
        if explanation.report.healthy && round.upgrading.is_none() {
            let instances = explanation.layout.instances.keys().cloned().collect();
            round.upgrading = Some(spawn(agent_upgrade::replace(round.platform.clone(), instances)));
        }
        round.latest = Some(explanation);
        self.follow_annotations(round);
        self.tell_latest(round.latest.as_deref(), &round.judged);
        self.take_spec_again(round);
        self.take_approval(round);
    }
}

impl Round {
    /// Asks the controller to follow another spec.
    fn apply(&self, spec: ClusterSpec) {
        let (reply, replied) = oneshot::channel();
        let _ = self.wish.send((Request::Apply { spec: Box::new(spec.clone()) }, reply));
        let answer = self.answer.clone();
        tokio::spawn(async move {
            if let Ok(result) = replied.await {
                let _ = answer.send(Box::new(SpecAnswer { spec, result }));
            }
        });
    }
}
