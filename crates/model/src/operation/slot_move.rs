//! Slots move from one shard to another while both serve.

use crate::newer::NewerFields;
use crate::{Address, Layout, NodeId, Operation, OperationName, ShardName, SlotSet};
use serde::{Deserialize, Serialize};

/// Slots on their way from one shard to another. Which of them have arrived is what the layout's shards say: that is changed when their new
/// owner has been observed, never by a job's word.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SlotMove {
    /// Which slots, from where to where.
    pub target: SlotMoveTarget,
    /// How it goes.
    pub checkpoint: SlotMoveCheckpoint,
    /// What a newer version has added.
    #[serde(flatten)]
    pub newer: NewerFields,
}

/// Which slots go from which shard to which.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SlotMoveTarget {
    /// The shard that gives.
    pub from: ShardName,
    /// The shard that takes.
    pub to: ShardName,
    /// All slots of the move, those that have arrived too.
    pub slots: SlotSet,
}

/// How a move goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SlotMoveCheckpoint {
    /// Goes on, ends, or is given up.
    pub stage: SlotMoveStage,
    /// At most so many slots are moved in one go: fewer after each failure.
    pub at_once: u16,
    /// Tries that failed in a row.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub failures: u32,
    /// What the engine said to the last one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub said: Option<String>,
}

/// Where a move stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum SlotMoveStage {
    /// Slots move.
    Moving,
    /// No further slot is begun: what is open is brought to its end.
    Ending,
    /// It has failed too often, and waits for a person.
    GivenUp,
    /// As only a newer version knows: nothing is done.
    #[serde(other)]
    Unknown,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(number: &u32) -> bool {
    *number == 0
}

impl SlotMoveCheckpoint {
    /// So many slots at once at first.
    pub const AT_ONCE: u16 = 1_024;

    /// Nothing has been tried yet.
    pub fn fresh() -> Self {
        Self { stage: SlotMoveStage::Moving, at_once: Self::AT_ONCE, failures: 0, said: None }
    }
}

impl SlotMove {
    /// A move that has not begun.
    pub fn new(from: ShardName, to: ShardName, slots: SlotSet) -> Self {
        let target = SlotMoveTarget { from, to, slots };
        Self { target, checkpoint: SlotMoveCheckpoint::fresh(), newer: NewerFields::default() }
    }

    /// What it is called.
    pub fn name(&self) -> OperationName {
        OperationName::between("move-slots", &self.target.from, &self.target.to)
    }

    /// The slots that have not arrived.
    pub fn left(&self, layout: &Layout) -> SlotSet {
        let held = layout.shards.get(&self.target.from).map(|shard| shard.slots.clone()).unwrap_or_default();
        self.target.slots.common(&held)
    }
}

impl Layout {
    /// All moves of slots.
    pub fn slot_moves(&self) -> impl Iterator<Item = (&OperationName, &SlotMove)> {
        self.operations.iter().filter_map(|(name, operation)| match operation {
            Operation::MoveSlots(slot_move) => Some((name, slot_move)),
            _ => None,
        })
    }

    /// The slots that are on their way to that shard.
    pub fn incoming(&self, shard: &ShardName) -> SlotSet {
        let moves = self.slot_moves().filter(|(_, one)| one.target.to == *shard);
        moves.fold(SlotSet::empty(), |all, (_, one)| all.union(&one.left(self)))
    }

    /// The slots of which some servers may believe that they are still that shard's, or are already, while moves of them stand.
    pub fn disputed(&self, shard: &ShardName) -> SlotSet {
        let of = |one: &SlotMove| [&one.target.from, &one.target.to].contains(&shard);
        let moves = self.slot_moves().filter(|(_, one)| of(one));
        moves.fold(SlotSet::empty(), |all, (_, one)| all.union(&one.target.slots))
    }

    /// The slots that are on their way from that shard to another.
    pub fn outgoing(&self, shard: &ShardName) -> SlotSet {
        let moves = self.slot_moves().filter(|(_, one)| one.target.from == *shard);
        moves.fold(SlotSet::empty(), |all, (_, one)| all.union(&one.left(self)))
    }
}

/// What the agent of a primary is told to move.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SlotTransfer {
    /// Of these, those that its server owns.
    pub slots: SlotSet,
    /// To that node.
    pub to: NodeId,
    /// Where that one is.
    pub address: Address,
    /// At most so many in one go.
    pub at_once: u16,
    /// Which of them.
    #[serde(default)]
    pub extent: TransferExtent,
    /// No further slot is begun after this time, milliseconds.
    pub budget_ms: u64,
}

/// Which slots are moved.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum TransferExtent {
    /// All that are named.
    #[default]
    All,
    /// Only those that have been begun: they are brought to their end, or given back where the engine can do that.
    Begun,
}
