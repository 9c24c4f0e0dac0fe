//! Mode `cluster`: identity and roles of a server are in its nodes.conf, and the primaries of the shards elect successors.

pub mod nodes_conf;

use super::{ModeRules, Voters};
use crate::placement::zones::{majority_holder, quorum};
use crate::server::config::{Directive, NO_FAILOVER};
use valkeeper_model::nodes_conf::NodesConf;
use valkeeper_model::{ServerConfig, ZoneName};

/// Its rules.
#[derive(Debug)]
pub struct Cluster;

impl ModeRules for Cluster {
    /// - Automatic failover stays on as a backstop: agents are faster, but may be dead themselves.
    /// - `cluster-allow-replica-migration no`: placement is Valkeeper's (law 7).
    /// - `cluster-replica-validity-factor 0`: an old copy is better than none when the engine is on its own.
    /// - `cluster-require-full-coverage no`: a dead shard must not stop the others.
    /// - `cluster-config-save-behavior best-effort` (9.1): a full disk must not end the server at the next vote.
    fn directives(&self, config: &ServerConfig) -> Vec<(&'static str, String)> {
        vec![
            ("cluster-enabled", "yes".to_owned()),
            ("cluster-node-timeout", config.node_timeout_ms.to_string()),
            ("cluster-require-full-coverage", "no".to_owned()),
            ("cluster-allow-replica-migration", "no".to_owned()),
            ("cluster-replica-validity-factor", "0".to_owned()),
            (NO_FAILOVER, "no".to_owned()),
            ("cluster-config-save-behavior", "best-effort".to_owned()),
        ]
    }

    /// The engine reads nodes.conf itself.
    fn start_directives(&self, _: &NodesConf) -> Option<Vec<Directive>> {
        Some(Vec::new())
    }

    fn voters(&self) -> Voters {
        Voters::Primaries
    }

    fn shards_left_alone(&self, of: usize) -> usize {
        quorum(of)
    }

    fn zone_with_majority<'a>(
        &self,
        primaries: &mut dyn Iterator<Item = Option<&'a ZoneName>>,
    ) -> Option<(&'a ZoneName, usize)> {
        majority_holder(primaries)
    }
}
