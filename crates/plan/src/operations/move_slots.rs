//! Slots move from one shard to another, while both serve.
//!
//! The agent of the giving primary moves some of them in one go, which takes a second or two; what has come of that is seen. A slot belongs to the
//! other shard once its primary says that it owns it, the giving one says so no more, and a majority of the servers that are seen agrees. Who
//! carries a move out may end at any moment: what was begun stands on the servers, and the next one goes on with it.

use super::Step;
use super::disruption::{changing, disturbed};
use super::stored::Next;
use crate::view::cluster_view::{ClusterView, InstanceView, ShardView};
use crate::view::health::isolated;
use std::collections::BTreeSet;
use std::sync::Arc;
use valkeeper_model::{
    Layout, OperationName, Progress, ProgressUnit, Refusal, ServerView, ShardName, SlotMove, SlotMoveStage,
    SlotRefusal, SlotSet, SlotTransfer, TransferExtent,
};

/// A go takes about so long, milliseconds. At its end all is finished that was begun, which costs some 0.3 s; a move that is cancelled waits for it.
const GO_MS: u64 = 3_000;
/// So many goes in a row may fail.
const FAILURES: u32 = 8;

/// What is due for this move.
pub(super) fn next(cluster_view: &ClusterView<'_>, name: &OperationName, slot_move: &SlotMove) -> Next {
    let left = slot_move.left(cluster_view.layout);
    let checkpoint = &slot_move.checkpoint;
    let extent = match checkpoint.stage {
        SlotMoveStage::Moving if left.is_empty() => return Next::Done,
        SlotMoveStage::Moving => TransferExtent::All,
        SlotMoveStage::Ending => TransferExtent::Begun,
        SlotMoveStage::GivenUp => {
            let said = checkpoint.said.clone().unwrap_or_default();
            return Next::Wait(SlotRefusal::GivenUp { failures: checkpoint.failures, said }.into());
        }
        SlotMoveStage::Unknown => return Next::Wait(SlotRefusal::NothingMoves.into()),
    };
    if let Some(shard) = in_turn(cluster_view.layout, name) {
        return Next::Wait(SlotRefusal::InTurn { shard }.into());
    }
    match transfer(cluster_view, slot_move, left, extent) {
        Ok(step) => Next::Step(step),
        Err(refusal) => Next::Wait(refusal),
    }
}

fn transfer(
    cluster_view: &ClusterView<'_>,
    slot_move: &SlotMove,
    left: SlotSet,
    extent: TransferExtent,
) -> Result<Step, Refusal> {
    let (from, source) = serving(cluster_view, &slot_move.target.from)?;
    let (to, target) = match serving(cluster_view, &slot_move.target.to) {
        // Nothing more comes there. Where nothing is open, the giving primary alone can tell.
        Err(_) if extent == TransferExtent::Begun => seen_of(cluster_view, &slot_move.target.to)
            .ok_or_else(|| Refusal::NoPrimary { shard: slot_move.target.to.clone(), waiting: Vec::new() })?,
        serving => serving?,
    };
    let missing =
        |shard: &ShardView<'_>| Refusal::NoPrimary { shard: shard.name.clone(), waiting: Vec::new() };
    let incarnation =
        source.report.and_then(valkeeper_model::AgentReport::incarnation).ok_or_else(|| missing(from))?;
    let address = target.report.map(|report| report.address.clone()).ok_or_else(|| missing(to))?;
    if extent == TransferExtent::All {
        has_room(cluster_view.layout, &slot_move.target.to, &target, &source, &left)?;
    }
    let transfer = SlotTransfer {
        slots: left,
        to: target.instance.node_id,
        address,
        at_once: slot_move.checkpoint.at_once,
        extent,
        budget_ms: GO_MS,
    };
    Ok(Step::MoveSlots {
        shard: from.name.clone(),
        to: to.name.clone(),
        instance: source.name.clone(),
        incarnation,
        transfer: Box::new(transfer),
    })
}

/// A shard and one of its instances that answer.
fn seen_of<'v, 'a>(
    cluster_view: &'v ClusterView<'a>,
    name: &ShardName,
) -> Option<(&'v ShardView<'a>, InstanceView<'a>)> {
    let shard = cluster_view.shards.get(name)?;
    Some((shard, shard.instances.iter().find(|one| one.view().is_some()).copied()?))
}

/// A shard that serves, and that nobody disturbs.
fn serving<'v, 'a>(
    cluster_view: &'v ClusterView<'a>,
    name: &ShardName,
) -> Result<(&'v ShardView<'a>, InstanceView<'a>), Refusal> {
    let shard = cluster_view.shards.get(name).ok_or_else(|| Refusal::NoSuchShard { shard: name.clone() })?;
    if let Some(waiting) = changing(shard).or_else(|| disturbed(cluster_view, shard)) {
        return Err(Refusal::Disrupted { shard: name.clone(), waiting: Box::new(waiting) });
    }
    let primary = shard.primary().filter(|primary| !isolated(primary));
    let primary = primary.ok_or_else(|| Refusal::NoPrimary { shard: name.clone(), waiting: Vec::new() })?;
    Ok((shard, primary))
}

/// A shard takes part in one move at a time: the one whose turn it is, of the moves that go on, is the first by name that shares no shard with one
/// before it. Answers the shard that is taken.
fn in_turn(layout: &Layout, name: &OperationName) -> Option<ShardName> {
    let mut taken: BTreeSet<&ShardName> = BTreeSet::new();
    for (other, slot_move) in layout.slot_moves() {
        let goes_on = match slot_move.checkpoint.stage {
            SlotMoveStage::Moving => !slot_move.left(layout).is_empty(),
            SlotMoveStage::Ending => true,
            SlotMoveStage::GivenUp | SlotMoveStage::Unknown => false,
        };
        let shards = [&slot_move.target.from, &slot_move.target.to];
        let free = shards.iter().find(|shard| taken.contains(**shard)).copied();
        if other == name {
            return free.cloned();
        }
        if goes_on && free.is_none() {
            taken.extend(shards);
        }
    }
    None
}

/// About how many bytes these slots take: their part of what their primary holds.
pub fn bytes_of(slots: &SlotSet, source: &ServerView) -> u64 {
    let owned = source.slots().map_or(0, SlotSet::len);
    if owned == 0 || source.keys == 0 {
        return 0;
    }
    source.memory_bytes / u64::from(owned) * u64::from(slots.len())
}

/// Has the target's primary the memory for these slots?
pub(crate) fn has_room(
    layout: &Layout,
    to: &ShardName,
    target: &InstanceView<'_>,
    source: &InstanceView<'_>,
    slots: &SlotSet,
) -> Result<(), SlotRefusal> {
    let (Some(target), Some(source)) = (target.view(), source.view()) else { return Ok(()) };
    let needed = bytes_of(slots, source);
    let free = match (&target.memory_full, layout.config.max_memory) {
        (Some(_), _) => 0,
        (None, Some(most)) => most.saturating_sub(target.memory_bytes),
        (None, None) => return Ok(()),
    };
    // What a server takes without any key is no part of what its slots take.
    if needed > free { Err(SlotRefusal::NoRoom { shard: to.clone(), needed, free }) } else { Ok(()) }
}

/// What was seen of a move.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MoveSeen {
    /// Which.
    pub name: OperationName,
    /// The slots that have arrived and that the layout gives to their former owner still.
    pub arrived: SlotSet,
    /// Whether some server has not heard of what has arrived.
    pub known: KnownTo,
}

/// Who knows of what has arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KnownTo {
    /// All servers that are seen.
    All,
    /// Not all of them.
    Some,
}

/// What was seen of each move.
pub fn seen(cluster_view: &ClusterView<'_>) -> Vec<MoveSeen> {
    let moves = cluster_view.layout.slot_moves();
    let seen = moves.map(|(name, slot_move)| MoveSeen {
        name: name.clone(),
        arrived: arrived_of(cluster_view, slot_move),
        known: known_to(cluster_view, slot_move),
    });
    seen.collect()
}

fn known_to(cluster_view: &ClusterView<'_>, slot_move: &SlotMove) -> KnownTo {
    let there = slot_move.target.slots.minus(&slot_move.left(cluster_view.layout));
    let former: Vec<_> =
        cluster_view.layout.instances_of(&slot_move.target.from).map(|(_, one)| one.node_id).collect();
    let believes_former = |view: &ServerView| {
        former.iter().any(|id| view.topology.get(id).is_some_and(|node| node.slots.intersects(&there)))
    };
    let mut views =
        cluster_view.shards.values().flat_map(|shard| &shard.instances).filter_map(InstanceView::view);
    if views.any(believes_former) { KnownTo::Some } else { KnownTo::All }
}

fn arrived_of(cluster_view: &ClusterView<'_>, slot_move: &SlotMove) -> SlotSet {
    let left = slot_move.left(cluster_view.layout);
    let own = |shard: &ShardName| {
        let primary = cluster_view.shards.get(shard).and_then(ShardView::primary);
        primary.and_then(|primary| primary.view())
    };
    let Some(target) = own(&slot_move.target.to) else { return SlotSet::empty() };
    let taken = target.slots().map(|slots| slots.common(&left)).unwrap_or_default();
    if taken.is_empty() {
        return taken;
    }
    // The giving primary decides for itself whether it serves a key, whatever the others believe. One that is not seen is waited for.
    let gone = match (own(&slot_move.target.from), cluster_view.shards.get(&slot_move.target.from)) {
        (Some(source), _) => taken.minus(&source.slots().cloned().unwrap_or_default()),
        (None, Some(shard)) if gave_all(shard) => taken,
        (None, _) => SlotSet::empty(),
    };
    let views =
        || cluster_view.shards.values().flat_map(|shard| &shard.instances).filter_map(InstanceView::view);
    let id = target.node_id;
    let believed: Vec<&SlotSet> =
        views().filter_map(|view| view.topology.get(&id).map(|node| &node.slots)).collect();
    let majority = views().count() / 2 + 1;
    if believed.iter().filter(|own| gone.minus(own).is_empty()).count() >= majority {
        return gone;
    }
    // They do not agree yet: what all of them believe is less, and the rest is for the next look.
    if believed.len() < majority {
        SlotSet::empty()
    } else {
        believed.iter().fold(gone, |all, own| all.common(own))
    }
}

/// All of its servers are seen, and none owns a slot.
fn gave_all(shard: &ShardView<'_>) -> bool {
    shard.instances.iter().all(|one| one.view().is_some_and(|view| view.slots().is_none()))
}

/// The layout in which these slots of that move belong to their new shard.
pub fn with_arrived(mut layout: Layout, name: &OperationName, slots: &SlotSet) -> Layout {
    let Some(valkeeper_model::Operation::MoveSlots(slot_move)) = layout.operations.get_mut(name) else {
        return layout;
    };
    (slot_move.checkpoint.failures, slot_move.checkpoint.said) = (0, None);
    let target = slot_move.target.clone();
    let shards = Arc::make_mut(&mut layout.shards);
    if let Some(from) = shards.get_mut(&target.from) {
        from.slots = from.slots.minus(slots);
        from.gave = from.gave.union(slots);
    }
    if let Some(to) = shards.get_mut(&target.to) {
        to.slots = to.slots.union(slots);
        to.gave = to.gave.minus(slots);
    }
    layout
}

/// The layout after a go of that move has failed: the next is with fewer slots, and after too many there is none.
pub fn with_failure(mut layout: Layout, name: &OperationName, said: String) -> Layout {
    let Some(valkeeper_model::Operation::MoveSlots(slot_move)) = layout.operations.get_mut(name) else {
        return layout;
    };
    let checkpoint = &mut slot_move.checkpoint;
    checkpoint.failures = checkpoint.failures.saturating_add(1);
    checkpoint.at_once = (checkpoint.at_once / 2).max(1);
    checkpoint.said = Some(said);
    if checkpoint.failures >= FAILURES && checkpoint.stage == SlotMoveStage::Moving {
        checkpoint.stage = SlotMoveStage::GivenUp;
    }
    layout
}

/// Has all of it come about, or can nothing come about any more? One that ends does so by its agent's word.
pub(crate) fn is_over(layout: &Layout, slot_move: &SlotMove) -> bool {
    let gone = |shard: &ShardName| !layout.shards.contains_key(shard);
    let left = slot_move.left(layout);
    left.is_empty() || gone(&slot_move.target.from) || gone(&slot_move.target.to)
}

/// How far it is.
pub(super) fn progress(
    cluster_view: &ClusterView<'_>,
    name: &OperationName,
    slot_move: &SlotMove,
) -> Progress {
    let (total, left) = (slot_move.target.slots.len(), slot_move.left(cluster_view.layout).len());
    let waits_for = match next(cluster_view, name, slot_move) {
        Next::Wait(why) => Some(Box::new(why)),
        Next::Step(_) | Next::Done => slot_move.checkpoint.said.clone().map(|said| {
            let failures = slot_move.checkpoint.failures;
            Box::new(SlotRefusal::Failing { failures, said }.into())
        }),
    };
    let verb =
        if slot_move.checkpoint.stage == SlotMoveStage::Ending { "ending the move" } else { "moving slots" };
    Progress {
        operation: name.clone(),
        purpose: format!("{verb} from {} to {}", slot_move.target.from, slot_move.target.to),
        done: u64::from(total - left),
        total: u64::from(total),
        unit: ProgressUnit::Slots,
        per_minute: None,
        left_s: None,
        waits_for,
    }
}
