//! What a controller does to a cluster, by name: for counting tries, and for telling which of them was refused.

use crate::{InstanceName, NodeId, ShardName};
use serde::{Deserialize, Serialize};
use std::fmt;

/// A step, and what it is done to. Two tries of the same step have the same key.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(tag = "step", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum StepKey {
    /// Promote without a vote (law 4).
    TakeOver {
        /// Which shard.
        shard: ShardName,
        /// Whom.
        to: InstanceName,
    },
    /// Make an instance follow its shard's primary.
    Follow {
        /// Whom.
        instance: InstanceName,
        /// The primary.
        primary: NodeId,
    },
    /// Make two members know each other (again).
    Meet {
        /// Who does not know.
        instance: InstanceName,
        /// Whom.
        whom: InstanceName,
    },
    /// Swap roles for the zones (law 7).
    SwitchForZones {
        /// Which shard.
        shard: ShardName,
        /// From whom.
        from: InstanceName,
        /// To whom.
        to: InstanceName,
    },
    /// Hand over from a primary that cannot write its data to a replica that can.
    SwitchForDisk {
        /// Which shard.
        shard: ShardName,
        /// From whom.
        from: InstanceName,
        /// To whom.
        to: InstanceName,
    },
    /// Hand over from a primary that is to leave.
    SwitchToLeave {
        /// Which shard.
        shard: ShardName,
        /// From whom.
        from: InstanceName,
        /// To whom.
        to: InstanceName,
    },
    /// Remove instances that were retired from a server's table.
    ForgetRetired {
        /// Whose.
        instance: InstanceName,
        /// Their node ids.
        nodes: Vec<NodeId>,
    },
    /// Give a primary the slots of its shard that nobody owns any more.
    TakeSlots {
        /// Which shard.
        shard: ShardName,
        /// Its primary.
        instance: InstanceName,
    },
    /// Move slots to another shard.
    MoveSlots {
        /// From which shard.
        shard: ShardName,
        /// To which.
        to: ShardName,
    },
    /// Make a replica primary of its shard in the place of another shard's member, which serves the slots.
    BringHome {
        /// Of which shard.
        shard: ShardName,
        /// Whom.
        to: InstanceName,
    },
    /// Restart an instance in its turn.
    Restart {
        /// Which.
        instance: InstanceName,
    },
}

impl fmt::Display for StepKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TakeOver { shard, to } => write!(f, "the takeover of {shard} by {to}"),
            Self::Follow { instance, primary } => {
                write!(f, "that {instance} follows its primary (node {primary})")
            }
            Self::Meet { instance, whom } => write!(f, "that {instance} meets {whom}"),
            Self::SwitchForZones { shard, from, to } => {
                write!(f, "the switchover of {shard} from {from} to {to} for the zones")
            }
            Self::SwitchForDisk { shard, from, to } => {
                write!(f, "the switchover of {shard} from {from}, which cannot write its data, to {to}")
            }
            Self::SwitchToLeave { shard, from, to } => {
                write!(f, "the switchover of {shard} from {from}, which is to leave, to {to}")
            }
            Self::ForgetRetired { instance, .. } => write!(f, "that {instance} forgets who was removed"),
            Self::Restart { instance } => write!(f, "the restart of {instance}"),
            Self::BringHome { shard, to } => {
                write!(f, "that {to} serves {shard} in the place of another shard's member")
            }
            Self::MoveSlots { shard, to } => write!(f, "that slots move from {shard} to {to}"),
            Self::TakeSlots { shard, instance } => {
                write!(f, "that {instance} owns the slots of {shard} again")
            }
        }
    }
}
