//! The same events without Valkeeper, measured by the same writers.

use crate::bare::Cluster;
use crate::results::Sample;
use anyhow::Context as _;
use std::time::Duration;
use valkeeper_client::admin::FailoverMode;
use valkeeper_client::{Load, LoadConfig, MappedShard};

/// As in `valkeeper drill`.
const WARM_UP: Duration = Duration::from_millis(300);
const WARM_UP_SATURATED: Duration = Duration::from_secs(1);
const AFTERMATH: Duration = Duration::from_millis(500);
const OVER_WITHIN: Duration = Duration::from_secs(60);
const CHECK_WITHIN: Duration = Duration::from_secs(120);
const SHORT: Duration = Duration::from_secs(1);

/// What is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Event {
    /// kill -9, and the engine on its own.
    Kill,
    /// kill -9, and a script that sends FORCE to the replica as soon as the process has ended.
    KillThenForce,
    /// CLUSTER FAILOVER, as its manual says.
    PlainFailover,
}

pub(crate) async fn run(
    cluster: &mut Cluster,
    event: Event,
    saturate: bool,
    number: usize,
) -> anyhow::Result<Sample> {
    cluster.whole().await?;
    let mut config = LoadConfig::new(cluster.seeds(), None);
    if saturate {
        config = config.saturating();
    }
    let load = Load::start(config).await?;
    load.flowing(OVER_WITHIN).await?;
    tokio::time::sleep(if saturate { WARM_UP_SATURATED } else { WARM_UP }).await;
    let index = number % load.shards().shards.len().max(1);
    let shard = load.shards().shards.get(index).context("no shards")?.clone();
    let at = load.elapsed();
    cause(cluster, event, &shard).await?;
    wait_for_primary(cluster, &shard).await?;
    load.flowing(OVER_WITHIN).await?;
    tokio::time::sleep(AFTERMATH).await;
    let report = load.stop().await?;
    if event != Event::PlainFailover {
        cluster.at_mut(&shard.primary.endpoint)?.start_again()?;
    }
    let read = report.read_back(CHECK_WITHIN).await?;
    report.remove(CHECK_WITHIN).await?;
    let totals = report.totals();
    let own = report.shards.get(index).context("no shards")?;
    Ok(Sample {
        value: own.longest_gap(at, report.duration).length().as_secs_f64() * 1_000.0,
        failed: totals.failed,
        lost: read.lost + read.altered,
        acknowledged: totals.acknowledged,
    })
}

async fn cause(cluster: &mut Cluster, event: Event, shard: &MappedShard) -> anyhow::Result<()> {
    let replica = shard.replicas.first().context("no replica")?.endpoint.clone();
    match event {
        Event::Kill => cluster.at_mut(&shard.primary.endpoint)?.kill(),
        Event::KillThenForce => {
            // The script has its connection ready, as a good one would.
            let admin = cluster.at(&replica)?.admin.clone();
            admin.ping(SHORT).await?;
            cluster.at_mut(&shard.primary.endpoint)?.kill()?;
            Ok(admin.failover(FailoverMode::Force, SHORT).await?)
        }
        Event::PlainFailover => {
            Ok(cluster.at(&replica)?.admin.failover(FailoverMode::Planned, SHORT).await?)
        }
    }
}

async fn wait_for_primary(cluster: &Cluster, shard: &MappedShard) -> anyhow::Result<()> {
    let replica = shard.replicas.first().context("no replica")?;
    let admin = &cluster.at(&replica.endpoint)?.admin;
    let began = std::time::Instant::now();
    loop {
        if admin.replication(SHORT).await.is_ok_and(|info| info.link().is_none()) {
            return Ok(());
        }
        anyhow::ensure!(began.elapsed() < OVER_WITHIN, "nobody was promoted");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
