//! What the applications saw, as a table for people, and as JSON lines in the file that `VALKEEPER_CLIENTS_REPORT` names.

use crate::application::{Application, Figures, Habit};
use serde_json::json;
use std::collections::BTreeMap;
use std::fmt;
use std::io::Write as _;
use valkeeper_client::load::Totals;

/// node-redis 6.3 destroys its connection to a server as soon as it reads of a successor, and with it the commands in flight
/// there, whose redirects would have come: `cluster-slots.js`, "Keep only the nodes that are still in use", where a replica is
/// none. It does so at a plain `CLUSTER FAILOVER` too, and no server can prevent it (docs/clients.md).
fn is_of_client(client: &str, error: &str) -> bool {
    client == "node-redis" && error == "Error: Disconnects client"
}

/// One application's row.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) client: String,
    habit: &'static str,
    acked: u64,
    /// By their text.
    errors: BTreeMap<String, u64>,
    gap_ms: f64,
    read: u64,
    pub(super) lost: u64,
    pub(super) unreadable: u64,
}

/// All applications beside one event.
#[derive(Debug)]
pub(super) struct Table {
    event: String,
    rows: Vec<Row>,
}

impl Table {
    pub(super) fn new(event: &str) -> Self {
        Self { event: event.to_owned(), rows: Vec::new() }
    }

    /// What an application saw while it happened.
    pub(super) fn note(&mut self, one: &Application<'_>, figures: &Figures) {
        self.rows.push(Row {
            client: one.client.to_owned(),
            habit: one.habit.name,
            acked: figures.acked,
            errors: figures.errors.clone(),
            gap_ms: figures.longest_gap_ms,
            read: 0,
            lost: 0,
            unreadable: 0,
        });
    }

    /// What it read back at its end.
    pub(super) fn note_end(&mut self, client: &str, habit: Habit, end: &Figures) {
        let row = self.rows.iter_mut().find(|row| row.client == client && row.habit == habit.name);
        let row = row.unwrap_or_else(|| panic!("{client} was not there"));
        row.read = end.read.unwrap_or(0);
        row.lost = end.lost.unwrap_or(0);
        row.unreadable = end.unreadable.unwrap_or(0);
    }

    /// What Valkeeper's own writers saw.
    pub(super) fn note_load(&mut self, totals: &Totals, gap_ms: f64, read: u64, lost: u64) {
        self.rows.push(Row {
            client: "the saturating writers".to_owned(),
            habit: "saturating",
            acked: totals.acknowledged,
            errors: totals.errors.clone(),
            gap_ms: (gap_ms * 10.0).round() / 10.0,
            read,
            lost,
            unreadable: 0,
        });
    }

    pub(super) fn rows(&self) -> &[Row] {
        &self.rows
    }

    /// Errors that applications saw, and that are not their own client's doing.
    pub(super) fn errors(&self) -> u64 {
        let of_row = |row: &Row| {
            let foreign = row.errors.iter().filter(|(text, _)| !is_of_client(&row.client, text));
            foreign.map(|(_, count)| count).sum::<u64>()
        };
        self.rows.iter().map(of_row).sum()
    }

    pub(super) fn lost(&self) -> u64 {
        self.rows.iter().map(|row| row.lost + row.unreadable).sum()
    }

    /// Prints it, and appends it to the report if one is wanted.
    pub(super) fn publish(&self) {
        println!("{self}");
        let Some(path) = std::env::var_os("VALKEEPER_CLIENTS_REPORT") else { return };
        let mut file = std::fs::File::options().create(true).append(true).open(path).unwrap();
        for row in &self.rows {
            let line = json!({
                "event": self.event, "client": row.client, "habit": row.habit, "acked": row.acked,
                "errors": row.errors, "longestGapMs": row.gap_ms,
                "read": row.read, "lost": row.lost + row.unreadable,
            });
            writeln!(file, "{line}").unwrap();
        }
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "--- {}", self.event)?;
        for row in &self.rows {
            writeln!(
                f,
                "{:<22} {:<11} acked {:>8}  errors {:>4}  gap {:>8.1} ms  read {:>8}  lost {}{}  {}",
                row.client,
                row.habit,
                row.acked,
                row.errors.values().sum::<u64>(),
                row.gap_ms,
                row.read,
                row.lost,
                if row.unreadable > 0 { format!(" unreadable {}", row.unreadable) } else { String::new() },
                row.errors.keys().cloned().collect::<Vec<_>>().join("; "),
            )?;
        }
        Ok(())
    }
}
