//! `make bench`: events through the program, beside the same events on bare servers, in one run and in turns. Writes
//! `bench/results/<date>.json`; `report` makes docs/performance.md from the newest of them.

mod bare;
mod kubernetes;
mod machine;
mod measure;
mod native;
mod product;
mod report;
mod rest;
mod results;

use anyhow::{Context as _, bail};
use std::path::{Path, PathBuf};

/// The repository.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn results_dir() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("results")
}

fn main() -> anyhow::Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    match words.as_slice() {
        [] => measured(measure::Extent::full()),
        ["--quick"] => measured(measure::Extent::quick()),
        ["planning"] => {
            let values = measure::planning(&measure::Extent::full()).values;
            eprintln!("planning, ms: {values:?}");
            Ok(())
        }
        ["kubernetes", only @ ..] => {
            kubernetes::run(&results_dir().join("kubernetes"), only)?;
            report::write(&results_dir(), &root().join("docs"))
        }
        ["report"] => report::write(&results_dir(), &root().join("docs")),
        _ => bail!("usage: valkeeper-bench [--quick | planning | kubernetes [EVENT...] | report]"),
    }
}

/// The quick one tries out that everything works; its figures are kept out of the documents.
fn measured(extent: measure::Extent) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let results = runtime.block_on(measure::all(&extent))?;
    let dir = if extent.is_quick() { std::env::temp_dir().join("valkeeper-bench") } else { results_dir() };
    std::fs::create_dir_all(&dir)?;
    let path = dir.join(format!("{}.json", results.date));
    std::fs::write(&path, format!("{}\n", serde_json::to_string_pretty(&results)?))
        .with_context(|| format!("write {}", path.display()))?;
    eprintln!("{}", path.display());
    report::write(&dir, &if extent.is_quick() { dir.clone() } else { root().join("docs") })
}
