//! What users may ask about slots.

use crate::{ShardName, SlotMoveTarget, SlotSet};
use serde::{Deserialize, Serialize};

/// What a user may ask about slots of a running cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "request", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum SlotRequest {
    /// Move slots from one shard to another.
    MoveSlots {
        /// From where.
        from: ShardName,
        /// To where.
        to: ShardName,
        /// Which.
        which: WhichSlots,
    },
    /// Move no further slots.
    CancelSlotMoves,
    /// Give each shard as many slots as any other, moving as few as possible.
    Rebalance {
        /// By what they are counted.
        by: RebalanceBy,
    },
    /// Moves that were decided together, by figures that the controller has not: all of them are begun, or none.
    MoveTogether {
        /// Which slots go from where to where.
        moves: Vec<SlotMoveTarget>,
    },
}

/// Which slots of a shard.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum WhichSlots {
    /// So many, the highest ones.
    Count(u16),
    /// These.
    These(SlotSet),
}

/// What is to be even.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum RebalanceBy {
    /// The number of slots.
    #[default]
    Slots,
}
