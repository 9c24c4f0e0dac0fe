//! What users may ask about slots, and why not.

use super::requests::Decision;
use super::storing::DoneWhen;
use crate::operations::move_slots;
use crate::placement::{rebalance, shards};
use crate::view::cluster_view::{ClusterView, ShardView};
use std::collections::BTreeMap;
use valkeeper_model::{
    Happened, Layout, Operation, Refusal, ShardName, SlotHappened, SlotMove, SlotMoveCheckpoint,
    SlotMoveStage, SlotMoveTarget, SlotRefusal, SlotRequest, SlotSet, WhichSlots,
};

pub(super) fn decide(cluster_view: &ClusterView<'_>, request: &SlotRequest) -> Result<Decision, Refusal> {
    let layout = cluster_view.layout;
    if !layout.config.mode.has_slots() {
        return Err(SlotRefusal::NoSlotsInMode.into());
    }
    if layout.is_founding() {
        return Err(SlotRefusal::Founding.into());
    }
    let moves = !matches!(request, SlotRequest::CancelSlotMoves);
    if moves && layout.operations.contains_key(&shards::operation_name()) {
        return Err(SlotRefusal::ShardsChange.into());
    }
    match request {
        SlotRequest::MoveSlots { from, to, which } => {
            let wanted = wanted(layout, from, to, which)?;
            begin(cluster_view, vec![wanted])
        }
        SlotRequest::CancelSlotMoves => cancel(layout),
        SlotRequest::Rebalance { by: _ } => {
            refuse_beside_others(layout)?;
            begin_all(cluster_view, rebalance::moves(&rebalance::held(layout)))
        }
        SlotRequest::MoveTogether { moves } => {
            refuse_beside_others(layout)?;
            begin_all(cluster_view, wanted_together(layout, moves)?)
        }
    }
}

/// What evens shards out counts on what each of them has: nothing else may move meanwhile.
fn refuse_beside_others(layout: &Layout) -> Result<(), Refusal> {
    let Some((operation, one)) = layout.slot_moves().next() else { return Ok(()) };
    let (operation, slots) = (operation.clone(), one.left(layout));
    Err(SlotRefusal::OnTheirWay { slots, operation }.into())
}

fn begin_all(cluster_view: &ClusterView<'_>, moves: Vec<SlotMove>) -> Result<Decision, Refusal> {
    if moves.is_empty() { Ok(Decision::Done) } else { begin(cluster_view, moves) }
}

/// The moves that are asked for together. They were decided by what was seen a while ago: a shard that has not what it is to give refuses all.
fn wanted_together(layout: &Layout, moves: &[SlotMoveTarget]) -> Result<Vec<SlotMove>, Refusal> {
    let mut given: BTreeMap<&ShardName, SlotSet> = BTreeMap::new();
    let mut wanted_moves = Vec::new();
    for SlotMoveTarget { from, to, slots } in moves {
        let before = given.entry(from).or_default();
        let twice = before.common(slots);
        if !twice.is_empty() {
            return Err(SlotRefusal::NamedTwice { shard: from.clone(), slots: twice }.into());
        }
        wanted_moves.push(wanted(layout, from, to, &WhichSlots::These(slots.clone()))?);
        *before = before.union(slots);
        if layout.shards.get(from).is_some_and(|shard| shard.slots.minus(before).is_empty()) {
            return Err(SlotRefusal::WouldBeEmpty { shard: from.clone() }.into());
        }
    }
    Ok(wanted_moves)
}

/// The move that is asked for.
fn wanted(
    layout: &Layout,
    from: &ShardName,
    to: &ShardName,
    which: &WhichSlots,
) -> Result<SlotMove, Refusal> {
    let shard = |name: &ShardName| {
        layout.shards.get(name).ok_or_else(|| Refusal::NoSuchShard { shard: name.clone() })
    };
    let (giving, _) = (shard(from)?, shard(to)?);
    if from == to {
        return Err(SlotRefusal::SameShard { shard: from.clone() }.into());
    }
    let free = giving.slots.minus(&layout.outgoing(from));
    let slots = match which {
        WhichSlots::Count(count) if *count > free.len() => {
            let (shard, owned, wanted) = (from.clone(), free.len(), *count);
            return Err(SlotRefusal::TooManySlots { shard, owned, wanted }.into());
        }
        WhichSlots::Count(count) => free.highest(*count),
        WhichSlots::These(slots) => slots.clone(),
    };
    let foreign = slots.minus(&giving.slots);
    if !foreign.is_empty() {
        return Err(SlotRefusal::NotItsSlots { shard: from.clone(), slots: foreign }.into());
    }
    let moving = slots.minus(&free);
    if let Some((operation, _)) =
        layout.slot_moves().find(|(_, one)| one.target.to != *to && one.left(layout).intersects(&moving))
    {
        return Err(SlotRefusal::OnTheirWay { slots: moving, operation: operation.clone() }.into());
    }
    if slots.len() == giving.slots.len() {
        return Err(SlotRefusal::WouldBeEmpty { shard: from.clone() }.into());
    }
    Ok(SlotMove::new(from.clone(), to.clone(), slots))
}

/// Stores these moves, unless one cannot be.
fn begin(cluster_view: &ClusterView<'_>, moves: Vec<SlotMove>) -> Result<Decision, Refusal> {
    let mut next = cluster_view.layout.clone();
    let mut count = 0_u16;
    for slot_move in moves {
        let (from, to) = (&slot_move.target.from, &slot_move.target.to);
        let back = |one: &SlotMove| one.target.from == *to && one.target.to == *from;
        if let Some((operation, _)) = next.slot_moves().find(|(_, one)| back(one)) {
            let (from, to, operation) = (from.clone(), to.clone(), operation.clone());
            return Err(SlotRefusal::OtherWay { from, to, operation }.into());
        }
        let primary = |shard: &ShardName| cluster_view.shards.get(shard).and_then(ShardView::primary);
        if let (Some(source), Some(target)) = (primary(from), primary(to)) {
            move_slots::has_room(&next, to, &target, &source, &slot_move.target.slots)?;
        }
        count += slot_move.target.slots.len();
        let name = slot_move.name();
        let slots = match next.operations.get(&name) {
            Some(Operation::MoveSlots(before)) => before.target.slots.union(&slot_move.target.slots),
            _ => slot_move.target.slots.clone(),
        };
        let checkpoint = SlotMoveCheckpoint::fresh();
        let target = valkeeper_model::SlotMoveTarget { slots, ..slot_move.target };
        next.operations
            .insert(name, Operation::MoveSlots(SlotMove { target, checkpoint, newer: slot_move.newer }));
    }
    // Agents are told before the first slot comes: a file with keys of such a slot is theirs.
    next.generation = cluster_view.layout.generation.next();
    let happened = Happened::Slots(SlotHappened::SlotMovesBegun { slots: count });
    Ok(Decision::Commit(Box::new(next), happened, None, DoneWhen::Observed))
}

fn cancel(layout: &Layout) -> Result<Decision, Refusal> {
    let mut next = layout.clone();
    let mut any = false;
    for operation in next.operations.values_mut() {
        if let Operation::MoveSlots(slot_move) = operation {
            slot_move.checkpoint.stage = SlotMoveStage::Ending;
            any = true;
        }
    }
    if !any {
        return Err(SlotRefusal::NothingMoves.into());
    }
    let happened = Happened::Slots(SlotHappened::SlotMovesCancelled);
    Ok(Decision::Commit(Box::new(next), happened, None, DoneWhen::Observed))
}
