//! docs/performance.md and its plot, made from the newest results. Nobody edits them by hand.

mod plot;

use crate::results::{How, Results, Series};
use anyhow::{Context as _, ensure};
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

const NOTES: &str = include_str!("notes.md");
const KUBERNETES_NOTES: &str = include_str!("kubernetes.md");

pub(crate) fn write(results_dir: &Path, docs: &Path) -> anyhow::Result<()> {
    let newest = newest_of(results_dir)?;
    let results = read(&newest)?;
    ensure!(!results.series.is_empty(), "{} holds no series", newest.display());
    let kubernetes = newest_of(&results_dir.join("kubernetes")).and_then(|path| read(&path)).ok();
    let name = newest.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    fs::write(docs.join("performance.svg"), plot::svg(&results))?;
    fs::write(docs.join("performance.md"), page(&results, &name, kubernetes.as_ref()))?;
    eprintln!("{}", docs.join("performance.md").display());
    Ok(())
}

/// Names are dates.
fn read(path: &Path) -> anyhow::Result<Results> {
    serde_json::from_slice(&fs::read(path)?).with_context(|| format!("read {}", path.display()))
}

fn newest_of(dir: &Path) -> anyhow::Result<PathBuf> {
    let entries =
        fs::read_dir(dir).with_context(|| format!("{}: `make bench` makes results", dir.display()))?;
    let files = entries.filter_map(|entry| Some(entry.ok()?.path()));
    files
        .filter(|path| path.extension().is_some_and(|extension| extension == "json"))
        .max()
        .with_context(|| format!("{} holds no results: `make bench` makes them", dir.display()))
}

fn page(results: &Results, name: &str, kubernetes: Option<&Results>) -> String {
    let machine = &results.machine;
    let mut page = format!(
        "# Performance\n\nMade by `make bench` from `bench/results/{name}`; `cargo run -p valkeeper-bench -- report` makes it again. Do not edit.\n\n\
         {} · {} cores ({}) · {} MiB · {} · load average {} before and {} after, of which the bench itself is about {}{}.\n\n\
         ![Every measurement, by event](performance.svg)\n\n",
        machine.server,
        machine.cores,
        machine.cpu,
        machine.memory_mib,
        machine.kernel,
        machine.load_before,
        machine.load_after,
        machine.cores,
        if machine.niceness < 0 {
            "; it ran at a raised priority, because others used the machine too"
        } else {
            ""
        },
    );
    page.push_str("| event | how | n | median | range | goal | failed writes | lost of acknowledged |\n");
    page.push_str("| --- | --- | --- | --- | --- | --- | --- | --- |\n");
    for series in &results.series {
        let _ = writeln!(page, "{}", row(series));
    }
    page.push('\n');
    page.push_str(NOTES);
    if let Some(results) = kubernetes {
        page.push_str(&on_kubernetes(results));
    }
    page
}

/// What was measured on the bed.
fn on_kubernetes(results: &Results) -> String {
    let machine = &results.machine;
    let mut text = format!(
        "\n## On Kubernetes\n\nMade by `make bench-kubernetes` on {}, in the bed of docs/testbed.md: {} · {} cores, control plane, nodes, pods and writers all on them · load average {} before and {} after.\n\n",
        results.date, machine.server, machine.cores, machine.load_before, machine.load_after,
    );
    text.push_str("| event | how | n | median | range | goal | failed writes | lost of acknowledged |\n");
    text.push_str("| --- | --- | --- | --- | --- | --- | --- | --- |\n");
    for series in &results.series {
        let _ = writeln!(text, "{}", row(series));
    }
    text.push_str(KUBERNETES_NOTES);
    text
}

fn row(series: &Series) -> String {
    let number = |value: f64| if value >= 100.0 { format!("{value:.0}") } else { format!("{value:.1}") };
    let goal = series.goal.map_or_else(String::new, |goal| {
        let met = if series.rank(50) <= goal { "met" } else { "**missed**" };
        format!("≤ {goal} {met}")
    });
    let count = |count: Option<u64>| count.map_or_else(String::new, |count| count.to_string());
    let lost = match (series.lost, series.acknowledged) {
        (Some(lost), Some(all)) => format!("{lost} of {all}"),
        _ => String::new(),
    };
    let (how, bold) = match series.how {
        How::Valkeeper => (format!("**Valkeeper**: {}", series.by), "**"),
        How::Bare => (format!("bare: {}", series.by), ""),
    };
    format!(
        "| {} | {how} | {} | {bold}{} {}{bold} | {}..{} | {goal} | {} | {lost} |",
        series.event,
        series.values.len(),
        number(series.rank(50)),
        series.unit,
        number(series.rank(0)),
        number(series.rank(100)),
        count(series.failed),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results::{Machine, Sample};

    fn results() -> Results {
        let mut ours = Series::new("switchover", How::Valkeeper, "drill", "ms").goal(30.0);
        let mut bare = Series::new("switchover", How::Bare, "plain", "ms");
        for (a, b) in [(9.0, 50.0), (12.0, 5_300.0), (11.0, 40.0)] {
            ours.add_sample(Sample { value: a, failed: 0, lost: 0, acknowledged: 10 });
            bare.add_sample(Sample { value: b, failed: 0, lost: 0, acknowledged: 10 });
        }
        let machine = Machine {
            cores: 2,
            cpu: "a < b".to_owned(),
            memory_mib: 1,
            kernel: "linux".to_owned(),
            server: "valkey".to_owned(),
            load_before: 0.1,
            load_after: 2.0,
            niceness: 0,
        };
        Results { date: "2026-01-01".to_owned(), machine, series: vec![ours, bare] }
    }

    #[test]
    fn a_row_holds_median_range_goal_and_losses() {
        let page = page(&results(), "x.json", None);
        assert!(page.contains("| 3 | **11.0 ms** | 9.0..12.0 | ≤ 30 met | 0 | 0 of 30 |"), "{page}");
        assert!(page.contains("| 50.0 ms | 40.0..5300 |  | 0 | 0 of 30 |"), "{page}");
    }

    #[test]
    fn the_plot_has_a_dot_for_each_value() {
        let svg = plot::svg(&results());
        assert_eq!(svg.matches("<circle").count(), 6 + 2, "six values and two in the legend");
        assert!(svg.starts_with("<svg") && svg.trim_end().ends_with("</svg>"));
    }
}
