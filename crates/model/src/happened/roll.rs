//! What happens while servers are restarted one after the other.

use crate::{InstanceName, RollFault, ServerVersion, ShardName};
use serde::{Deserialize, Serialize};
use std::fmt;

/// A step of a roll.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all_fields = "camelCase")]
pub enum RollHappened {
    /// A server is restarted because its turn has come.
    Rolling {
        /// Which.
        instance: InstanceName,
        /// With that version; `None` where the platform chooses it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        version: Option<ServerVersion>,
    },
    /// The canary has been well for long enough.
    CanaryWell {
        /// Which shard.
        shard: ShardName,
    },
    /// All servers run with what is wanted.
    Rolled {
        /// So many were restarted.
        restarted: usize,
    },
    /// A person approves that primaries are restarted.
    PrimariesApproved,
    /// The canary did not get well: the cluster goes back to what it had.
    RollReturned {
        /// Why.
        why: RollFault,
    },
}

impl fmt::Display for RollHappened {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rolling { instance, version: Some(version) } => {
                write!(f, "{instance}: restarted in its turn, with {version}")
            }
            Self::Rolling { instance, version: None } => write!(f, "{instance}: restarted in its turn"),
            Self::CanaryWell { shard } => write!(f, "{shard}: well with the change; the others follow"),
            Self::Rolled { restarted } => write!(f, "rolled: {restarted} servers were restarted"),
            Self::PrimariesApproved => f.write_str("approved: primaries are restarted in their turn, too"),
            Self::RollReturned { why } => {
                write!(f, "the change is given up, and what was restarted goes back: {why}")
            }
        }
    }
}
