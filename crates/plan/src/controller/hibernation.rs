//! A cluster is stopped as a whole, without a write that was acknowledged being lost, and runs again.
//!
//! Replicas are stopped first, and a primary when all of its replicas are known to be down: its copy is the newest, and is found to be so when the
//! cluster runs again. What the layout says of it is enough for any controller to go on, or to turn round at any step.

use super::annotations::Asks;
use super::fencing::{is_replica, kept_down, may_be_last};
use super::requests::Decision;
use super::storing::DoneWhen;
use crate::view::cluster_view::{ClusterView, InstanceView, ShardView};
use std::collections::BTreeSet;
use std::sync::Arc;
use valkeeper_model::{
    FencedBy, Hibernation, HibernationHappened, HibernationRefusal, HibernationStage, HibernationWish,
    InstanceLife, InstanceName, Layout, Persistence, Phase, Refusal, ReplicaMode, ReplicaModeStage, Report,
    Waiting,
};

/// Is something to be done for that wish?
pub(super) fn asks(layout: &Layout, wish: HibernationWish) -> Asks {
    let left_over = || layout.instances.values().any(|one| one.fences.has(&FencedBy::Hibernation));
    let is_so = match wish {
        HibernationWish::On => layout.hibernation_stage() == HibernationStage::Stopped,
        HibernationWish::Off => layout.hibernation_stage() == HibernationStage::Awake && !left_over(),
    };
    if is_so { Asks::Nothing } else { Asks::Something }
}

/// The next of what it takes.
pub(super) fn follow(cluster_view: &ClusterView<'_>, wish: HibernationWish) -> Result<Decision, Refusal> {
    match (wish, cluster_view.layout.hibernation_stage()) {
        (HibernationWish::Off, _) => Ok(resume(cluster_view.layout)),
        (HibernationWish::On, HibernationStage::Awake) => {
            may_begin(cluster_view.layout)?;
            stop_next(cluster_view)
        }
        (HibernationWish::On, HibernationStage::Stopping) => stop_next(cluster_view),
        (HibernationWish::On, HibernationStage::Stopped) => Ok(Decision::Done),
    }
}

fn resume(layout: &Layout) -> Decision {
    let mut next = layout.clone();
    next.hibernation = None;
    for one in Arc::make_mut(&mut next.instances).values_mut() {
        one.fences.lift(&FencedBy::Hibernation);
    }
    next.generation = layout.generation.next();
    Decision::Commit(Box::new(next), HibernationHappened::Resuming.into(), None, DoneWhen::Observed)
}

/// What is under way is brought to its end before: nothing of it is gone on with while the cluster is stopped.
fn may_begin(layout: &Layout) -> Result<(), HibernationRefusal> {
    if layout.is_founding() {
        return Err(HibernationRefusal::StillFounding);
    }
    if layout.config.persistence == Persistence::None {
        return Err(HibernationRefusal::NothingKept);
    }
    let promoting = |stage: &ReplicaModeStage| matches!(stage, ReplicaModeStage::Promoting { .. });
    if layout.replica_mode.as_deref().is_some_and(|mode| promoting(&mode.stage)) {
        return Err(HibernationRefusal::BeingPromoted);
    }
    if let Some(operation) = layout.operations.keys().next() {
        return Err(HibernationRefusal::UnderWay { operation: operation.clone() });
    }
    if !layout.ledger.is_empty() {
        return Err(HibernationRefusal::Disturbed { instances: layout.ledger.keys().cloned().collect() });
    }
    let moves = layout.instances.iter().filter(|(_, one)| one.life != InstanceLife::Member);
    let instances: Vec<_> = moves.map(|(name, _)| name.clone()).collect();
    if instances.is_empty() { Ok(()) } else { Err(HibernationRefusal::ComesOrGoes { instances }) }
}

/// All that may be stopped now is. When all are down for good, the pods may go.
fn stop_next(cluster_view: &ClusterView<'_>) -> Result<Decision, Refusal> {
    let layout = cluster_view.layout;
    let all =
        || cluster_view.shards.values().flat_map(|shard| shard.instances.iter().map(move |one| (shard, one)));
    let left: Vec<_> = all().filter(|(_, one)| !one.instance.fences.has(&FencedBy::Hibernation)).collect();
    let (mut due, mut refused) = (BTreeSet::new(), None);
    for (shard, one) in &left {
        match may_stop(cluster_view, shard, one) {
            Ok(()) => _ = due.insert(one.name.clone()),
            Err(refusal) => _ = refused.get_or_insert(refusal),
        }
    }
    if !due.is_empty() {
        return Ok(stop(layout, &due));
    }
    if let Some(refusal) = refused {
        return Err(refusal);
    }
    let instances: Vec<_> =
        all().filter(|(_, one)| !kept_down(layout, one)).map(|(_, one)| one.name.clone()).collect();
    if !instances.is_empty() {
        return Err(HibernationRefusal::NotDown { instances }.into());
    }
    // Another generation, although nobody is told anything: pods are given to instances, and taken from them, with each.
    let next = Layout {
        hibernation: Some(Hibernation::Stopped),
        generation: layout.generation.next(),
        ..layout.clone()
    };
    Ok(Decision::Commit(Box::new(next), HibernationHappened::Hibernated.into(), None, DoneWhen::Observed))
}

fn stop(layout: &Layout, due: &BTreeSet<InstanceName>) -> Decision {
    let mut next = layout.clone();
    next.hibernation = Some(Hibernation::Stopping);
    for (_, one) in Arc::make_mut(&mut next.instances).iter_mut().filter(|(name, _)| due.contains(*name)) {
        one.fences.set(FencedBy::Hibernation);
    }
    next.generation = layout.generation.next();
    let happened = HibernationHappened::Hibernating { instances: due.iter().cloned().collect() };
    Decision::Commit(Box::new(next), happened.into(), None, DoneWhen::Observed)
}

fn may_stop(
    cluster_view: &ClusterView<'_>,
    shard: &ShardView<'_>,
    one: &InstanceView<'_>,
) -> Result<(), Refusal> {
    let layout = cluster_view.layout;
    // What a follower holds, its source holds too: it comes back with that.
    let follows = layout.replica_mode.as_deref().is_some_and(ReplicaMode::follows);
    if follows || one.instance.is_fenced() || is_replica(shard, one) {
        return Ok(());
    }
    may_be_last(layout, shard, one)?;
    // One that cannot save refuses to end, and is ended without at last.
    if one.view().is_some_and(|view| view.persistence_failing) {
        return Err(HibernationRefusal::NotSaved { instance: one.name.clone() }.into());
    }
    Ok(())
}

/// What a report says of a cluster that is stopped on purpose: that its servers are down is no trouble.
pub(super) fn told(layout: &Layout, report: &mut Report) {
    match layout.hibernation_stage() {
        HibernationStage::Awake => return,
        HibernationStage::Stopping => report.phase = Phase::Hibernating,
        HibernationStage::Stopped => {
            report.phase = Phase::Hibernated;
            report.progress.clear();
            report.waiting.clear();
        }
    }
    report.healthy = false;
    let for_this = |waiting: &Waiting| match waiting {
        Waiting::Fenced { by, .. } => by.has(&FencedBy::Hibernation),
        Waiting::NoPrimary { .. } | Waiting::SlotsUnserved { .. } | Waiting::NoQuorum { .. } => true,
        _ => false,
    };
    report.waiting.retain(|waiting| !for_this(waiting));
}

/// May a user ask for something else meanwhile?
pub(super) fn refuse_meanwhile(layout: &Layout) -> Result<(), HibernationRefusal> {
    match layout.hibernation_stage() {
        HibernationStage::Awake => Ok(()),
        HibernationStage::Stopping | HibernationStage::Stopped => Err(HibernationRefusal::Hibernates),
    }
}
