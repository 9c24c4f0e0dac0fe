//! Instances that leave, and what is left of those that have left.

use crate::{InstanceName, NodeId, ShardName};
use serde::{Deserialize, Serialize};
use std::fmt;

/// What is not done yet about an instance that leaves.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(tag = "reason", rename_all_fields = "camelCase")]
pub enum ResizeWaiting {
    /// It is to be removed, and is there.
    InstanceLeaves {
        /// Which.
        instance: InstanceName,
        /// How far it is.
        stage: LeavingStage,
    },
    /// Servers still know an instance that was removed.
    RetiredRemembered {
        /// Which.
        instance: InstanceName,
        /// Its node id.
        node: NodeId,
        /// So many of them.
        known_by: usize,
    },
}

/// How far an instance is that leaves.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum LeavingStage {
    /// So many instances that stay hold its shard's data, of so many that there are to be.
    CopiesMissing {
        /// Its shard.
        shard: ShardName,
        /// These.
        there: u32,
        /// Of these.
        wanted: u32,
    },
    /// It is the primary, and hands over first.
    HandsOver,
    /// Its shard is busy with something else.
    ShardBusy {
        /// Its shard.
        shard: ShardName,
    },
    /// Its shard owns slots.
    OwnsSlots {
        /// Its shard.
        shard: ShardName,
    },
    /// It is told to stop.
    Stops,
    /// Nobody answers for it, so that it may run.
    Unheard,
}

impl ResizeWaiting {
    /// The instance it is about.
    pub fn instance(&self) -> &InstanceName {
        match self {
            Self::InstanceLeaves { instance, .. } | Self::RetiredRemembered { instance, .. } => instance,
        }
    }
}

impl fmt::Display for ResizeWaiting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InstanceLeaves { instance, stage } => write!(f, "{instance} is to be removed: {stage}"),
            Self::RetiredRemembered { instance, node, known_by } => {
                let servers = if *known_by == 1 { "server knows" } else { "servers know" };
                write!(f, "{instance} was removed, and {known_by} {servers} it still (node {node})")
            }
        }
    }
}

impl fmt::Display for LeavingStage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CopiesMissing { shard, there, wanted } => write!(
                f,
                "{there} of the {wanted} instances that {shard} is to have besides are there and in sync"
            ),
            Self::HandsOver => f.write_str("it is the primary, and hands over first"),
            Self::ShardBusy { shard } => write!(f, "{shard} is being changed, or is not whole"),
            Self::OwnsSlots { shard } => write!(f, "{shard} owns slots"),
            Self::Stops => f.write_str("it is being stopped"),
            Self::Unheard => f.write_str("nobody answers for it, so that it may still run"),
        }
    }
}
