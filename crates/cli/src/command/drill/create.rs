//! How long a new cluster takes: one of its own, in a folder for the time of it, by the very command that users give.

use super::interrupted;
use super::report::Spread;
use crate::args::Drill;
use crate::failure::{Failure, Kind};
use crate::output::{columns, milliseconds};
use anyhow::Context as _;
use serde::Serialize;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::process::Stdio;
use std::time::{Duration, Instant};
use tokio::process::Command;
use valkeeper_local::{Control, ControlRequest, StateDir};
use valkeeper_model::ClusterName;

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
const DOWN_WITHIN: Duration = Duration::from_secs(30);

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
            created = create(&place, drill) => created,
            () = ended.as_mut() => Err(interrupted()),
        };
        let removed = place.remove().await;
        let took = created?;
        removed?;
        eprintln!("run {run}/{}: healthy after {:.0} ms", drill.runs, milliseconds(took));
        runs.push(CreateRun { run, healthy_ms: milliseconds(took) });
    }
    let healthy = Spread::of(runs.iter().map(|run| run.healthy_ms));
    Ok(CreateReport { event: "create", summary: CreateSummary { runs: runs.len(), healthy }, runs })
}

/// A folder for one cluster. Removed with everything in it, processes too.
struct Place {
    path: PathBuf,
}

impl Place {
    fn make(run: u32) -> anyhow::Result<Self> {
        let path = std::env::temp_dir().join(format!("valkeeper-drill-{}-{run}", std::process::id()));
        valkeeper_agent::make_private_dir(&path).with_context(|| format!("make {}", path.display()))?;
        Ok(Self { path })
    }

    fn manifest(&self) -> PathBuf {
        self.path.join("drill.yaml")
    }

    fn state(&self) -> PathBuf {
        self.path.join("state")
    }

    async fn remove(&self) -> anyhow::Result<()> {
        let name: ClusterName = "drill".parse()?;
        let dir = StateDir::new(self.state()).cluster(&name);
        if dir.supervisor().is_some() {
            // A supervisor that was started just now listens in a moment.
            let until = Instant::now() + DOWN_WITHIN;
            while Control::new(dir.clone()).ask(&ControlRequest::Down, DOWN_WITHIN).await.is_err() {
                anyhow::ensure!(
                    Instant::now() < until,
                    "the drill's cluster in {} does not stop",
                    self.path.display()
                );
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            while dir.supervisor().is_some() && Instant::now() < until {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
        remove_dir(&self.path)
    }
}

fn remove_dir(path: &Path) -> anyhow::Result<()> {
    std::fs::remove_dir_all(path).with_context(|| format!("remove {}", path.display()))
}

async fn create(place: &Place, drill: &Drill) -> anyhow::Result<Duration> {
    std::fs::write(place.manifest(), MANIFEST)?;
    let mut up = Command::new(std::env::current_exe().context("find this program")?);
    up.arg("up").arg(place.manifest()).arg("--detach").arg("--state-dir").arg(place.state());
    if let Some(server) = &drill.server {
        up.arg("--server").arg(server);
    }
    if let Some(port) = drill.base_port {
        up.arg("--base-port").arg(port.to_string());
    }
    // The cluster of the user's environment is not the one of this drill.
    up.env_remove("VALKEEPER_CLUSTER").stdin(Stdio::null()).stdout(Stdio::null()).kill_on_drop(true);
    let began = Instant::now();
    let output = up.stderr(Stdio::piped()).spawn().context("start this program")?.wait_with_output().await?;
    let took = began.elapsed();
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        let what = format!("the cluster did not come up: {said}");
        return Err(Failure { kind: Kind::Failed, what, hint: None }.into());
    }
    Ok(took)
}
