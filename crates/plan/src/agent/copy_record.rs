//! The durable record of our server's copy (law 13): when it is written and what it says.

use super::Command;
use super::machine::Agent;
use super::sync_check::SyncCheck;
use crate::failover::copy::{Evidence, branch, examine, extend};
use crate::failover::promotion::FORCED_MS;
use crate::failover::restart_decision::{Disk, Owner};
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use valkeeper_model::{
    AofOnDisk, AofStatus, CopyRecord, CopySource, DiskRole, HeldCopy, Incarnation, InstanceName, Link,
    Member, Millis, Part, Persistence, Process, ReplicaStanding, Replication, Role, ServerView,
};

/// Between two records of an offset that moves. What changes in kind is recorded at once.
const MOVED_MS: u64 = 5_000;
/// Between two records of a server at rest, whose offset moves by the engine's pings only.
const AT_REST_MS: u64 = 60_000;
/// An offset that moves by less in [`MOVED_MS`] moves by pings.
const PINGS: u64 = 256;

/// What is kept about our server's copy.
#[derive(Debug, Default)]
pub(super) struct CopyRecordState {
    /// The record as it is on the disk.
    durable: Option<CopyRecord>,
    /// The sequence of the record that is being written.
    writing: Option<(u64, Box<CopyRecord>)>,
    written_at: Millis,
    /// The disk's copy as it was found last.
    held: Option<HeldCopy>,
    reading: Reading,
    /// The file that our server refused to load, and how often in a row.
    refused: Option<(CopySource, u32)>,
    /// The highest sequence of our record that a sibling has seen.
    sequence_seen: u64,
    pub(super) sync: SyncCheck,
    pub(super) seen: BTreeMap<InstanceName, u64>,
    last_write: LastWrite,
    /// Another record is due although nothing moves any more.
    settles: bool,
    /// The record of a server that an earlier agent started was read.
    adopted: bool,
    /// Our server is to drop what it has and take its primary's copy.
    pub(super) resync: bool,
}

/// Whether what was found on the disk is still what it holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Reading {
    #[default]
    Current,
    /// A server has written since then, and has ended.
    Outdated,
}

/// What became of the last record.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum LastWrite {
    #[default]
    Done,
    /// It could not be written.
    Refused,
}

/// Starts that must fail on a file before the file counts as damaged: one may be cut short by something else.
const REFUSALS: u32 = 2;

impl CopyRecordState {
    pub(super) fn found(&mut self, disk: &Disk) {
        let known = self.durable.as_ref().map_or(0, |record| record.sequence);
        // A record that was being written while the directory was looked at counts when it has been written.
        if self.writing.is_none() || disk.record.as_ref().is_some_and(|record| record.sequence > known) {
            self.durable.clone_from(&disk.record);
        }
    }

    /// The record is on the disk, or could not be written.
    pub(super) fn kept(&mut self, sequence: u64, written: bool) {
        self.last_write = if written { LastWrite::Done } else { LastWrite::Refused };
        if let Some((_, record)) = self.writing.take_if(|(writing, _)| *writing == sequence)
            && written
            && self.durable.as_ref().is_none_or(|durable| durable.sequence < record.sequence)
        {
            self.durable = Some(*record);
        }
    }

    /// Our server runs, started with that record.
    pub(super) fn started(&mut self, record: Option<CopyRecord>) {
        if record.is_some() {
            self.durable = record;
        }
        self.writing = None;
        self.sync = SyncCheck::default();
        self.resync = false;
    }

    /// An adopted server goes on as what its record says.
    fn adopt(&mut self, run: Incarnation) {
        let known = self.durable.as_ref().filter(|record| record.run == run && record.role == Role::Replica);
        if known.is_some_and(|record| record.caught_up) {
            self.sync.caught_up = true;
            self.sync.link = Some(Link::Up);
        }
    }

    /// Is a record being written? A start would write another one.
    pub(super) fn is_writing(&self) -> bool {
        self.writing.is_some()
    }

    pub(super) fn caught_up(&self) -> bool {
        self.sync.caught_up
    }

    pub(super) fn aof_complete(&self) -> bool {
        self.durable.as_ref().is_some_and(|record| record.aof.complete)
    }

    pub(super) fn held(&self) -> Option<&HeldCopy> {
        self.held.as_ref()
    }

    /// Our server has ended: what was found before its start says nothing of what it has left.
    pub(super) fn ended(&mut self) {
        self.reading = Reading::Outdated;
    }

    /// The disk's copy, unless it has to be looked at before anything can be told of it.
    fn current(&self) -> Option<&HeldCopy> {
        self.held.as_ref().filter(|_| self.reading == Reading::Current)
    }

    /// Has the disk to be looked at before anything can be told of what it holds?
    pub(super) fn is_unread(&self) -> bool {
        self.current().is_none()
    }

    pub(super) fn durable(&self) -> Option<&CopyRecord> {
        self.durable.as_ref()
    }

    pub(super) fn sequence_seen(&self) -> u64 {
        self.sequence_seen
    }

    /// Siblings have seen a record of ours with this sequence.
    pub(super) fn learn_sequence(&mut self, seen: Option<u64>) {
        self.sequence_seen = self.sequence_seen.max(seen.unwrap_or(0));
    }

    pub(super) fn refused(&self) -> Option<CopySource> {
        self.refused.filter(|(_, times)| *times >= REFUSALS).map(|(source, _)| source)
    }

    /// Our server ended while it loaded that file, and named the file's content as the cause.
    pub(super) fn load_refused(&mut self) {
        let Some(source) = self.held.as_ref().map(|held| held.source).filter(|s| *s != CopySource::Nothing)
        else {
            return;
        };
        let times = self.refused.filter(|(last, _)| *last == source).map_or(0, |(_, times)| times);
        self.refused = Some((source, times + 1));
    }

    pub(super) fn loaded(&mut self) {
        self.refused = None;
    }

    pub(super) fn forget_refusals(&mut self) {
        self.refused = None;
    }
}

impl Agent {
    /// Judges our disk; `seen` is the highest sequence that a sibling has seen of our record.
    pub(super) fn examine(&mut self, disk: &Disk, seen: Option<u64>) -> HeldCopy {
        let slots = self.order.as_ref().and_then(|order| order.founding_slots()).cloned();
        let evidence = Evidence {
            record: disk.record.as_ref(),
            beside: disk.beside,
            emptied: disk.owner == Owner::Nobody,
            claims_slots: matches!(disk.role(), DiskRole::Primary { slots, .. } if !slots.is_empty()),
            seen_by_siblings: seen,
            refused: self.copy_record.refused(),
            slots: slots.as_ref(),
        };
        let held = examine(&disk.files, self.persistence(), evidence);
        self.copy_record.held = Some(held.clone());
        self.copy_record.reading = Reading::Current;
        held
    }

    /// What we tell others of our copy: the disk's, with what is known by now.
    pub(super) fn copy_held(&self) -> HeldCopy {
        let Some(mut held) = self.copy_record.current().cloned() else { return HeldCopy::unread() };
        if let Some(record) = &self.copy_record.durable {
            held.histories.clone_from(&record.histories);
            held.sequence = Some(record.sequence);
            held.seen.clone_from(&record.seen);
        }
        // A promotion that was seen and is not recorded yet: where its history branched off is known all the same.
        if let (Some(run), Some(view)) = (self.incarnation(), self.server.known()) {
            held.histories = self.next_record(run, view).histories;
        }
        // A server that has not been connected in this run holds what it held when the last one ended.
        if self.incarnation().is_some() {
            held.caught_up = match self.copy_record.sync.link {
                Some(Link::Up | Link::Lost | Link::Syncing) => self.copy_record.sync.caught_up,
                Some(Link::NeverUp) => held.caught_up,
                None => held.caught_up || self.is_shard_primary(),
            };
        }
        held
    }

    /// `None` as long as nothing is known of our copy.
    pub(super) fn standing(&self, now: Millis) -> Option<ReplicaStanding> {
        self.copy_record.held.as_ref()?;
        let view = self.server.known().or(self.last_view.as_ref());
        Some(ReplicaStanding {
            follows: view.and_then(ServerView::primary),
            caught_up: self.copy_record.sync.caught_up,
            persistence_incomplete: self.lacks_aof(),
            sequence: self.copy_record.durable.as_ref().map(|record| record.sequence),
            promotion_asked_ms: self
                .promotion_requested_at
                .map(|at| now.since(at))
                .filter(|ms| *ms < FORCED_MS),
            looked_at: Some(now),
        })
    }

    /// Is an append-only file promised that does not hold everything yet? A primary that has got no slots yet holds nothing that could be lost.
    pub(super) fn lacks_aof(&self) -> bool {
        let holds_nothing = |view: &ServerView| view.is_primary_without_slots() && view.keys == 0;
        let view = self.server.known().or(self.last_view.as_ref()).filter(|view| !holds_nothing(view));
        let shown = view.and_then(|view| view.aof);
        self.persistence() == Persistence::Aof
            && shown.is_some()
            && (self.aof_loss.is_certain() || !self.copy_record.aof_complete())
    }

    /// A look at our server has come.
    pub(super) fn keep(&mut self, now: Millis, view: &ServerView) {
        let (Some(run), true) = (self.incarnation(), self.order.is_some()) else { return };
        if self.copy_record.held.is_none() {
            // Without its record nothing is known of the copy of a server that an earlier agent started.
            self.out.push(Command::Inspect);
            return;
        }
        if self.adopted == Some(run) && !std::mem::replace(&mut self.copy_record.adopted, true) {
            self.copy_record.adopt(run);
        }
        self.check_sync(now, view);
        self.compare_keys(now, view);
        if self.copy_record.writing.is_some() {
            return;
        }
        let next = self.next_record(run, view);
        let durable = self.copy_record.durable.as_ref();
        let in_kind = durable.is_none_or(|last| differs_in_kind(last, &next));
        let waited = now.since(self.copy_record.written_at);
        let moved = durable.is_some_and(|last| moved_by(last, &next) > PINGS || last.keys != next.keys);
        // One more after the last that moved: by then what the first one saw of the append-only file has reached the disk.
        let unsettled = moved || self.copy_record.settles;
        let at_once = in_kind && self.copy_record.last_write == LastWrite::Done;
        let due = at_once
            || in_kind && waited >= MOVED_MS
            || waited >= MOVED_MS && unsettled
            || waited >= AT_REST_MS && durable != Some(&next);
        if !due {
            return;
        }
        if !in_kind && view.replication.role() == Role::Replica {
            self.ask_primary(now, view);
        }
        self.copy_record.settles = in_kind || moved;
        self.write(now, next);
    }

    /// Our server has ended. What it had at last is recorded under a sequence of its own: a directory from before, put back while the
    /// server is down, has another.
    pub(super) fn keep_last(&mut self, now: Millis, run: Incarnation) {
        if self.copy_record.writing.is_none()
            && let Some(view) = self.last_view.clone()
        {
            let last = self.next_record(run, &view);
            self.write(now, last);
        }
    }

    pub(super) fn kept(&mut self, sequence: u64, written: bool) {
        self.copy_record.kept(sequence, written);
        // A disk that was looked at before the last record was written has that record by now.
        let durable = self.copy_record.durable().filter(|record| record.sequence == sequence);
        if let (Process::Down, Some(disk), Some(record)) = (&self.process, &mut self.disk, durable)
            && disk.record.as_ref().is_none_or(|known| known.sequence < sequence)
        {
            disk.record = Some(record.clone());
            disk.beside = Some(sequence);
        }
    }

    fn write(&mut self, now: Millis, record: CopyRecord) {
        self.write_by(now, record, Command::Keep);
    }

    pub(super) fn write_by(
        &mut self,
        now: Millis,
        record: CopyRecord,
        command: impl FnOnce(Box<CopyRecord>) -> Command,
    ) {
        let record = CopyRecord { sequence: record.sequence + 1, ..record };
        self.copy_record.writing = Some((record.sequence, Box::new(record.clone())));
        self.copy_record.written_at = now;
        self.out.push(command(Box::new(record)));
    }

    /// May the append-only file be switched off now? Not before the record says that the file holds no longer everything, and up to where
    /// it did: a snapshot from before then is older.
    pub(super) fn may_stop_aof(&mut self, now: Millis, view: &ServerView) -> bool {
        if !self.copy_record.aof_complete() {
            return true;
        }
        if self.copy_record.writing.is_none()
            && let Some(run) = self.incarnation()
        {
            let mut record = self.next_record(run, view);
            record.aof.stopping = record.aof.complete;
            record.aof.complete = false;
            self.write(now, record);
        }
        false
    }

    pub(super) fn next_record(&self, run: Incarnation, view: &ServerView) -> CopyRecord {
        let mut next = self.copy_record.durable.clone().unwrap_or_else(CopyRecord::first);
        let role = view.replication.role();
        let counts = match role {
            Role::Primary => view.is_shard_primary(),
            Role::Replica => self.copy_record.sync.caught_up,
        };
        next.run = run;
        next.role = role;
        next.caught_up = role == Role::Replica && self.copy_record.sync.caught_up;
        next.attached = if role == Role::Primary { self.attached(view) } else { None };
        next.seen.extend(self.copy_record.seen.iter().map(|(name, sequence)| (name.clone(), *sequence)));
        if counts {
            let position = view.replication.position();
            if let Some(before) = view.branched_from {
                branch(&mut next.histories, before);
            }
            extend(&mut next.histories, position);
            next.keys = view.keys;
            let claim = view.primary().unwrap_or(view.node_id);
            if let Some(node) = view.topology.get(&claim) {
                next.epoch = node.config_epoch;
            }
        }
        match view.aof {
            _ if self.aof_loss.is_certain() => {
                if next.aof.complete {
                    next.aof.on_disk = AofOnDisk::Lost;
                }
                next.aof.complete = false;
                next.aof.position = None;
            }
            // Seen once more before it is switched off.
            Some(AofStatus::Settled) if next.aof.stopping && self.persistence() != Persistence::Aof => {}
            Some(AofStatus::Settled) if counts => next.aof.complete = true,
            Some(AofStatus::Off) => {
                next.aof.complete = false;
                if self.persistence() != Persistence::Aof {
                    next.aof.on_disk = AofOnDisk::InPlace;
                }
                next.aof.stopping &= !counts;
            }
            // A rewrite that is under way when a replica has just connected follows a full copy: the files in force are those from before it.
            Some(AofStatus::Rewriting)
                if !counts && matches!(view.replication.link(), Some(Link::Up | Link::Syncing)) =>
            {
                next.aof.complete = false;
            }
            _ => {}
        }
        if next.aof.complete {
            next.aof.void = false;
            next.aof.stopping = false;
            next.aof.on_disk = AofOnDisk::InPlace;
        }
        if self.persistence() == Persistence::None {
            next.aof.void = true;
        } else {
            next.snapshot_void = false;
        }
        if next.aof.complete && counts {
            next.aof.position = next.position();
        }
        next
    }

    /// The replicas that our server, a primary, shows as online; `None` if one of them cannot be told by its address.
    pub(super) fn attached(&self, view: &ServerView) -> Option<BTreeSet<InstanceName>> {
        attached(&self.order.as_ref()?.members, &view.replication)
    }
}

/// The members that a primary shows as online replicas; `None` if one of them cannot be told by its address.
pub(super) fn attached(
    members: &BTreeMap<InstanceName, Member>,
    replication: &Replication,
) -> Option<BTreeSet<InstanceName>> {
    let Part::Primary { replicas } = &replication.part else { return None };
    let named = |address: SocketAddr| {
        let known = |member: &Member| member.address.as_ref().is_some_and(|known| known.socket() == address);
        members.iter().find(|(_, member)| known(member)).map(|(name, _)| name.clone())
    };
    replicas.iter().filter(|replica| replica.online).map(|replica| named(replica.address)).collect()
}

fn differs_in_kind(last: &CopyRecord, next: &CopyRecord) -> bool {
    let ids = |record: &CopyRecord| record.histories.iter().map(|at| at.history).collect::<Vec<_>>();
    last.run != next.run
        || last.role != next.role
        || last.epoch != next.epoch
        || last.aof.complete != next.aof.complete
        || last.aof.stopping != next.aof.stopping
        || last.aof.on_disk != next.aof.on_disk
        || last.snapshot_void != next.snapshot_void
        || last.caught_up != next.caught_up
        || last.attached != next.attached
        || ids(last) != ids(next)
}

fn moved_by(last: &CopyRecord, next: &CopyRecord) -> u64 {
    let offset = |record: &CopyRecord| record.position().map_or(0, |at| at.offset.0);
    offset(next).saturating_sub(offset(last))
}
