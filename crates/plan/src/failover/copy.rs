//! Law 13: the newest whole copy counts. What a data directory holds, judged by the engine's own rules and by the record beside the
//! data, and how two copies of one shard compare.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use valkeeper_model::{
    AofOnDisk, CopyRecord, CopySource, CopyState, HeldCopy, InstanceName, Offset, Persistence, Position,
    ReplicationId, Role, Slot, SlotSet,
};

/// The files of a data directory that an engine could load.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DataFiles {
    /// The append-only file.
    pub aof: AofFiles,
    /// The append-only file is shorter than it was when it was recorded last, by what need not have reached the disk.
    pub end_lost: bool,
    /// The slot of the first key in the append-only file; `None` if it has none, or it could not be read.
    pub aof_slot: Option<Slot>,
    /// `dump.rdb`, if there is one.
    pub rdb: Option<RdbFile>,
}

/// The append-only file, as an engine with `appendonly yes` would find it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum AofFiles {
    /// Nothing of one.
    #[default]
    Absent,
    /// Something of one that an engine would not load, or would load as nothing: no manifest, a manifest that is not one, a file that
    /// the manifest names and that is not there.
    Broken(String),
    /// The manifest and every file that it names; the last ends before a place that had reached the disk. The engine loads it up to there
    /// (`aof-load-truncated`).
    Short(String),
    /// The manifest and every file that it names.
    Whole,
}

impl AofFiles {
    /// Would an engine load it?
    pub fn is_loadable(&self) -> bool {
        matches!(self, Self::Whole | Self::Short(_))
    }

    /// What is wrong with it, with the file's name.
    pub fn fault(&self) -> Option<&str> {
        match self {
            Self::Broken(why) | Self::Short(why) => Some(why),
            Self::Absent | Self::Whole => None,
        }
    }
}

/// A snapshot.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RdbFile {
    /// `repl-id` and `repl-offset` in its header. The engine writes them only when it has a replication backlog.
    pub position: Option<Position>,
    /// The slot of its first key; `None` if it has none, or it could not be read.
    pub slot: Option<Slot>,
}

/// What was learned of a directory beyond its files.
#[derive(Debug, Clone, Copy, Default)]
pub struct Evidence<'a> {
    /// The record in the directory.
    pub record: Option<&'a CopyRecord>,
    /// The sequence of the record beside the directory.
    pub beside: Option<u64>,
    /// The highest sequence that a sibling has seen of this directory's record.
    pub seen_by_siblings: Option<u64>,
    /// Its nodes.conf claims the shard's slots: the server was primary at last, although its record may not have come to say so.
    pub claims_slots: bool,
    /// The directory is nobody's any more: it was emptied, and what lies in it was written since.
    pub emptied: bool,
    /// The server was started from that file and refused it.
    pub refused: Option<CopySource>,
    /// The shard's slots, if they are known.
    pub slots: Option<&'a SlotSet>,
}

/// Judges what a directory holds.
///
/// | AOF files | record | snapshot | the server loads |
/// | --- | --- | --- | --- |
/// | whole | complete | any | the AOF, also when the manifest says `rdb` by now |
/// | whole | not complete | newer, or of unknown age | the snapshot |
/// | whole | not complete | older or none | the AOF |
/// | whole | being switched off | as old as the AOF | the AOF |
/// | whole | none (an older Valkeeper) | any | what `persistence` says |
/// | whole | left from before `persistence: none` | any | the snapshot, or nothing |
/// | cut off | as if they were whole, but for the state | | |
/// | broken or absent | any | present | the snapshot |
/// | broken or absent | any | none | nothing |
///
/// Under `persistence: none` nothing counts.
pub fn examine(files: &DataFiles, persistence: Persistence, evidence: Evidence<'_>) -> HeldCopy {
    let record = evidence.record;
    let source = if persistence == Persistence::None {
        CopySource::Nothing
    } else {
        source(files, persistence, record)
    };
    let position = match source {
        CopySource::Aof => record.and_then(aof_position),
        CopySource::Rdb => files.rdb.as_ref().and_then(|rdb| rdb.position),
        CopySource::Nothing => None,
    };
    let state = state(files, persistence, evidence, source);
    let led = record
        .is_some_and(|record| record.aof.complete && (record.role == Role::Primary || evidence.claims_slots));
    HeldCopy {
        state,
        source,
        position,
        goes_on: source == CopySource::Aof
            && files.aof == AofFiles::Whole
            && record.is_some_and(|record| record.aof.complete),
        everything: source == CopySource::Aof && state == CopyState::Held && led && !files.end_lost,
        end_lost: source == CopySource::Aof && files.end_lost,
        histories: record.map(|record| record.histories.clone()).unwrap_or_default(),
        caught_up: record.is_some_and(|record| record.role == Role::Primary || record.caught_up),
        sequence: record.map(|record| record.sequence),
        seen: record.map(|record| record.seen.clone()).unwrap_or_default(),
    }
}

/// A complete file has all that the server has, at least what was recorded last.
fn aof_position(record: &CopyRecord) -> Option<Position> {
    if record.aof.complete { record.position().or(record.aof.position) } else { record.aof.position }
}

fn source(files: &DataFiles, persistence: Persistence, record: Option<&CopyRecord>) -> CopySource {
    let rdb = files.rdb.as_ref();
    let by_rdb = if rdb.is_some() { CopySource::Rdb } else { CopySource::Nothing };
    if !files.aof.is_loadable() {
        return by_rdb;
    }
    let Some(record) = record else {
        return match (persistence, rdb) {
            (Persistence::Rdb, Some(_)) => CopySource::Rdb,
            _ => CopySource::Aof,
        };
    };
    if record.aof.void {
        return by_rdb;
    }
    let Some(rdb) = rdb.filter(|_| !record.aof.complete) else { return CopySource::Aof };
    match (rdb.position, record.aof.position) {
        (Some(rdb), Some(aof)) => match compare_positions(aof, rdb, &record.histories) {
            Some(Ordering::Greater) => CopySource::Aof,
            // The file went on until it was switched off. Once that was seen, a snapshot at the same offset may be a FLUSHALL's, which
            // names the offset from before the flush.
            Some(Ordering::Equal) if record.aof.stopping => CopySource::Aof,
            _ => CopySource::Rdb,
        },
        // An AOF that was never complete, or a snapshot that was written after the AOF was switched off.
        _ => CopySource::Rdb,
    }
}

fn state(
    files: &DataFiles,
    persistence: Persistence,
    evidence: Evidence<'_>,
    source: CopySource,
) -> CopyState {
    if persistence == Persistence::None {
        return CopyState::Nothing;
    }
    if source != CopySource::Nothing && evidence.refused == Some(source) {
        return CopyState::Damaged;
    }
    if evidence.emptied && evidence.beside.is_some() {
        return if source == CopySource::Nothing { CopyState::Nothing } else { CopyState::Missing };
    }
    let sequence = evidence.record.map_or(0, |record| record.sequence);
    if evidence.beside.max(evidence.seen_by_siblings).is_some_and(|newer| newer > sequence) {
        return CopyState::RolledBack;
    }
    let promised = evidence.record.is_some_and(|record| record.aof.complete);
    if evidence.record.is_some_and(|record| record.aof.on_disk == AofOnDisk::Lost) {
        return CopyState::Missing;
    }
    if files.aof != AofFiles::Whole
        && (promised || matches!(files.aof, AofFiles::Broken(_)) && source == CopySource::Nothing)
    {
        return CopyState::Missing;
    }
    match source {
        CopySource::Nothing => CopyState::Nothing,
        CopySource::Aof if is_foreign(files.aof_slot, evidence.slots) => CopyState::Foreign,
        CopySource::Rdb if is_foreign(files.rdb.as_ref().and_then(|rdb| rdb.slot), evidence.slots) => {
            CopyState::Foreign
        }
        CopySource::Aof | CopySource::Rdb => CopyState::Held,
    }
}

/// Does the file with this first key hold another shard's keys? The engine would delete them while it loads, and come up empty.
fn is_foreign(first: Option<Slot>, slots: Option<&SlotSet>) -> bool {
    matches!((first, slots), (Some(slot), Some(slots)) if !slots.is_empty() && !slots.contains(slot))
}

/// How `a` compares with `b`, given histories in the order in which a shard went through them. `None`: they do not compare.
pub fn compare_positions(a: Position, b: Position, histories: &[Position]) -> Option<Ordering> {
    if a.history == b.history {
        return Some(a.offset.cmp(&b.offset));
    }
    let place = |id: ReplicationId| histories.iter().position(|known| known.history == id);
    Some(place(a.history)?.cmp(&place(b.history)?))
}

/// Is their copy certainly newer than ours?
pub fn is_newer(theirs: &HeldCopy, ours: &HeldCopy) -> bool {
    let (Some(a), Some(b)) = (theirs.position, ours.position) else { return false };
    if a.history == b.history {
        return match (theirs.everything, ours.everything) {
            (_, true) => false,
            (true, false) => true,
            // Where ours ends nobody knows.
            (false, false) if ours.goes_on && !theirs.goes_on => false,
            (false, false) => a.offset > b.offset,
        };
    }
    let by_theirs = compare_positions(a, b, &theirs.histories);
    by_theirs.or_else(|| compare_positions(a, b, &ours.histories)) == Some(Ordering::Greater)
}

/// A primary that hands over sends its replicas a ping or two beyond what its successor branches off at.
const PINGS: u64 = 256;

/// Would our copy be lost by following somebody whose data went through these histories? That is so if our copy went on in a history
/// beyond where theirs branched off, or belongs to none of theirs.
pub fn would_be_lost(ours: &HeldCopy, theirs: &[Position]) -> bool {
    let Some(position) = ours.position.filter(|_| ours.source != CopySource::Nothing && !theirs.is_empty())
    else {
        return ours.state == CopyState::Foreign;
    };
    let branched = theirs.iter().find(|known| known.history == position.history);
    branched.is_none_or(|branched| position.offset.0 > branched.offset.0.saturating_add(PINGS))
}

/// The histories with a position appended: a known history keeps its place and its highest offset.
pub fn extend(histories: &mut Vec<Position>, at: Position) {
    match histories.iter_mut().find(|known| known.history == at.history) {
        Some(known) => known.offset = known.offset.max(at.offset),
        None => histories.push(at),
    }
    let surplus = histories.len().saturating_sub(CopyRecord::HISTORIES);
    histories.drain(..surplus);
}

/// The histories of data that left that one there: what was recorded beyond that point is not part of it.
pub fn branch(histories: &mut Vec<Position>, at: Position) {
    match histories.iter_mut().find(|known| known.history == at.history) {
        Some(known) => known.offset = at.offset,
        None => histories.push(at),
    }
}

/// The best of copies that may serve: the newest, and of equals the first by name, so that all who ask choose the same.
pub fn newest<'a>(
    copies: impl Iterator<Item = (&'a InstanceName, &'a HeldCopy)>,
) -> Option<&'a InstanceName> {
    let copies: BTreeMap<&InstanceName, &HeldCopy> = copies.collect();
    let mut best: Option<(&InstanceName, &HeldCopy)> = None;
    for (name, copy) in copies {
        if best.is_none_or(|(_, than)| is_better(copy, than)) {
            best = Some((name, copy));
        }
    }
    best.map(|(name, _)| name)
}

fn is_better(copy: &HeldCopy, than: &HeldCopy) -> bool {
    let held = |copy: &HeldCopy| copy.state == CopyState::Held;
    match (held(copy), held(than)) {
        (true, false) => !is_newer(than, copy),
        (false, true) => is_newer(copy, than),
        _ => is_newer(copy, than) || than.position.is_none() && copy.position.is_some(),
    }
}

/// What a server without a link holds. What was found on its disk before its start says little where it began with nothing, or with less
/// than its record spoke of, and has gone on since: then its memory counts, if it is where the record ends or beyond.
pub fn of_running(history: ReplicationId, offset: Offset, recorded: Box<HeldCopy>) -> Box<HeldCopy> {
    let outgrown = matches!(recorded.state, CopyState::Nothing | CopyState::Missing)
        && recorded.histories.iter().any(|known| known.history == history && known.offset <= offset);
    if outgrown { Box::new(in_memory(history, offset, &recorded)) } else { recorded }
}

/// A replica's data in memory as a copy: what it has carried out of its primary's stream.
pub fn in_memory(history: ReplicationId, offset: Offset, recorded: &HeldCopy) -> HeldCopy {
    let position = Position { history, offset };
    let mut histories = recorded.histories.clone();
    extend(&mut histories, position);
    HeldCopy {
        state: CopyState::Held,
        source: recorded.source,
        position: Some(position),
        goes_on: false,
        everything: false,
        end_lost: false,
        histories,
        ..recorded.clone()
    }
}
