//! `drill`: causes an event under load and measures what clients see of it. A tool for users: what it says of their cluster
//! on their machine is worth more than what a document says.

mod create;
mod event;
mod report;
mod writers;

use super::up::ended;
use crate::args::{Args, Drill, DrillEvent};
use crate::failure::{Failure, Kind};
use crate::{output, target};
use event::Event;
use report::DrillReport;

pub(crate) async fn drill(args: &Args, drill: &Drill) -> anyhow::Result<()> {
    if drill.runs == 0 {
        return Err(Failure::new(Kind::Usage, "there is nothing to do", "--runs 1 at least").into());
    }
    // Ctrl-C ends the run that is on, and then cleans up as always.
    let ended = ended()?;
    tokio::pin!(ended);
    let event = match drill.event {
        DrillEvent::Create => {
            let report = create::runs(drill, &mut ended).await?;
            return output::value(drill.output.format, &report, || report.page());
        }
        DrillEvent::Failover => Event::Failover,
        DrillEvent::Switchover => Event::Switchover,
    };
    let dir = target::cluster(args)?;
    let mut runs = Vec::new();
    for number in 1..=drill.runs {
        runs.push(event::run(&dir, event, drill, number, &mut ended).await?);
    }
    let report = DrillReport::new(dir.name().clone(), event, drill.saturate, runs);
    output::value(drill.output.format, &report, || report.page())?;
    report.verdict()
}

fn interrupted() -> anyhow::Error {
    Failure { kind: Kind::Failed, what: "interrupted; nothing is left behind".to_owned(), hint: None }.into()
}
