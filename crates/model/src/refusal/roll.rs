//! Why a change of what servers run with is refused, or waits.

use crate::{InstanceName, RollFault, ServerVersion, ShardName};
use serde::{Deserialize, Serialize};

/// Why servers are not brought to what is wanted.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, thiserror::Error)]
#[serde(tag = "refusal", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum RollRefusal {
    /// The wanted version cannot load what the servers have written.
    #[error("{to} cannot read the data that {from} writes")]
    CannotRead {
        /// What runs.
        from: ServerVersion,
        /// What is wanted.
        to: ServerVersion,
    },
    /// It was tried, and given up.
    #[error("this was tried already and given up: {why}")]
    GivenUp {
        /// Why.
        why: RollFault,
    },
    /// The canary is watched before the others follow.
    #[error("{shard} is watched before the others follow")]
    CanaryWatched {
        /// The shard that went first.
        shard: ShardName,
    },
    /// One that was restarted is not well, and there is no way back.
    #[error("{why}")]
    NotWell {
        /// What is wrong.
        why: RollFault,
    },
    /// An instance is not seen.
    #[error("{instance} is not seen")]
    NotSeen {
        /// Which.
        instance: InstanceName,
    },
}

impl RollRefusal {
    /// What to do about it.
    pub(super) fn hint(&self) -> Option<String> {
        match self {
            Self::CannotRead { to, .. } => Some(format!(
                "make a new cluster with {to} and bring the data there with a tool that reads keys; or stay with a version that reads it"
            )),
            Self::GivenUp { .. } => Some(
                "change the manifest; to try the very same again, apply the old one first and then this one"
                    .to_owned(),
            ),
            Self::CanaryWatched { .. } | Self::NotWell { .. } | Self::NotSeen { .. } => None,
        }
    }
}
