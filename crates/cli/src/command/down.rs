//! `down` and `delete`.

use crate::args::{Args, Within};
use crate::called::called;
use crate::failure::{Failure, Kind};
use crate::target;
use std::time::Duration;
use valkeeper_local::{Control, ControlError, ControlRequest};
use valkeeper_model::Persistence;

pub(crate) async fn down(args: &Args, within: Within) -> anyhow::Result<()> {
    let dir = target::cluster(&args.common)?;
    let persistence = dir.layout()?.map(|layout| layout.config.persistence);
    match Control::new(dir.clone()).ask(&ControlRequest::Down, within.timeout).await {
        Ok(_) => {
            // The lock is given back when the process has ended.
            while dir.supervisor().is_some() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            eprintln!("cluster {} is down; {}", dir.name(), fate_of_data(persistence));
            Ok(())
        }
        Err(ControlError::NoSupervisor) => {
            let layout = dir.layout()?;
            let running = layout.is_some_and(|layout| {
                layout.instances.keys().any(|name| dir.server(name).running().is_some())
            });
            if running {
                let hint = format!("`{0} up FILE --detach` takes them over, then `{0} down`", called());
                return Err(Failure::new(
                    Kind::Failed,
                    "servers run, but no supervisor that could stop them in order",
                    hint,
                )
                .into());
            }
            eprintln!("cluster {} is down already", dir.name());
            Ok(())
        }
        Err(error) => Err(target::control_failure(&error).into()),
    }
}

fn fate_of_data(persistence: Option<Persistence>) -> &'static str {
    match persistence {
        Some(Persistence::None) => "its data is gone with it, as `persistence: none` says",
        _ => "its data is kept",
    }
}

pub(crate) fn delete(args: &Args, purge: bool) -> anyhow::Result<()> {
    let dir = target::cluster(&args.common)?;
    let layout = dir.layout()?;
    let names = || layout.iter().flat_map(|layout| layout.instances.keys());
    if dir.supervisor().is_some() || names().any(|name| dir.server(name).running().is_some()) {
        return Err(Failure::new(
            Kind::Unsafe,
            format!("cluster {} runs", dir.name()),
            format!("`{} down` first", called()),
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
