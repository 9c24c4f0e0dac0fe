//! How long a new cluster takes: one of its own, in a folder for the time of it, by the very command that users give.

use super::interrupted;
use super::place::Place;
use super::report::Spread;
use crate::args::Drill;
use crate::output::{columns, milliseconds};
use serde::Serialize;
use std::pin::Pin;

/// Three shards of two, over the three default zones.
const MANIFEST: &str = "\
apiVersion: redis.io/v1
kind: RedisCluster
metadata:
  name: drill
spec:
  mode: cluster
  shards: 3
  replicasPerShard: 1
  nodeTimeout: 15s
";

/// `drill create -o json`. Fields are added, never changed.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct CreateReport {
    event: &'static str,
    runs: Vec<CreateRun>,
    summary: CreateSummary,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct CreateRun {
    run: u32,
    /// From the command to its end: all slots served, all replicas in sync.
    healthy_ms: f64,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct CreateSummary {
    runs: usize,
    healthy: Spread,
}

impl CreateReport {
    /// For people.
    pub(super) fn page(&self) -> String {
        let Spread { p50, p99, max, .. } = self.summary.healthy;
        let rows = [
            ["CREATE 3+3, ms", "P50", "P99", "MAX"].map(str::to_owned).to_vec(),
            vec![
                "healthy, all in sync".to_owned(),
                format!("{p50:.0}"),
                format!("{p99:.0}"),
                format!("{max:.0}"),
            ],
        ];
        columns(&rows)
    }
}

pub(super) async fn runs(
    drill: &Drill,
    ended: &mut Pin<&mut impl Future<Output = ()>>,
) -> anyhow::Result<CreateReport> {
    let mut runs = Vec::new();
    for run in 1..=drill.runs {
        let place = Place::make(run)?;
        let created = tokio::select! {
            created = place.up("drill", MANIFEST, drill) => created,
            () = ended.as_mut() => Err(interrupted()),
        };
        let removed = place.remove(&["drill"]).await;
        let took = created?;
        removed?;
        eprintln!("run {run}/{}: healthy after {:.0} ms", drill.runs, milliseconds(took));
        runs.push(CreateRun { run, healthy_ms: milliseconds(took) });
    }
    let healthy = Spread::of(runs.iter().map(|run| run.healthy_ms));
    Ok(CreateReport { event: "create", summary: CreateSummary { runs: runs.len(), healthy }, runs })
}
