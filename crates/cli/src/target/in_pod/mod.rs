//! Both sides of what is done in a pod of the cluster: there are the servers' addresses and their password, which never leave it.

pub(crate) mod drill;
mod pipe;

use super::kubernetes::status as look;

use crate::args::{Format, Recipients};
use crate::called::called;
use crate::conversation::{Manner, Talk, To};

use crate::failure::{Failure, Kind};
use anyhow::Context as _;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::BufRead as _;
use std::time::Duration;
use valkeeper_client::{ClusterClient, Endpoint};
use valkeeper_kube::api::names::{CLIENT_PORT, DEFAULT_DOMAIN, host};
use valkeeper_kube::remote::{Inside, Remote};
use valkeeper_model::InstanceName;

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

/// Outside.
pub(crate) async fn cli(
    remote: &Remote,
    command: &[OsString],
    to: &Recipients,
    within: Duration,
    format: Format,
) -> anyhow::Result<()> {
    let (is_read, manner) = (command.is_empty(), Manner::here(format));
    let command = command.iter().map(|word| word.as_encoded_bytes().to_vec()).collect();
    let within_ms = u64::try_from(within.as_millis()).unwrap_or(u64::MAX);
    let task = match recipients(remote, to).await? {
        None => Task::Cli { command, within_ms, manner },
        Some(to) => Task::CliTo { command, within_ms, manner, to },
    };
    let mut first = serde_json::to_vec(&task)?;
    first.push(b'\n');
    pipe::run(remote, &first, is_read).await
}

/// The servers that are named, with the names that lead to them.
async fn recipients(remote: &Remote, to: &Recipients) -> anyhow::Result<Option<Vec<(String, String)>>> {
    if to.instance.is_none() && !to.all && !to.all_primaries {
        return Ok(None);
    }
    let status = look::seen(remote).await?;
    let names: Vec<InstanceName> = match &to.instance {
        Some(instance) if status.instances.iter().any(|one| one.name == *instance) => vec![instance.clone()],
        Some(instance) => {
            let hint = format!("`{} status` lists them", called());
            return Err(Failure::new(Kind::Usage, format!("there is no instance `{instance}`"), hint).into());
        }
        None if to.all => status.instances.into_iter().map(|one| one.name).collect(),
        None => status.shards.into_iter().filter_map(|shard| shard.primary).collect(),
    };
    let object = remote.object().await.map_err(Failure::from)?;
    let announced = |name: &InstanceName| object.status.as_ref()?.instances_status.get(name)?.host.clone();
    // An older operator says no name; it gave the usual ones.
    let place = |name: InstanceName| {
        let usual = || host(remote.name(), &name, remote.namespace(), DEFAULT_DOMAIN);
        (name.to_string(), announced(&name).unwrap_or_else(usual))
    };
    Ok(Some(names.into_iter().map(place).collect()))
}

/// Inside.
pub(crate) async fn inside() -> anyhow::Result<()> {
    let mut line = Vec::new();
    std::io::stdin().lock().read_until(b'\n', &mut line)?;
    let task = serde_json::from_slice(&line)
        .context("the command line outside wants something that this version does not know")?;
    let here = Inside::read()?;
    match task {
        Task::Load { seeds, saturate } => drill::write(&seeds, here.password, saturate).await,
        Task::Kill { pid } => drill::wait_and_kill(pid),
        Task::Cli { command, within_ms, manner } => talk(here, To::Keys, within_ms, manner, &command).await,
        Task::CliTo { command, within_ms, manner, to } => {
            let place = |(name, host): (String, String)| (name, Endpoint::new(host, CLIENT_PORT));
            let to = To::These(to.into_iter().map(place).collect());
            talk(here, to, within_ms, manner, &command).await
        }
    }
}

async fn talk(
    here: Inside,
    to: To,
    within_ms: u64,
    manner: Manner,
    command: &[Vec<u8>],
) -> anyhow::Result<()> {
    let words: Vec<&[u8]> = command.iter().map(Vec::as_slice).collect();
    let client = ClusterClient::new(here.seeds, Some(here.password));
    let within = Duration::from_millis(within_ms);
    // Names of instances are known outside; here an answer that stands alone is told by its address.
    Talk { cluster: here.cluster, client, to, names: BTreeMap::new(), within, manner, history: None }
        .converse(&words)
        .await
}
