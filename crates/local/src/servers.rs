//! Server programs that are known on this machine: `<state-dir>/.servers.json`. Those that a person has added, and those that a manifest's image
//! has chosen: a supervisor finds them again wherever it is started.

use crate::state_dir::{StateDir, StateError};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use std::time::SystemTime;
use valkeeper_agent::{Program, make_private_dir, replace};
use valkeeper_model::ServerVersion;

/// A server program that is known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct KnownServer {
    /// The program, as it was probed.
    pub program: Program,
    /// Its file then: one that was replaced has another length or time of change.
    stamp: Stamp,
    /// How it came to be known.
    pub known_by: KnownBy,
}

/// Length and time of change of a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Stamp(u64, SystemTime);

impl Stamp {
    fn of(path: &Path) -> Option<Self> {
        let metadata = std::fs::metadata(path).ok()?;
        Some(Self(metadata.len(), metadata.modified().ok()?))
    }
}

/// How a server program came to be known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum KnownBy {
    /// A person has added it.
    Added,
    /// It was found.
    Found,
}

impl KnownServer {
    /// Is its file the one that was probed?
    pub fn is_current(&self) -> bool {
        Stamp::of(&self.program.path).as_ref() == Some(&self.stamp)
    }
}

impl StateDir {
    fn servers_path(&self) -> PathBuf {
        self.path().join(".servers.json")
    }

    /// Those that are known; none if the file cannot be read: they are found again.
    pub fn known_servers(&self) -> Vec<KnownServer> {
        let text = std::fs::read(self.servers_path()).unwrap_or_default();
        serde_json::from_slice(&text).unwrap_or_default()
    }

    /// Keeps one, in the place of what was known of that file.
    pub fn keep_server(&self, program: &Program, known_by: KnownBy) -> Result<(), StateError> {
        let Some(stamp) = Stamp::of(&program.path) else { return Ok(()) };
        let mut known = self.known_servers();
        let before = known.iter().find(|one| one.program.path == program.path).map(|one| one.known_by);
        let known_by = before.map_or(known_by, |before| before.min(known_by));
        let kept = KnownServer { program: program.clone(), stamp, known_by };
        if known.contains(&kept) {
            return Ok(());
        }
        known.retain(|one| one.program.path != program.path);
        known.push(kept);
        let path = self.servers_path();
        let text = serde_json::to_vec_pretty(&known)
            .map_err(|error| StateError::Damaged { path: path.clone(), why: error.to_string() })?;
        make_private_dir(self.path()).map_err(StateError::io(self.path()))?;
        replace(&path, &text).map_err(StateError::io(&path))
    }

    /// The program of that version, or why there is none.
    pub fn find_server(&self, version: &ServerVersion) -> Result<Program, String> {
        let mut known = self.known_servers();
        // What a person has added comes before what was found.
        known.sort_by_key(|one| one.known_by);
        let found = known.into_iter().find(|one| one.program.version() == *version && one.is_current());
        found
            .map(|one| one.program)
            .ok_or_else(|| format!("no {version} is known any more: `valkeeper servers add PATH` names one"))
    }
}
