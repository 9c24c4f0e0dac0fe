//! Instances that leave: the primary hands over, who is left out is stopped, and is none any more once it is certainly down. Each step is a change of
//! its life in the layout (`Leaving` → `Retired` → gone), so that a controller that is started anew goes on by that.
//!
//! | life | what is seen | then |
//! | --- | --- | --- |
//! | leaving | its shard lacks an instance that is to stay, or that is in sync | it waits |
//! | leaving | it is the primary | it hands over ([`Step::SwitchToLeave`]) |
//! | leaving | neither | retired: its agent is ordered to stop it |
//! | retired | its agent says that it is down, by that order | gone: none of the layout |
//! | either | nobody answers for it, and the user has said that its host is gone for good | gone, once another serves its shard |
//! | gone | a server still knows its node | that one is told to forget it, whenever it is seen |

use super::disruption::{changing, may_disturb};
use super::votes::is_known_to_voters;
use super::{Barred, Step, may_take_role};
use crate::view::cluster_view::{ClusterView, InstanceView, ShardView};
use crate::view::health::in_sync;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use valkeeper_model::{
    Activity, InstanceLife, InstanceName, Layout, LeavingStage, MoveCause, NodeId, Operation, ResizeWaiting,
    RetiredInstance, ServerView, ShardLife, Waiting,
};

/// What is next for an instance that leaves.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Stage {
    /// Nothing now.
    Waits(LeavingStage),
    /// It may be told to stop.
    MayStop,
    /// It is none any more.
    Gone,
}

/// The layout in which those that may stop are told to, and those that are down are gone; `None` if there are none.
pub fn next(cluster_view: &ClusterView<'_>) -> Option<Layout> {
    let mut next = cluster_view.layout.clone();
    for shard in cluster_view.shards.values() {
        let mut told = false;
        for one in shard.instances.iter().filter(|one| one.instance.life.leaves()) {
            match stage(cluster_view, shard, one) {
                Stage::Waits(_) => {}
                // One after the other: the shard is looked at again in between.
                Stage::MayStop if told => {}
                Stage::MayStop => {
                    told = true;
                    if let Some(chosen) = Arc::make_mut(&mut next.instances).get_mut(one.name) {
                        chosen.life = InstanceLife::Retired;
                    }
                }
                Stage::Gone => remove(&mut next, shard, one),
            }
        }
    }
    if next == *cluster_view.layout {
        return None;
    }
    next.generation = cluster_view.layout.generation.next();
    Some(next)
}

fn remove(next: &mut Layout, shard: &ShardView<'_>, one: &InstanceView<'_>) {
    let others = || next.instances_of(shard.name).filter(|(name, _)| *name != one.name);
    let serves = shard.primary().map(|primary| primary.name);
    let heir = others()
        .find(|(name, _)| Some(*name) == serves)
        .or_else(|| others().find(|(_, other)| other.life.stays()).or_else(|| others().next()));
    let heir = heir.map(|(name, _)| name.clone());
    let shards = Arc::make_mut(&mut next.shards);
    match (heir, shards.get_mut(shard.name)) {
        (Some(heir), Some(chosen)) if chosen.founder == *one.name => chosen.founder = heir,
        (None, Some(_)) => _ = shards.remove(shard.name),
        _ => {}
    }
    Arc::make_mut(&mut next.instances).remove(one.name);
    Arc::make_mut(&mut next.retired).insert(one.name.clone(), RetiredInstance::of(one.instance));
}

fn stage(cluster_view: &ClusterView<'_>, shard: &ShardView<'_>, one: &InstanceView<'_>) -> Stage {
    let obeys = |generation| generation >= cluster_view.layout.ordered_since(one.name);
    if one.instance.life == InstanceLife::Retired
        && let Some(report) = one.report
    {
        let down = report.is_down() && report.activity == Activity::Resting && obeys(report.generation);
        // What its disk holds is asked for as long as it is of the layout.
        return match needed(cluster_view, shard, one) {
            Some(why @ LeavingStage::CopiesMissing { .. }) if down => Stage::Waits(why),
            _ if down => Stage::Gone,
            _ => Stage::Waits(LeavingStage::Stops),
        };
    }
    if let Some(why) = needed(cluster_view, shard, one) {
        return Stage::Waits(why);
    }
    match one.report {
        Some(_) => Stage::MayStop,
        None if is_gone_for_good(cluster_view.layout, one.name) => Stage::Gone,
        None => Stage::Waits(LeavingStage::Unheard),
    }
}

/// Why the shard cannot do without it yet.
fn needed(
    cluster_view: &ClusterView<'_>,
    shard: &ShardView<'_>,
    one: &InstanceView<'_>,
) -> Option<LeavingStage> {
    let name = || shard.name.clone();
    let others = || shard.instances.iter().filter(|other| other.name != one.name);
    if shard.shard.life == ShardLife::Leaving {
        let owns = |other: &InstanceView<'_>| other.view().is_some_and(ServerView::is_shard_primary);
        let slots = !shard.shard.slots.is_empty() || shard.instances.iter().any(owns);
        return slots.then(|| LeavingStage::OwnsSlots { shard: name() });
    }
    let primary = shard.primary();
    let holds = |other: &&InstanceView<'_>| {
        let serves = primary.is_some_and(|primary| primary.name == other.name);
        other.instance.life.stays()
            && is_known_to_voters(cluster_view, other)
            && (serves || primary.is_some_and(|primary| in_sync(&primary, other)))
    };
    let there = u32::try_from(others().filter(holds).count()).unwrap_or(u32::MAX);
    let wanted = cluster_view.layout.replicas_per_shard.saturating_add(1);
    if there < wanted {
        return Some(LeavingStage::CopiesMissing { shard: name(), there, wanted });
    }
    if primary.is_none_or(|primary| primary.name == one.name) {
        return Some(LeavingStage::HandsOver);
    }
    let moves = |other: &InstanceView<'_>| {
        other.report.is_some_and(|report| matches!(report.activity, Activity::Starting | Activity::Stopping))
    };
    let busy = changing(shard).is_some() || others().any(moves);
    busy.then(|| LeavingStage::ShardBusy { shard: name() })
}

/// Has the user said so?
fn is_gone_for_good(layout: &Layout, instance: &InstanceName) -> bool {
    let causes = layout.operations.values().filter_map(Operation::moves).map(|moves| &moves.cause);
    causes.filter_map(MoveCause::gone_for_good).any(|gone| gone == instance)
}

/// A primary that is to leave hands over once its shard has what it is to have without it.
pub(super) fn hand_over(
    cluster_view: &ClusterView<'_>,
    shard: &ShardView<'_>,
    barred: &Barred,
) -> Option<Step> {
    let primary = shard.primary().filter(|primary| primary.instance.life.leaves())?;
    if needed(cluster_view, shard, &primary) != Some(LeavingStage::HandsOver) {
        return None;
    }
    let step = |to: &InstanceView<'_>| Step::SwitchToLeave {
        shard: shard.name.clone(),
        from: primary.name.clone(),
        to: to.name.clone(),
    };
    let may = |to: &&InstanceView<'_>| {
        to.instance.life.stays()
            && in_sync(&primary, to)
            && may_take_role(cluster_view, &primary, to)
            && !barred.refused.contains(&step(to).key())
    };
    // Where the primary is no replica is: that zone is free when it is gone.
    let in_its_zone = |to: &&InstanceView<'_>| to.instance.zone != primary.instance.zone;
    let to = shard.instances.iter().filter(may).min_by_key(in_its_zone)?;
    may_disturb(cluster_view, shard).ok()?;
    Some(step(to))
}

/// Those that were removed are to be forgotten by every server that knows them, at once: who still knew one would tell the others of it again, but
/// for the minute for which the engine remembers whom it was told to forget.
pub(super) fn forget(cluster_view: &ClusterView<'_>) -> Vec<Step> {
    let known = remembered(cluster_view);
    known
        .into_iter()
        .map(|(instance, nodes)| Step::ForgetRetired {
            instance: instance.clone(),
            nodes: nodes.into_values().collect(),
        })
        .collect()
}

/// Who knows whom of those that were removed, and does not follow it: the engine forgets no node's own primary.
fn remembered<'v>(
    cluster_view: &'v ClusterView<'_>,
) -> BTreeMap<&'v InstanceName, BTreeMap<&'v InstanceName, NodeId>> {
    let layout = cluster_view.layout;
    if layout.retired.is_empty() || !layout.config.mode.has_slots() {
        return BTreeMap::new();
    }
    let servers = cluster_view.shards.values().flat_map(|shard| &shard.instances);
    let known = servers.filter_map(|one| {
        let view = one.view()?;
        let known = |(_, gone): &(&InstanceName, &RetiredInstance)| {
            view.topology.contains_key(&gone.node_id) && view.primary() != Some(gone.node_id)
        };
        let known: BTreeMap<_, _> =
            layout.retired.iter().filter(known).map(|(name, gone)| (name, gone.node_id)).collect();
        (!known.is_empty()).then_some((one.name, known))
    });
    known.collect()
}

/// The node ids of those that were removed.
pub fn retired_nodes(layout: &Layout) -> BTreeSet<NodeId> {
    layout.retired.values().map(|gone| gone.node_id).collect()
}

/// What people are told of those that leave, and of those that have left.
pub fn reasons(cluster_view: &ClusterView<'_>, waiting: &mut Vec<Waiting>) {
    for shard in cluster_view.shards.values() {
        for one in shard.instances.iter().filter(|one| one.instance.life.leaves()) {
            let stage = match stage(cluster_view, shard, one) {
                Stage::Waits(stage) => stage,
                Stage::MayStop | Stage::Gone => LeavingStage::Stops,
            };
            let instance = one.name.clone();
            waiting.push(Waiting::Resize(ResizeWaiting::InstanceLeaves { instance, stage }));
        }
    }
    let mut known_by: BTreeMap<&InstanceName, usize> = BTreeMap::new();
    for instance in remembered(cluster_view).into_values().flat_map(BTreeMap::into_keys) {
        *known_by.entry(instance).or_default() += 1;
    }
    for (instance, known_by) in known_by {
        let Some(gone) = cluster_view.layout.retired.get(instance) else { continue };
        let (instance, node) = (instance.clone(), gone.node_id);
        waiting.push(Waiting::Resize(ResizeWaiting::RetiredRemembered { instance, node, known_by }));
    }
}
