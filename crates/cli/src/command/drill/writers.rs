//! The drill's own writers, and what became of their writes.

use crate::args::Drill;
use crate::status::Status;
use anyhow::Context as _;
use std::time::Duration;
use valkeeper_client::load::LoadReport;
use valkeeper_client::{Endpoint, Load, LoadConfig, Password};
use valkeeper_local::ClusterDir;
use valkeeper_model::{ShardName, SlotSet};

/// Before the event, so that connections are warm and, when saturating, buffers are as full as they will be.
const WARM_UP: Duration = Duration::from_millis(300);
const WARM_UP_SATURATED: Duration = Duration::from_secs(1);
const FLOWING_WITHIN: Duration = Duration::from_secs(10);
const CHECK_WITHIN: Duration = Duration::from_secs(120);

/// Writers that run.
pub(super) struct Writers {
    load: Load,
}

/// What they found.
pub(super) struct Found {
    pub(super) report: LoadReport,
    pub(super) lost: u64,
    pub(super) altered: u64,
}

impl Writers {
    pub(super) async fn start(dir: &ClusterDir, drill: &Drill) -> anyhow::Result<Self> {
        let key_prefix = "valkeeper-drill".to_owned();
        let mut config = LoadConfig { key_prefix, ..LoadConfig::new(seeds(dir)?, Some(password(dir)?)) };
        if drill.saturate {
            config = config.saturating();
        }
        let load = Load::start(config).await?;
        Ok(Self { load })
    }

    /// Until every shard takes writes.
    pub(super) async fn warm_up(&self, drill: &Drill) -> anyhow::Result<()> {
        self.load.flowing(FLOWING_WITHIN).await?;
        tokio::time::sleep(if drill.saturate { WARM_UP_SATURATED } else { WARM_UP }).await;
        Ok(())
    }

    /// Something happens now.
    pub(super) fn mark(&self) -> Duration {
        self.load.elapsed()
    }

    /// Until every shard has taken a write after this moment.
    pub(super) async fn flowing(&self, within: Duration) -> anyhow::Result<()> {
        Ok(self.load.flowing(within).await?)
    }

    /// Stops them, reads everything back that was acknowledged, and removes all of it.
    pub(super) async fn finish(self) -> anyhow::Result<Found> {
        let report = self.load.stop().await?;
        let read = report.read_back(CHECK_WITHIN).await;
        report.remove(CHECK_WITHIN).await.context("the drill's keys could not be removed")?;
        let read = read?;
        Ok(Found { report, lost: read.lost, altered: read.altered })
    }
}

/// The names of the load's shards: it knows them by their slots.
pub(super) fn names(report: &LoadReport, status: &Status) -> Vec<ShardName> {
    let name = |slots: &SlotSet| {
        status.shards.iter().find(|shard| shard.slots == *slots).map(|shard| shard.name.clone())
    };
    report.shards.iter().filter_map(|shard| name(&shard.slots)).collect()
}

fn seeds(dir: &ClusterDir) -> anyhow::Result<Vec<Endpoint>> {
    Ok(dir.addresses()?.values().map(Endpoint::from).collect())
}

fn password(dir: &ClusterDir) -> anyhow::Result<Password> {
    Ok(dir.password()?)
}

/// Keys that the servers have evicted so far: where they do, a key that is gone is not lost.
pub(super) async fn evicted(dir: &ClusterDir) -> anyhow::Result<u64> {
    let client = valkeeper_client::ClusterClient::new(Vec::new(), Some(password(dir)?));
    let mut evicted = 0;
    for place in seeds(dir)? {
        let stats = client.connection(&place).info("stats", Duration::from_secs(1)).await;
        let line = stats.as_deref().ok().and_then(|stats| {
            stats.lines().find_map(|line| line.strip_prefix("evicted_keys:")?.trim().parse::<u64>().ok())
        });
        evicted += line.unwrap_or(0);
    }
    Ok(evicted)
}
