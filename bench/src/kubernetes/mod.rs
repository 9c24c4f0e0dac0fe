//! `make bench-kubernetes`, in a bed: what clients see of events on a real Kubernetes, and what the operator takes.

mod events;
mod operator;
mod watching;

use crate::machine;
use crate::results::{How, Results, Series};
use anyhow::Context as _;
use std::path::Path;
use valkeeper_testkit::kube::Bed;

/// How often each event is measured.
const DEATHS: usize = 10;
const DELETIONS: usize = 5;
const CUTS: usize = 3;
const CREATIONS: usize = 3;
/// Clusters of faked pods that the operator looks after.
const FLEETS: [usize; 3] = [1, 100, 500];

/// Measures all, or what is named, and writes the results there.
pub(crate) fn run(dir: &Path, only: &[&str]) -> anyhow::Result<()> {
    let bed = Bed::with_operator();
    let load_before = machine::load();
    let mut series = Vec::new();
    let wanted = |name: &str| only.is_empty() || only.contains(&name);
    if wanted("create") {
        series.extend(events::create(&bed, CREATIONS)?);
    }
    if wanted("death") {
        series.push(events::death(&bed, DEATHS)?);
    }
    if wanted("delete") {
        series.push(events::deletion(&bed, DELETIONS)?);
    }
    if wanted("drain") {
        series.push(events::drain(&bed, CUTS)?);
    }
    if wanted("cut") {
        series.extend(events::cut(&bed, CUTS)?);
    }
    if wanted("operator") {
        series.extend(operator::at_rest(&bed, &FLEETS)?);
    }
    let machine = machine::facts("valkey-server 9.1.2 in pods, Kubernetes 1.36, 3 nodes", load_before);
    let results = Results { date: jiff::Timestamp::now().strftime("%Y-%m-%d").to_string(), machine, series };
    std::fs::create_dir_all(dir)?;
    let path = dir.join(format!("{}.json", results.date));
    std::fs::write(&path, format!("{}\n", serde_json::to_string_pretty(&results)?))
        .with_context(|| format!("write {}", path.display()))?;
    eprintln!("{}", path.display());
    Ok(())
}

fn series(event: &str, by: &str, unit: &str) -> Series {
    Series::new(event, How::Valkeeper, by, unit)
}
