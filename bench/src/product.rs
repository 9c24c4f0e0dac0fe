//! The program as users run it.

use crate::results::Sample;
use anyhow::{Context as _, ensure};
use serde_json::Value;
use std::path::{Path, PathBuf};
use tempfile::TempDir;
use tokio::process::Command;

/// Like examples/cluster.yaml, but with memory for every key of a run: what is evicted cannot be read back.
const MANIFEST: &str = "\
apiVersion: redis.io/v1
kind: RedisCluster
metadata:
  name: bench
spec:
  mode: cluster
  shards: 3
  replicasPerShard: 1
  nodeTimeout: 15s
";
/// Away from where users' clusters are.
const BASE_PORT: &str = "8201";

pub(crate) struct Product {
    program: PathBuf,
    server: PathBuf,
    dir: TempDir,
}

impl Product {
    /// The release program beside this one.
    pub(crate) fn new(server: &Path) -> anyhow::Result<Self> {
        let program = std::env::current_exe()?.with_file_name("valkeeper");
        ensure!(program.exists(), "{} is missing: `cargo build --release -p valkeeper`", program.display());
        let dir = tempfile::tempdir()?;
        std::fs::write(dir.path().join("bench.yaml"), MANIFEST)?;
        Ok(Self { program, server: server.to_owned(), dir })
    }

    async fn run(&self, args: &[&str]) -> anyhow::Result<String> {
        let mut command = Command::new(&self.program);
        command.args(args).arg("--state-dir").arg(self.dir.path().join("state"));
        command.env("VALKEEPER_SERVER", &self.server).env_remove("VALKEEPER_CLUSTER").kill_on_drop(true);
        let output = command.output().await.context("run the program")?;
        let said = String::from_utf8_lossy(&output.stderr);
        // `status` says with its exit code that the cluster is not healthy.
        let told = args.first() == Some(&"status") && output.status.code() == Some(1) && said.is_empty();
        ensure!(output.status.success() || told, "valkeeper {}: {}", args.join(" "), said.trim());
        Ok(String::from_utf8(output.stdout)?)
    }

    async fn document(&self, args: &[&str]) -> anyhow::Result<Value> {
        Ok(serde_json::from_str(&self.run(args).await?)?)
    }

    pub(crate) async fn up(&self) -> anyhow::Result<()> {
        let manifest = self.dir.path().join("bench.yaml");
        let manifest = manifest.to_string_lossy();
        self.run(&["up", &manifest, "--detach", "--base-port", BASE_PORT]).await.map(drop)
    }

    pub(crate) async fn down(&self) -> anyhow::Result<()> {
        self.run(&["down"]).await.map(drop)
    }

    pub(crate) async fn supervisor(&self) -> anyhow::Result<u32> {
        let status = self.document(&["status", "-o", "json"]).await?;
        let pid = status["supervisorPid"].as_u64().context("there is no supervisor")?;
        Ok(u32::try_from(pid)?)
    }

    /// One event of the kind.
    pub(crate) async fn drill(&self, event: &str, saturate: bool) -> anyhow::Result<Sample> {
        let mut args = vec!["drill", event, "--runs", "1", "-o", "json"];
        if saturate {
            args.push("--saturate");
        }
        let summary = &self.document(&args).await?["summary"];
        let count = |name: &str| summary[name].as_u64().with_context(|| format!("no `{name}`"));
        Ok(Sample {
            value: summary["own"]["max"].as_f64().context("no gap")?,
            failed: count("failed")?,
            lost: count("lost")?,
            acknowledged: count("acknowledged")?,
        })
    }

    /// How long one creation takes, milliseconds.
    pub(crate) async fn create(&self) -> anyhow::Result<f64> {
        let report =
            self.document(&["drill", "create", "--runs", "1", "--base-port", "8301", "-o", "json"]).await?;
        report["summary"]["healthy"]["max"].as_f64().context("no time")
    }
}
