//! Where a drill has clusters of its own: a folder that is removed with everything in it.

use crate::args::Drill;
use crate::failure::{Failure, Kind};
use anyhow::Context as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};
use tokio::process::Command;
use valkeeper_local::{ClusterDir, Control, ControlRequest, StateDir};
use valkeeper_model::ClusterName;

/// Names a server program to every command; what an image says does not count then.
const SERVER: &str = "VALKEEPER_SERVER";
const DOWN_WITHIN: Duration = Duration::from_secs(30);

/// The folder of one run.
pub(super) struct Place {
    path: PathBuf,
}

impl Place {
    pub(super) fn make(run: u32) -> anyhow::Result<Self> {
        let path = std::env::temp_dir().join(format!("valkeeper-drill-{}-{run}", std::process::id()));
        valkeeper_agent::make_private_dir(&path).with_context(|| format!("make {}", path.display()))?;
        Ok(Self { path })
    }

    fn state(&self) -> PathBuf {
        self.path.join("state")
    }

    /// The folder of one cluster.
    pub(super) fn cluster(&self, name: &str) -> anyhow::Result<ClusterDir> {
        Ok(StateDir::new(self.state()).cluster(&name.parse::<ClusterName>()?))
    }

    /// Brings a cluster up by the very command that users give; from the command to its end, at which the cluster is healthy.
    pub(super) async fn up(&self, name: &str, manifest: &str, drill: &Drill) -> anyhow::Result<Duration> {
        let mut up = self.up_command(name, manifest, drill)?;
        if let Some(server) = &drill.server {
            up.arg("--server").arg(server);
        }
        self.carried_out(up, &format!("cluster {name} did not come up")).await
    }

    /// The same with the server that the manifest's image is a name of.
    pub(super) async fn up_by_image(
        &self,
        name: &str,
        manifest: &str,
        drill: &Drill,
    ) -> anyhow::Result<Duration> {
        let mut up = self.up_command(name, manifest, drill)?;
        up.env_remove(SERVER);
        self.carried_out(up, &format!("cluster {name} did not come up")).await
    }

    fn up_command(&self, name: &str, manifest: &str, drill: &Drill) -> anyhow::Result<Command> {
        let file = self.file(name);
        std::fs::write(&file, manifest)?;
        let mut up = self.command("up")?;
        up.arg(file).arg("--detach");
        if let Some(port) = drill.base_port {
            up.arg("--base-port").arg(port.to_string());
        }
        Ok(up)
    }

    /// Makes a server program known to the drill's clusters.
    pub(super) async fn add_server(&self, program: &Path) -> anyhow::Result<()> {
        let mut add = self.command("servers")?;
        add.arg("add").arg(program);
        self.carried_out(add, &format!("{} was not added", program.display())).await.map(drop)
    }

    /// Applies a changed manifest by the very command that users give; from the command to its end, at which all is done.
    pub(super) async fn apply(&self, name: &str, manifest: &str) -> anyhow::Result<Duration> {
        let file = self.file(name);
        std::fs::write(&file, manifest)?;
        let mut apply = self.command("apply")?;
        apply.arg("-f").arg(file).arg("--wait").env_remove(SERVER);
        self.carried_out(apply, &format!("cluster {name} was not changed")).await
    }

    fn file(&self, name: &str) -> PathBuf {
        self.path.join(format!("{name}.yaml"))
    }

    fn command(&self, what: &str) -> anyhow::Result<Command> {
        let mut command = Command::new(std::env::current_exe().context("find this program")?);
        command.arg(what).arg("--state-dir").arg(self.state());
        // The cluster of the user's environment is not the one of this drill.
        command.env_remove("VALKEEPER_CLUSTER").stdin(Stdio::null()).stdout(Stdio::null()).kill_on_drop(true);
        Ok(command)
    }

    async fn carried_out(&self, mut command: Command, or: &str) -> anyhow::Result<Duration> {
        let began = Instant::now();
        let output =
            command.stderr(Stdio::piped()).spawn().context("start this program")?.wait_with_output().await?;
        let took = began.elapsed();
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
            let what = format!("{or}: {said}");
            return Err(Failure { kind: Kind::Failed, what, hint: None }.into());
        }
        Ok(took)
    }

    /// Ends a cluster, its servers too, if it runs.
    pub(super) async fn down(&self, name: &str) -> anyhow::Result<()> {
        let dir = self.cluster(name)?;
        if dir.supervisor().is_none() {
            return Ok(());
        }
        // A supervisor that was started just now listens in a moment.
        let until = Instant::now() + DOWN_WITHIN;
        while Control::new(dir.clone()).ask(&ControlRequest::Down, DOWN_WITHIN).await.is_err() {
            anyhow::ensure!(
                Instant::now() < until,
                "the drill's cluster {name} in {} does not stop",
                self.path.display()
            );
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        while dir.supervisor().is_some() && Instant::now() < until {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Ok(())
    }

    /// Ends these clusters and removes the folder.
    pub(super) async fn remove(&self, clusters: &[&str]) -> anyhow::Result<()> {
        for name in clusters {
            self.down(name).await?;
        }
        std::fs::remove_dir_all(&self.path).with_context(|| format!("remove {}", self.path.display()))
    }
}
