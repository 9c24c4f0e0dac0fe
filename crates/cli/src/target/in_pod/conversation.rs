//! Commands for servers: given outside, sent in the pod.

use super::pipe;
use super::task::Task;
use crate::conversation::{Asked, Manner, Talk, To};
use std::collections::BTreeMap;
use std::time::Duration;
use valkeeper_client::{ClusterClient, Endpoint};
use valkeeper_kube::api::names::CLIENT_PORT;
use valkeeper_kube::remote::{Inside, Remote};

/// A server's name, and the host that leads to it.
pub(crate) type ServerPlace = (String, String);

/// Outside. Without recipients a command goes to its keys' primary.
pub(crate) async fn converse(
    remote: &Remote,
    asked: Asked<'_>,
    to: Option<Vec<ServerPlace>>,
) -> anyhow::Result<()> {
    let (is_read, manner) = (asked.command.is_empty(), asked.manner);
    let command = asked.command.iter().map(|word| word.as_encoded_bytes().to_vec()).collect();
    let within_ms = u64::try_from(asked.within.as_millis()).unwrap_or(u64::MAX);
    let task = match to {
        None => Task::Cli { command, within_ms, manner },
        Some(to) => Task::CliTo { command, within_ms, manner, to },
    };
    pipe::run(remote, &task.line()?, is_read).await
}

/// In the pod.
pub(super) async fn talk(
    here: Inside,
    to: Option<Vec<ServerPlace>>,
    within_ms: u64,
    manner: Manner,
    command: &[Vec<u8>],
) -> anyhow::Result<()> {
    let place = |(name, host): ServerPlace| (name, Endpoint::new(host, CLIENT_PORT));
    let to = to.map_or(To::Keys, |to| To::These(to.into_iter().map(place).collect()));
    let words: Vec<&[u8]> = command.iter().map(Vec::as_slice).collect();
    let client = ClusterClient::new(here.seeds, Some(here.password));
    let within = Duration::from_millis(within_ms);
    // Names of instances are known outside; here an answer that stands alone is told by its address.
    Talk { cluster: here.cluster, client, to, names: BTreeMap::new(), within, manner, history: None }
        .converse(&words)
        .await
}
