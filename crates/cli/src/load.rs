//! The drill's own writers, and what became of their writes.

use crate::args::Drill;
use crate::command::drill::event::ms;
#[cfg(feature = "kubernetes")]
use crate::target::in_pod::drill::Far;
use anyhow::Context as _;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::Duration;
use valkeeper_client::{ClusterClient, Endpoint, Load, LoadConfig, Password};
use valkeeper_model::SlotSet;

/// Before the event, so that connections are warm and, when saturating, buffers are as full as they will be.
const WARM_UP: Duration = Duration::from_millis(300);
const WARM_UP_SATURATED: Duration = Duration::from_secs(1);
const FLOWING_WITHIN: Duration = Duration::from_secs(10);
const CHECK_WITHIN: Duration = Duration::from_secs(120);

/// Writers that run.
pub(crate) enum Writers {
    Here(Box<Here>),
    #[cfg(feature = "kubernetes")]
    Far(Box<Far>),
}

/// Writers in this process.
pub(crate) struct Here {
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

impl Writers {
    pub(crate) async fn here(
        seeds: Vec<Endpoint>,
        password: Password,
        saturate: bool,
    ) -> anyhow::Result<Self> {
        Ok(Self::Here(Box::new(Here::start(seeds, password, saturate).await?)))
    }

    /// Until every shard takes writes.
    pub(crate) async fn warm_up(&mut self, drill: &Drill) -> anyhow::Result<()> {
        self.flowing(FLOWING_WITHIN).await?;
        tokio::time::sleep(if drill.saturate { WARM_UP_SATURATED } else { WARM_UP }).await;
        Ok(())
    }

    /// Something happens now.
    #[cfg_attr(
        not(feature = "kubernetes"),
        expect(clippy::unused_async, reason = "on Kubernetes it takes asking")
    )]
    pub(crate) async fn mark(&mut self) -> anyhow::Result<Duration> {
        match self {
            Self::Here(here) => Ok(here.mark()),
            #[cfg(feature = "kubernetes")]
            Self::Far(far) => far.mark().await,
        }
    }

    /// Until every shard has taken a write after this moment.
    pub(crate) async fn flowing(&mut self, within: Duration) -> anyhow::Result<()> {
        match self {
            Self::Here(here) => here.flowing(within).await,
            #[cfg(feature = "kubernetes")]
            Self::Far(far) => far.flowing(within).await,
        }
    }

    /// Stops them, reads everything back that was acknowledged, and removes all of it. The event was at that time.
    pub(crate) async fn finish(self, at: Duration) -> anyhow::Result<Found> {
        match self {
            Self::Here(here) => here.finish(at).await,
            #[cfg(feature = "kubernetes")]
            Self::Far(far) => far.finish(at).await,
        }
    }
}

impl Here {
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

    pub(crate) fn mark(&self) -> Duration {
        self.load.elapsed()
    }

    pub(crate) async fn flowing(&self, within: Duration) -> anyhow::Result<()> {
        Ok(self.load.flowing(within).await?)
    }

    pub(crate) async fn finish(self, at: Duration) -> anyhow::Result<Found> {
        let report = self.load.stop().await?;
        let read = report.read_back(CHECK_WITHIN).await;
        report.remove(CHECK_WITHIN).await.context("the drill's keys could not be removed")?;
        let read = read?;
        let evicted = evicted(&self.seeds, &self.password).await.saturating_sub(self.evicted);
        let totals = report.totals();
        let gap = |shard: &valkeeper_client::load::ShardReport| {
            (shard.slots.clone(), ms(shard.longest_gap(at, report.duration).length()))
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
