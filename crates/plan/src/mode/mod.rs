//! What depends on the mode of a cluster: who votes for a successor, what a server's configuration says of its role, how much of a cluster
//! must be left alone. One trait, [`ModeRules`], and one implementation for each mode; everything else is the same for all modes.
//!
//! | folder | mode |
//! | --- | --- |
//! | `cluster/` | the engine's cluster mode: identity and roles are in nodes.conf, primaries vote |
//! | `standalone/` | one primary and its replicas: identity, role and term are in a file that the agent writes, agents vote |
//! | `sentinel/` | the same, and Sentinels are told who is the primary |

pub mod cluster;
pub mod sentinel;
pub mod standalone;

use crate::server::config::Directive;
use std::fmt;
use valkeeper_model::nodes_conf::NodesConf;
use valkeeper_model::{Mode, ServerConfig, ZoneName};

/// Who elects the successor of a primary.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Voters {
    /// The servers that are primaries of shards, by the engine's own protocol.
    Primaries,
    /// The agents of the shard's instances: [`standalone::Terms`].
    Agents,
}

/// What a mode answers.
pub trait ModeRules: fmt::Debug + Sync {
    /// Directives that only servers of this mode have.
    fn directives(&self, config: &ServerConfig) -> Vec<(&'static str, String)>;

    /// Directives of one start: whom the server follows from its first millisecond on. `roles` is what the server's identity file says, or is
    /// about to say. `None`: the server cannot be started as what it is, since nobody knows where its primary is.
    fn start_directives(&self, roles: &NodesConf) -> Option<Vec<Directive>>;

    /// Who elects the successor of a primary.
    fn voters(&self) -> Voters;

    /// How many of the other shards must be well while one is disturbed, so that a failure in the middle finds its votes (law 6).
    fn shards_left_alone(&self, of: usize) -> usize;

    /// The zone whose loss would lose the votes that elect a successor, and how many of the primaries are in it (law 7). `primaries` are the
    /// zones of all primaries; `None` for one that is not seen.
    fn zone_with_majority<'a>(
        &self,
        primaries: &mut dyn Iterator<Item = Option<&'a ZoneName>>,
    ) -> Option<(&'a ZoneName, usize)>;
}

/// The rules of that mode.
pub fn rules(mode: Mode) -> &'static dyn ModeRules {
    match mode {
        Mode::Cluster => &cluster::Cluster,
        // Sentinels have no part in what servers are to each other.
        Mode::Standalone | Mode::Sentinel => &standalone::Standalone,
    }
}
