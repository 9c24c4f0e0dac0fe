//! How a cluster on this machine is: as its supervisor tells it, or as its directory shows it.

use super::supervisor::{LOOK_WITHIN, control_failure, silent};
use crate::boxed::Boxed;
use crate::document::status::Status;
use crate::target::Feed;
use std::time::Duration;
use valkeeper_local::{ClusterDir, Control, ControlAnswer, ControlError, ControlRequest};
use valkeeper_model::{InstanceReport, Phase, Report, ShardReport, Waiting};
use valkeeper_plan::mode::sentinel;

/// Asks the supervisor; without one, tells what the disk knows.
pub(crate) async fn status(dir: &ClusterDir) -> anyhow::Result<Status> {
    let control = Control::new(dir.clone());
    let ask = || control.ask(&ControlRequest::Status, LOOK_WITHIN);
    let mut answer = ask().await;
    // A supervisor that dies while it answers is none any more, or has a successor by now.
    if let Err(ControlError::Lost(_)) = answer {
        answer = ask().await;
    }
    match answer {
        Ok(ControlAnswer::Status(seen)) => {
            let (report, pid, metrics) = (seen.report, Some(seen.supervisor_pid), seen.metrics);
            let status = match report {
                Some(report) => Status::new(dir.name().clone(), report, pid),
                None => from_disk(dir, pid)?,
            };
            let places = dir.sentinel_addresses()?;
            let mut status = Status { metrics, ..status };
            for sentinel in &mut status.sentinels {
                sentinel.address = places.get(&sentinel.name).map(ToString::to_string);
            }
            Ok(status)
        }
        Ok(_) => anyhow::bail!("the supervisor answered something else"),
        Err(ControlError::NoSupervisor) => from_disk(dir, None),
        Err(error) => Err(control_failure(&silent(dir, error)).into()),
    }
}

/// The status, again and again: a supervisor tells nobody by itself.
pub(crate) struct Looks {
    dir: ClusterDir,
    every: Duration,
    has_looked: bool,
}

impl Looks {
    pub(crate) fn new(dir: ClusterDir, every: Duration) -> Self {
        Self { dir, every, has_looked: false }
    }
}

impl Feed<Status> for Looks {
    fn next(&mut self) -> Boxed<'_, Status> {
        Box::pin(async {
            if std::mem::replace(&mut self.has_looked, true) {
                tokio::time::sleep(self.every).await;
            }
            status(&self.dir).await
        })
    }
}

fn from_disk(dir: &ClusterDir, supervisor_pid: Option<u32>) -> anyhow::Result<Status> {
    let layout = dir.layout()?;
    let mut report = Report {
        mode: layout.as_ref().map(|layout| layout.config.mode).unwrap_or_default(),
        phase: Phase::Creating,
        healthy: false,
        shards: Vec::new(),
        instances: Vec::new(),
        waiting: Vec::new(),
        sentinels: layout.as_ref().map(|layout| sentinel::report(layout, None)).unwrap_or_default(),
        replica_mode: None,
        progress: Vec::new(),
        cordoned_zones: layout.as_ref().map(|layout| (*layout.cordoned).clone()).unwrap_or_default(),
    };
    if let Some(layout) = layout {
        for (name, instance) in layout.instances.iter() {
            report.instances.push(InstanceReport {
                name: name.clone(),
                shard: instance.shard.clone(),
                zone: instance.zone.clone(),
                role: None,
                address: None,
                pid: dir.server(name).running().ok().flatten().map(|(_, process)| process.pid),
                version: None,
                engine: None,
                lag_bytes: None,
                fenced: instance.is_fenced(),
                keys: None,
                memory_bytes: None,
                data: None,
            });
        }
        for (name, shard) in layout.shards.iter() {
            let (slots, name) = (shard.slots.clone(), name.clone());
            report.shards.push(ShardReport {
                name,
                slots,
                primary: None,
                replicas: Vec::new(),
                needed_replicas: None,
            });
        }
        if supervisor_pid.is_none() {
            let running = report.instances.iter().any(|instance| instance.pid.is_some());
            report.phase = if running { Phase::Unsupervised } else { Phase::Down };
        }
    }
    if supervisor_pid.is_none() {
        report.waiting.push(Waiting::NoSupervisor);
    }
    Ok(Status::new(dir.name().clone(), report, supervisor_pid))
}
