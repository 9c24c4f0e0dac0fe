//! What an agent knows of its server beyond what the server says of its replication.

use crate::{Millis, NodeId};
use serde::{Deserialize, Serialize};

/// What an agent knows of its server beyond `INFO replication`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ReplicaStanding {
    /// Whose replica it is, by its own belief.
    pub follows: Option<NodeId>,
    /// Has it caught up with its primary since it connected last?
    pub caught_up: bool,
    /// Would a crash of its host now lose what it holds, although `persistence` promises otherwise?
    pub persistence_incomplete: bool,
    /// The sequence of its agent's [`crate::CopyRecord`].
    pub sequence: Option<u64>,
    /// How long ago it was told to become primary, milliseconds: it may win its election until the engine gives that up. `None` if it was not
    /// lately, or by an older agent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub promotion_asked_ms: Option<u64>,
    /// When it was looked at, by its agent's own clock. What comes back with an order tells the agent how old the order is. `None` by an older agent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub looked_at: Option<Millis>,
}
