//! Mode `standalone`: one primary and its replicas. The engine knows neither identity nor votes here, so that both are Valkeeper's.
//!
//! Each agent keeps a file of the same form as the engine's nodes.conf beside its server's data. It says who is the primary, of which
//! *term* (in the place of the configuration epoch), which term was seen last and in which one the agent voted last. The shard owns all
//! slots: its primary has them in the file. So everything that is decided from roles and claims is the same as in mode `cluster`.
//!
//! | file | what |
//! | --- | --- |
//! | `terms.rs` | the machine: votes, elections, claims, and what is heard of newer terms |
//! | `terms/` | its elections, and how agents tell each other |
//! | `register.rs` | the seat that is no agent, where the number of agents is even |
//! | `model.rs` | every order of events of three agents, and of two and their register, by a model checker |
//! | `roles_file.rs` | the file of roles, terms and votes, and what changes it |
//! | `view.rs` | what a server says of itself, completed by what the file says |

#[cfg(test)]
mod model;
pub mod register;
mod roles_file;
mod terms;
mod view;

pub use roles_file::VOTED;
pub use terms::{Elected, Request, Situation, Terms, Vote};
pub use view::{Mend, complete, mend};

use super::{ModeRules, Voters};
use crate::server::config::Directive;
use valkeeper_model::nodes_conf::NodesConf;
use valkeeper_model::{ServerConfig, ZoneName};

/// Its rules.
#[derive(Debug)]
pub struct Standalone;

impl ModeRules for Standalone {
    fn directives(&self, _: &ServerConfig) -> Vec<(&'static str, String)> {
        Vec::new()
    }

    /// A server whose configuration does not name whom it follows boots as a writable primary.
    fn start_directives(&self, roles: &NodesConf) -> Option<Vec<Directive>> {
        let me = roles.myself()?;
        if !me.is_replica() {
            return Some(Vec::new());
        }
        let address = roles.node(me.primary?)?.address.as_ref()?;
        Some(vec![(REPLICA_OF.to_owned(), format!("{} {}", address.ip, address.port))])
    }

    fn voters(&self) -> Voters {
        Voters::Agents
    }

    /// There is one shard, and its agents vote.
    fn shards_left_alone(&self, _: usize) -> usize {
        0
    }

    /// Where the primary is has no part in a vote.
    fn zone_with_majority<'a>(
        &self,
        _: &mut dyn Iterator<Item = Option<&'a ZoneName>>,
    ) -> Option<(&'a ZoneName, usize)> {
        None
    }
}

/// Whom a server follows; every engine knows the name.
pub const REPLICA_OF: &str = "replicaof";
