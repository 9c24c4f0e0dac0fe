//! `make bench-kubernetes`, in a bed: what clients see of events on a real Kubernetes, and what the operator takes.

mod agent;
mod events;
mod operator;
mod watching;

use crate::machine;
use crate::results::{How, Results, Series};
use anyhow::Context as _;
use std::io::ErrorKind;
use std::path::Path;
use valkeeper_testkit::kube::Bed;

/// How often each event is measured.
const DEATHS: usize = 10;
const DELETIONS: usize = 5;
const CUTS: usize = 3;
const CREATIONS: usize = 9;

/// Measures all, or what is named, and adds to the results of the day after each: what was measured again takes the place of what
/// was there.
pub(crate) fn run(dir: &Path, only: &[&str]) -> anyhow::Result<()> {
    let bed = Bed::with_operator();
    std::fs::create_dir_all(dir)?;
    let date = jiff::Timestamp::now().strftime("%Y-%m-%d").to_string();
    let path = dir.join(format!("{date}.json"));
    let load_before = machine::load();
    for (name, measure) in EVENTS {
        if !only.is_empty() && !only.contains(name) {
            continue;
        }
        let series = measure(&bed)?;
        let mut all = match std::fs::read(&path) {
            Ok(kept) => serde_json::from_slice::<Results>(&kept)?.series,
            Err(error) if error.kind() == ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(error).with_context(|| path.display().to_string()),
        };
        all.retain(|of| !series.iter().any(|new| (&new.event, &new.by) == (&of.event, &of.by)));
        all.extend(series);
        let machine = machine::facts("valkey-server 9.1.2 in pods, Kubernetes 1.36, 3 nodes", load_before);
        let results = Results { date: date.clone(), machine, series: all };
        std::fs::write(&path, format!("{}\n", serde_json::to_string_pretty(&results)?))
            .with_context(|| format!("write {}", path.display()))?;
    }
    eprintln!("{}", path.display());
    Ok(())
}

/// What is measured, in the order of the report; `operator-N` with so many clusters of faked pods.
const EVENTS: &[(&str, Measure)] = &[
    ("create", |bed| events::create(bed, CREATIONS)),
    ("death", |bed| events::death(bed, DEATHS)),
    ("delete", |bed| events::deletion(bed, DELETIONS)),
    ("drain", |bed| events::drain(bed, CUTS)),
    ("cut", |bed| events::cut(bed, CUTS)),
    ("agent", agent::at_rest),
    ("react", |bed| events::reaction(bed, DELETIONS)),
    ("operator-1", |bed| operator::at_rest(bed, 1)),
    ("operator-100", |bed| operator::at_rest(bed, 100)),
    ("operator-500", |bed| operator::at_rest(bed, 500)),
];

type Measure = fn(&Bed) -> anyhow::Result<Vec<Series>>;

fn series(event: &str, by: &str, unit: &str) -> Series {
    Series::new(event, How::Valkeeper, by, unit)
}
