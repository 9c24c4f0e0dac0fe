//! One event in a running cluster, under load.

use super::ground::Ground;
use super::interrupted;
use super::report::Run;
use crate::args::{Drill, DrillEvent};
use crate::called::called;
use crate::document::status::Status;
use crate::failure::{Failure, Kind};
use crate::load::{Found, Writers};
use anyhow::Context as _;
use std::pin::Pin;
use std::time::{Duration, Instant};
use valkeeper_model::{InstanceName, Request, ShardName, SlotSet};

/// A cluster that is not healthy by then is in no state for a drill.
const HEALTHY_WITHIN: Duration = Duration::from_secs(120);
/// How long a healthy cluster may take to mend what is left: primaries that gathered in one zone are switched back.
const MENDED_WITHIN: Duration = Duration::from_secs(4);
/// Longest event: the engine's own failover at a node timeout of 15 s takes some 25 s.
const OVER_WITHIN: Duration = Duration::from_secs(60);
/// The writers go on for so long after the event: what follows it, like the return of the old primary, must not hurt either.
const AFTERMATH: Duration = Duration::from_millis(500);
/// And until the cluster is healthy again, but not for longer than this: at full speed they fill the servers' memory.
const HEALED_WITHIN: Duration = Duration::from_secs(5);

/// What is caused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Event {
    Failover,
    Switchover,
}

impl Event {
    /// The one asked for, if it happens to a cluster that is there.
    pub(crate) fn of(asked: DrillEvent) -> Option<Self> {
        match asked {
            DrillEvent::Failover => Some(Self::Failover),
            DrillEvent::Switchover => Some(Self::Switchover),
            DrillEvent::Create => None,
        }
    }
}

/// The shard whose turn it is, as it was before the event.
pub(crate) struct Target {
    shard: ShardName,
    pub(crate) primary: InstanceName,
    pub(crate) pid: u32,
}

/// How the event went.
struct Outcome {
    at: Duration,
    took: Duration,
    to: Option<InstanceName>,
    healed: Option<Duration>,
    refused: Option<String>,
}

pub(super) async fn run(
    ground: &Ground,
    event: Event,
    drill: &Drill,
    number: u32,
    ended: &mut Pin<&mut impl Future<Output = ()>>,
) -> anyhow::Result<Run> {
    let status = tokio::select! {
        status = calm(ground) => status?,
        () = ended.as_mut() => return Err(interrupted()),
    };
    let target = target_of(&status, number)?;
    let began = jiff::Timestamp::now();
    let mut writers = ground.writers(drill, &status).await?;
    let outcome = tokio::select! {
        outcome = cause(ground, event, drill, &target, &mut writers) => outcome,
        () = ended.as_mut() => Err(interrupted()),
    };
    // Whatever happened: the writers' keys go.
    let at = outcome.as_ref().map(|outcome| outcome.at).unwrap_or_default();
    let found = writers.finish(at).await;
    let (outcome, found) = (outcome?, found?);
    let run = told(event, number, target, &status, outcome, found, ground.held(began)?);
    eprintln!("run {number}/{}: {run}", drill.runs);
    Ok(run)
}

/// Waits until the cluster is healthy, and for a while until there is nothing at all to wait for.
async fn calm(ground: &Ground) -> anyhow::Result<Status> {
    let began = Instant::now();
    let mut healthy_since = None;
    loop {
        let status = ground.status().await?;
        ground.refuse_unattended(&status).await?;
        if status.healthy {
            let since: Instant = *healthy_since.get_or_insert_with(Instant::now);
            if status.waiting.is_empty() || since.elapsed() >= MENDED_WITHIN {
                return Ok(status);
            }
        } else {
            healthy_since = None;
        }
        let lasting = status.waiting.iter().find(|waiting| waiting.what.lasts());
        if let Some(lasting) = lasting.filter(|_| !status.healthy) {
            let what =
                format!("the cluster is not healthy, and waiting does not mend it: {}", lasting.message);
            return Err(Failure::new(Kind::Failed, what, "`valkeeper status` shows all reasons").into());
        }
        if began.elapsed() >= HEALTHY_WITHIN {
            let what = format!("the cluster is not healthy: {}", status.causes_in_a_line());
            return Err(Failure::new(
                Kind::TimedOut,
                what,
                format!("`{} status --watch` shows how it goes on", called()),
            )
            .into());
        }
        ground.pause().await;
    }
}

/// Shards take turns.
fn target_of(status: &Status, number: u32) -> anyhow::Result<Target> {
    let index = usize::try_from(number - 1)? % status.shards.len().max(1);
    let shard = status.shards.get(index).context("the cluster has no shards")?;
    let primary = shard.primary.clone().context("the shard has no primary")?;
    let instance = status.instances.iter().find(|instance| instance.name == primary);
    let pid = instance.and_then(|instance| instance.pid).context("the primary's process is not known")?;
    Ok(Target { shard: shard.name.clone(), primary, pid })
}

async fn cause(
    ground: &Ground,
    event: Event,
    drill: &Drill,
    target: &Target,
    writers: &mut Writers,
) -> anyhow::Result<Outcome> {
    writers.warm_up(drill).await?;
    let trigger = match event {
        Event::Failover => Some(ground.aim(target).await?),
        Event::Switchover => None,
    };
    let (at, began) = (writers.mark().await?, Instant::now());
    let mut refused = None;
    if let Some(trigger) = trigger {
        trigger.pull().await?;
    } else {
        let request = Request::Switchover { shard: Some(target.shard.clone()), to: None };
        refused = ground.request(request, OVER_WITHIN).await.err().map(|error| error.to_string());
    }
    let mut took = began.elapsed();
    let to = if refused.is_none() {
        let to = successor(ground, target).await?;
        if event == Event::Failover {
            took = began.elapsed();
        }
        Some(to)
    } else {
        None
    };
    writers.flowing(OVER_WITHIN).await?;
    tokio::time::sleep(AFTERMATH).await;
    let healed = healed(ground, began).await?;
    Ok(Outcome { at, took, to, healed, refused })
}

/// Waits until another instance is the shard's primary.
async fn successor(ground: &Ground, target: &Target) -> anyhow::Result<InstanceName> {
    let began = Instant::now();
    loop {
        let status = ground.status().await?;
        let primary =
            status.shards.into_iter().find(|shard| shard.name == target.shard).and_then(|s| s.primary);
        if let Some(primary) = primary.filter(|primary| *primary != target.primary) {
            return Ok(primary);
        }
        if began.elapsed() >= OVER_WITHIN {
            let what = format!("{} has no new primary after {} s", target.shard, OVER_WITHIN.as_secs());
            return Err(Failure::new(Kind::TimedOut, what, format!("`{} status` says why", called())).into());
        }
        ground.pause().await;
    }
}

/// When the cluster was healthy again, since the event; `None` if it was not by the time the writers have to end.
async fn healed(ground: &Ground, began: Instant) -> anyhow::Result<Option<Duration>> {
    while began.elapsed() < HEALED_WITHIN {
        if ground.status().await?.healthy {
            return Ok(Some(began.elapsed()));
        }
        ground.pause().await;
    }
    Ok(None)
}

fn told(
    event: Event,
    number: u32,
    target: Target,
    status: &Status,
    outcome: Outcome,
    found: Found,
    held: Option<u64>,
) -> Run {
    // The load knows its shards by their slots.
    let name = |slots: &SlotSet| status.shards.iter().find(|shard| shard.slots == *slots);
    let named = found.gaps_ms.iter().filter_map(|(slots, gap)| Some((name(slots)?.name.clone(), *gap)));
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a rate"
    )]
    let writes_per_second = (found.acknowledged as f64 / found.seconds.max(0.001)) as u64;
    Run {
        number,
        shard: target.shard,
        from: target.primary,
        to: outcome.to,
        refused: outcome.refused,
        took_ms: ms(outcome.took),
        held_ms: held.filter(|_| event == Event::Switchover),
        healed_ms: outcome.healed.map(ms),
        gaps_ms: named.collect(),
        writes_per_second,
        acknowledged: found.acknowledged,
        failed: found.failed,
        retried: found.retried,
        unknown: found.unknown,
        lost: found.lost,
        evicted: found.evicted,
        errors: found.errors,
    }
}

/// Milliseconds with two decimals.
pub(crate) fn ms(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 100_000.0).round() / 100.0
}
