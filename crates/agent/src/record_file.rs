//! The record of a copy (law 13): in the data directory, and its sequence beside it.
//!
//! The directory's is written first. So the one beside it is never newer, unless the directory was put back from an older copy.

use crate::copy_files;
use crate::data_dir::{read, replace};
use serde::{Deserialize, Serialize};
use std::io;
use std::path::Path;
use valkeeper_model::CopyRecord;

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

/// Writes the record through to the disk.
pub(crate) fn store(home: &Path, data: &Path, record: &CopyRecord) -> io::Result<()> {
    let mut record = record.clone();
    record.aof.tail = if record.aof.complete { copy_files::tail(data)? } else { None };
    replace(&data.join(RECORD), &serde_json::to_vec(&record).map_err(io::Error::other)?)?;
    let beside = Beside { sequence: record.sequence };
    replace(&home.join(BESIDE), &serde_json::to_vec(&beside).map_err(io::Error::other)?)
}
