//! Starting: nodes.conf, then the data.

use super::{Data, DumpFormat, Kind, NodeTable, Peer, Process, Server};
use crate::atoms::AtomSet;
use crate::history::Tips;
use std::collections::BTreeMap;
use valkeeper_model::nodes_conf::{NodeLine, NodesConf, Vars};
use valkeeper_model::{CopyRecord, CopySource, Epoch, Offset, Position, ReplicationId, Role};
use valkeeper_plan::failover::copy::{AofFiles, DataFiles, RdbFile};
use valkeeper_plan::failover::restart_decision;
use valkeeper_plan::server::config::APPENDONLY;

/// An RDB file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// What it holds.
    pub tips: Tips,
    /// How it is written.
    pub format: DumpFormat,
    /// The stream it is a position of.
    pub replid: ReplicationId,
    /// The position.
    pub offset: u64,
}

/// The nodes.conf on disk. The engine writes it at every change of role, epoch or vote.
#[derive(Debug, Clone, Default, PartialEq)]
pub enum NodesFileState {
    /// None.
    #[default]
    Missing,
    /// Torn.
    Damaged,
    /// What the last run left, or what was written for the next.
    Written(NodesConf),
    /// What the running server knows.
    Current,
}

/// A data directory.
#[derive(Debug, Clone, Default)]
pub struct Disk {
    /// Whose it is, by the mark that Valkeeper leaves; `None` if there is no mark.
    pub owner: Option<String>,
    /// nodes.conf.
    pub conf: NodesFileState,
    /// dump.rdb.
    pub rdb: Option<Snapshot>,
    /// The AOF that is in force. It grows only while the server appends to it.
    pub aof: Option<Tips>,
    /// How its base is written.
    pub aof_format: DumpFormat,
    /// The record of the copy.
    pub record: Option<CopyRecord>,
}

impl Disk {
    /// The positions it holds and that count: an AOF is promised from the moment on that its record calls it complete, and nothing of a
    /// directory that was emptied.
    pub fn copies(&self) -> impl Iterator<Item = Tips> {
        let (ours, complete) =
            (self.owner.is_some(), self.record.as_ref().is_none_or(|record| record.aof.complete));
        let snapshot = self.rdb.as_ref().filter(|_| ours).map(|snapshot| snapshot.tips);
        snapshot.into_iter().chain(self.aof.filter(|_| ours && complete))
    }
}

impl Server {
    /// What an agent finds in the data directory.
    pub fn inspect(&self, ours: &str) -> restart_decision::Disk {
        let owner = match &self.disk.owner {
            None => restart_decision::Owner::Nobody,
            Some(owner) if owner == ours => restart_decision::Owner::Ours,
            Some(owner) => restart_decision::Owner::Other(owner.clone()),
        };
        let nodes_conf = match &self.disk.conf {
            NodesFileState::Missing => restart_decision::NodesFile::Missing,
            NodesFileState::Damaged => restart_decision::NodesFile::Damaged("torn".to_owned()),
            NodesFileState::Written(conf) => restart_decision::NodesFile::Intact(conf.clone()),
            NodesFileState::Current => restart_decision::NodesFile::Intact(self.rendered()),
        };
        let rdb = self.disk.rdb.as_ref().map(|snapshot| {
            let position = Position { history: snapshot.replid, offset: Offset(snapshot.offset) };
            RdbFile { position: Some(position), slot: None }
        });
        let aof = if self.disk.aof.is_some() { AofFiles::Whole } else { AofFiles::Absent };
        let (record, beside) = (self.disk.record.clone(), self.beside);
        restart_decision::Disk {
            owner,
            nodes_conf,
            files: DataFiles { aof, end_lost: false, aof_slot: None, rdb },
            record,
            beside,
        }
    }

    /// Appends what it has to its AOF, if there is one that is found again.
    pub fn append(&mut self) {
        if self.appending && !self.aof_unlinked {
            self.disk.aof = Some(self.data.tips);
        }
    }

    /// Moves a file out of the way.
    pub fn set_aside(&mut self, what: CopySource) {
        match what {
            CopySource::Aof => self.disk.aof = None,
            CopySource::Rdb => self.disk.rdb = None,
            CopySource::Nothing => {}
        }
    }

    /// Writes the record of the copy, in the directory and beside it.
    pub fn keep(&mut self, record: CopyRecord) {
        self.beside = Some(record.sequence);
        self.disk.record = Some(record);
    }

    /// What somebody gets who copies the data directory now.
    pub fn copy_of_disk(&self) -> Disk {
        let conf = match &self.disk.conf {
            NodesFileState::Current => NodesFileState::Written(self.rendered()),
            other => other.clone(),
        };
        Disk { conf, ..self.disk.clone() }
    }

    /// Keeps what it knows.
    pub(super) fn save(&mut self) {
        if std::mem::take(&mut self.dirty) && !self.is_plain() {
            self.disk.conf = NodesFileState::Current;
        }
    }

    /// What nodes.conf says while it runs.
    fn rendered(&self) -> NodesConf {
        let mut nodes = Vec::new();
        for (index, peer) in self.table.iter() {
            let mut line = NodeLine::new(self.members.ids[index], Some(peer.address.clone()), peer.role);
            line.flags.myself = index == self.me;
            line.flags.fail = peer.failed;
            line.flags.pfail = peer.suspected;
            line.primary = peer.primary.map(|primary| self.members.ids[primary]);
            line.config_epoch = Epoch(self.epoch_of(index));
            line.slots = self.members.atoms.slots_of(self.owned_by(index));
            line.aux.insert(
                "shard-id".to_owned(),
                self.members.shard_ids[self.members.shard_of[index]].to_string(),
            );
            nodes.push(line);
        }
        let vars =
            Vars { current_epoch: Epoch(self.current_epoch), last_vote_epoch: Epoch(self.last_vote_epoch) };
        NodesConf { nodes, vars: Some(vars) }
    }

    /// A node's configuration epoch; a replica has its primary's.
    pub(super) fn epoch_of(&self, index: usize) -> u64 {
        let peer = &self.table[index];
        match peer.primary {
            Some(primary) if peer.role == Role::Replica => {
                self.table.get(primary).map_or(0, |primary| primary.config_epoch)
            }
            _ => peer.config_epoch,
        }
    }

    /// The process is there and reads its files. Fails as the engine does when nodes.conf is not one.
    pub fn exec(&mut self, config: BTreeMap<String, String>, replid: ReplicationId) -> Result<(), String> {
        let kind = Kind::configured(&config)?;
        self.can_load(&config)?;
        if kind == Kind::Cluster {
            let conf = self.nodes_file()?;
            self.read(&conf)?;
            self.disk.conf = NodesFileState::Current;
        }
        self.kind = kind;
        if self.is_plain() {
            self.stand_alone();
        }
        self.process = Process::Loading;
        self.run += 1;
        self.config = config;
        self.ok = false;
        self.minority_at = None;
        self.upstream = None;
        self.ever_up = false;
        self.behind = None;
        self.paused_until = 0;
        self.manual = None;
        self.election = None;
        self.load(replid);
        if self.is_plain() {
            self.continue_stream();
        }
        Ok(())
    }

    fn nodes_file(&self) -> Result<NodesConf, String> {
        match &self.disk.conf {
            NodesFileState::Written(conf) => Ok(conf.clone()),
            NodesFileState::Current => Ok(self.rendered()),
            NodesFileState::Missing => Err("no nodes.conf was written for it".to_owned()),
            NodesFileState::Damaged => Err("Unrecoverable error: corrupted cluster config file".to_owned()),
        }
    }

    /// A file that a newer version wrote may be beyond this one.
    fn can_load(&self, config: &BTreeMap<String, String>) -> Result<(), String> {
        let format = if config.get(APPENDONLY).is_some_and(|value| value == "yes") {
            self.disk.aof.as_ref().map(|_| self.disk.aof_format)
        } else {
            self.disk.rdb.as_ref().map(|snapshot| snapshot.format)
        };
        match format.filter(|format| !self.version.loads(*format)) {
            Some(format) => Err(format!("Can't handle RDB format version {format}")),
            None => Ok(()),
        }
    }

    fn read(&mut self, conf: &NodesConf) -> Result<(), String> {
        self.table = NodeTable::default();
        self.forgotten.clear();
        self.handshakes.clear();
        self.owners = vec![None; self.members.atoms.count()];
        self.unclaimed = AtomSet::EMPTY;
        for line in &conf.nodes {
            let Some(index) = self.members.index_of(line.id) else { continue };
            if line.flags.myself && index != self.me {
                return Err("another node's nodes.conf".to_owned());
            }
            let primary = line.primary.and_then(|primary| self.members.index_of(primary));
            let address = line.address.as_ref().unwrap_or(&self.address);
            let mut peer = Peer::at(address.clone(), 0);
            peer.role = line.flags.role.unwrap_or(Role::Primary);
            peer.primary = primary.filter(|_| peer.role == Role::Replica);
            peer.config_epoch = line.config_epoch.0;
            peer.failed = line.flags.fail;
            peer.suspected = line.flags.pfail;
            self.table.insert(index, peer);
            for atom in self.members.atoms.within(&line.slots).iter() {
                self.owners[atom] = Some(index);
            }
        }
        let vars = conf.vars.unwrap_or_default();
        self.current_epoch = vars.current_epoch.0;
        self.last_vote_epoch = vars.last_vote_epoch.0;
        if !self.table.knows(self.me) {
            self.table.insert(self.me, Peer::at(self.address.clone(), 0));
        }
        self.table[self.me].address = self.address.clone();
        self.mark();
        self.dirty = false;
        Ok(())
    }

    /// With AOF on only the AOF is read: a dump.rdb beside it counts for nothing (`reference/valkey.md` §8).
    fn load(&mut self, replid: ReplicationId) {
        self.appending = self.wants_aof();
        self.aof_unlinked = false;
        let mut data = Data::empty(replid);
        if self.appending {
            if self.disk.aof.is_none() {
                self.disk.aof_format = self.version.dump_format();
            }
            data.tips = *self.disk.aof.get_or_insert(Tips::EMPTY);
        } else if let Some(snapshot) = &self.disk.rdb {
            data.tips = snapshot.tips;
            // A primary begins a new stream, a replica goes on from where the file was taken.
            if !self.is_primary() {
                data.replid = snapshot.replid;
                data.offset = snapshot.offset;
                data.resumable = true;
            }
        }
        // Keys of slots that it does not own by its own nodes.conf are deleted.
        if self.is_primary() {
            data.tips.clear(data.tips.atoms().minus(self.owned_by(self.me)));
        }
        self.data = data;
    }

    /// Does its configuration want an AOF?
    pub fn wants_aof(&self) -> bool {
        self.config.get(APPENDONLY).is_some_and(|value| value == "yes")
    }

    /// Does it save by itself, and at a stop?
    pub fn wants_rdb(&self) -> bool {
        self.config.get("save").is_some_and(|points| !points.is_empty())
    }

    /// Loading is over.
    pub fn ready(&mut self, now: u64) {
        self.process = Process::Running;
        self.booted_at = now;
        self.ok = self.is_plain();
        for (index, peer) in self.table.iter_mut() {
            peer.heard = now;
            peer.ping_due = now;
            peer.failed_since = now;
            // A suspicion of the last run is not evidence of this one.
            peer.suspected = false;
            if index == self.me {
                peer.failed = false;
            }
        }
    }

    /// What it holds becomes dump.rdb.
    pub fn write_rdb(&mut self) {
        let Data { tips, replid, offset, .. } = self.data;
        self.disk.rdb = Some(Snapshot { tips, format: self.version.dump_format(), replid, offset });
    }

    /// The process is gone. What nodes.conf said last stays.
    pub fn end(&mut self) {
        if self.disk.conf == NodesFileState::Current {
            self.disk.conf = NodesFileState::Written(self.rendered());
        }
        self.process = Process::Down;
        self.upstream = None;
        self.ok = false;
    }
}
