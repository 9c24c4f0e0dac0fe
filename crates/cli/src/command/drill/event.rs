//! One event in a running cluster, under load.

use super::interrupted;
use super::report::Run;
use crate::args::Drill;
use crate::called::called;
use crate::document::status::Status;
use crate::failure::{Failure, Kind};
use crate::load::{Found, Writers};
use crate::output::milliseconds;
use crate::target::{ClusterTarget, Interrupts};
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

/// Before the event, so that connections are warm and, when saturating, buffers are as full as they will be.
const WARM_UP: Duration = Duration::from_millis(300);
const WARM_UP_SATURATED: Duration = Duration::from_secs(1);
const FLOWING_WITHIN: Duration = Duration::from_secs(10);

/// What is caused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Event {
    Failover,
    Switchover,
}

/// The shard whose turn it is, as it was before the event.
struct Turn {
    shard: ShardName,
    primary: InstanceName,
    pid: u32,
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
    cluster: &dyn ClusterTarget,
    event: Event,
    drill: &Drill,
    number: u32,
    ended: &mut Pin<&mut impl Future<Output = ()>>,
) -> anyhow::Result<Run> {
    let status = tokio::select! {
        status = calm(cluster) => status?,
        () = ended.as_mut() => return Err(interrupted()),
    };
    let turn = turn_of(&status, number)?;
    let began = jiff::Timestamp::now();
    let mut writers = cluster.writers(&status, drill.saturate).await?;
    let outcome = tokio::select! {
        outcome = cause(cluster, event, drill, &turn, writers.as_mut()) => outcome,
        () = ended.as_mut() => Err(interrupted()),
    };
    // Whatever happened: the writers' keys go.
    let at = outcome.as_ref().map(|outcome| outcome.at).unwrap_or_default();
    let found = writers.finish(at).await;
    let (outcome, found) = (outcome?, found?);
    let run = told(event, number, turn, &status, outcome, found, cluster.writes_held_ms(began)?);
    eprintln!("run {number}/{}: {run}", drill.runs);
    Ok(run)
}

/// Waits until the cluster is healthy, and for a while until there is nothing at all to wait for.
async fn calm(cluster: &dyn ClusterTarget) -> anyhow::Result<Status> {
    let began = Instant::now();
    let mut healthy_since = None;
    loop {
        let status = cluster.drill_status().await?;
        cluster.refuse_unattended(&status).await?;
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
        tokio::time::sleep(cluster.drill_looks_every()).await;
    }
}

/// Shards take turns.
fn turn_of(status: &Status, number: u32) -> anyhow::Result<Turn> {
    let index = usize::try_from(number - 1)? % status.shards.len().max(1);
    let shard = status.shards.get(index).context("the cluster has no shards")?;
    let primary = shard.primary.clone().context("the shard has no primary")?;
    let instance = status.instances.iter().find(|instance| instance.name == primary);
    let pid = instance.and_then(|instance| instance.pid).context("the primary's process is not known")?;
    Ok(Turn { shard: shard.name.clone(), primary, pid })
}

async fn cause(
    cluster: &dyn ClusterTarget,
    event: Event,
    drill: &Drill,
    turn: &Turn,
    writers: &mut dyn Writers,
) -> anyhow::Result<Outcome> {
    warm_up(writers, drill).await?;
    let trigger = match event {
        Event::Failover => Some(cluster.aim(&turn.primary, turn.pid).await?),
        Event::Switchover => None,
    };
    let (at, began) = (writers.mark().await?, Instant::now());
    let mut refused = None;
    if let Some(trigger) = trigger {
        trigger().await?;
    } else {
        let request = Request::Switchover { shard: Some(turn.shard.clone()), to: None };
        refused = cluster
            .request(request, OVER_WITHIN, Interrupts::Caller)
            .await
            .err()
            .map(|error| error.to_string());
    }
    let mut took = began.elapsed();
    let to = if refused.is_none() {
        let to = successor(cluster, turn).await?;
        if event == Event::Failover {
            took = began.elapsed();
        }
        Some(to)
    } else {
        None
    };
    writers.flowing(OVER_WITHIN).await?;
    tokio::time::sleep(AFTERMATH).await;
    let healed = healed(cluster, began).await?;
    Ok(Outcome { at, took, to, healed, refused })
}

/// Until every shard takes writes.
async fn warm_up(writers: &mut dyn Writers, drill: &Drill) -> anyhow::Result<()> {
    writers.flowing(FLOWING_WITHIN).await?;
    tokio::time::sleep(if drill.saturate { WARM_UP_SATURATED } else { WARM_UP }).await;
    Ok(())
}

/// Waits until another instance is the shard's primary.
async fn successor(cluster: &dyn ClusterTarget, turn: &Turn) -> anyhow::Result<InstanceName> {
    let began = Instant::now();
    loop {
        let status = cluster.drill_status().await?;
        let primary =
            status.shards.into_iter().find(|shard| shard.name == turn.shard).and_then(|s| s.primary);
        if let Some(primary) = primary.filter(|primary| *primary != turn.primary) {
            return Ok(primary);
        }
        if began.elapsed() >= OVER_WITHIN {
            let what = format!("{} has no new primary after {} s", turn.shard, OVER_WITHIN.as_secs());
            return Err(Failure::new(Kind::TimedOut, what, format!("`{} status` says why", called())).into());
        }
        tokio::time::sleep(cluster.drill_looks_every()).await;
    }
}

/// When the cluster was healthy again, since the event; `None` if it was not by the time the writers have to end.
async fn healed(cluster: &dyn ClusterTarget, began: Instant) -> anyhow::Result<Option<Duration>> {
    while began.elapsed() < HEALED_WITHIN {
        if cluster.drill_status().await?.healthy {
            return Ok(Some(began.elapsed()));
        }
        tokio::time::sleep(cluster.drill_looks_every()).await;
    }
    Ok(None)
}

fn told(
    event: Event,
    number: u32,
    turn: Turn,
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
        shard: turn.shard,
        from: turn.primary,
        to: outcome.to,
        refused: outcome.refused,
        took_ms: milliseconds(outcome.took),
        held_ms: held.filter(|_| event == Event::Switchover),
        healed_ms: outcome.healed.map(milliseconds),
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
