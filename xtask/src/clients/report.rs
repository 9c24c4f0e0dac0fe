//! `cargo xtask clients --report`: runs the scenarios with real clients and puts what they saw into docs/clients.md.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

const DOC: &str = "docs/clients.md";
const BEGIN: &str = "<!-- begin: cargo xtask clients --report -->\n";
const END: &str = "<!-- end -->";

/// The habit of the client that writes beside a saturating load, and of that load, which is nobody's client.
const PROBING: &str = "closed loop";
const SATURATING: &str = "saturating";

/// What the scenarios write, one line an application and event: testkit/tests/clients/figures.rs.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Row {
    event: String,
    client: String,
    habit: String,
    acked: u64,
    errors: BTreeMap<String, u64>,
    longest_gap_ms: f64,
    read: u64,
    lost: u64,
}

pub(super) fn run(root: &Path) -> Result<()> {
    let lines = root.join("target").join(format!("clients-{}.jsonl", std::process::id()));
    let ended = Command::new("cargo")
        .current_dir(root)
        .args([
            "test",
            "-p",
            "valkeeper-testkit",
            "--test",
            "clients",
            "--",
            "--include-ignored",
            "--nocapture",
        ])
        .env("VALKEEPER_CLIENTS_REPORT", &lines)
        .status()
        .context("cannot start cargo")?;
    let text = fs::read_to_string(&lines).context("the scenarios wrote no figures")?;
    fs::remove_file(&lines)?;
    ensure!(ended.success(), "the scenarios failed; {DOC} stays as it is");

    let mut rows = text.lines().map(serde_json::from_str).collect::<Result<Vec<Row>, _>>()?;
    // Tests end in any order.
    rows.sort_by_key(|row| (row.habit == PROBING, row.event.clone()));
    let path = root.join(DOC);
    let doc = fs::read_to_string(&path).with_context(|| format!("cannot read {DOC}"))?;
    fs::write(
        &path,
        insert(&doc, &table(&rows)).with_context(|| format!("{DOC} has no `{}`", BEGIN.trim()))?,
    )?;
    println!("{DOC} holds the figures of this run");
    Ok(())
}

fn insert(doc: &str, table: &str) -> Option<String> {
    let (before, rest) = doc.split_once(BEGIN)?;
    let (_, after) = rest.split_once(END)?;
    Some(format!("{before}{BEGIN}\n{table}\n{END}{after}"))
}

/// A row an event and habit, a column a client, both in the order of their first appearance.
fn table(rows: &[Row]) -> String {
    let (load, rows): (Vec<&Row>, Vec<&Row>) = rows.iter().partition(|row| row.habit == SATURATING);
    let (clients, events) = (firsts(&rows, |row| &row.client), firsts(&rows, |row| &row.event));
    let mut text = format!("| event | application | {} |\n", clients.join(" | "));
    let _ = writeln!(text, "|{}", " --- |".repeat(clients.len() + 2));
    for event in events {
        let of_event: Vec<&Row> = rows.iter().copied().filter(|row| row.event == event).collect();
        for habit in firsts(&of_event, |row| &row.habit) {
            let cell = |client: &&str| {
                let found = of_event.iter().find(|row| row.client == *client && row.habit == habit);
                found.map_or(String::new(), |row| cell(row))
            };
            let cells: Vec<String> = clients.iter().map(cell).collect();
            let _ = writeln!(text, "| {event} | {habit} | {} |", cells.join(" | "));
        }
    }
    text.push('\n');
    for row in &load {
        let Row { event, acked, errors, longest_gap_ms: gap, .. } = row;
        let errors: u64 = errors.values().sum();
        let _ = writeln!(
            text,
            "{event}: Valkeeper's own writers had {acked} acknowledged, {errors} errors, {gap:.0} ms at most without one."
        );
    }
    let all = || rows.iter().chain(&load);
    let sum = |field: fn(&Row) -> u64| all().map(|row| field(row)).sum::<u64>();
    let (acked, read, lost) = (sum(|row| row.acked), sum(|row| row.read), sum(|row| row.lost));
    let _ = writeln!(
        text,
        "Of {acked} writes acknowledged during the events all were read back, and those before and after them, {read} in all: \
         {lost} were lost."
    );
    let mut errors: BTreeMap<(&str, &str), u64> = BTreeMap::new();
    for (row, (error, count)) in all().flat_map(|row| row.errors.iter().map(move |error| (row, error))) {
        *errors.entry((&row.client, error)).or_default() += count;
    }
    if errors.is_empty() {
        text.push_str("No application saw an error.\n");
    }
    for ((client, error), count) in errors {
        let _ = writeln!(text, "Errors of {client}: `{error}`, {count} times.");
    }
    text
}

fn cell(row: &Row) -> String {
    let lost = if row.lost > 0 { format!(", {} lost", row.lost) } else { String::new() };
    format!("{:.0} ({}{lost})", row.longest_gap_ms, row.errors.values().sum::<u64>())
}

fn firsts<'a>(rows: &[&'a Row], field: fn(&'a Row) -> &'a String) -> Vec<&'a str> {
    let mut found: Vec<&str> = Vec::new();
    for row in rows {
        if !found.contains(&field(row).as_str()) {
            found.push(field(row));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(event: &str, client: &str, errors: u64, lost: u64) -> Row {
        let errors = (errors > 0).then(|| ("gone".to_owned(), errors)).into_iter().collect();
        let (event, client, habit) = (event.into(), client.into(), "busy".into());
        Row { event, client, habit, acked: 7, errors, longest_gap_ms: 12.4, read: 9, lost }
    }

    #[test]
    fn gaps_errors_and_losses_stand_in_their_clients_columns() {
        let text = table(&[row("kill", "a", 0, 0), row("kill", "b", 3, 1), row("swap", "b", 0, 0)]);
        assert!(text.contains("| event | application | a | b |\n| --- | --- | --- | --- |\n"), "{text}");
        assert!(text.contains("| kill | busy | 12 (0) | 12 (3, 1 lost) |\n"), "{text}");
        assert!(text.contains("| swap | busy |  | 12 (0) |\n"), "{text}");
        assert!(text.contains("Errors of b: `gone`, 3 times."), "{text}");
        assert!(text.contains("Of 21 writes") && text.contains("27 in all: 1 were lost"), "{text}");
    }

    #[test]
    fn only_what_is_between_the_marks_is_replaced() {
        let doc = format!("above\n{BEGIN}old\n{END}\nbelow\n");
        assert_eq!(insert(&doc, "new").unwrap(), format!("above\n{BEGIN}\nnew\n{END}\nbelow\n"));
        assert!(insert("no marks", "new").is_none());
    }
}
