//! What has happened to slots that move.

use crate::{ShardName, SlotSet};
use serde::{Deserialize, Serialize};
use std::fmt;

/// Something that has happened to slots that move.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all_fields = "camelCase")]
pub enum SlotHappened {
    /// Slots are on their way from one shard to another.
    SlotMovesBegun {
        /// How many, in all moves together.
        slots: u16,
    },
    /// All slots of a move have arrived.
    SlotsMoved {
        /// From where.
        from: ShardName,
        /// To where.
        to: ShardName,
        /// Which.
        slots: SlotSet,
    },
    /// A move has ended before all of its slots had arrived.
    SlotMoveEnded {
        /// From where.
        from: ShardName,
        /// To where.
        to: ShardName,
        /// Those that have arrived.
        moved: SlotSet,
        /// Those that stay where they were.
        left: SlotSet,
    },
    /// A try has failed.
    SlotMoveFailed {
        /// From where.
        from: ShardName,
        /// To where.
        to: ShardName,
        /// What the engine said.
        said: String,
        /// So many have failed in a row.
        failures: u32,
    },
    /// No further slots are to be moved.
    SlotMovesCancelled,
}

impl fmt::Display for SlotHappened {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SlotMovesBegun { slots } => write!(f, "{slots} slots are on their way to other shards"),
            Self::SlotsMoved { from, to, slots } => {
                write!(f, "{} slots have moved from {from} to {to}: {slots}", slots.len())
            }
            Self::SlotMoveEnded { from, to, moved, left } => write!(
                f,
                "the move from {from} to {to} has ended: {} slots have moved, {} stay",
                moved.len(),
                left.len()
            ),
            Self::SlotMoveFailed { from, to, said, failures } => {
                write!(f, "slots of {from} could not be moved to {to}")?;
                if *failures > 1 {
                    write!(f, ", {failures} times in a row")?;
                }
                write!(f, ": {said}")
            }
            Self::SlotMovesCancelled => f.write_str("no further slots are moved"),
        }
    }
}
