//! Both sides of what is done in a pod of the cluster: there are the servers' addresses and their password, which never leave it.

use super::pipe;
use crate::args::Format;
use crate::command::cli::{Manner, converse};
use crate::command::drill::far;
use anyhow::Context as _;
use serde::{Deserialize, Serialize};
use std::ffi::OsString;
use std::io::BufRead as _;
use std::time::Duration;
use valkeeper_client::ClusterClient;
use valkeeper_kube::remote::{Inside, Remote};

/// What is to be done there: the first line of stdin. Not arguments, as the API server logs those.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "camelCase")]
pub(in crate::command) enum Task {
    /// Commands to the cluster; the rest of stdin if none is given.
    Cli { command: Vec<Vec<u8>>, within_ms: u64, manner: Manner },
    /// A drill's writers.
    Load { seeds: Vec<String>, saturate: bool },
    /// A drill's end of a server.
    Kill { pid: u32 },
}

/// Outside.
pub(super) async fn cli(
    remote: &Remote,
    command: &[OsString],
    within: Duration,
    format: Format,
) -> anyhow::Result<()> {
    let task = Task::Cli {
        command: command.iter().map(|word| word.as_encoded_bytes().to_vec()).collect(),
        within_ms: u64::try_from(within.as_millis()).unwrap_or(u64::MAX),
        manner: Manner::here(format),
    };
    let mut first = serde_json::to_vec(&task)?;
    first.push(b'\n');
    pipe::run(remote, &first, command.is_empty()).await
}

/// Inside.
pub(in crate::command) async fn inside() -> anyhow::Result<()> {
    let mut line = Vec::new();
    std::io::stdin().lock().read_until(b'\n', &mut line)?;
    let task = serde_json::from_slice(&line)
        .context("the command line outside wants something that this version does not know")?;
    let here = Inside::read()?;
    match task {
        Task::Load { seeds, saturate } => far::write(&seeds, here.password, saturate).await,
        Task::Kill { pid } => far::wait_and_kill(pid),
        Task::Cli { command, within_ms, manner } => {
            let client = ClusterClient::new(here.seeds, Some(here.password));
            let words: Vec<&[u8]> = command.iter().map(Vec::as_slice).collect();
            converse(&here.cluster, &client, &words, Duration::from_millis(within_ms), manner).await
        }
    }
}
