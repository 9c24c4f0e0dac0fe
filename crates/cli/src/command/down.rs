//! `down` and `delete`.

use crate::args::{Args, Within};
use crate::called::called;
use crate::failure::{Failure, Kind};
use crate::target;
use std::time::{Duration, Instant};
use valkeeper_local::{Control, ControlError, ControlRequest};
use valkeeper_model::{InstanceName, Persistence};

pub(crate) async fn down(args: &Args, within: Within) -> anyhow::Result<()> {
    let dir = target::cluster(&args.common)?;
    let layout = dir.layout();
    let deadline = Instant::now() + within.timeout;
    let told = Control::new(dir.clone()).ask(&ControlRequest::Down, within.timeout).await;
    let said = match told {
        Ok(_) => match layout {
            Ok(layout) => {
                format!("is down; {}", fate_of_data(layout.map(|layout| layout.config.persistence)))
            }
            Err(error) => format!("is down, but {error}"),
        },
        Err(ControlError::NoSupervisor) => "is down already".to_owned(),
        Err(error) => return Err(target::control_failure(&error).into()),
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

fn fate_of_data(persistence: Option<Persistence>) -> &'static str {
    match persistence {
        Some(Persistence::None) => "its data is gone with it, as `persistence: none` says",
        _ => "its data is kept",
    }
}

pub(crate) fn delete(args: &Args, purge: bool) -> anyhow::Result<()> {
    let dir = target::cluster(&args.common)?;
    if dir.supervisor().is_some() || !dir.running_servers()?.is_empty() {
        return Err(Failure::new(
            Kind::Unsafe,
            format!("cluster {} runs", dir.name()),
            format!("`{} down` first", called()),
        )
        .into());
    }
    if !purge && !dir.instances_with_data()?.is_empty() {
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
