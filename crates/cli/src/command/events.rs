//! `events`: what happened.

use crate::args::{Args, Format};
use crate::output::lines;
use crate::{output, target};
use std::time::Duration;
use valkeeper_local::{EventLine, EventLog};

pub(crate) async fn events(args: &Args, follow: bool, format: Format) -> anyhow::Result<()> {
    let log = EventLog::new(target::cluster(args)?);
    let mut shown = None;
    loop {
        let all = log.read()?;
        let new: Vec<&EventLine> = all.iter().filter(|line| shown.is_none_or(|at| line.at > at)).collect();
        if follow && format != Format::Table {
            // A stream of documents, one a line: an array would never end.
            for line in &new {
                output::text(&format!("{}\n", serde_json::to_string(line)?))?;
            }
        } else if !new.is_empty() || shown.is_none() {
            output::value(format, &new, || {
                let rows: Vec<String> =
                    new.iter().map(|line| format!("{:.3}  {}", line.at, line.message)).collect();
                lines(&rows)
            })?;
        }
        shown = all.last().map(|line| line.at).or(shown);
        if !follow {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}
