//! `drill`: causes an event under load and measures what clients see of it. A tool for users: what it says of their cluster
//! on their machine is worth more than what a document says.

mod create;
pub(crate) mod event;
pub(crate) mod ground;
mod report;

use crate::args::{Args, Drill};
#[cfg(feature = "kubernetes")]
use crate::called::called;
use crate::ending::Ending;
use crate::failure::{Failure, Kind};
use crate::{output, target};
use event::Event;
use ground::Ground;
use report::DrillReport;
use std::pin::Pin;

pub(crate) async fn drill(args: &Args, drill: &Drill, ending: &mut Ending) -> anyhow::Result<()> {
    refuse_none(drill)?;
    // Ctrl-C ends the run that is on, and then cleans up as always.
    let ended = ending.told()?;
    tokio::pin!(ended);
    match Event::of(drill.event) {
        None => {
            let report = create::runs(drill, &mut ended).await?;
            output::value(drill.output.format, &report, || report.page())
        }
        Some(event) => runs(&Ground::Local(target::cluster(&args.common)?), event, drill, &mut ended).await,
    }
}

/// The same on Kubernetes.
#[cfg(feature = "kubernetes")]
pub(crate) async fn on_kubernetes(
    remote: valkeeper_kube::remote::Remote,
    drill: &Drill,
    ending: &mut Ending,
) -> anyhow::Result<()> {
    refuse_none(drill)?;
    let Some(event) = Event::of(drill.event) else {
        let hint = format!("`{} apply -f FILE --wait` makes a cluster", called());
        return Err(Failure::new(Kind::Usage, "there is no `drill create` on Kubernetes", hint).into());
    };
    let ended = ending.told()?;
    tokio::pin!(ended);
    runs(&Ground::Kubernetes(remote), event, drill, &mut ended).await
}

async fn runs(
    ground: &Ground,
    event: Event,
    drill: &Drill,
    ended: &mut Pin<&mut impl Future<Output = ()>>,
) -> anyhow::Result<()> {
    let mut runs = Vec::new();
    for number in 1..=drill.runs {
        runs.push(event::run(ground, event, drill, number, ended).await?);
    }
    let report = DrillReport::new(ground.name().clone(), event, drill.saturate, runs);
    output::value(drill.output.format, &report, || report.page())?;
    report.verdict()
}

fn refuse_none(drill: &Drill) -> Result<(), Failure> {
    if drill.runs == 0 {
        return Err(Failure::new(Kind::Usage, "there is nothing to do", "--runs 1 at least"));
    }
    Ok(())
}

fn interrupted() -> anyhow::Error {
    Failure { kind: Kind::Failed, what: "interrupted; nothing is left behind".to_owned(), hint: None }.into()
}
