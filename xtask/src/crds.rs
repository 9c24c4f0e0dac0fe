//! `cargo xtask crds`: the definitions of our kinds on Kubernetes, made from the reader's tables. They lie in the
//! repository, as people apply them without building anything.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::command;

/// Where they lie.
const FOLDER: &str = "crates/kube-api/crds";

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Write nothing: fail if a file is not what it would be
    #[arg(long)]
    check: bool,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let root = command::checkout()?;
    if args.check { check(&root) } else { write(&root, &root.join(FOLDER)) }
}

/// Are the files what they would be if they were written now?
pub(crate) fn check(root: &Path) -> Result<()> {
    let fresh = root.join("target/crds");
    if fresh.exists() {
        fs::remove_dir_all(&fresh).with_context(|| format!("cannot empty {}", fresh.display()))?;
    }
    fs::create_dir_all(&fresh).with_context(|| format!("cannot make {}", fresh.display()))?;
    write(root, &fresh)?;
    let old = differing(&root.join(FOLDER), &fresh)?;
    ensure!(
        old.is_empty(),
        "not up to date in {FOLDER}: {}\nhint: `cargo xtask crds` writes them anew",
        old.join(", ")
    );
    Ok(())
}

fn write(root: &Path, folder: &Path) -> Result<()> {
    let status = Command::new("cargo")
        .current_dir(root)
        .args(["run", "--quiet", "--package", "valkeeper-kube-api", "--example", "crds", "--"])
        .arg(folder)
        .status()
        .context("cannot start cargo")?;
    ensure!(status.success(), "the definitions could not be made");
    Ok(())
}

/// Files that are not the same in both folders, or only in one.
fn differing(left: &Path, right: &Path) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for folder in [left, right] {
        for entry in fs::read_dir(folder).with_context(|| format!("cannot list {}", folder.display()))? {
            names.push(entry?.file_name());
        }
    }
    names.sort();
    names.dedup();
    names.retain(|name| fs::read(left.join(name)).ok() != fs::read(right.join(name)).ok());
    Ok(names.into_iter().map(|name| name.to_string_lossy().into_owned()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_differs_or_is_missing_is_found() {
        let here = tempfile::tempdir().expect("a folder");
        let (left, right) = (here.path().join("l"), here.path().join("r"));
        for (folder, file, text) in
            [(&left, "a", "1"), (&right, "a", "1"), (&left, "b", "1"), (&right, "b", "2"), (&right, "c", "")]
        {
            fs::create_dir_all(folder).expect("a folder");
            fs::write(folder.join(file), text).expect("a file");
        }
        assert_eq!(differing(&left, &right).expect("a list"), ["b", "c"]);
    }
}
