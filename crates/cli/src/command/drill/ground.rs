//! Where a drill takes place.

use super::event::Target;
use crate::args::Drill;
use crate::called::called;
use crate::document::status::Status;
use crate::failure::{Failure, Kind};
use crate::load::Writers;
use crate::target;
#[cfg(feature = "kubernetes")]
use crate::target::in_pod::drill::{self as far, Far};
use anyhow::Context as _;
use std::time::Duration;
use valkeeper_client::Endpoint;
#[cfg(feature = "kubernetes")]
use valkeeper_kube::remote::Remote;
use valkeeper_local::{ClusterDir, EventLog};
use valkeeper_model::{ClusterName, Happened, Request};

/// Between looks at the status. Each costs the supervisor a moment, and the supervisor is what is measured.
const LOOK: Duration = Duration::from_millis(20);

/// Where.
pub(crate) enum Ground {
    /// On this machine.
    Local(ClusterDir),
    /// On Kubernetes.
    #[cfg(feature = "kubernetes")]
    Kubernetes(Remote),
}

/// What kills a primary, ready to.
pub(crate) enum Trigger {
    Local(u32),
    #[cfg(feature = "kubernetes")]
    Far(Box<Far>),
}

impl Ground {
    pub(crate) fn name(&self) -> &ClusterName {
        match self {
            Self::Local(dir) => dir.name(),
            #[cfg(feature = "kubernetes")]
            Self::Kubernetes(remote) => remote.name(),
        }
    }

    pub(crate) async fn status(&self) -> anyhow::Result<Status> {
        match self {
            Self::Local(dir) => Status::of(dir).await,
            #[cfg(feature = "kubernetes")]
            Self::Kubernetes(remote) => far::status(remote).await,
        }
    }

    /// A pause between two looks.
    pub(crate) async fn pause(&self) {
        tokio::time::sleep(match self {
            Self::Local(_) => LOOK,
            #[cfg(feature = "kubernetes")]
            Self::Kubernetes(_) => far::LOOK,
        })
        .await;
    }

    /// Refuses a cluster that nobody looks after.
    #[cfg_attr(
        not(feature = "kubernetes"),
        expect(clippy::unused_async, reason = "on Kubernetes it takes asking")
    )]
    pub(crate) async fn refuse_unattended(&self, status: &Status) -> anyhow::Result<()> {
        match self {
            Self::Local(_) if status.supervisor_pid.is_some() => Ok(()),
            Self::Local(_) => {
                let what = format!("no supervisor looks after cluster {}", status.cluster);
                Err(Failure::new(Kind::Failed, what, format!("`{} up FILE --detach` starts one", called()))
                    .into())
            }
            #[cfg(feature = "kubernetes")]
            Self::Kubernetes(remote) => far::refuse_unattended(remote).await,
        }
    }

    pub(crate) async fn request(&self, request: Request, within: Duration) -> anyhow::Result<()> {
        match self {
            Self::Local(dir) => target::request(dir, request, within).await,
            #[cfg(feature = "kubernetes")]
            Self::Kubernetes(remote) => {
                Ok(remote.ask(&request, within, std::future::pending()).await.map_err(Failure::from)?)
            }
        }
    }

    #[cfg_attr(
        not(feature = "kubernetes"),
        expect(unused_variables, reason = "this machine's servers are known")
    )]
    pub(crate) async fn writers(&self, drill: &Drill, status: &Status) -> anyhow::Result<Writers> {
        match self {
            Self::Local(dir) => {
                let seeds: Vec<Endpoint> = dir.addresses()?.values().map(Endpoint::from).collect();
                Writers::here(seeds, dir.password()?, drill.saturate).await
            }
            #[cfg(feature = "kubernetes")]
            Self::Kubernetes(remote) => far::writers(remote, drill, status).await,
        }
    }

    /// Aims at a primary: what takes time is done before the event.
    #[cfg_attr(
        not(feature = "kubernetes"),
        expect(clippy::unused_async, reason = "on Kubernetes it takes asking")
    )]
    pub(crate) async fn aim(&self, target: &Target) -> anyhow::Result<Trigger> {
        match self {
            Self::Local(_) => Ok(Trigger::Local(target.pid)),
            #[cfg(feature = "kubernetes")]
            Self::Kubernetes(remote) => {
                Ok(Trigger::Far(Box::new(far::aim(remote, &target.primary, target.pid).await?)))
            }
        }
    }

    /// How long writes were held back, as the supervisor tells it. On Kubernetes it is told in words alone.
    pub(crate) fn held(&self, since: jiff::Timestamp) -> anyhow::Result<Option<u64>> {
        let dir = match self {
            Self::Local(dir) => dir,
            #[cfg(feature = "kubernetes")]
            Self::Kubernetes(_) => return Ok(None),
        };
        let lines = EventLog::new(dir.clone()).read()?;
        let told =
            lines.iter().rev().take_while(|line| line.at >= since).find_map(|line| match &line.happened {
                Happened::SwitchedOver { paused_ms, .. } => Some(*paused_ms),
                _ => None,
            });
        Ok(told)
    }
}

impl Trigger {
    #[cfg_attr(
        not(feature = "kubernetes"),
        expect(clippy::unused_async, reason = "on Kubernetes it takes asking")
    )]
    pub(crate) async fn pull(self) -> anyhow::Result<()> {
        match self {
            Self::Local(pid) => kill(pid),
            #[cfg(feature = "kubernetes")]
            Self::Far(mut far) => far.kill().await,
        }
    }
}

/// As an out-of-memory killer would.
pub(crate) fn kill(pid: u32) -> anyhow::Result<()> {
    let pid = rustix::process::Pid::from_raw(i32::try_from(pid)?).context("no process id")?;
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).context("kill the primary")
}
