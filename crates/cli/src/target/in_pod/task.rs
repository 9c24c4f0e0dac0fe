//! What this program does in a pod for the one outside.

use crate::conversation::Manner;
use serde::{Deserialize, Serialize};

/// What is to be done there: the first line of stdin. Not arguments, as the API server logs those.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "camelCase")]
pub(crate) enum Task {
    /// Commands to the cluster; the rest of stdin if none is given.
    Cli { command: Vec<Vec<u8>>, within_ms: u64, manner: Manner },
    /// Commands to these servers and to no others, each by its name. A task of its own, as an older version would send them by their keys.
    CliTo { command: Vec<Vec<u8>>, within_ms: u64, manner: Manner, to: Vec<(String, String)> },
    /// A drill's writers.
    Load { seeds: Vec<String>, saturate: bool },
    /// A drill's end of a server.
    Kill { pid: u32 },
}

impl Task {
    /// As it is sent.
    pub(super) fn line(&self) -> anyhow::Result<Vec<u8>> {
        line(self)
    }
}

/// A value on a line of its own.
pub(super) fn line(value: &impl Serialize) -> anyhow::Result<Vec<u8>> {
    let mut line = serde_json::to_vec(value)?;
    line.push(b'\n');
    Ok(line)
}
