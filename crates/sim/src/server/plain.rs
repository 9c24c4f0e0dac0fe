//! A server without cluster mode: no bus, no election, no slots. What it is, and whom it follows, is what its configuration says at its
//! start and what `REPLICAOF` says while it runs. One whose configuration names no source is a writable primary at once.

use super::{Data, Effects, NodeTable, Peer, Rise, Server};
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use valkeeper_model::Role;
use valkeeper_plan::mode::standalone::REPLICA_OF;

/// In which mode a server runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `cluster-enabled yes`.
    Cluster,
    /// `cluster-enabled no`, and whom it follows.
    Plain(Option<SocketAddr>),
}

/// `repl-backlog-size` if nothing is said of it.
const BACKLOG_BYTES: u64 = 10 * 1_024 * 1_024;

impl Kind {
    /// What a configuration says. The engine's own default is no cluster mode.
    pub(super) fn configured(config: &BTreeMap<String, String>) -> Result<Self, String> {
        let source = config.get(REPLICA_OF);
        if config.get("cluster-enabled").is_some_and(|value| value == "yes") {
            return match source {
                None => Ok(Self::Cluster),
                Some(_) => Err("replicaof directive not allowed in cluster mode".to_owned()),
            };
        }
        let Some(words) = source else { return Ok(Self::Plain(None)) };
        let (host, port) = words.split_once(' ').ok_or_else(|| format!("replicaof {words}"))?;
        let (Ok(ip), Ok(port)) = (host.parse::<IpAddr>(), port.trim().parse()) else {
            return Err(format!(
                "replicaof {words}: Invalid primary port, or a name, which is resolved by nobody here"
            ));
        };
        Ok(Self::Plain(Some((ip, port).into())))
    }
}

impl Server {
    /// Does it run without cluster mode?
    pub fn is_plain(&self) -> bool {
        matches!(self.kind, Kind::Plain(_))
    }

    /// The address that a server without cluster mode follows.
    pub fn source(&self) -> Option<SocketAddr> {
        match self.kind {
            Kind::Cluster => None,
            Kind::Plain(source) => source,
        }
    }

    /// Does it follow anybody?
    pub fn has_source(&self) -> bool {
        self.source().is_some() || self.myself().is_some_and(|me| me.primary.is_some())
    }

    /// Takes replicas of its own: a primary, and without cluster mode also a replica whose link is up.
    pub fn takes_replicas(&self) -> bool {
        self.awake() && (self.is_primary() || self.is_plain() && self.in_stream())
    }

    /// Begins a run without cluster mode. All that it holds is its own as long as it follows nobody.
    pub(super) fn stand_alone(&mut self) {
        self.table = NodeTable::default();
        self.table.insert(self.me, Peer::at(self.address.clone(), 0));
        (self.current_epoch, self.last_vote_epoch) = (0, 0);
        self.take_part();
    }

    /// Its role follows from whom it follows.
    fn take_part(&mut self) {
        let primary = self.source().is_none();
        self.table[self.me].role = if primary { Role::Primary } else { Role::Replica };
        self.owners.fill(primary.then_some(self.me));
        self.mark();
    }

    /// `REPLICAOF`, `None` for `NO ONE`. Whoever was a primary tries to go on in its new source's stream from where its own one ended.
    pub fn replicate_from(&mut self, source: Option<SocketAddr>, fx: &mut Effects) -> Result<(), String> {
        let Kind::Plain(present) = self.kind else {
            return Err("ERR REPLICAOF not allowed in cluster mode.".to_owned());
        };
        if present == source {
            return Ok(());
        }
        self.kind = Kind::Plain(source);
        self.take_part();
        fx.turned = true;
        fx.released = true;
        fx.rose = source.is_none().then_some(Rise::NoOne);
        Ok(())
    }

    /// What a restarted primary tells replicas of the stream that it served before: with an RDB file they may go on from there.
    pub(super) fn continue_stream(&mut self) {
        let saved = self.disk.rdb.as_ref().filter(|_| !self.appending);
        if let Some(saved) = saved.filter(|_| self.is_primary()) {
            self.data.second = Some((saved.replid, saved.offset));
            self.data.offset = saved.offset;
            self.data.backlog = Some(saved.offset);
        }
    }

    /// Can a replica that has come to this place in the stream go on from there?
    pub fn resumes(&self, replica: &Data) -> bool {
        let mine = &self.data;
        let own = replica.replid == mine.replid && replica.offset <= mine.offset;
        let before = mine.second.is_some_and(|(id, until)| replica.replid == id && replica.offset <= until);
        replica.resumable && (own || before) && (!self.is_plain() || self.reaches_back_to(replica.offset))
    }

    fn reaches_back_to(&self, offset: u64) -> bool {
        let size = self.config.get("repl-backlog-size").and_then(|bytes| bytes.parse().ok());
        let oldest = self.data.offset.saturating_sub(size.unwrap_or(BACKLOG_BYTES));
        self.data.backlog.is_some_and(|begun| begun.max(oldest) <= offset)
    }
}
