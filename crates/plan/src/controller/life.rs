//! Lives go on by what is seen: a cluster that has served all its slots is founded, and an instance that has caught up and would be elected has joined.

use super::resizing;
use crate::operations::votes::is_known_to_voters;
use crate::placement::shards;
use crate::view::cluster_view::{ClusterView, InstanceView};
use crate::view::health::in_sync;
use std::collections::BTreeSet;
use valkeeper_model::{
    Happened, InstanceLife, Layout, NodeId, ReplicaModeWaiting, Report, SlotHappened, Waiting,
};

/// The layout with the lives that follow from what was seen; `None` if all are as they were.
pub(super) fn next(cluster_view: &ClusterView<'_>, report: &Report) -> Option<Layout> {
    let layout = cluster_view.layout;
    let generation = layout.generation.next();
    if layout.is_founding() {
        let founded = || Layout { generation, ..layout.clone() }.founded();
        let follows = |waiting: &Waiting| {
            matches!(waiting, Waiting::ReplicaMode(ReplicaModeWaiting::SourceNotFollowed { .. }))
        };
        return (report.serves_all_slots() && !report.waiting.iter().any(follows)).then(founded);
    }
    let joined: BTreeSet<NodeId> = joined(cluster_view).map(|one| one.instance.node_id).collect();
    if joined.is_empty() {
        return None;
    }
    let is_member = |id: &NodeId| joined.contains(id).then_some(InstanceLife::Member);
    Some(Layout { generation, ..layout.clone() }.with_lives(|instance| is_member(&instance.node_id)))
}

/// Instances that join, hold their shard's data by now (those in sync, and one that was promoted since), and that all primaries know: before that their
/// shard has no successor more.
fn joined<'v>(cluster_view: &'v ClusterView<'_>) -> impl Iterator<Item = &'v InstanceView<'v>> {
    cluster_view.shards.values().flat_map(move |shard| {
        let primary = shard.primary();
        let holds = move |one: &InstanceView<'_>| {
            primary.is_some_and(|primary| primary.name == one.name || in_sync(&primary, one))
        };
        let joins = |one: &&InstanceView<'_>| one.instance.life == InstanceLife::Joining;
        let has_joined = move |one: &&InstanceView<'_>| holds(one) && is_known_to_voters(cluster_view, one);
        shard.instances.iter().filter(joins).filter(has_joined)
    })
}

/// What people are told of the step from one layout to the next.
pub(super) fn happened(before: &Layout, after: &Layout) -> Vec<Happened> {
    let mut happened = resizing::happened(before, after);
    if before.is_founding() && !after.is_founding() {
        happened.push(Happened::Formed);
    }
    if shards::is_under_way(after) && before.slot_moves().next().is_none() {
        let slots = after.slot_moves().map(|(_, slot_move)| slot_move.target.slots.len()).sum();
        if slots > 0 {
            happened.push(Happened::Slots(SlotHappened::SlotMovesBegun { slots }));
        }
    }
    let joined = after.instances.iter().filter(|(name, instance)| {
        let joined = before.instances.get(*name).is_some_and(|before| before.life == InstanceLife::Joining);
        joined && instance.life == InstanceLife::Member
    });
    happened.extend(joined.map(|(instance, chosen)| Happened::Joined {
        shard: chosen.shard.clone(),
        instance: instance.clone(),
    }));
    happened
}
