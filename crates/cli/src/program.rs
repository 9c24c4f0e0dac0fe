//! Which server program is run.

use crate::failure::{Failure, Kind};
use std::path::{Path, PathBuf};
use valkeeper_agent::{Program, ProgramError};
use valkeeper_local::StateDir;
use valkeeper_model::{ServerConfig, Trial};

/// Where `cargo xtask servers` puts servers.
const FETCHED: &str = ".servers";
const NAMES: [&str; 2] = ["valkey-server", "redis-server"];

/// The program named, or the first that is found, probed. Commands without `--server` heed its variable too.
pub(crate) fn find(state: &StateDir, named: Option<&Path>) -> anyhow::Result<Program> {
    let named = named.map(Path::to_owned).or_else(|| std::env::var_os("VALKEEPER_SERVER").map(PathBuf::from));
    let path = match named {
        Some(path) => path,
        None => fetched().or_else(in_path).ok_or_else(|| {
            Failure::new(
                Kind::Failed,
                "no valkey-server or redis-server was found in .servers or PATH",
                "install one, or name one with --server or VALKEEPER_SERVER",
            )
        })?,
    };
    let path = std::path::absolute(&path)?;
    let known = Known::of(state, &path);
    if let Some(program) = known.as_ref().and_then(Known::read) {
        return Ok(program);
    }
    let program = Program::probe(&path).map_err(|error| {
        let hint = match &error {
            ProgramError::TooOld { .. } => "name a newer one with --server",
            ProgramError::Unusable { .. } | ProgramError::NotAServer { .. } => {
                "name a valkey-server or redis-server with --server"
            }
        };
        Failure::new(Kind::Failed, error.to_string(), hint)
    })?;
    if let Some(known) = known {
        known.keep(&program);
    }
    Ok(program)
}

/// Would the program start with this configuration? The last that it does start with is remembered: a detached `up` asks twice.
pub(crate) fn try_config(state: &StateDir, program: &Program, config: &ServerConfig) -> Trial {
    let known = Known::of(state, &program.path)
        .map(|known| Known { file: known.file.with_file_name(".tried.json"), ..known });
    if known.as_ref().and_then(Known::read::<ServerConfig>).as_ref() == Some(config) {
        return Trial::Starts;
    }
    let trial = program.start_with(config);
    if let (Trial::Starts, Some(known)) = (&trial, known) {
        known.keep(config);
    }
    trial
}

/// What a probe found, kept beside the clusters: probing starts a server, which is a good part of the time that `up` takes. A
/// program that was replaced has another length or time of change.
struct Known {
    file: PathBuf,
    stamp: (PathBuf, u64, std::time::SystemTime),
}

impl Known {
    fn of(state: &StateDir, path: &Path) -> Option<Self> {
        let metadata = std::fs::metadata(path).ok()?;
        let stamp = (path.to_owned(), metadata.len(), metadata.modified().ok()?);
        Some(Self { file: state.path().join(".program.json"), stamp })
    }

    fn read<T: serde::de::DeserializeOwned>(&self) -> Option<T> {
        let (stamp, found) = serde_json::from_slice::<((PathBuf, u64, std::time::SystemTime), T)>(
            &std::fs::read(&self.file).ok()?,
        )
        .ok()?;
        (stamp == self.stamp).then_some(found)
    }

    /// Failing to keep it costs the next probe, nothing else.
    fn keep(&self, found: &impl serde::Serialize) {
        if let Ok(text) = serde_json::to_vec(&(&self.stamp, found)) {
            let _ = self.file.parent().map(valkeeper_agent::make_private_dir);
            let _ = valkeeper_agent::replace(&self.file, &text);
        }
    }
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
