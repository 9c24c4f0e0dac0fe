//! What happened, line by line, for people to read and goldens to compare.

use valkeeper_model::Ask;
use valkeeper_plan::{agent, controller};

/// The lines, if they are wanted.
#[derive(Debug, Clone)]
pub(crate) struct Transcript {
    lines: Option<Vec<String>>,
}

impl Transcript {
    pub(crate) fn new(wanted: bool) -> Self {
        Self { lines: wanted.then(Vec::new) }
    }

    /// Adds a line; it is not even made if nobody wants it.
    pub(crate) fn note(&mut self, now: u64, line: impl FnOnce() -> String) {
        if let Some(lines) = &mut self.lines {
            lines.push(format!("{:>3}.{:03}  {}", now / 1_000, now % 1_000, line()));
        }
    }

    pub(crate) fn lines(self) -> Vec<String> {
        self.lines.unwrap_or_default()
    }
}

/// A command of an agent that is worth a line.
pub(crate) fn command(command: &agent::Command) -> Option<String> {
    use agent::Command;
    match command {
        Command::Kill(run) => Some(format!("kill run {run}")),
        Command::Terminate(run) => Some(format!("stop run {run}")),
        Command::Tell { to, ask, .. } if !is_question(ask) => Some(format!("asks {to} to {ask:?}")),
        Command::Record(happened) => Some(format!("event: {happened}")),
        _ => None,
    }
}

fn is_question(ask: &Ask) -> bool {
    matches!(
        ask,
        Ask::Report { .. } | Ask::Replication | Ask::Flush | Ask::Heartbeat { .. } | Ask::Renew { .. }
    )
}

/// A command of a controller that is worth a line.
pub(crate) fn controller_command(command: &controller::Command) -> Option<String> {
    use controller::Command;
    match command {
        Command::Commit { layout, .. } => {
            let disturbed: Vec<&str> =
                layout.ledger.keys().map(valkeeper_model::InstanceName::as_str).collect();
            let counts = match disturbed.as_slice() {
                [] => String::new(),
                disturbed => format!(", which counts {} as disturbed", disturbed.join(", ")),
            };
            Some(format!("commits generation {}{counts}", layout.generation))
        }
        Command::Tell { to, ask, .. } => Some(format!("asks {to} to {ask:?}")),
        Command::Publish(report) => {
            let mut reasons: Vec<String> = report.waiting.iter().take(3).map(ToString::to_string).collect();
            if report.waiting.len() > 3 {
                reasons.push(format!("{} more", report.waiting.len() - 3));
            }
            let reasons =
                if reasons.is_empty() { String::new() } else { format!(": {}", reasons.join("; ")) };
            Some(format!("{:?}{reasons}", report.phase))
        }
        Command::Record(happened) => Some(format!("event: {happened}")),
        Command::GiveUp(refusal) => Some(format!("gives up: {refusal}")),
        _ => None,
    }
}
