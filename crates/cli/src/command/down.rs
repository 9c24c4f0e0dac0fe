//! `down` and `delete`.

use crate::args::{Args, Within};
use crate::failure::{Failure, Kind};
use crate::target;
use std::time::{Duration, Instant};
use valkeeper_local::{Control, ControlError, ControlRequest};
use valkeeper_model::InstanceName;

pub(crate) async fn down(args: &Args, within: Within) -> anyhow::Result<()> {
    let dir = target::cluster(args)?;
    let deadline = Instant::now() + Duration::from_secs(within.timeout);
    let told =
        Control::new(dir.clone()).ask(&ControlRequest::Down, Duration::from_secs(within.timeout)).await;
    let said = match told {
        Ok(_) => "is down; its data is kept",
        Err(ControlError::NoSupervisor) => "is down already",
        Err(error) => return Err(target::control_failure(&error).into()),
    };
    // The lock is given back when the process has ended. One whose disk hangs cannot end.
    while let Some(pid) = dir.supervisor() {
        if Instant::now() > deadline {
            let what =
                format!("the supervisor (pid {pid}) has stopped the cluster, but has not ended itself");
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

pub(crate) fn delete(args: &Args, purge: bool) -> anyhow::Result<()> {
    let dir = target::cluster(args)?;
    let layout = dir.layout()?;
    let names = || layout.iter().flat_map(|layout| layout.instances.keys());
    if dir.supervisor().is_some() || !dir.running_servers()?.is_empty() {
        return Err(Failure::new(
            Kind::Unsafe,
            format!("cluster {} runs", dir.name()),
            "`valkeeper down` first",
        )
        .into());
    }
    if !purge && names().any(|name| dir.server(name).data().path().exists()) {
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
