//! One event in a running cluster, under load.

use super::interrupted;
use super::report::Run;
use super::writers::{Found, Writers, evicted, names};
use crate::args::Drill;
use crate::failure::{Failure, Kind};
use crate::status::Status;
use crate::target;
use anyhow::Context as _;
use std::collections::BTreeMap;
use std::pin::Pin;
use std::time::{Duration, Instant};
use valkeeper_local::{ClusterDir, EventLog};
use valkeeper_model::{Happened, InstanceName, Request, ShardName};

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
/// Between looks at the status. Each costs the supervisor a moment, and the supervisor is what is measured.
const LOOK: Duration = Duration::from_millis(20);

/// What is caused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Event {
    Failover,
    Switchover,
}

/// The shard whose turn it is, as it was before the event.
struct Target {
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
    dir: &ClusterDir,
    event: Event,
    drill: &Drill,
    number: u32,
    ended: &mut Pin<&mut impl Future<Output = ()>>,
) -> anyhow::Result<Run> {
    let status = tokio::select! {
        status = calm(dir) => status?,
        () = ended.as_mut() => return Err(interrupted()),
    };
    let target = target_of(&status, number)?;
    let evicted_before = evicted(dir).await?;
    let began = jiff::Timestamp::now();
    let writers = Writers::start(dir, drill).await?;
    let outcome = tokio::select! {
        outcome = cause(dir, event, drill, &target, &writers) => outcome,
        () = ended.as_mut() => Err(interrupted()),
    };
    // Whatever happened: the writers' keys go.
    let found = writers.finish().await;
    let (outcome, found) = (outcome?, found?);
    let evicted = evicted(dir).await?.saturating_sub(evicted_before);
    let run = told(event, number, target, &status, outcome, &found, evicted, held(dir, began)?);
    eprintln!("run {number}/{}: {run}", drill.runs);
    Ok(run)
}

/// Waits until the cluster is healthy, and for a while until there is nothing at all to wait for.
async fn calm(dir: &ClusterDir) -> anyhow::Result<Status> {
    let began = Instant::now();
    let mut healthy_since = None;
    loop {
        let status = Status::of(dir).await?;
        if status.supervisor_pid.is_none() {
            let what = format!("no supervisor looks after cluster {}", status.cluster);
            return Err(Failure::new(Kind::Failed, what, "`valkeeper up FILE --detach` starts one").into());
        }
        if status.healthy {
            let since: Instant = *healthy_since.get_or_insert_with(Instant::now);
            if status.waiting.is_empty() || since.elapsed() >= MENDED_WITHIN {
                return Ok(status);
            }
        } else {
            healthy_since = None;
        }
        if began.elapsed() >= HEALTHY_WITHIN {
            let reasons: Vec<String> = status.waiting.into_iter().map(|waiting| waiting.message).collect();
            let what = format!("the cluster is not healthy: {}", reasons.join("; "));
            return Err(Failure::new(
                Kind::TimedOut,
                what,
                "`valkeeper status --watch` shows how it goes on",
            )
            .into());
        }
        tokio::time::sleep(LOOK).await;
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
    dir: &ClusterDir,
    event: Event,
    drill: &Drill,
    target: &Target,
    writers: &Writers,
) -> anyhow::Result<Outcome> {
    writers.warm_up(drill).await?;
    let (at, began) = (writers.mark(), Instant::now());
    let mut refused = None;
    match event {
        Event::Failover => kill(target.pid)?,
        Event::Switchover => {
            let request = Request::Switchover { shard: Some(target.shard.clone()), to: None };
            refused = target::request(dir, request, OVER_WITHIN).await.err().map(|error| error.to_string());
        }
    }
    let mut took = began.elapsed();
    let to = if refused.is_none() {
        let to = successor(dir, target).await?;
        if event == Event::Failover {
            took = began.elapsed();
        }
        Some(to)
    } else {
        None
    };
    writers.flowing(OVER_WITHIN).await?;
    tokio::time::sleep(AFTERMATH).await;
    let healed = healed(dir, began).await?;
    Ok(Outcome { at, took, to, healed, refused })
}

fn kill(pid: u32) -> anyhow::Result<()> {
    let pid = rustix::process::Pid::from_raw(i32::try_from(pid)?).context("no process id")?;
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).context("kill the primary")
}

/// Waits until another instance is the shard's primary.
async fn successor(dir: &ClusterDir, target: &Target) -> anyhow::Result<InstanceName> {
    let began = Instant::now();
    loop {
        let status = Status::of(dir).await?;
        let primary =
            status.shards.into_iter().find(|shard| shard.name == target.shard).and_then(|s| s.primary);
        if let Some(primary) = primary.filter(|primary| *primary != target.primary) {
            return Ok(primary);
        }
        if began.elapsed() >= OVER_WITHIN {
            let what = format!("{} has no new primary after {} s", target.shard, OVER_WITHIN.as_secs());
            return Err(Failure::new(Kind::TimedOut, what, "`valkeeper status` says why").into());
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// When the cluster was healthy again, since the event; `None` if it was not by the time the writers have to end.
async fn healed(dir: &ClusterDir, began: Instant) -> anyhow::Result<Option<Duration>> {
    while began.elapsed() < HEALED_WITHIN {
        if Status::of(dir).await?.healthy {
            return Ok(Some(began.elapsed()));
        }
        tokio::time::sleep(LOOK).await;
    }
    Ok(None)
}

/// How long writes were held back, as the supervisor tells it.
fn held(dir: &ClusterDir, since: jiff::Timestamp) -> anyhow::Result<Option<u64>> {
    let lines = EventLog::new(dir.clone()).read()?;
    let told = lines.iter().rev().take_while(|line| line.at >= since).find_map(|line| match &line.happened {
        Happened::SwitchedOver { paused_ms, .. } => Some(*paused_ms),
        _ => None,
    });
    Ok(told)
}

#[expect(clippy::too_many_arguments, reason = "everything that is known of a run comes together here, once")]
fn told(
    event: Event,
    number: u32,
    target: Target,
    status: &Status,
    outcome: Outcome,
    found: &Found,
    evicted: u64,
    held: Option<u64>,
) -> Run {
    let (report, until) = (&found.report, found.report.duration);
    let gaps: BTreeMap<ShardName, f64> = names(report, status)
        .into_iter()
        .zip(&report.shards)
        .map(|(name, shard)| (name, ms(shard.longest_gap(outcome.at, until).length())))
        .collect();
    let totals = report.totals();
    let seconds = report.duration.as_secs_f64();
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a rate"
    )]
    let writes_per_second = (totals.acknowledged as f64 / seconds.max(0.001)) as u64;
    Run {
        number,
        shard: target.shard,
        from: target.primary,
        to: outcome.to,
        refused: outcome.refused,
        took_ms: ms(outcome.took),
        held_ms: held.filter(|_| event == Event::Switchover),
        healed_ms: outcome.healed.map(ms),
        gaps_ms: gaps,
        writes_per_second,
        acknowledged: totals.acknowledged,
        failed: totals.failed,
        retried: totals.retried,
        unknown: totals.unknown,
        lost: found.lost + found.altered,
        evicted,
        errors: totals.errors,
    }
}

/// Milliseconds with two decimals.
pub(super) fn ms(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 100_000.0).round() / 100.0
}
