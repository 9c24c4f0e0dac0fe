//! Instances that are kept down: by a request, or because the annotation of their cluster names them.

use super::annotations::Asks;
use super::disturbing::counted;
use super::requests::{Decision, disturb, locate};
use super::storing::DoneWhen;
use crate::operations::disruption::busy;
use crate::view::cluster_view::{ClusterView, InstanceView, ShardView};
use std::sync::Arc;
use valkeeper_model::{
    Activity, AgentReport, DisturbedBy, DisturbingRequest, FenceRefusal, FencedBy, FencedInstances, Fences,
    Happened, Instance, InstanceName, Layout, Refusal, ReplicaMode, ShardName,
};

/// A user wants that one down.
pub(super) fn fence(
    cluster_view: &ClusterView<'_>,
    instance: &InstanceName,
    force: bool,
) -> Result<Decision, Refusal> {
    let (shard, known) = locate(cluster_view, instance)?;
    let down = DoneWhen::Down(instance.clone());
    if known.instance.fences.has(&FencedBy::Request) {
        return Ok(if is_down(&known) { Decision::Done } else { Decision::Await(down) });
    }
    if !force && !known.instance.is_fenced() {
        disturb(cluster_view, shard, &known)?;
    }
    Ok(set(cluster_view, shard, &known, FencedBy::Request, down))
}

/// A user wants it up again.
pub(super) fn unfence(cluster_view: &ClusterView<'_>, instance: &InstanceName) -> Result<Decision, Refusal> {
    let (_, known) = locate(cluster_view, instance)?;
    if let Some(by) = others(&known) {
        return Err(FenceRefusal::FencedByOthers { instance: instance.clone(), by }.into());
    }
    if !known.instance.is_fenced() {
        return Ok(Decision::Done);
    }
    Ok(lift(cluster_view.layout, instance, &FencedBy::Request))
}

/// May its server run at all?
pub(super) fn may_run(known: &InstanceView<'_>) -> Result<(), Refusal> {
    let instance = || known.name.clone();
    match others(known) {
        Some(by) => Err(FenceRefusal::FencedByOthers { instance: instance(), by }.into()),
        None if known.instance.is_fenced() => Err(Refusal::Fenced { instance: instance() }),
        None => Ok(()),
    }
}

/// Who keeps it down beside a request.
fn others(known: &InstanceView<'_>) -> Option<Fences> {
    Some(known.instance.fences.clone().without(&FencedBy::Request)).filter(Fences::any)
}

/// Is something to be done for that annotation? Of one that cannot be followed as a whole nothing is.
pub(super) fn asks(layout: &Layout, wanted: &FencedInstances) -> Result<Asks, FenceRefusal> {
    if let FencedInstances::Named(names) = wanted {
        let unknown = |name: &&InstanceName| !layout.instances.contains_key(*name);
        let instances: Vec<_> = names.iter().filter(unknown).cloned().collect();
        if !instances.is_empty() {
            return Err(FenceRefusal::UnknownInstances { instances });
        }
        let emptied = |shard: &&ShardName| is_emptied(layout, shard, wanted);
        if let Some(shard) = layout.shards.keys().find(emptied) {
            return Err(FenceRefusal::NobodyLeft { shard: shard.clone() });
        }
    }
    let differs =
        layout.instances.iter().any(|(name, one)| one.fences.has(&FencedBy::Annotation) != wanted.has(name));
    Ok(if differs { Asks::Something } else { Asks::Nothing })
}

/// Would nobody of that shard run any more, and somebody for the annotation alone? Whoever has a shard of one instance knows what a fence does to it.
fn is_emptied(layout: &Layout, shard: &ShardName, wanted: &FencedInstances) -> bool {
    let staying: Vec<_> = layout.instances_of(shard).filter(|(_, one)| one.life.stays()).collect();
    let by_others = |one: &Instance| one.fences.clone().without(&FencedBy::Annotation).any();
    staying.len() > 1
        && layout.instances_of(shard).any(|(name, _)| wanted.has(name))
        && staying.iter().all(|(name, one)| wanted.has(name) || by_others(one))
}

/// The next of what the annotation asks for: one instance at a time, so that each is judged by what has come of the one before. Lifted is first.
pub(super) fn follow(cluster_view: &ClusterView<'_>, wanted: &FencedInstances) -> Result<Decision, Refusal> {
    let layout = cluster_view.layout;
    if asks(layout, wanted)? == Asks::Nothing {
        return Ok(Decision::Done);
    }
    let annotation = FencedBy::Annotation;
    let lifted = layout.instances.iter().find(|(name, one)| one.fences.has(&annotation) && !wanted.has(name));
    if let Some((name, _)) = lifted {
        return Ok(lift(layout, name, &annotation));
    }
    let mut refused = None;
    for (shard, known) in candidates(cluster_view, wanted) {
        let judged = match wanted {
            _ if known.instance.is_fenced() => Ok(()),
            FencedInstances::Named(_) => disturb(cluster_view, shard, &known),
            FencedInstances::All => may_go_down_with_all(layout, shard, &known),
        };
        match judged {
            Ok(()) => return Ok(set(cluster_view, shard, &known, annotation, DoneWhen::Observed)),
            Err(refusal) => _ = refused.get_or_insert(refusal),
        }
    }
    refused.map_or(Ok(Decision::Done), Err)
}

/// Those that are still to be fenced, replicas first: a primary is not to hand over to one that goes down next.
fn candidates<'a, 's>(
    cluster_view: &'s ClusterView<'a>,
    wanted: &FencedInstances,
) -> Vec<(&'s ShardView<'a>, InstanceView<'a>)> {
    let all = cluster_view.shards.values().flat_map(|shard| {
        let instances = shard.instances.iter();
        instances.map(move |known| (shard, *known))
    });
    let due = |(_, known): &(_, InstanceView<'a>)| {
        wanted.has(known.name) && !known.instance.fences.has(&FencedBy::Annotation)
    };
    let mut due: Vec<_> = all.filter(due).collect();
    due.sort_by_key(|(shard, known)| !is_replica(shard, known));
    due
}

/// Is it a replica for certain, or down? One that is not seen may be the primary.
pub(super) fn is_replica(shard: &ShardView<'_>, known: &InstanceView<'_>) -> bool {
    is_down(known)
        || (known.view().is_some_and(|view| !view.is_shard_primary())
            && shard.primary().is_some_and(|primary| primary.name != known.name))
}

/// The whole cluster goes down, so that nobody takes over from anybody: replicas first, and a primary when all of its replicas are down.
fn may_go_down_with_all(
    layout: &Layout,
    shard: &ShardView<'_>,
    known: &InstanceView<'_>,
) -> Result<(), Refusal> {
    let follows = layout.replica_mode.as_deref().is_some_and(ReplicaMode::follows);
    if follows || is_replica(shard, known) { Ok(()) } else { may_be_last(layout, shard, known) }
}

/// May it be the last of its shard to go down? What it takes until then is on its disk, and its copy is the newest: no other is to be up again meanwhile.
pub(super) fn may_be_last(
    layout: &Layout,
    shard: &ShardView<'_>,
    known: &InstanceView<'_>,
) -> Result<(), Refusal> {
    let others = shard.instances.iter().filter(|other| other.name != known.name && !kept_down(layout, other));
    let others: Vec<_> = others.map(|other| other.name.clone()).collect();
    if !others.is_empty() {
        return Err(FenceRefusal::OthersRun { instance: known.name.clone(), others }.into());
    }
    match busy(shard) {
        Some(waiting) => Err(Refusal::Disrupted { shard: shard.name.clone(), waiting: Box::new(waiting) }),
        None => Ok(()),
    }
}

/// Is its server down, and does its agent know that it is to stay so? One that died by itself may be about to start.
pub(super) fn kept_down(layout: &Layout, known: &InstanceView<'_>) -> bool {
    known.instance.is_fenced()
        && known.report.is_some_and(|report| {
            report.is_down()
                && report.activity == Activity::Resting
                && report.generation >= layout.ordered_since(known.name)
        })
}

fn is_down(known: &InstanceView<'_>) -> bool {
    known.report.is_some_and(AgentReport::is_down)
}

fn set(
    cluster_view: &ClusterView<'_>,
    shard: &ShardView<'_>,
    known: &InstanceView<'_>,
    by: FencedBy,
    done: DoneWhen,
) -> Decision {
    let mut layout = with(cluster_view.layout, known.name, |fences| fences.set(by));
    let is_primary = shard.primary().is_some_and(|primary| primary.name == known.name);
    if is_primary && !known.instance.is_fenced() {
        let by = DisturbedBy::Request(DisturbingRequest::Fence);
        let entry = counted(&layout, cluster_view.observation, known.name, by);
        layout.ledger.extend(entry.map(|entry| (known.name.clone(), entry)));
    }
    let happened = Happened::Fenced { instance: known.name.clone() };
    Decision::Commit(Box::new(layout), happened, None, done)
}

fn lift(layout: &Layout, instance: &InstanceName, by: &FencedBy) -> Decision {
    let next = with(layout, instance, |fences| fences.lift(by));
    let happened = Happened::Unfenced { instance: instance.clone() };
    Decision::Commit(Box::new(next), happened, None, DoneWhen::Observed)
}

/// The same layout with other fences of that instance. Its agent is told if that is another order.
fn with(layout: &Layout, instance: &InstanceName, change: impl FnOnce(&mut Fences)) -> Layout {
    let mut next = layout.clone();
    let Some(chosen) = Arc::make_mut(&mut next.instances).get_mut(instance) else { return next };
    let before = chosen.is_fenced();
    change(&mut chosen.fences);
    if chosen.is_fenced() != before {
        next.generation = layout.generation.next();
    }
    next
}
