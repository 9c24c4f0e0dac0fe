//! Which server program is run.

use crate::failure::{Failure, Kind};
use std::path::{Path, PathBuf};
use valkeeper_agent::{Program, ProgramError};

/// Where `cargo xtask servers` puts servers.
const FETCHED: &str = ".servers";
const NAMES: [&str; 2] = ["valkey-server", "redis-server"];

/// The program named, or the first that is found, probed.
pub(crate) fn find(named: Option<&Path>) -> anyhow::Result<Program> {
    let path = match named {
        Some(path) => path.to_owned(),
        None => fetched().or_else(in_path).ok_or_else(|| {
            Failure::new(
                Kind::Failed,
                "no valkey-server or redis-server was found in .servers or PATH",
                "install one, or name one with --server or VALKEEPER_SERVER",
            )
        })?,
    };
    let path = std::path::absolute(&path)?;
    Program::probe(&path).map_err(|error| {
        let hint = match &error {
            ProgramError::TooOld { .. } => "name a newer one with --server",
            ProgramError::Unusable { .. } | ProgramError::NotAServer { .. } => {
                "name a valkey-server or redis-server with --server"
            }
        };
        Failure::new(Kind::Failed, error.to_string(), hint).into()
    })
}

/// The newest of the fetched ones, Valkey before Redis.
fn fetched() -> Option<PathBuf> {
    let mut found: Vec<PathBuf> =
        std::fs::read_dir(FETCHED).ok()?.filter_map(|entry| Some(entry.ok()?.path())).collect();
    found.sort();
    let server = |dir: &PathBuf| NAMES.iter().map(|name| dir.join(name)).find(|path| path.is_file());
    found.iter().rev().find_map(server)
}

fn in_path() -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    NAMES
        .iter()
        .find_map(|name| std::env::split_paths(&path).map(|dir| dir.join(name)).find(|path| path.is_file()))
}
