//! One Valkey server, in cluster mode or without, from `reference/valkey.md`: what it believes, what it holds, what it answers.
//!
//! | file | what of the engine |
//! | --- | --- |
//! | `mod.rs` | its state; the commands it is told |
//! | `boot.rs` | nodes.conf and data, read at a start and kept while it runs |
//! | `table.rs` | the nodes it knows: met, heard of, forgotten |
//! | `bus.rs` | pings, claims with epochs, failure detection |
//! | `election.rs` | votes, manual failover, takeover |
//! | `plain.rs` | what is other without cluster mode |
//! | `version.rs` | what which version can do |
//! | `view.rs` | `INFO replication`, `CLUSTER NODES` |
//!
//! A claim is a set of [`crate::atoms`], each with an owner of its own.

mod boot;
mod bus;
mod election;
mod plain;
mod table;
#[cfg(test)]
mod tests;
mod version;
mod view;

pub use boot::{Disk, NodesFileState, Snapshot};
pub use bus::{Body, Header, Message};
pub use election::{Election, ManualFailover};
pub use plain::Kind;
pub use table::{FORGOTTEN_MS, Gossip, NodeTable, Peer};
pub use version::{DumpFormat, Version};

use crate::atoms::{AtomSet, Atoms};
use crate::history::Tips;
use std::collections::BTreeMap;
use std::sync::Arc;
use valkeeper_model::{
    Address, InstanceName, NodeId, ReplicationId, Role, ShardId, ShardName, SlotSet, Topology,
};
use valkeeper_plan::server::config::MIN_REPLICAS;

/// A primary does not serve for this long after its start (`CLUSTER_WRITABLE_DELAY`).
pub const WRITABLE_DELAY_MS: u64 = 2_000;
/// `cluster-manual-failover-timeout`.
pub const MANUAL_FAILOVER_MS: u64 = 5_000;
/// `clusterCron`.
pub const CRON_MS: u64 = 100;
/// The bytes of one write in the stream.
pub const WRITE_BYTES: u64 = 100;

/// The process of a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Process {
    /// None.
    Down,
    /// Reads its data, and answers nothing else.
    Loading,
    /// Serves.
    Running,
    /// Stopped by SIGSTOP: its sockets fill.
    Hung,
    /// Got a SIGTERM: writes held, replicas waited for.
    Leaving,
}

/// All instances that there ever were, by index. No server knows more of them than what is in its own table.
#[derive(Debug, Clone)]
pub struct Members {
    /// Node ids by index.
    pub ids: Vec<NodeId>,
    /// Names by index.
    pub names: Vec<InstanceName>,
    /// Each one's shard.
    pub shard_of: Vec<usize>,
    /// How the slots are divided.
    pub atoms: Atoms,
    /// The names of the shards.
    pub shard_names: Vec<ShardName>,
    /// The engine's ids of the shards.
    pub shard_ids: Vec<ShardId>,
    /// `cluster-node-timeout`.
    pub node_timeout_ms: u64,
}

impl Members {
    /// The index of a node id.
    pub fn index_of(&self, id: NodeId) -> Option<usize> {
        self.ids.iter().position(|known| *known == id)
    }

    /// How many shards there are.
    pub fn shards(&self) -> usize {
        self.shard_ids.len()
    }
}

/// A replica's connection to its primary.
#[derive(Debug, Clone)]
pub struct Upstream {
    /// To whom; `None` while nobody is at the address it was given.
    pub to: Option<usize>,
    /// Ended by the one it follows: what was sent before still arrives.
    pub severed: bool,
    /// Which run of it.
    pub run: u64,
    /// Tells one connection from the next.
    pub connection: u64,
    /// How far it is.
    pub state: Connection,
    /// The primary's data when the full synchronisation was begun: this is what the replica gets.
    pub fork: Option<(Tips, u64)>,
    /// What is under way: arrival time, position, offset.
    pub pipe: std::collections::VecDeque<(u64, Tips, u64)>,
}

/// The state of such a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Connection {
    /// Not there.
    Waiting,
    /// Partial resynchronisation.
    Resuming,
    /// Full synchronisation.
    Copying,
    /// In the stream.
    Up,
}

/// The data, and where in which stream it is.
#[derive(Debug, Clone)]
pub struct Data {
    /// The last write held of each atom.
    pub tips: Tips,
    /// `master_replid`.
    pub replid: ReplicationId,
    /// `master_repl_offset`.
    pub offset: u64,
    /// `master_replid2` and up to where it holds.
    pub second: Option<(ReplicationId, u64)>,
    /// The offset from which on it has kept its stream for replicas that come back, if it has at all. Only servers without cluster mode
    /// look at it: for the others it is chance (`Setup::backlog_gaps`).
    pub backlog: Option<u64>,
    /// Is the position in the stream known? Not after loading an AOF, nor after a full sync was begun and not finished.
    pub resumable: bool,
}

impl Data {
    /// Nothing.
    pub fn empty(replid: ReplicationId) -> Self {
        Self { tips: Tips::EMPTY, replid, offset: 0, second: None, backlog: None, resumable: false }
    }
}

/// One server.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "the engine's own flags, independent of each other")]
pub struct Server {
    /// Its index.
    pub me: usize,
    /// Who the others are.
    pub members: Arc<Members>,
    /// Where it listens.
    pub address: Address,
    /// In which mode it runs.
    pub kind: Kind,
    /// The program that it runs, or is started with next.
    pub version: Version,
    /// Its process.
    pub process: Process,
    /// Which run.
    pub run: u64,
    /// When this run was started.
    pub started_at: u64,
    /// When it was last awake again after it had hung.
    pub awake_since: u64,
    /// When this run began to serve.
    pub booted_at: u64,
    /// Its data directory.
    pub disk: Disk,
    /// The nodes it knows.
    pub table: NodeTable,
    /// The same, as gossip tells it.
    known: Option<Arc<[(usize, Address)]>>,
    /// Whom it was told to forget, and until when.
    pub forgotten: BTreeMap<usize, u64>,
    /// Whom it was told to meet and has not heard of yet, and when it gives up.
    handshakes: BTreeMap<usize, u64>,
    /// Who owns each atom, as it believes.
    pub owners: Vec<Option<usize>>,
    /// The atoms whose owner does not claim them any more: they stay with it until somebody else claims them, under whatever epoch
    /// (`owner_not_claiming_slot`).
    unclaimed: AtomSet,
    /// `currentEpoch`.
    pub current_epoch: u64,
    /// `lastVoteEpoch`.
    pub last_vote_epoch: u64,
    /// `cluster_state:ok`.
    pub ok: bool,
    /// When it last saw itself in a minority.
    pub minority_at: Option<u64>,
    /// Its data.
    pub data: Data,
    /// The connection to its primary.
    pub upstream: Option<Upstream>,
    /// The offset up to which a replica that has synchronised must still carry out what its primary kept for it meanwhile.
    pub behind: Option<u64>,
    /// The sequence of the record beside the data directory.
    pub beside: Option<u64>,
    /// Was that connection up once in this run?
    pub ever_up: bool,
    /// Writes are held until then (`CLIENT PAUSE`).
    pub paused_until: u64,
    /// A manual failover under way, as replica or as primary.
    pub manual: Option<ManualFailover>,
    /// An election under way.
    pub election: Option<Election>,
    /// Running configuration.
    pub config: BTreeMap<String, String>,
    /// Does every write go to the AOF?
    pub appending: bool,
    /// The AOF that is written to is not in the data directory any more.
    pub aof_unlinked: bool,
    /// Set when what it knows has to be saved.
    dirty: bool,
    topology: Option<Arc<Topology>>,
}

/// How a server came to be primary of its shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rise {
    /// It started with them.
    Boot,
    /// The engine's own election.
    Natural,
    /// `CLUSTER FAILOVER FORCE`.
    Force,
    /// `CLUSTER FAILOVER`.
    Planned,
    /// `CLUSTER FAILOVER TAKEOVER`.
    Takeover,
    /// `REPLICAOF NO ONE`.
    NoOne,
}

/// What follows from something that a server did.
#[derive(Debug, Default)]
pub struct Effects {
    /// Messages on the bus: to whom, where that one is believed to be, what.
    pub sends: Vec<(usize, Address, Message)>,
    /// It became primary.
    pub rose: Option<Rise>,
    /// It follows another one, or none, from now on.
    pub turned: bool,
    /// Held writes may go on, or are to be refused.
    pub released: bool,
    /// Its data was changed, and not by a client: its replicas are sent that.
    pub changed_data: bool,
}

impl Server {
    /// A server that never ran.
    pub fn new(me: usize, members: Arc<Members>, address: Address, replid: ReplicationId) -> Self {
        let atoms = members.atoms.count();
        Self {
            me,
            members,
            address,
            kind: Kind::Cluster,
            version: Version::Valkey91,
            process: Process::Down,
            run: 0,
            started_at: 0,
            awake_since: 0,
            booted_at: 0,
            disk: Disk::default(),
            table: NodeTable::default(),
            known: None,
            forgotten: BTreeMap::new(),
            handshakes: BTreeMap::new(),
            owners: vec![None; atoms],
            unclaimed: AtomSet::EMPTY,
            current_epoch: 0,
            last_vote_epoch: 0,
            ok: false,
            minority_at: None,
            data: Data::empty(replid),
            upstream: None,
            behind: None,
            beside: None,
            ever_up: false,
            paused_until: 0,
            manual: None,
            election: None,
            config: BTreeMap::new(),
            appending: false,
            aof_unlinked: false,
            dirty: false,
            topology: None,
        }
    }

    /// Is there a process?
    pub fn alive(&self) -> bool {
        self.process != Process::Down
    }

    /// Does it do anything?
    pub fn awake(&self) -> bool {
        matches!(self.process, Process::Running | Process::Leaving)
    }

    /// Its own line.
    pub fn myself(&self) -> Option<&Peer> {
        self.table.get(self.me)
    }

    /// A primary by its own belief?
    pub fn is_primary(&self) -> bool {
        self.myself().is_some_and(|me| me.role == Role::Primary)
    }

    /// Whose replica it is.
    pub fn follows(&self) -> Option<NodeId> {
        self.myself().and_then(|me| me.primary).map(|primary| self.members.ids[primary])
    }

    /// Its shard.
    pub fn shard(&self) -> usize {
        self.members.shard_of[self.me]
    }

    /// The atoms that a node owns, as this server believes.
    pub fn owned_by(&self, who: usize) -> AtomSet {
        let owned = self.owners.iter().enumerate().filter(|(_, owner)| **owner == Some(who));
        owned.map(|(atom, _)| atom).collect()
    }

    /// Owns slots by its own belief?
    pub fn owns(&self) -> bool {
        self.is_primary() && self.owners.contains(&Some(self.me))
    }

    /// Would it take a write now, were it not paused?
    pub fn serves(&self) -> bool {
        self.process == Process::Running && self.ok && self.owns() && !self.refuses_writes()
    }

    /// Are more replicas wanted than there can be? Then it answers every write with an error.
    pub fn refuses_writes(&self) -> bool {
        let wanted = self.config.get(MIN_REPLICAS).and_then(|value| value.parse::<u64>().ok());
        wanted.is_some_and(|wanted| wanted > self.members.ids.len() as u64)
    }

    /// Are writes held?
    pub fn pauses(&self, now: u64) -> bool {
        self.paused_until > now
            || self.process == Process::Leaving
            || self.manual.as_ref().is_some_and(|manual| manual.pausing)
    }

    /// In the stream of its primary?
    pub fn in_stream(&self) -> bool {
        self.upstream.as_ref().is_some_and(|upstream| upstream.state == Connection::Up)
    }

    /// A copy that was whole in this run: in the stream now or before, caught up with it, and no full sync has been begun since, also none that
    /// was broken off.
    pub fn live_copy(&self) -> bool {
        self.awake() && !self.is_primary() && self.had_caught_up() && self.data.resumable
    }

    /// Had it carried out all of its primary's stream at some moment of this run, and not begun anew since?
    pub fn had_caught_up(&self) -> bool {
        self.ever_up && self.behind.is_none()
    }

    /// Votes needed, by its own belief.
    pub fn quorum(&self) -> usize {
        self.voters() / 2 + 1
    }

    fn voters(&self) -> usize {
        self.owners_known().len()
    }

    fn owners_known(&self) -> Vec<usize> {
        let mut owners: Vec<usize> = self.owners.iter().flatten().copied().collect();
        owners.sort_unstable();
        owners.dedup();
        owners
    }

    fn mark(&mut self) {
        self.dirty = true;
        self.topology = None;
        self.known = None;
    }

    /// Follows another node (`CLUSTER REPLICATE`, or the loser of all its slots).
    fn follow(&mut self, primary: usize, fx: &mut Effects) {
        let me = self.me;
        for owner in self.owners.iter_mut().filter(|owner| **owner == Some(me)) {
            *owner = None;
        }
        let line = &mut self.table[me];
        line.role = Role::Replica;
        line.primary = Some(primary);
        self.manual = None;
        self.election = None;
        fx.turned = true;
        fx.released = true;
        self.mark();
    }

    /// `CLUSTER ADDSLOTSRANGE`: refused if anybody owns one of them.
    pub fn take_slots(&mut self, slots: &SlotSet, fx: &mut Effects) -> Result<(), String> {
        let atoms = self.whole_atoms(slots)?;
        if atoms.iter().any(|atom| self.owners[atom].is_some()) {
            return Err("ERR Slot is already busy".to_owned());
        }
        for atom in atoms.iter() {
            self.owners[atom] = Some(self.me);
        }
        fx.released = true;
        self.mark();
        self.save();
        Ok(())
    }

    fn whole_atoms(&self, slots: &SlotSet) -> Result<AtomSet, String> {
        let atoms = self.members.atoms.exactly(slots);
        atoms.ok_or_else(|| format!("{slots} are not whole atoms: Atoms::cut_at divides them further"))
    }

    /// The last step of an atomic slot migration, on its target: the keys are there, and the slots are claimed under a new epoch, without a
    /// vote. The former owner deletes them when it hears of that.
    pub fn import(&mut self, slots: &SlotSet, keys: &Tips, fx: &mut Effects) -> Result<(), String> {
        let atoms = self.whole_atoms(slots)?;
        if !self.version.migrates_slots() {
            return Err("ERR unknown subcommand 'SYNCSLOTS'".to_owned());
        }
        if !self.is_primary() {
            return Err("ERR Slot migration can only be used on primary nodes.".to_owned());
        }
        let highest = self.highest_epoch();
        let mine = self.table[self.me].config_epoch;
        if mine == 0 || mine != highest {
            self.current_epoch = highest + 1;
            self.table[self.me].config_epoch = self.current_epoch;
        }
        for atom in atoms.iter() {
            self.owners[atom] = Some(self.me);
            self.unclaimed.remove(atom);
            self.data.tips.set(atom, keys.get(atom));
        }
        self.changed_data(fx);
        self.mark();
        self.save();
        self.announce(fx);
        Ok(())
    }

    fn changed_data(&mut self, fx: &mut Effects) {
        self.data.offset += WRITE_BYTES;
        self.append();
        fx.changed_data = true;
    }

    fn highest_epoch(&self) -> u64 {
        self.table.iter().map(|(_, peer)| peer.config_epoch).fold(self.current_epoch, u64::max)
    }

    /// `CLUSTER REPLICATE`.
    pub fn replicate(&mut self, primary: NodeId, fx: &mut Effects) -> Result<(), String> {
        let index = self.members.index_of(primary).filter(|index| self.table.knows(*index));
        let Some(index) = index else { return Err("ERR Unknown node".to_owned()) };
        if index == self.me {
            return Err("ERR Can't replicate myself".to_owned());
        }
        if self.table[index].role != Role::Primary {
            return Err("ERR I can only replicate a primary, not a replica.".to_owned());
        }
        if self.is_primary() && (self.owns() || !self.data.tips.is_empty()) {
            return Err("ERR To set a primary the node must be empty and without assigned slots.".to_owned());
        }
        if self.myself().and_then(|me| me.primary) != Some(index) {
            self.follow(index, fx);
        }
        self.save();
        Ok(())
    }
}
