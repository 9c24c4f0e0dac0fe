//! The slots are spread over another number of shards: over new ones once they are whole, and away from those that leave.
//!
//! | what stands in the layout | what is seen | then |
//! | --- | --- | --- |
//! | a shard is being built | all its instances have joined | it is a member, without slots |
//! | a shard leaves | it has no slots | its instances leave |
//! | the number of shards changes | no shard is being built, and no slots move | as few slots as can be move (`placement::rebalance`) |

use super::votes::is_known_to_voters;
use crate::placement::{rebalance, shards};
use crate::view::cluster_view::{ClusterView, InstanceView, ShardView};
use std::collections::BTreeSet;
use std::sync::Arc;
use valkeeper_model::{InstanceLife, Layout, Operation, ServerView, ShardLife, ShardName, SlotMove};

/// The layout in which it is further; `None` if nothing follows from what is seen.
pub fn next(cluster_view: &ClusterView<'_>) -> Option<Layout> {
    let layout = cluster_view.layout;
    if layout.is_founding() || !shards::is_under_way(layout) {
        return None;
    }
    let further = || Layout { generation: layout.generation.next(), ..layout.clone() };
    let whole = names(cluster_view, |shard| is_whole(cluster_view, shard));
    if !whole.is_empty() {
        let mut next = further();
        for (name, shard) in Arc::make_mut(&mut next.shards).iter_mut() {
            if whole.contains(name) {
                shard.life = ShardLife::Member;
            }
        }
        return Some(next);
    }
    let empty = names(cluster_view, |shard| is_empty(layout, shard));
    if !empty.is_empty() {
        return Some(further().with_lives(|one| {
            (empty.contains(&one.shard) && one.life.stays()).then_some(InstanceLife::Leaving)
        }));
    }
    let moves = moves_due(layout).filter(|moves| !moves.is_empty())?;
    let mut next = further();
    next.operations.extend(moves.into_iter().map(|one| (one.name(), Operation::MoveSlots(one))));
    Some(next)
}

fn names<'v>(
    cluster_view: &'v ClusterView<'_>,
    is: impl Fn(&ShardView<'_>) -> bool,
) -> BTreeSet<&'v ShardName> {
    cluster_view.shards.values().filter(|shard| is(shard)).map(|shard| shard.name).collect()
}

/// What has to move now; `None` while a shard is being built or other slots move.
fn moves_due(layout: &Layout) -> Option<Vec<SlotMove>> {
    let built = layout.shards.values().all(|shard| shard.life != ShardLife::Founding);
    let at_rest = built && layout.slot_moves().next().is_none();
    at_rest.then(|| rebalance::moves(&rebalance::held(layout)))
}

/// Is it one that is being built, and are all its instances there, known to all primaries, and at peace?
fn is_whole(cluster_view: &ClusterView<'_>, shard: &ShardView<'_>) -> bool {
    let is_there = |one: &InstanceView<'_>| {
        one.instance.life == InstanceLife::Member
            && is_known_to_voters(cluster_view, one)
            && one.report.is_some_and(|report| report.waiting.is_none())
            && one.view().is_some_and(|view| view.cluster_ok)
    };
    shard.shard.life == ShardLife::Founding
        && shard.primary().is_some()
        && shard.instances.iter().all(is_there)
}

/// Is it one that leaves and has given all its slots away, by the layout and by its own servers?
fn is_empty(layout: &Layout, shard: &ShardView<'_>) -> bool {
    let owns = |one: &InstanceView<'_>| one.view().is_some_and(ServerView::is_shard_primary);
    let moves = layout.slot_moves().any(|(_, one)| [&one.target.from, &one.target.to].contains(&shard.name));
    shard.shard.life == ShardLife::Leaving
        && shard.shard.slots.is_empty()
        && !moves
        && shard.instances.iter().any(|one| one.instance.life.stays())
        && !shard.instances.iter().any(owns)
}

/// Are the slots as the number of shards wants them?
pub(super) fn is_done(layout: &Layout) -> bool {
    moves_due(layout).is_some_and(|moves| moves.is_empty())
}
