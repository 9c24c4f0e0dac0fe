//! `drill`: causes an event under load and measures what clients see of it. A tool for users: what it says of their cluster
//! on their machine is worth more than what a document says.

mod change;
mod create;
mod event;
mod place;
mod promote;
mod report;

use crate::args::{Drill, DrillEvent};
use crate::ending::Ending;
use crate::failure::{Failure, Kind};
use crate::output;
use crate::target::{LocalOnly, Platform};
use change::Change;
use event::Event;
use report::DrillReport;

pub(super) async fn drill(platform: &dyn Platform, drill: &Drill, ending: &mut Ending) -> anyhow::Result<()> {
    refuse_none(drill)?;
    // Ctrl-C ends the run that is on, and then cleans up as always.
    let event = match drill.event {
        DrillEvent::Failover => Event::Failover,
        DrillEvent::Switchover => Event::Switchover,
        DrillEvent::Create => {
            platform.local(LocalOnly::DrillCreate)?;
            let ended = ending.told()?;
            tokio::pin!(ended);
            let report = create::runs(drill, &mut ended).await?;
            return output::value(drill.output.format, &report, || report.page());
        }
        DrillEvent::Promote => {
            platform.local(LocalOnly::DrillPromote)?;
            let ended = ending.told()?;
            tokio::pin!(ended);
            let report = promote::runs(drill, &mut ended).await?;
            output::value(drill.output.format, &report, || report.page())?;
            return report.verdict();
        }
        DrillEvent::Upgrade => return change(platform, Change::Upgrade, drill, ending).await,
        DrillEvent::Scale => return change(platform, Change::Scale, drill, ending).await,
        DrillEvent::Config => return change(platform, Change::Config, drill, ending).await,
    };
    let cluster = platform.cluster().await?;
    let ended = ending.told()?;
    tokio::pin!(ended);
    let mut runs = Vec::new();
    for number in 1..=drill.runs {
        runs.push(event::run(cluster.as_ref(), event, drill, number, &mut ended).await?);
    }
    let report = DrillReport::new(cluster.name().clone(), event, drill.saturate, runs);
    output::value(drill.output.format, &report, || report.page())?;
    report.verdict()
}

async fn change(
    platform: &dyn Platform,
    change: Change,
    drill: &Drill,
    ending: &mut Ending,
) -> anyhow::Result<()> {
    let local = platform.local(LocalOnly::DrillChange)?;
    let ended = ending.told()?;
    tokio::pin!(ended);
    let report = change::runs(local, change, drill, &mut ended).await?;
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
