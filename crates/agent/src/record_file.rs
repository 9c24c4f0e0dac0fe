//! The record of a copy (law 13): in the data directory, and its sequence beside it.
//!
//! The directory's is written first. So the one beside it is never newer, unless the directory was put back from an older copy.

use crate::copy_files::{self, ServerIs};
use crate::data_dir::{read, replace};
use serde::{Deserialize, Serialize};
use std::io;
use std::path::Path;
use valkeeper_model::{AofRecord, AofTail, CopyRecord};

/// In the data directory.
const RECORD: &str = "valkeeper-copy.json";
/// Beside it.
const BESIDE: &str = "copy.json";
const LONGEST: u64 = 1 << 20;

#[derive(Serialize, Deserialize)]
struct Beside {
    sequence: u64,
}

/// The record in a data directory. One that cannot be understood is none: it was damaged, or is of a format that is newer than this
/// program and that no field of this program's is left of.
pub(crate) fn load(data: &Path) -> io::Result<Option<CopyRecord>> {
    let Some(bytes) = read(&data.join(RECORD), LONGEST)? else { return Ok(None) };
    Ok(serde_json::from_slice(&bytes)
        .inspect_err(|error| tracing::warn!(%error, "the record of a copy is damaged"))
        .ok())
}

/// The sequence beside a data directory.
pub(crate) fn load_beside(home: &Path) -> io::Result<Option<u64>> {
    let Some(bytes) = read(&home.join(BESIDE), LONGEST)? else { return Ok(None) };
    Ok(serde_json::from_slice::<Beside>(&bytes).ok().map(|beside| beside.sequence))
}

/// By then the engine has synced what it wrote, or refuses writes.
const SYNCED_MS: u64 = 3_000;

/// The tail that has reached the disk, and the one that will have.
fn settle(before: AofRecord, now: Option<AofTail>) -> (Option<AofTail>, Option<AofTail>) {
    let Some(now) = now else { return (None, None) };
    let same = |tail: &AofTail| tail.file == now.file;
    let tail = before.tail.filter(same);
    match before.unsynced_tail.filter(same) {
        Some(seen) if now.at_ms.saturating_sub(seen.at_ms) >= SYNCED_MS => (Some(seen), Some(now)),
        Some(seen) => (tail, Some(seen)),
        None => (tail, Some(now)),
    }
}

/// Replaces the record of a directory whose record is the one that was written last. A directory that was emptied, or put back from an older
/// copy, gets none: its own record, or that it has none, tells what it is.
pub(crate) fn update(home: &Path, data: &Path, record: &CopyRecord, server: ServerIs) -> io::Result<()> {
    if load(data)?.map(|record| record.sequence) < load_beside(home)? {
        return Err(io::Error::other("the data directory is not the one that was recorded last"));
    }
    store(home, data, record, server)
}

/// Writes the record through to the disk.
pub(crate) fn store(home: &Path, data: &Path, record: &CopyRecord, server: ServerIs) -> io::Result<()> {
    let mut record = record.clone();
    (record.aof.tail, record.aof.unsynced_tail) = (None, None);
    if record.aof.complete {
        let before = load(data)?.map(|record| record.aof).unwrap_or_default();
        let now = copy_files::tail(data, server)?;
        (record.aof.tail, record.aof.unsynced_tail) = match server {
            ServerIs::Down => (now, None),
            ServerIs::Running => settle(before, now),
        };
    }
    replace(&data.join(RECORD), &serde_json::to_vec(&record).map_err(io::Error::other)?)?;
    let beside = Beside { sequence: record.sequence };
    replace(&home.join(BESIDE), &serde_json::to_vec(&beside).map_err(io::Error::other)?)
}
