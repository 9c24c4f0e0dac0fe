//! What happened, a line each, kept beside the cluster.

use crate::state_dir::{ClusterDir, StateError};
use serde::{Deserialize, Serialize};
use std::fs;
use std::io::Write as _;
use std::sync::{Mutex, PoisonError};
use valkeeper_model::Happened;

/// The log is cut to its newer half when it grows beyond this, bytes.
const LONGEST: u64 = 8 << 20;

/// One event.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EventLine {
    /// When.
    pub at: jiff::Timestamp,
    /// What.
    #[serde(flatten)]
    pub happened: Happened,
    /// The same in words.
    pub message: String,
}

/// The log of one cluster.
#[derive(Debug)]
pub struct EventLog {
    dir: ClusterDir,
    writing: Mutex<()>,
}

impl EventLog {
    /// Of that cluster.
    pub fn new(dir: ClusterDir) -> Self {
        Self { dir, writing: Mutex::new(()) }
    }

    /// Adds one. A log that cannot be written must not stop a failover: it is told to our own log instead.
    pub fn add(&self, happened: Happened) -> EventLine {
        let line = EventLine { at: jiff::Timestamp::now(), message: happened.to_string(), happened };
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        if let Err(error) = self.append(&line) {
            tracing::warn!(%error, event = line.message, "cannot keep an event");
        }
        line
    }

    fn append(&self, line: &EventLine) -> std::io::Result<()> {
        let path = self.dir.events_path();
        if fs::metadata(&path).is_ok_and(|metadata| metadata.len() > LONGEST) {
            let text = fs::read_to_string(&path)?;
            let middle = text.len() / 2;
            let newer =
                text.get(middle..).and_then(|half| half.split_once('\n')).map_or("", |(_, newer)| newer);
            valkeeper_agent::replace(&path, newer.as_bytes())?;
        }
        let mut text = serde_json::to_vec(line)?;
        text.push(b'\n');
        // One write each, so that a line is whole or missing.
        fs::OpenOptions::new().create(true).append(true).open(&path)?.write_all(&text)
    }

    /// All of them, oldest first. A line that cannot be read is left out.
    pub fn read(&self) -> Result<Vec<EventLine>, StateError> {
        let path = self.dir.events_path();
        match fs::read_to_string(&path) {
            Ok(text) => Ok(text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => Err(StateError::io(&path)(error)),
        }
    }
}
