//! What a server tells of itself.

use super::{Connection, Server};
use crate::history::History;
use std::collections::BTreeSet;
use std::sync::Arc;
use valkeeper_model::{
    AofStatus, AttachedReplica, Epoch, Followed, Link, Offset, Part, Position, Replication, ServerView,
    Topology, TopologyNode,
};
use valkeeper_plan::server::config::Directive;

impl Server {
    /// `INFO replication`; a primary's replicas are the caller's to know.
    pub fn replication(&self, attached: Vec<AttachedReplica>) -> Replication {
        let part = if self.is_primary() {
            Part::Primary { replicas: attached }
        } else {
            Part::Replica { link: self.link() }
        };
        let known = self.is_primary() || self.data.resumable;
        Replication {
            part,
            replid: self.data.replid,
            offset: Offset(if known { self.data.offset } else { 0 }),
        }
    }

    /// The state of the link to its primary.
    pub fn link(&self) -> Link {
        match self.upstream.as_ref().map(|upstream| upstream.state) {
            Some(Connection::Up) => Link::Up,
            Some(Connection::Copying) => Link::Syncing,
            _ if self.ever_up => Link::Lost,
            _ => Link::NeverUp,
        }
    }

    /// The full look.
    pub fn view(
        &mut self,
        wanted: &[Directive],
        attached: Vec<AttachedReplica>,
        history: &History,
    ) -> ServerView {
        let topology = self.topology();
        let held = |pick: fn(&super::Peer) -> bool| -> BTreeSet<_> {
            let held = self.table.iter().filter(|(_, peer)| pick(peer));
            held.map(|(index, _)| self.members.ids[index]).collect()
        };
        ServerView {
            follows: self
                .source()
                .map(|source| Followed { host: source.ip().to_string(), port: source.port() }),
            node_id: self.members.ids[self.me],
            version: self.version.to_string(),
            engine: None,
            replication: self.replication(attached),
            keys: u64::from(history.size(&self.data.tips)),
            memory_bytes: 1_000_000,
            cluster_ok: self.ok,
            current_epoch: Epoch(self.current_epoch),
            topology,
            failed: held(|peer| peer.failed),
            suspected: held(|peer| peer.suspected),
            blank: 0,
            open_slots: 0,
            config_drift: self.drift(wanted),
            config_refused: Vec::new(),
            config_invalid: Vec::new(),
            config_altered: Vec::new(),
            config_by_hand: Vec::new(),
            users_by_hand: Vec::new(),
            persistence_failing: false,
            memory_full: None,
            clients: valkeeper_model::ClientTrouble::default(),
            full_syncs: None,
            slow: None,
            aof: Some(match (self.wants_aof(), self.appending) {
                (false, _) => AofStatus::Off,
                (true, false) => AofStatus::Rewriting,
                (true, true) => AofStatus::Settled,
            }),
            expiring_keys: 0,
            changes: None,
            branched_from: self
                .data
                .second
                .map(|(history, offset)| Position { history, offset: Offset(offset) }),
        }
    }

    fn topology(&mut self) -> Arc<Topology> {
        if let Some(topology) = &self.topology {
            return Arc::clone(topology);
        }
        let lines = self.table.iter().map(|(index, peer)| {
            let node = TopologyNode {
                role: peer.role,
                primary: peer.primary.map(|primary| self.members.ids[primary]),
                slots: self.members.atoms.slots_of(self.owned_by(index)),
                config_epoch: Epoch(self.epoch_of(index)),
                address: Some(peer.address.clone()),
            };
            (self.members.ids[index], node)
        });
        let topology = Arc::new(lines.collect());
        self.topology = Some(Arc::clone(&topology));
        topology
    }

    fn drift(&self, wanted: &[Directive]) -> Vec<String> {
        let differs = |(name, value): &&Directive| self.config.get(name) != Some(value);
        wanted.iter().filter(differs).map(|(name, _)| name.clone()).collect()
    }
}
