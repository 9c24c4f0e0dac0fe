//! `cargo xtask files`: the rules of CONTRIBUTING.md that a lint cannot see, on every file that git has or would add.

mod dependencies;
mod rules;

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Result, ensure};

use crate::command;

pub(crate) fn run() -> Result<()> {
    let root = command::checkout()?;
    let files = texts(&root)?;
    let mut wrong: Vec<String> = files.iter().flat_map(|(path, text)| rules::check(path, text)).collect();
    wrong.extend(dependencies::check(
        &fs::read_to_string(root.join("Cargo.toml"))?,
        &fs::read_to_string(root.join("docs/dependencies.md"))?,
    ));
    for line in &wrong {
        eprintln!("error: {line}");
    }
    ensure!(wrong.is_empty(), "the files break {} rules", wrong.len());
    let rust = files.iter().filter(|(path, _)| rules::is_rust(path)).count();
    println!(
        "{} files, {rust} of them Rust: sizes, names, exceptions, unsafe, paths and hosts are in order",
        files.len()
    );
    Ok(())
}

/// Tracked files and those not yet added, so that a fault shows before it is committed. What is no text is left out.
fn texts(root: &Path) -> Result<Vec<(String, String)>> {
    let listed = command::output(Command::new("git").current_dir(root).args([
        "ls-files",
        "-z",
        "--cached",
        "--others",
        "--exclude-standard",
    ]))?;
    let mut files = Vec::new();
    for path in listed.split('\0').filter(|path| !path.is_empty()) {
        // A file may be deleted but still in the index.
        if let Ok(bytes) = fs::read(root.join(path))
            && let Ok(text) = String::from_utf8(bytes)
        {
            files.push((path.to_owned(), text));
        }
    }
    ensure!(!files.is_empty(), "git lists no files in {}", root.display());
    Ok(files)
}
