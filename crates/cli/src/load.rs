//! Writers of this program, and what became of their writes.

use crate::boxed::Boxed;
use crate::output::milliseconds;
use anyhow::Context as _;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::Duration;
use valkeeper_client::{ClusterClient, Endpoint, Load, LoadConfig, Password};
use valkeeper_model::SlotSet;

const CHECK_WITHIN: Duration = Duration::from_secs(120);

/// Writers that run, here or elsewhere.
pub(crate) trait Writers {
    /// The time of this moment, since they have begun: something happens now.
    fn mark(&mut self) -> Boxed<'_, Duration>;

    /// Waits until every shard has taken a write after this moment.
    fn flowing(&mut self, within: Duration) -> Boxed<'_, ()>;

    /// Stops them, reads everything back that was acknowledged, and removes all of it. The event was at that time.
    fn finish(self: Box<Self>, at: Duration) -> Boxed<'static, Found>;
}

/// Writers in this process.
pub(crate) struct LoadHere {
    load: Load,
    seeds: Vec<Endpoint>,
    password: Password,
    /// Keys that the servers had evicted before.
    evicted: u64,
}

/// What they found.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Found {
    /// By the shard's slots: the longest time without an acknowledged write from the event on, milliseconds.
    pub(crate) gaps_ms: Vec<(SlotSet, f64)>,
    pub(crate) seconds: f64,
    pub(crate) acknowledged: u64,
    pub(crate) failed: u64,
    pub(crate) retried: u64,
    pub(crate) unknown: u64,
    /// Acknowledged ones that could not be read back as written.
    pub(crate) lost: u64,
    pub(crate) evicted: u64,
    pub(crate) errors: BTreeMap<String, u64>,
}

impl Writers for LoadHere {
    fn mark(&mut self) -> Boxed<'_, Duration> {
        Box::pin(std::future::ready(Ok(self.elapsed())))
    }

    fn flowing(&mut self, within: Duration) -> Boxed<'_, ()> {
        Box::pin(self.take_writes(within))
    }

    fn finish(self: Box<Self>, at: Duration) -> Boxed<'static, Found> {
        Box::pin(self.stop(at))
    }
}

impl LoadHere {
    pub(crate) async fn start(
        seeds: Vec<Endpoint>,
        password: Password,
        saturate: bool,
    ) -> anyhow::Result<Self> {
        let evicted = evicted(&seeds, &password).await;
        let key_prefix = "valkeeper-drill".to_owned();
        let mut config = LoadConfig { key_prefix, ..LoadConfig::new(seeds.clone(), Some(password.clone())) };
        if saturate {
            config = config.saturating();
        }
        let load = Load::start(config).await?;
        Ok(Self { load, seeds, password, evicted })
    }

    pub(crate) fn elapsed(&self) -> Duration {
        self.load.elapsed()
    }

    /// Until every shard has taken a write after this moment.
    pub(crate) async fn take_writes(&self, within: Duration) -> anyhow::Result<()> {
        Ok(self.load.flowing(within).await?)
    }

    /// Stops them, reads back what was acknowledged, and removes it.
    pub(crate) async fn stop(self, at: Duration) -> anyhow::Result<Found> {
        let report = self.load.stop().await?;
        let read = report.read_back(CHECK_WITHIN).await;
        report.remove(CHECK_WITHIN).await.context("the drill's keys could not be removed")?;
        let read = read?;
        let evicted = evicted(&self.seeds, &self.password).await.saturating_sub(self.evicted);
        let totals = report.totals();
        let gap = |shard: &valkeeper_client::load::ShardReport| {
            (shard.slots.clone(), milliseconds(shard.longest_gap(at, report.duration).length()))
        };
        Ok(Found {
            gaps_ms: report.shards.iter().map(gap).collect(),
            seconds: report.duration.as_secs_f64(),
            acknowledged: totals.acknowledged,
            failed: totals.failed,
            retried: totals.retried,
            unknown: totals.unknown,
            lost: read.lost + read.altered,
            evicted,
            errors: totals.errors,
        })
    }
}

/// Keys that the servers have evicted so far: where they do, a key that is gone is not lost.
async fn evicted(seeds: &[Endpoint], password: &Password) -> u64 {
    let client = ClusterClient::new(Vec::new(), Some(password.clone()));
    let mut evicted = 0;
    for place in seeds {
        let stats = client.connection(place).info("stats", Duration::from_secs(1)).await;
        let line = stats.as_deref().ok().and_then(|stats| {
            stats.lines().find_map(|line| line.strip_prefix("evicted_keys:")?.trim().parse::<u64>().ok())
        });
        evicted += line.unwrap_or(0);
    }
    evicted
}
