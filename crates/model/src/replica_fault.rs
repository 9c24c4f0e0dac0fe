//! Why a replica is not in sync with its primary.

use crate::InstanceName;
use serde::{Deserialize, Serialize};
use std::fmt;

/// Why an instance is not in sync with its shard's primary.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ReplicaCause {
    /// Which.
    pub instance: InstanceName,
    /// Why.
    pub fault: ReplicaFault,
}

/// What is wrong with a replica.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(tag = "fault", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum ReplicaFault {
    /// It is down.
    Down,
    /// Nothing is known of it.
    Unknown,
    /// A full copy of the data is on its way to it.
    Copying,
    /// It is linked, and its agent does not know yet that it has caught up since.
    CatchingUp,
    /// Its link was lost.
    LinkLost,
    /// It has had no link since its start.
    NeverLinked,
    /// The primary's user has no right to `psync`, so that the replica follows without knowing where in the stream it is.
    NoPsync,
    /// What it holds is of another history than the primary's.
    OtherHistory,
    /// It does not follow this primary.
    FollowsAnother,
    /// The primary has sent so many full copies and the replica is not in the stream yet: each was broken off, or did not suffice.
    CopiedInVain {
        /// How many.
        copies: u64,
    },
}

impl fmt::Display for ReplicaFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Down => f.write_str("is down"),
            Self::Unknown => f.write_str("is not seen"),
            Self::Copying => f.write_str("gets a full copy of the data"),
            Self::CatchingUp => f.write_str("is linked and has not caught up with the primary yet"),
            Self::LinkLost => f.write_str("has lost its link to the primary"),
            Self::NeverLinked => f.write_str("has not reached the primary since its start"),
            Self::NoPsync => f.write_str(
                "may not use `psync` on its primary, so that it does not know where in the stream it is: \
                 `ACL SETUSER default +psync` there, and a full copy",
            ),
            Self::OtherHistory => f.write_str("has data of another history"),
            Self::FollowsAnother => f.write_str("does not follow this primary"),
            Self::CopiedInVain { copies } => write!(
                f,
                "has been sent {copies} full copies and is not in the stream yet: is \
                 `client-output-buffer-limit replica` too small for the writes during a copy?"
            ),
        }
    }
}
