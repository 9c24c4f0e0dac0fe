//! Why a change of what servers run with is refused, or waits.

use crate::{CalledAs, InstanceName, RollFault, ServerVersion, ShardName};
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
    /// A person is asked before a primary is touched.
    #[error("all that is left to be restarted are primaries, and nobody has approved of that")]
    AwaitsApproval,
    /// Nothing waits for an approval.
    #[error("no update waits for an approval")]
    NothingToApprove,
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
    pub(super) fn hint(&self, called: CalledAs) -> Option<String> {
        match self {
            Self::CannotRead { to, .. } => Some(format!(
                "make a new cluster with {to} and bring the data there with a tool that reads keys; or stay with a version that reads it"
            )),
            Self::GivenUp { .. } => Some(
                "change the manifest; to try the very same again, apply the old one first and then this one"
                    .to_owned(),
            ),
            Self::AwaitsApproval => {
                Some(format!("`{called} approve`, once you are content with the replicas"))
            }
            Self::NothingToApprove => Some(format!("`{called} status` shows what is under way")),
            Self::CanaryWatched { .. } | Self::NotWell { .. } | Self::NotSeen { .. } => None,
        }
    }
}
