//! `cargo xtask layers`: proves the shape of the workspace (design §3) from what cargo itself resolved.

mod graph;
mod purity;
mod table;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::command;
use graph::{Graph, Kind};
use table::{DEV_SIDE, LAYERS, PURE};

pub(crate) fn run() -> Result<()> {
    let root = command::checkout()?;
    let json = command::output(Command::new("cargo").current_dir(&root).args([
        "metadata",
        "--format-version",
        "1",
        "--locked",
    ]))
    .context("the workspace does not resolve\nhint: run `cargo metadata` and commit Cargo.lock")?;
    let graph: Graph = serde_json::from_str(&json).context("cannot read what `cargo metadata` said")?;

    let mut wrong = arrows(&graph);
    wrong.extend(purity::trees(&graph, PURE));
    wrong.extend(kube_stays_in_its_crates(&graph));

    let mut manifests = BTreeMap::new();
    let mut scanned = 0;
    for member in graph.members() {
        manifests.insert(member.name.clone(), fs::read_to_string(&member.manifest_path)?);
        if PURE.contains(&member.name.as_str()) {
            for file in rust_files(&member.folder().join("src"))? {
                let shown = file.strip_prefix(&root).unwrap_or(&file).display().to_string();
                wrong.extend(purity::source(&shown, &fs::read_to_string(&file)?));
                scanned += 1;
            }
        }
    }
    wrong.extend(lints(&manifests));

    for line in &wrong {
        eprintln!("error: {line}");
    }
    ensure!(wrong.is_empty(), "the layers do not hold: {} findings", wrong.len());
    let arrows: usize = graph.members().map(|member| graph.arrows(member).count()).sum();
    println!(
        "{} crates, {arrows} arrows between them, all downwards; every crate has the workspace lints",
        manifests.len()
    );
    for name in PURE {
        let tree = graph.tree(name);
        println!(
            "{name}: {} crates in its tree, each judged free of I/O, threads, clocks and async",
            tree.len()
        );
    }
    println!("{scanned} source files of the pure crates use no clock, file, socket, thread or hash order");
    Ok(())
}

fn arrows(graph: &Graph) -> Vec<String> {
    let mut wrong = Vec::new();
    for member in graph.members() {
        let from = member.name.as_str();
        let is_dev = DEV_SIDE.contains(&from);
        let row = LAYERS.iter().find(|(name, _)| *name == from);
        if row.is_none() && !is_dev {
            wrong.push(format!(
                "{from} has no row in xtask/src/layers/table.rs: say which crates lie below it"
            ));
        }
        for (to, kind) in graph.arrows(member) {
            let below = row.is_some_and(|(_, below)| below.contains(&to));
            let fine = match (is_dev, DEV_SIDE.contains(&to)) {
                (true, to_dev) => !to_dev || kind == Kind::Dev || to == "valkeeper-testkit",
                (false, true) => kind == Kind::Dev,
                (false, false) => below || row.is_none(),
            };
            if !fine {
                wrong.push(format!(
                    "{from} must not depend on {to} ({kind:?}): the arrow does not point down"
                ));
            }
        }
    }
    wrong
}

fn kube_stays_in_its_crates(graph: &Graph) -> Vec<String> {
    let outside = graph.members().filter(|member| {
        !member.name.starts_with("valkeeper-kube") && !DEV_SIDE.contains(&member.name.as_str())
    });
    outside
        .filter_map(|member| {
            let path =
                graph.path_to(&member.name, |name| name == "kube" || name.starts_with("k8s-openapi"))?;
            Some(format!("{} pulls in Kubernetes: {}", member.name, path.join(" > ")))
        })
        .collect()
}

fn lints(manifests: &BTreeMap<String, String>) -> Vec<String> {
    manifests
        .iter()
        .filter(|(_, text)| !has_workspace_lints(text))
        .map(|(name, _)| format!("{name}: its Cargo.toml lacks `[lints] workspace = true`"))
        .collect()
}

fn has_workspace_lints(manifest: &str) -> bool {
    let table = manifest.lines().map(str::trim).skip_while(|line| *line != "[lints]").skip(1);
    table.take_while(|line| !line.starts_with('[')).any(|line| line.replace(' ', "") == "workspace=true")
}

fn rust_files(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).with_context(|| format!("cannot read {}", folder.display()))? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                files.push(path);
            }
        }
    }
    files.sort();
    Ok(files)
}

#[cfg(test)]
mod tests;
