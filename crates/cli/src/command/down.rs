//! `down` and `delete`.

use crate::args::Within;
use crate::called::called;
use crate::failure::{Failure, Kind};
use crate::patience::{WORTH_TELLING, tell_waiting};
use crate::target::local::LocalPlatform;
use crate::target::local::supervisor::{LOOK_WITHIN, control_failure, silent};
use std::convert::Infallible;
use std::time::{Duration, Instant};
use valkeeper_local::{ClusterDir, Control, ControlAnswer, ControlError, ControlRequest};
use valkeeper_model::{InstanceName, Persistence};

pub(super) async fn down(platform: &LocalPlatform, within: Within) -> anyhow::Result<()> {
    let dir = platform.cluster_dir()?;
    let layout = dir.layout();
    let deadline = Instant::now() + within.timeout;
    let control = Control::new(dir.clone());
    let look = control.ask(&ControlRequest::Status, LOOK_WITHIN.min(within.timeout)).await;
    if let Err(error @ ControlError::Silent { .. }) = look.map_err(|error| silent(&dir, error)) {
        return Err(control_failure(&error).into());
    }
    let told = tokio::select! {
        told = control.ask(&ControlRequest::Down, within.timeout) => told,
        never = tell_who_runs(&dir) => match never {},
    };
    let said = match told {
        Ok(ControlAnswer::DownUnsaved(unsaved)) => {
            let unsaved: Vec<&str> = unsaved.iter().map(InstanceName::as_str).collect();
            format!(
                "is down; its data is kept but for what {} could not save (disk full?): writes since their last snapshot",
                unsaved.join(", ")
            )
        }
        Ok(_) => match layout {
            Ok(layout) => {
                format!("is down; {}", fate_of_data(layout.map(|layout| layout.config.persistence)))
            }
            Err(error) => format!("is down, but {error}"),
        },
        Err(ControlError::NoSupervisor) => "is down already".to_owned(),
        Err(error) => return Err(control_failure(&error).into()),
    };
    // The lock is given back when the process has ended. One whose disk hangs cannot end.
    while let Some(keeper) = dir.supervisor() {
        if Instant::now() > deadline {
            let what = format!("{keeper} has stopped the cluster, but has not ended itself");
            return Err(
                Failure::new(Kind::TimedOut, what, "does the disk of its state directory answer?").into()
            );
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let left = dir.running_servers()?;
    if !left.is_empty() {
        let left: Vec<&str> = left.iter().map(InstanceName::as_str).collect();
        let what = format!("{} run, but no supervisor that could stop them in order", left.join(", "));
        let hint = "`valkeeper up FILE --detach` takes them over, then `valkeeper down`";
        return Err(Failure::new(Kind::Failed, what, hint).into());
    }
    eprintln!("cluster {} {said}", dir.name());
    Ok(())
}

/// Tells whom `down` waits for, each time that this is another set of servers.
async fn tell_who_runs(dir: &ClusterDir) -> Infallible {
    let begun = Instant::now();
    let mut said = Vec::new();
    loop {
        tokio::time::sleep(WORTH_TELLING).await;
        let running = dir.running_servers().unwrap_or_default();
        if running != said && !running.is_empty() {
            let names: Vec<&str> = running.iter().map(InstanceName::as_str).collect();
            let what = format!("{} still run; a server saves its data before it ends", names.join(", "));
            tell_waiting(begun, &what);
            said = running;
        }
    }
}

/// What holds data in a server's directory although nothing is to be persisted: of another mode before. A snapshot tells nothing, as a
/// replica keeps the one that it was sent.
const DATA: [&str; 2] = ["appendonlydir", "set-aside"];

fn fate_of_data(persistence: Option<Persistence>) -> &'static str {
    match persistence {
        Some(Persistence::None) => "its data is gone with it, as `persistence: none` says",
        _ => "its data is kept",
    }
}

pub(super) fn delete(platform: &LocalPlatform, purge: bool) -> anyhow::Result<()> {
    let dir = platform.cluster_dir()?;
    if dir.supervisor().is_some() || !dir.running_servers()?.is_empty() {
        return Err(Failure::new(
            Kind::Unsafe,
            format!("cluster {} runs", dir.name()),
            format!("`{} down` first", called()),
        )
        .into());
    }
    // Under `persistence: none` the data went with `down`, unless it was another once and files are left from then.
    let persists =
        dir.layout().ok().flatten().is_none_or(|layout| layout.config.persistence != Persistence::None);
    let holds_data = |name: &InstanceName| {
        let data = dir.server(name).data();
        persists || DATA.iter().any(|file| data.path().join(file).exists())
    };
    if !purge && dir.instances_with_data()?.iter().any(holds_data) {
        let what = format!("cluster {} has data", dir.name());
        return Err(Failure::new(
            Kind::Unsafe,
            what,
            "`--purge` removes it with its data; there is no way back",
        )
        .into());
    }
    dir.purge()?;
    eprintln!("cluster {} is gone", dir.name());
    Ok(())
}
