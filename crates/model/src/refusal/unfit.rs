//! Why an instance cannot become primary.

use serde::{Deserialize, Serialize};
use std::fmt;

/// Why an instance may not succeed its primary (law 2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Unfit {
    /// Of another shard.
    OtherShard,
    /// Its server does not answer.
    NotSeen,
    /// Not a replica of that primary.
    NotItsReplica,
    /// Its copy is not in sync.
    NotInSync,
    /// Another history of writes than the primary's.
    OtherHistory,
    /// Fenced.
    Fenced,
    /// Starting, stopping or changing its role.
    Leaving,
    /// Its append-only file does not hold everything yet.
    NotPersisted,
    /// Not all primaries know it, so that it would not be elected.
    NotKnown,
}

impl Unfit {
    /// Is this over within a moment, as a rule? A look takes long on a busy machine, and a former primary needs a moment until it follows
    /// the new one. An append-only file takes as long as its data is large.
    pub fn may_pass_soon(self) -> bool {
        match self {
            Self::NotSeen | Self::NotItsReplica | Self::NotInSync | Self::OtherHistory => true,
            Self::OtherShard | Self::Fenced | Self::Leaving | Self::NotPersisted | Self::NotKnown => false,
        }
    }
}

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::OtherShard => "it belongs to another shard",
            Self::NotSeen => "its server does not answer",
            Self::NotItsReplica => "it does not follow that primary",
            Self::NotInSync => "it is not in sync",
            Self::OtherHistory => "its data comes from another history",
            Self::Fenced => "it is fenced",
            Self::Leaving => "it is starting, stopping or changing its role",
            Self::NotPersisted => "its append-only file does not hold all of its data yet",
            Self::NotKnown => "not all primaries know it yet, so that it would not be elected",
        })
    }
}
