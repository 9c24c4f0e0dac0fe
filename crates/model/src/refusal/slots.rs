//! Why slots are not moved.

use crate::{CalledAs, OperationName, ShardName, SlotSet};
use serde::{Deserialize, Serialize};

/// Why slots are not moved, or not now.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, thiserror::Error)]
#[serde(tag = "refusal", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum SlotRefusal {
    /// A cluster of another mode.
    #[error("only a cluster of mode cluster has slots that move")]
    NoSlotsInMode,
    /// From a shard to itself.
    #[error("{shard} has them already")]
    SameShard {
        /// Which shard.
        shard: ShardName,
    },
    /// The shard does not have them.
    #[error("{shard} does not own slots {slots}")]
    NotItsSlots {
        /// Which shard.
        shard: ShardName,
        /// Which slots.
        slots: SlotSet,
    },
    /// Two moves of one request name the same slots.
    #[error("slots {slots} of {shard} are to go to two shards")]
    NamedTwice {
        /// The shard that has them.
        shard: ShardName,
        /// Which slots.
        slots: SlotSet,
    },
    /// More than there are.
    #[error("{shard} owns {owned} slots that are not on their way already: {wanted} cannot be moved")]
    TooManySlots {
        /// Which shard.
        shard: ShardName,
        /// So many it has.
        owned: u16,
        /// So many are to be moved.
        wanted: u16,
    },
    /// A shard without slots would not vote.
    #[error("{shard} would be left without slots")]
    WouldBeEmpty {
        /// Which shard.
        shard: ShardName,
    },
    /// They are on their way to another shard.
    #[error("slots {slots} are on their way already: {operation}")]
    OnTheirWay {
        /// Which slots.
        slots: SlotSet,
        /// By which operation.
        operation: OperationName,
    },
    /// The way back must not begin before the way there has ended.
    #[error("slots are on their way from {to} to {from} already: {operation}")]
    OtherWay {
        /// From where they should go.
        from: ShardName,
        /// To where they should go.
        to: ShardName,
        /// The operation that moves others the other way.
        operation: OperationName,
    },
    /// No room.
    #[error("{shard} has about {free} bytes of memory left, and the slots take about {needed}")]
    NoRoom {
        /// The shard that is to take them.
        shard: ShardName,
        /// What they take, bytes, about.
        needed: u64,
        /// What it has left, bytes.
        free: u64,
    },
    /// Nothing moves.
    #[error("no slots are on their way")]
    NothingMoves,
    /// It has failed too often.
    #[error("given up after {}: {said}", tries(*.failures))]
    GivenUp {
        /// How many.
        failures: u32,
        /// What the engine said to the last.
        said: String,
    },
    /// It has failed, and is tried again.
    #[error("{} failed, the next one is with fewer slots: {said}", tries(*.failures))]
    Failing {
        /// How many.
        failures: u32,
        /// What the engine said to the last.
        said: String,
    },
    /// A shard takes part in one move at a time.
    #[error("another move of {shard} comes first")]
    InTurn {
        /// Which shard.
        shard: ShardName,
    },
    /// Slots move by themselves.
    #[error("the number of shards changes, and slots move for that")]
    ShardsChange,
    /// The cluster is being founded.
    #[error("the cluster has not served all of its slots yet")]
    Founding,
}

fn tries(failures: u32) -> String {
    match failures {
        1 => "1 try".to_owned(),
        many => format!("{many} tries in a row"),
    }
}

impl SlotRefusal {
    /// What to do about it.
    pub fn hint(&self, called: CalledAs) -> Option<String> {
        Some(match self {
            Self::NotItsSlots { .. } | Self::TooManySlots { .. } | Self::SameShard { .. } => {
                format!("`{called} status` shows which slots each shard owns")
            }
            Self::NamedTwice { .. } => "name each slot once".to_owned(),
            Self::WouldBeEmpty { .. } => {
                "leave it one slot at least; fewer shards are `shards` of the manifest".to_owned()
            }
            Self::OnTheirWay { .. } | Self::OtherWay { .. } => {
                format!("wait for that, or end it: `{called} slots cancel`")
            }
            Self::NoRoom { .. } => "raise spec.memory.maxMemory, or move fewer slots".to_owned(),
            Self::GivenUp { .. } => {
                format!("`{called} slots cancel` ends it; the same `{called} slots move` again tries anew")
            }
            Self::ShardsChange => {
                format!(
                    "`{called} status` shows how far it is; the manifest with the former number of shards turns it round"
                )
            }
            Self::NoSlotsInMode
            | Self::NothingMoves
            | Self::Failing { .. }
            | Self::InTurn { .. }
            | Self::Founding => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_try_is_told_as_one() {
        let failing = |failures| SlotRefusal::Failing { failures, said: "no".to_owned() }.to_string();
        assert_eq!(failing(1), "1 try failed, the next one is with fewer slots: no");
        assert_eq!(failing(3), "3 tries in a row failed, the next one is with fewer slots: no");
    }
}
