//! What users may ask of a running cluster, and why not (law 12).

use super::awaited::Awaited;
use super::machine::{Controller, Pending};
use super::storing::{AfterCommit, DoneWhen, PendingRequest};
use super::{
    annotations, change, fencing, forgetting, hibernation, resizing, slot_requests, source_requests,
};
use crate::agent::Token;
use crate::operations::disruption::{busy, disturbed, may_disturb, may_succeed};
use crate::operations::roll;
use crate::operations::votes::is_known_to_voters;
use crate::placement::Placing;
use crate::replica_mode::choose_designated;
use crate::view::cluster_view::{ClusterView, InstanceView, ShardView};
use crate::view::health::{hindrance, is_linked, look_refused, paused};
use valkeeper_model::{
    Activity, AgentReport, Answer, Ask, AskFailed, ClusterSpec, Happened, Incarnation, InstanceLife,
    InstanceName, Layout, Millis, NodeId, Observed, Refusal, Request, ResizeRefusal, RollHappened,
    RollRefusal, ServerSetup, ShardName, Unfit, Unseen, Waiting,
};

/// A handover waits for a near moment; a restart for the server to be back and in sync.
pub(super) const HAND_OVER_MS: u64 = 30_000;
pub(super) const RESTART_MS: u64 = 120_000;

/// What a request comes to.
#[derive(Debug)]
pub(super) enum Decision {
    /// Ask that agent; its answer is the user's.
    Tell(InstanceName, Ask, u64),
    /// Ask those agents; done when another instance is the shard's primary than that one, whose run is to end.
    UntilPrimaryChanges(ShardName, Option<(InstanceName, Option<Incarnation>)>, Vec<(InstanceName, Ask)>),
    /// Commit this layout first; done when that holds.
    Commit(Box<Layout>, Happened, Option<Box<ClusterSpec>>, DoneWhen),
    /// It is stored already; done when that holds.
    Await(DoneWhen),
    /// Tell those to forget these nodes; done when all have.
    Forget(Vec<NodeId>, Vec<InstanceName>),
    /// Let that agent try the configuration, and judge the request again.
    Try(InstanceName, Box<ServerSetup>, Request),
    /// There is nothing to do.
    Done,
}

impl Controller {
    pub(super) fn asked(&mut self, now: Millis, token: Token, request: Request) {
        match self.decide(request) {
            Ok(decision) => self.count_and_carry_out(now, token, decision),
            Err(refusal) => self.answer(token, Err(refusal)),
        }
    }

    pub(super) fn carry_out(&mut self, now: Millis, token: Token, decision: Decision) {
        match decision {
            Decision::Tell(to, ask, within_ms) => {
                let mut pending = Pending::Request { token, to: to.clone(), within_ms };
                if let (Ask::HandOver { .. }, Some(layout)) = (&ask, &self.layout)
                    && let Some(instance) = layout.instances.get(&to)
                {
                    self.chosen.insert(instance.shard.clone(), now);
                    pending = Pending::Switchover(token, instance.shard.clone(), to.clone());
                }
                let sent = self.tell(to, ask, within_ms);
                self.pending.insert(sent, pending);
            }
            Decision::UntilPrimaryChanges(shard, from, asks) => {
                for (to, ask) in asks {
                    let sent = self.tell(to, ask, HAND_OVER_MS);
                    self.pending.insert(sent, Pending::Awaited(token));
                }
                self.awaited.push(Awaited { token, shard, from, since: now });
            }
            Decision::Commit(layout, happened, spec, done) => {
                let pending = PendingRequest { token, happened, spec, done };
                self.commit(*layout, AfterCommit::Request(pending));
            }
            Decision::Forget(nodes, members) => self.forget(token, nodes, members),
            Decision::Try(by, setup, request) => self.try_first(by, *setup, token, request),
            Decision::Await(done) => self.await_done(token, done),
            Decision::Done => self.answer(token, Ok(())),
        }
    }

    pub(super) fn request_told(
        &mut self,
        token: Token,
        (instance, within_ms): (InstanceName, u64),
        result: Result<Answer, AskFailed>,
    ) {
        let result = result.map(|_| ()).map_err(|error| match error {
            AskFailed::ConfigInvalid { directives } => Refusal::ConfigInvalid { directives },
            AskFailed::PasswordUnusable(why) => Refusal::PasswordUnusable { why },
            AskFailed::Unseen(why @ Unseen::Timeout) => Refusal::TimedOut { instance, within_ms, why },
            AskFailed::Unseen(why) => Refusal::Failed { why: format!("{instance} {why}") },
            error @ (AskFailed::NotRunning | AskFailed::Outdated | AskFailed::Refused(_)) => {
                Refusal::Failed { why: error.to_string() }
            }
        });
        self.answer(token, result);
    }

    fn decide(&mut self, request: Request) -> Result<Decision, Refusal> {
        let of_manifest = matches!(
            request,
            Request::Check { .. } | Request::Apply { .. } | Request::FollowAnnotations { .. }
        );
        if let Some(layout) = self.layout.as_ref().filter(|_| !of_manifest) {
            hibernation::refuse_meanwhile(layout)?;
        }
        match request {
            Request::Check { spec } => {
                let (layout, next) = self.followed_by(&spec)?;
                Ok(match self.must_try(&layout, &next.setup()) {
                    Some(by) => Decision::Try(by, Box::new(next.setup()), Request::Check { spec }),
                    None => Decision::Done,
                })
            }
            Request::Apply { spec } => self.apply(spec),
            Request::Resize(request) => {
                let (Some(layout), Some(seen)) = (&self.layout, &self.observation) else {
                    return Err(not_seen());
                };
                let mut placing = Placing { zones: &self.zones, ids: self.ids.as_mut() };
                let cluster_view = ClusterView::new(layout, seen);
                resizing::decide(&cluster_view, self.report.as_ref(), request, &mut placing)
            }
            other => self.decide_by_view(other),
        }
    }

    fn apply(&mut self, spec: Box<ClusterSpec>) -> Result<Decision, Refusal> {
        let (layout, next) = self.followed_by(&spec)?;
        if next == layout {
            let given_up = layout.given_up.as_deref().map(|given_up| given_up.why.clone());
            return match given_up {
                Some(why) => Err(RollRefusal::GivenUp { why }.into()),
                None => Ok(Decision::Done),
            };
        }
        if let Some(by) = self.must_try(&layout, &next.setup()) {
            return Ok(Decision::Try(by, Box::new(next.setup()), Request::Apply { spec }));
        }
        let directives =
            change::differences(&layout, &next).into_iter().map(|difference| difference.what).collect();
        let happened = Happened::ConfigChanged { directives };
        Ok(Decision::Commit(Box::new(next), happened, Some(spec), DoneWhen::Observed))
    }

    fn decide_by_view(&self, request: Request) -> Result<Decision, Refusal> {
        let (Some(layout), Some(observation)) = (&self.layout, &self.observation) else {
            return Err(not_seen());
        };
        let cluster_view = ClusterView::new(layout, observation);
        match request {
            Request::Switchover { shard, to } => switchover(&cluster_view, shard.as_ref(), to),
            Request::Failover { shard, force, accept_data_loss } => {
                failover(&cluster_view, &shard, force, accept_data_loss)
            }
            Request::Fence { instance, force } => fencing::fence(&cluster_view, &instance, force),
            Request::Unfence { instance } => fencing::unfence(&cluster_view, &instance),
            Request::FollowAnnotations { annotated } => annotations::follow(&cluster_view, &annotated),
            Request::Restart { instance } => restart(&cluster_view, &instance),
            Request::Forget { nodes } => {
                let members = forgetting::forget(&cluster_view, &nodes)?;
                Ok(Decision::Forget(nodes, members))
            }
            Request::AcceptSource => source_requests::accept(&cluster_view),
            Request::HandOverTo { copy } => source_requests::hand_over_to(&cluster_view, *copy),
            Request::CancelHandOver => source_requests::cancel_hand_over(&cluster_view),
            Request::ApprovePrimaries => {
                let mut next = layout.clone();
                if !roll::approve(&mut next) {
                    return Err(RollRefusal::NothingToApprove.into());
                }
                let happened = RollHappened::PrimariesApproved.into();
                Ok(Decision::Commit(Box::new(next), happened, None, DoneWhen::Observed))
            }
            Request::Promote => source_requests::promote(&cluster_view),
            // These are decided by what there is besides, see `decide`.
            Request::Check { .. } | Request::Apply { .. } | Request::Resize(_) => Ok(Decision::Done),
            Request::Slots(request) => slot_requests::decide(&cluster_view, &request),
        }
    }
}

impl Controller {
    /// The layout, and what the spec makes of it, or why it is not followed.
    fn followed_by(&mut self, spec: &ClusterSpec) -> Result<(Layout, Layout), Refusal> {
        let (Some(layout), Some(seen)) = (&self.layout, &self.observation) else { return Err(not_seen()) };
        // Before any server has run with a password, one name is as good as another.
        if let Some(refusal) = spec.refuse_change_from(&self.spec).filter(|_| !layout.is_founding()) {
            return Err(refusal);
        }
        let mut placing = Placing { zones: &self.zones, ids: self.ids.as_mut() };
        let next = change::follow(layout, spec, self.report.as_ref(), &mut placing)?;
        if layout.hibernation.is_some() {
            return Ok((layout.clone(), next));
        }
        let next = choose_designated(next, &ClusterView::new(layout, seen));
        Ok((layout.clone(), next))
    }
}

fn not_seen() -> Refusal {
    Refusal::Failed { why: "the supervisor has not seen the cluster yet".to_owned() }
}

pub(super) fn locate<'a, 's>(
    cluster_view: &'s ClusterView<'a>,
    instance: &InstanceName,
) -> Result<(&'s ShardView<'a>, InstanceView<'a>), Refusal> {
    let missing = || Refusal::NoSuchInstance { instance: instance.clone() };
    let shard = cluster_view.shard_of(instance).ok_or_else(missing)?;
    Ok((shard, shard.get(instance).ok_or_else(missing)?))
}

fn shard_named<'a, 's>(
    cluster_view: &'s ClusterView<'a>,
    shard: &ShardName,
) -> Result<&'s ShardView<'a>, Refusal> {
    cluster_view.shards.get(shard).ok_or_else(|| Refusal::NoSuchShard { shard: shard.clone() })
}

fn primary_of<'a>(
    cluster_view: &ClusterView<'a>,
    shard: &ShardView<'a>,
) -> Result<InstanceView<'a>, Refusal> {
    if let Some(followed) = cluster_view.layout.replica_mode.as_deref().filter(|mode| mode.follows()) {
        return Err(Refusal::FollowsSource { source_name: followed.source.name() });
    }
    shard.primary().ok_or_else(|| {
        let refused = |waiting| Refusal::Disrupted { shard: shard.name.clone(), waiting: Box::new(waiting) };
        let reports = || shard.instances.iter().filter_map(|instance| instance.report);
        let replaced = reports().any(|report| report.activity == Activity::FailingOver);
        let waiting = reports().filter_map(|report| report.waiting.clone()).filter(|_| !replaced).collect();
        match shard.instances.iter().find_map(hindrance) {
            Some(waiting) if !matches!(busy(shard), Some(Waiting::FailingOver { .. })) => refused(waiting),
            _ => Refusal::NoPrimary { shard: shard.name.clone(), waiting },
        }
    })
}

/// A handover ends whatever pause there is: not without the word of who began it.
fn not_paused(shard: &ShardView<'_>, primary: &InstanceView<'_>) -> Result<(), Refusal> {
    match paused(primary) {
        Some(waiting) => Err(Refusal::Disrupted { shard: shard.name.clone(), waiting: Box::new(waiting) }),
        None => Ok(()),
    }
}

fn successor_exists(
    cluster_view: &ClusterView<'_>,
    shard: &ShardView<'_>,
    primary: &InstanceView<'_>,
) -> Result<(), Refusal> {
    let mut linked = shard.instances.iter().filter(|replica| may_succeed(primary, replica));
    let Some(first) = linked.clone().next() else {
        return Err(Refusal::NoSuccessor { shard: shard.name.clone(), primary: primary.name.clone() });
    };
    if linked.any(|replica| is_known_to_voters(cluster_view, replica)) {
        return Ok(());
    }
    Err(Refusal::NotASuccessor { instance: first.name.clone(), why: Unfit::NotKnown })
}

/// The primary's agent chooses among its replicas by itself, and does not see whom the other primaries know. Where it could choose one that would not
/// be elected: whom it is to take.
fn instead_of_unknown(
    cluster_view: &ClusterView<'_>,
    shard: &ShardView<'_>,
    primary: &InstanceView<'_>,
) -> Option<InstanceName> {
    let linked = shard.instances.iter().filter(|replica| may_succeed(primary, replica));
    let (known, unknown): (Vec<_>, Vec<_>) =
        linked.partition(|replica| is_known_to_voters(cluster_view, replica));
    let offset = |replica: &&InstanceView<'_>| replica.view().map(|view| view.replication.offset);
    let best = known.into_iter().max_by_key(offset).map(|best| best.name.clone());
    best.filter(|_| !unknown.is_empty())
}

fn switchover(
    cluster_view: &ClusterView<'_>,
    shard: Option<&ShardName>,
    to: Option<InstanceName>,
) -> Result<Decision, Refusal> {
    let shard = match (shard, &to) {
        (Some(shard), _) => shard_named(cluster_view, shard)?,
        (None, Some(to)) => locate(cluster_view, to)?.0,
        (None, None) => {
            let mut all = cluster_view.shards.values();
            let (Some(only), None) = (all.next(), all.next()) else { return Err(Refusal::ShardNotNamed) };
            only
        }
    };
    let primary = primary_of(cluster_view, shard)?;
    if let Some(to) = &to {
        let (home, wanted) = locate(cluster_view, to)?;
        let unfit = |why| Err(Refusal::NotASuccessor { instance: to.clone(), why });
        if home.name != shard.name {
            return unfit(Unfit::OtherShard);
        }
        if to == primary.name {
            return Err(Refusal::AlreadyPrimary { instance: to.clone() });
        }
        if wanted.instance.is_fenced() {
            return unfit(Unfit::Fenced);
        }
        if wanted.view().is_none() {
            return unfit(Unfit::NotSeen);
        }
        if !is_linked(&primary, &wanted) {
            return unfit(Unfit::NotInSync);
        }
        if !may_succeed(&primary, &wanted) {
            return unfit(Unfit::Leaving);
        }
        if !is_known_to_voters(cluster_view, &wanted) {
            return unfit(Unfit::NotKnown);
        }
    }
    successor_exists(cluster_view, shard, &primary)?;
    not_paused(shard, &primary)?;
    may_disturb(cluster_view, shard)?;
    let to = to.or_else(|| instead_of_unknown(cluster_view, shard, &primary));
    Ok(Decision::Tell(primary.name.clone(), Ask::HandOver { to }, HAND_OVER_MS))
}

fn failover(
    cluster_view: &ClusterView<'_>,
    shard: &ShardName,
    force: bool,
    accept_data_loss: bool,
) -> Result<Decision, Refusal> {
    let shard = shard_named(cluster_view, shard)?;
    if accept_data_loss {
        let missing = |instance: &&InstanceView<'_>| {
            instance.report.is_some_and(|report| report.waiting.as_ref().is_some_and(Waiting::asks_for_loss))
        };
        let asks: Vec<_> = shard
            .instances
            .iter()
            .filter(missing)
            .map(|instance| (instance.name.clone(), Ask::AcceptLoss))
            .collect();
        if asks.is_empty() {
            return Err(Refusal::NothingToAccept { shard: shard.name.clone() });
        }
        return Ok(Decision::UntilPrimaryChanges(shard.name.clone(), None, asks));
    }
    // One that runs and does not answer would be killed soon; the user need not wait for that. Nothing is disturbed by it. One that
    // lives and refuses all commands is killed only if the user insists.
    let hung = |instance: &&InstanceView<'_>| {
        instance.report.is_some_and(|report| {
            report.incarnation().is_some()
                && report.server == Observed::Unknown(Unseen::Timeout)
                && (force || report.look_refused.is_none())
        })
    };
    if shard.primary().is_none()
        && let Some(hung) = shard.instances.iter().find(hung)
    {
        let asks = vec![(hung.name.clone(), Ask::Kill)];
        return Ok(Decision::UntilPrimaryChanges(shard.name.clone(), None, asks));
    }
    let primary = primary_of(cluster_view, shard)?;
    successor_exists(cluster_view, shard, &primary)?;
    if !force {
        return Err(Refusal::PrimaryIsWell { primary: primary.name.clone() });
    }
    may_disturb(cluster_view, shard)?;
    let asks = vec![(primary.name.clone(), Ask::Kill)];
    let run = primary.report.and_then(AgentReport::incarnation);
    Ok(Decision::UntilPrimaryChanges(shard.name.clone(), Some((primary.name.clone(), run)), asks))
}

fn restart(cluster_view: &ClusterView<'_>, instance: &InstanceName) -> Result<Decision, Refusal> {
    let (shard, known) = locate(cluster_view, instance)?;
    // What it is cannot be known while it refuses to be looked at, so that its agent could not hand over.
    if let Some(waiting) = known.report.and_then(|report| look_refused(instance, report)) {
        return Err(Refusal::Disrupted { shard: shard.name.clone(), waiting: Box::new(waiting) });
    }
    fencing::may_run(&known)?;
    if known.instance.life == InstanceLife::Retired {
        return Err(ResizeRefusal::LeavesAlready { instance: instance.clone() }.into());
    }
    disturb(cluster_view, shard, &known)?;
    Ok(Decision::Tell(instance.clone(), Ask::Restart, RESTART_MS))
}

/// Laws 2 and 6 for one instance that is to be stopped.
pub(super) fn disturb(
    cluster_view: &ClusterView<'_>,
    shard: &ShardView<'_>,
    instance: &InstanceView<'_>,
) -> Result<(), Refusal> {
    if let Some(primary) = shard.primary().filter(|primary| primary.name == instance.name) {
        // Without replicas there is nobody to hand over to, and the user knows.
        if cluster_view.layout.replicas_per_shard > 0 {
            successor_exists(cluster_view, shard, &primary)?;
        }
        may_disturb(cluster_view, shard)?;
    }
    // One that is down already is not disturbed; that its shard is busy with it is no reason.
    match busy(shard).or_else(|| disturbed(cluster_view, shard)) {
        Some(waiting) if instance.view().is_some() => {
            Err(Refusal::Disrupted { shard: shard.name.clone(), waiting: Box::new(waiting) })
        }
        _ => Ok(()),
    }
}
