//! What an agent tells its server, and what that replies.

use super::Login;
use crate::server::config::{Directive, OrderedConfig};
use valkeeper_model::{Address, LookRefused, NodeId, Replication, ServerView, SlotSet, SlotTransfer, Unseen};

/// What our server may be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ServerCommand {
    /// A full look. Directives are compared with these. A server that does not answer in time is also asked on a new connection, so
    /// that one which holds commands back is told from one which hangs.
    Look(OrderedConfig),
    /// `INFO replication`.
    Replication,
    /// `CLUSTER FAILOVER FORCE`, if it may: see [`crate::failover::succession::may_replace`].
    FailoverForce {
        /// The primary whose place it is to take.
        replaces: Option<NodeId>,
    },
    /// `CLUSTER FAILOVER TAKEOVER`, if it may.
    FailoverTakeover {
        /// The primary whose place it is to take.
        replaces: Option<NodeId>,
    },
    /// `CLUSTER FAILOVER`.
    FailoverPlanned,
    /// Push queued bus messages out to the shard.
    Flush,
    /// `CLIENT PAUSE … WRITE`, milliseconds.
    PauseWrites(u64),
    /// Are writes held by the engine's own handover by now? (`paused_reason` in `INFO clients`, Valkey.)
    HoldsWrites,
    /// `CLIENT UNPAUSE`.
    UnpauseWrites,
    /// `CLUSTER REPLICATE`.
    Follow(NodeId),
    /// `REPLICAOF` that address, logging in so (mode `standalone`).
    FollowAt(Address, Login),
    /// `REPLICAOF NO ONE` (mode `standalone`).
    Promote,
    /// `CLIENT KILL` of all clients but replicas.
    CloseClients,
    /// `CLUSTER MEET`.
    Meet {
        /// Where the other one answers.
        address: Address,
        /// Which node that is; `None` if the order names none there.
        node: Option<NodeId>,
    },
    /// `CLUSTER ADDSLOTSRANGE`.
    TakeSlots(SlotSet),
    /// Move slots to another shard's primary.
    MoveSlots(Box<SlotTransfer>),
    /// `CLUSTER FORGET`, of those that it knows.
    Forget(Vec<NodeId>),
    /// `CONFIG SET`.
    Configure(Vec<Directive>),
    /// `CONFIG SET` of directives that are not ordered, to what the server program gives them.
    PutBack(Vec<String>),
    /// `BGSAVE`.
    Save,
    /// `BGREWRITEAOF`.
    RewriteAof,
    /// Make the link to its primary anew, if what the server holds has no place in any history. One that is still taken for a place in the former history would be
    /// continued from there.
    Relink,
}

impl ServerCommand {
    /// Is the server told to become primary?
    pub(crate) fn promotes(&self) -> bool {
        matches!(
            self,
            Self::FailoverForce { .. }
                | Self::FailoverTakeover { .. }
                | Self::FailoverPlanned
                | Self::Promote
        )
    }
}

/// What our server replied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// OK.
    Done,
    /// The full look.
    View(Box<ServerView>),
    /// The quick look.
    Replication(Replication),
    /// Whether the engine's own handover holds writes.
    HoldsWrites(bool),
}

/// Why our server did not do it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ServerError {
    /// It did not answer.
    #[error("{0}")]
    Silent(Unseen),
    /// It runs a long script or function.
    #[error(
        "is busy with a script or a function: `SCRIPT KILL` or `FUNCTION KILL` ends one that has written nothing"
    )]
    Busy,
    /// It answers new connections and carries out no command.
    #[error("carries out no command: `CLIENT PAUSE`, or more load than it can bear")]
    HeldBack,
    /// Its user `default` may not use a command, named as in the engine's ACL rules.
    #[error("refuses `{0}` to its user `default`: `ACL SETUSER default +{0}`")]
    RightMissing(String),
    /// It loads its data.
    #[error("loading its data")]
    Loading,
    /// It refused our password.
    #[error("refused our password")]
    AuthRefused,
    /// It answered something that could not be understood.
    #[error("gave an answer that could not be understood")]
    Garbled,
    /// It refused.
    #[error("{0}")]
    Refused(String),
}

impl ServerError {
    /// Does this come from a server that lives?
    pub fn alive(&self) -> bool {
        !matches!(self, Self::Silent(_))
    }
    /// As what could not be seen.
    pub fn unseen(&self) -> Unseen {
        match self {
            Self::Silent(unseen) => *unseen,
            Self::Loading => Unseen::Loading,
            Self::AuthRefused => Unseen::AuthRefused,
            Self::Busy | Self::HeldBack => Unseen::Timeout,
            Self::Garbled | Self::RightMissing(_) | Self::Refused(_) => Unseen::Garbled,
        }
    }
    /// As the refusal of a look, by a server that lives.
    pub fn look_refused(&self) -> Option<LookRefused> {
        match self {
            Self::Busy => Some(LookRefused::Busy),
            Self::HeldBack => Some(LookRefused::HeldBack),
            Self::RightMissing(command) => Some(LookRefused::RightMissing { command: command.clone() }),
            Self::Refused(said) => Some(LookRefused::Other { said: said.clone() }),
            Self::Silent(_) | Self::Loading | Self::AuthRefused | Self::Garbled => None,
        }
    }
}
