//! A copy of a shard's data on an instance's disk: how complete and how new it is (law 13).

use crate::{Epoch, Incarnation, InstanceName, Offset, Replication, ReplicationId, Role};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// A place in the stream of a shard's writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Position {
    /// The replication id (`master_replid`) under which the offset counts.
    pub history: ReplicationId,
    /// `master_repl_offset`, bytes.
    pub offset: Offset,
}

impl Position {
    /// Bytes of the stream up to here that a server lacks; `None` if it is in another history, so that the offsets do not compare.
    pub fn ahead_of(self, server: &Replication) -> Option<u64> {
        (self.history == server.replid).then(|| self.offset.0.saturating_sub(server.offset.0))
    }
}

/// Where a server's stream was when the server was seen last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SeenPosition {
    /// The place.
    #[serde(flatten)]
    pub position: Position,
    /// How long ago that was, milliseconds.
    pub seen_ms_ago: u64,
}

/// The record that an agent keeps in its server's data directory, and whose sequence it keeps beside the directory too.
///
/// The record is true at every instant of a crash: what makes a copy worse is written before the server is told, what makes a copy
/// better is written after the server has shown it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CopyRecord {
    /// [`CopyRecord::FORMAT`] by this program. A reader passes over fields that it does not know.
    pub format: u32,
    /// Counts up with each write. A directory whose sequence is lower than the one beside it, or than one that a sibling has seen, was
    /// put back from an older copy.
    pub sequence: u64,
    /// The server's run that the record speaks of.
    pub run: Incarnation,
    /// The role that the server had.
    pub role: Role,
    /// The configuration epoch of the shard's primary.
    #[serde(default)]
    pub epoch: Epoch,
    /// The histories that the server's data went through, oldest first, each with the highest offset known in it.
    #[serde(default)]
    pub histories: Vec<Position>,
    /// The append-only file.
    #[serde(default)]
    pub aof: AofRecord,
    /// Of a replica: has it caught up with its primary since it connected last?
    #[serde(default)]
    pub caught_up: bool,
    /// Of a primary: the replicas that were attached and online; `None` if they could not be told apart.
    #[serde(default)]
    pub attached: Option<BTreeSet<InstanceName>>,
    /// What snapshot there is was written in a run that began under `persistence: none`: nothing was promised of it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub snapshot_void: bool,
    /// Keys in memory.
    #[serde(default)]
    pub keys: u64,
    /// The highest sequence seen of each sibling's record.
    #[serde(default)]
    pub seen: BTreeMap<InstanceName, u64>,
}

/// What is known of an append-only file.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AofRecord {
    /// Does every write that the server takes go into the files that the manifest names?
    ///
    /// After `appendonly yes` at run time that is so only once the first rewrite has ended (Redis 7.0 to Valkey 9.1): until then the
    /// old files stay in force.
    pub complete: bool,
    /// `appendonly no` is about to be set, or has been set just now: not complete any more, and up to then it was.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub stopping: bool,
    /// Whether files that held everything were lost while the server ran.
    #[serde(default, skip_serializing_if = "AofOnDisk::is_in_place")]
    pub on_disk: AofOnDisk,
    /// The files are left from before `persistence: none`, under which nothing comes back.
    #[serde(default)]
    pub void: bool,
    /// The increment that is written to, and a length of it that has reached the disk.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tail: Option<AofTail>,
    /// The same as it was when the record was written: the engine syncs the file each second, later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unsynced_tail: Option<AofTail>,
    /// The files hold everything up to here at least. `None` if there never was a complete file.
    #[serde(default)]
    pub position: Option<Position>,
}

/// What became of the files of an append-only file while their server ran.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum AofOnDisk {
    /// Nothing is missed.
    #[default]
    InPlace,
    /// They held everything and were gone, and no rewrite has replaced them yet: whatever the directory holds meanwhile is less than what
    /// was promised.
    Lost,
}

impl AofOnDisk {
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
    fn is_in_place(&self) -> bool {
        *self == Self::InPlace
    }
}

/// The end of an append-only file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AofTail {
    /// The file's name.
    pub file: String,
    /// Its length, bytes.
    pub bytes: u64,
    /// When it had that length, milliseconds since 1970.
    pub at_ms: u64,
}

impl CopyRecord {
    /// The format that this program writes.
    pub const FORMAT: u32 = 1;
    /// Histories that are kept.
    pub const HISTORIES: usize = 32;

    /// The first record of a directory.
    pub fn first() -> Self {
        Self {
            format: Self::FORMAT,
            sequence: 0,
            run: Incarnation(0),
            role: Role::Replica,
            epoch: Epoch(0),
            histories: Vec::new(),
            aof: AofRecord::default(),
            caught_up: false,
            attached: None,
            snapshot_void: false,
            keys: 0,
            seen: BTreeMap::new(),
        }
    }

    /// Where the data is in the stream, as far as recorded.
    pub fn position(&self) -> Option<Position> {
        self.histories.last().copied()
    }
}

/// What an instance holds of its shard's data, as its agent tells others.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[expect(
    clippy::struct_excessive_bools,
    reason = "independent facts, which neighbours of other versions read by name"
)]
pub struct HeldCopy {
    /// Whether the server may be started from it unasked.
    pub state: CopyState,
    /// The file that the server is started from.
    pub source: CopySource,
    /// The copy holds everything up to here at least; `None` if nothing is known.
    pub position: Option<Position>,
    /// The position is a lower bound: the file goes on, and nobody recorded how far. So with a complete append-only file; a snapshot
    /// ends where its header says.
    pub goes_on: bool,
    /// Does it hold all that its server ever acknowledged in the last history? Only of a former primary with a complete append-only file.
    pub everything: bool,
    /// The end of the append-only file that the server had written is not there: a loss of power may have taken it, which a sibling on
    /// another host has not suffered.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub end_lost: bool,
    /// As [`CopyRecord::histories`].
    pub histories: Vec<Position>,
    /// As [`CopyRecord::caught_up`].
    pub caught_up: bool,
    /// The sequence of the record; `None` if there is no record.
    pub sequence: Option<u64>,
    /// As [`CopyRecord::seen`].
    pub seen: BTreeMap<InstanceName, u64>,
}

/// Whether a copy is what its record says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum CopyState {
    /// The files are those that the record speaks of.
    Held,
    /// There are no files, and none are expected.
    Nothing,
    /// Files that the record speaks of are gone, or not readable for the engine.
    Missing,
    /// The server refused to load the files.
    Damaged,
    /// The directory was put back from an older copy.
    RolledBack,
    /// The files hold another shard's keys.
    Foreign,
    /// The agent has not read the directory yet: it may hold anything.
    Unread,
    /// A state that a newer agent knows.
    #[serde(other)]
    Other,
}

impl fmt::Display for CopyState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Held => "its copy is older",
            Self::Nothing => "it has no data",
            Self::Missing => "files of its data are missing or damaged",
            Self::Damaged => "the server cannot load its data",
            Self::RolledBack => "its data directory was put back from an older copy",
            Self::Foreign => "its data belongs to another shard",
            Self::Unread => "its data directory is not read yet",
            Self::Other => "its data is not what was recorded",
        })
    }
}

/// What a server is started from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum CopySource {
    /// The append-only file.
    Aof,
    /// The snapshot, `dump.rdb`.
    Rdb,
    /// No file.
    Nothing,
}

impl HeldCopy {
    /// Of an agent that keeps no record: only whether there is data is known.
    pub fn unrecorded(has_data: bool) -> Self {
        if has_data {
            Self::without_record(CopyState::Held, CopySource::Aof)
        } else {
            Self::without_record(CopyState::Nothing, CopySource::Nothing)
        }
    }

    /// Of an agent that has not read its server's data directory yet.
    pub fn unread() -> Self {
        Self::without_record(CopyState::Unread, CopySource::Nothing)
    }

    fn without_record(state: CopyState, source: CopySource) -> Self {
        Self {
            state,
            source,
            position: None,
            goes_on: false,
            everything: false,
            end_lost: false,
            histories: Vec::new(),
            caught_up: false,
            sequence: None,
            seen: BTreeMap::new(),
        }
    }
}
