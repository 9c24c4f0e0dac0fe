//! How long a change of a running cluster takes, and what its clients see of it: a cluster of its own, in a folder for the time of it, changed
//! by the very command that users give.

use super::interrupted;
use super::place::Place;
use super::report::Spread;
use crate::args::Drill;
use crate::failure::{Failure, Kind};
use crate::load::{Found, LoadHere};
use crate::output::{columns, milliseconds};
use crate::program;
use crate::target::local::LocalPlatform;
use serde::Serialize;
use std::path::PathBuf;
use std::pin::Pin;
use std::time::Duration;
use valkeeper_agent::Program;
use valkeeper_client::Endpoint;
use valkeeper_local::{ClusterDir, EventLog};
use valkeeper_model::{Happened, SlotHappened};

const CLUSTER: &str = "drill";
const FLOWING_WITHIN: Duration = Duration::from_secs(10);
/// So that connections are warm before the change.
const WARM_UP: Duration = Duration::from_millis(300);

/// What is changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Change {
    /// The version of the servers.
    Upgrade,
    /// The number of shards, from three to six.
    Scale,
    /// A directive that servers take only when they start.
    Config,
}

/// The two servers of an upgrade.
struct Versions {
    older: Program,
    newer: Program,
}

/// What a manifest of the drill says.
struct Spec<'a> {
    shards: u32,
    program: Option<&'a Program>,
    backlog: u32,
}

impl Spec<'_> {
    fn manifest(&self) -> String {
        let image = self.program.map(|program| {
            let repository = if program.engine == "redis" { "redis" } else { "valkey/valkey" };
            format!("  imageName: {repository}:{}\n", program.version)
        });
        format!(
            "apiVersion: redis.io/v1\nkind: RedisCluster\nmetadata:\n  name: {CLUSTER}\nspec:\n  mode: cluster\n  shards: {}\n  \
             replicasPerShard: 1\n  nodeTimeout: 15s\n{}  update:\n    canary: 0s\n  redis:\n    tcp-backlog: \"{}\"\n",
            self.shards,
            image.unwrap_or_default(),
            self.backlog
        )
    }
}

/// `drill upgrade|scale|config -o json`. Fields are added, never changed.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ChangeReport {
    event: Change,
    saturated: bool,
    runs: Vec<ChangeRun>,
    summary: ChangeSummary,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct ChangeRun {
    run: u32,
    /// From the command to its end, at which the cluster is healthy and nothing of the change is left to do.
    done_ms: f64,
    /// `scale`: from the begin of the first slot's move to the arrival of the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    slots_ms: Option<f64>,
    /// The longest time without an acknowledged write, by the writers' shards.
    gaps_ms: Vec<f64>,
    writes_per_second: f64,
    acknowledged: u64,
    failed: u64,
    retried: u64,
    unknown: u64,
    lost: u64,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct ChangeSummary {
    runs: usize,
    done: Spread,
    slots: Spread,
    gaps: Spread,
    acknowledged: u64,
    failed: u64,
    retried: u64,
    unknown: u64,
    lost: u64,
}

impl ChangeReport {
    fn new(event: Change, saturated: bool, runs: Vec<ChangeRun>) -> Self {
        let sum = |count: fn(&ChangeRun) -> u64| runs.iter().map(count).sum();
        let summary = ChangeSummary {
            runs: runs.len(),
            done: Spread::of(runs.iter().map(|run| run.done_ms)),
            slots: Spread::of(runs.iter().filter_map(|run| run.slots_ms)),
            gaps: Spread::of(runs.iter().flat_map(|run| run.gaps_ms.iter().copied())),
            acknowledged: sum(|run| run.acknowledged),
            failed: sum(|run| run.failed),
            retried: sum(|run| run.retried),
            unknown: sum(|run| run.unknown),
            lost: sum(|run| run.lost),
        };
        Self { event, saturated, runs, summary }
    }

    /// For people.
    pub(super) fn page(&self) -> String {
        let ChangeSummary { done, slots, gaps, acknowledged, failed, retried, unknown, lost, .. } =
            &self.summary;
        let what = match self.event {
            Change::Upgrade => "UPGRADE 3+3, ms",
            Change::Scale => "SCALE 3+3 to 6+6, ms",
            Change::Config => "RESTART 3+3 IN TURN, ms",
        };
        let row = |what: &str, Spread { p50, p99, max, .. }: &Spread| {
            vec![what.to_owned(), format!("{p50:.0}"), format!("{p99:.0}"), format!("{max:.0}")]
        };
        let mut rows =
            vec![[what, "P50", "P99", "MAX"].map(str::to_owned).to_vec(), row("done, healthy", done)];
        if slots.count > 0 {
            rows.push(row("slots moved", slots));
        }
        rows.push(row("write gap of a shard", gaps));
        format!(
            "{}\nwrites: {acknowledged} acknowledged, {failed} failed, {retried} retries, {unknown} unknown, {lost} acknowledged ones \
             lost\n",
            columns(&rows).trim_end()
        )
    }

    /// Why the drill has failed, if it has.
    pub(super) fn verdict(&self) -> anyhow::Result<()> {
        if self.summary.lost == 0 {
            return Ok(());
        }
        let what = format!("{} acknowledged writes were lost", self.summary.lost);
        Err(Failure { kind: Kind::Failed, what, hint: None }.into())
    }
}

pub(super) async fn runs(
    platform: &LocalPlatform,
    change: Change,
    drill: &Drill,
    ended: &mut Pin<&mut impl Future<Output = ()>>,
) -> anyhow::Result<ChangeReport> {
    let versions = match change {
        Change::Upgrade => Some(versions(platform, drill)?),
        Change::Scale | Change::Config => None,
    };
    let mut runs = Vec::new();
    for number in 1..=drill.runs {
        let place = Place::make(number)?;
        let ran = tokio::select! {
            ran = run(&place, change, versions.as_ref(), drill, number) => ran,
            () = ended.as_mut() => Err(interrupted()),
        };
        let removed = place.remove(&[CLUSTER]).await;
        let ran = ran?;
        removed?;
        let gap = ran.gaps_ms.iter().copied().fold(0.0, f64::max);
        eprintln!(
            "run {number}/{}: done after {:.0} ms, no write for {gap:.0} ms, {} failed, {} lost of {}",
            drill.runs, ran.done_ms, ran.failed, ran.lost, ran.acknowledged
        );
        runs.push(ran);
    }
    Ok(ChangeReport::new(change, drill.saturate, runs))
}

async fn run(
    place: &Place,
    change: Change,
    versions: Option<&Versions>,
    drill: &Drill,
    run: u32,
) -> anyhow::Result<ChangeRun> {
    let before = Spec { shards: 3, program: versions.map(|both| &both.older), backlog: 511 };
    let after = match change {
        Change::Upgrade => Spec { program: versions.map(|both| &both.newer), ..before },
        Change::Scale => Spec { shards: 6, ..before },
        Change::Config => Spec { backlog: 512, ..before },
    };
    if let Some(Versions { older, newer }) = versions {
        place.add_server(&older.path).await?;
        place.add_server(&newer.path).await?;
        place.up_by_image(CLUSTER, &before.manifest(), drill).await?;
    } else {
        place.up(CLUSTER, &before.manifest(), drill).await?;
    }
    let dir = place.cluster(CLUSTER)?;
    let seeds: Vec<Endpoint> = dir.server_addresses()?.values().map(Endpoint::from).collect();
    let load = LoadHere::start(seeds, dir.password()?, drill.saturate).await?;
    load.take_writes(FLOWING_WITHIN).await?;
    tokio::time::sleep(WARM_UP).await;
    let at = load.elapsed();
    let done = place.apply(CLUSTER, &after.manifest()).await;
    // Whatever happened: the writers end.
    let found = load.stop(at).await;
    let done = done?;
    let Found { gaps_ms, seconds, acknowledged, failed, retried, unknown, lost, .. } = found?;
    #[expect(clippy::cast_precision_loss, reason = "a rate")]
    let writes_per_second = acknowledged as f64 / seconds.max(0.001);
    Ok(ChangeRun {
        run,
        done_ms: milliseconds(done),
        slots_ms: slots_took(&dir)?,
        gaps_ms: gaps_ms.into_iter().map(|(_, gap)| gap).collect(),
        writes_per_second,
        acknowledged,
        failed,
        retried,
        unknown,
        lost,
    })
}

/// How long slots were on their way, by the events; `None` if none were.
fn slots_took(dir: &ClusterDir) -> anyhow::Result<Option<f64>> {
    let lines = EventLog::new(dir.clone()).read()?;
    let begun = lines
        .iter()
        .find(|line| matches!(line.happened, Happened::Slots(SlotHappened::SlotMovesBegun { .. })));
    let last =
        lines.iter().rfind(|line| matches!(line.happened, Happened::Slots(SlotHappened::SlotsMoved { .. })));
    let (Some(begun), Some(last)) = (begun, last) else { return Ok(None) };
    let took = Duration::try_from(last.at.duration_since(begun.at)).unwrap_or_default();
    Ok(Some(milliseconds(took)))
}

/// The servers that are named, or the two newest versions of one engine that this machine has.
fn versions(platform: &LocalPlatform, drill: &Drill) -> anyhow::Result<Versions> {
    let state = platform.state_dir()?;
    let given = |path: &Option<PathBuf>| path.as_ref().map(|path| program::probed(&state, path)).transpose();
    let listed: Vec<Program> = program::list(&state).into_iter().map(|one| one.program).collect();
    let newer = match given(&drill.server)? {
        Some(named) => Some(named),
        None => newest(listed.iter()),
    };
    let fits =
        |one: &&Program| newer.as_ref().is_some_and(|newer| newer.version().is_newer_than(&one.version()));
    let older = match given(&drill.older)? {
        Some(named) => Some(named),
        None => newest(
            listed
                .iter()
                .filter(fits)
                .filter(|one| newer.as_ref().is_some_and(|newer| newer.engine == one.engine)),
        ),
    };
    match (older, newer) {
        (Some(older), Some(newer)) => Ok(Versions { older, newer }),
        (older, newer) => {
            let one = older.or(newer).map_or_else(|| "no server".to_owned(), |one| one.version().to_string());
            let hint = "--older PROGRAM and --server PROGRAM name two versions; `valkeeper servers list` shows what is found";
            Err(Failure::new(
                Kind::Usage,
                format!("an upgrade needs two versions of a server: {one} was found"),
                hint,
            )
            .into())
        }
    }
}

fn newest<'a>(programs: impl Iterator<Item = &'a Program>) -> Option<Program> {
    programs
        .fold(None, |best: Option<&Program>, one| match best {
            Some(best) if !one.version().is_newer_than(&best.version()) => Some(best),
            _ => Some(one),
        })
        .cloned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(gaps_ms: &[f64], slots_ms: Option<f64>, lost: u64) -> ChangeRun {
        ChangeRun {
            run: 1,
            done_ms: 3_000.0,
            slots_ms,
            gaps_ms: gaps_ms.to_vec(),
            writes_per_second: 1.0,
            acknowledged: 10,
            failed: 0,
            retried: 0,
            unknown: 0,
            lost,
        }
    }

    #[test]
    fn a_page_tells_of_slots_only_where_some_moved() {
        let scaled = ChangeReport::new(Change::Scale, false, vec![run(&[12.0, 30.0], Some(900.0), 0)]);
        assert!(scaled.page().contains("slots moved"), "{}", scaled.page());
        assert!(scaled.verdict().is_ok());
        let rolled =
            ChangeReport::new(Change::Config, false, vec![run(&[12.0], None, 0), run(&[70.0], None, 2)]);
        assert!(!rolled.page().contains("slots moved"), "{}", rolled.page());
        assert_eq!((rolled.summary.gaps.max, rolled.summary.lost), (70.0, 2));
        assert!(rolled.verdict().is_err());
    }
}
