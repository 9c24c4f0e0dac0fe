//! Which server program is run.

use crate::failure::{Failure, Kind};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use valkeeper_agent::{Program, ProgramError};
use valkeeper_local::{KnownBy, StateDir};
use valkeeper_model::{ImageVersion, ServerConfig, ServerVersion, Trial};

/// Where `cargo xtask servers` puts servers.
const FETCHED: &str = ".servers";
const NAMES: [&str; 2] = ["valkey-server", "redis-server"];

/// The program named beside the manifest, by option or variable: then no image decides.
pub(crate) fn named(option: Option<&Path>) -> Option<PathBuf> {
    option.map(Path::to_owned).or_else(|| std::env::var_os("VALKEEPER_SERVER").map(PathBuf::from))
}

/// The program named, or the first that is found, probed. Commands without `--server` heed its variable too.
pub(crate) fn find(state: &StateDir, option: Option<&Path>) -> anyhow::Result<Program> {
    let path = match named(option) {
        Some(path) => path,
        None => fetched().or_else(in_path).ok_or_else(|| {
            Failure::new(
                Kind::Failed,
                "no valkey-server or redis-server was found in .servers or PATH",
                "install one, or name one with --server or VALKEEPER_SERVER",
            )
        })?,
    };
    probed(state, &path)
}

/// The newest server of those that are listed that is what the image says, known to supervisors from now on.
pub(crate) fn of_image(state: &StateDir, image: &str) -> anyhow::Result<Program> {
    let wanted = ImageVersion::of(image);
    let listed = list(state);
    let fitting = listed.iter().filter(|one| wanted.is(&one.program.version()));
    let newest = fitting.max_by(|a, b| {
        let newer = a.program.version().is_newer_than(&b.program.version());
        // Of the same version the first that is listed.
        if newer { std::cmp::Ordering::Greater } else { std::cmp::Ordering::Less }
    });
    let Some(found) = newest else {
        let names: BTreeSet<String> = listed.iter().map(|one| one.program.version().to_string()).collect();
        let there = match names.into_iter().collect::<Vec<_>>() {
            names if names.is_empty() => "none is there".to_owned(),
            names => format!("there are {}", names.join(", ")),
        };
        let what = format!("no server on this machine is what image {image} says: {there}");
        let hint = "`valkeeper servers add PATH` adds one, `valkeeper servers list` lists them; or name another image";
        return Err(Failure::new(Kind::Usage, what, hint).into());
    };
    state.keep_server(&found.program, KnownBy::Found)?;
    Ok(found.program.clone())
}

/// The version that an image says, of those that are listed; `None` where no image says one, or a program is named beside it.
pub(crate) fn version_of_image(
    state: &StateDir,
    image: Option<&str>,
) -> anyhow::Result<Option<ServerVersion>> {
    let image = image.filter(|_| named(None).is_none());
    image.map(|image| Ok(of_image(state, image)?.version())).transpose()
}

/// A server program, and where it was found.
#[derive(Debug, Clone)]
pub(crate) struct Listed {
    /// The program.
    pub(crate) program: Program,
    /// Where: added, or the folder.
    pub(crate) from: &'static str,
}

/// All servers that there are: those added, then the fetched ones, those in the cache, and those in PATH.
pub(crate) fn list(state: &StateDir) -> Vec<Listed> {
    let added = state.known_servers().into_iter().filter(|one| one.known_by == KnownBy::Added);
    let added = added.map(|one| (one.program.path, "added"));
    let fetched = in_folders(Path::new(FETCHED)).into_iter().map(|path| (path, ".servers"));
    let cached = cache().map(|folder| in_folders(&folder)).unwrap_or_default();
    let cached = cached.into_iter().map(|path| (path, "cache"));
    let in_path = in_path().into_iter().map(|path| (path, "PATH"));
    let mut seen = BTreeSet::new();
    let all = added.chain(fetched).chain(cached).chain(in_path);
    all.filter_map(|(path, from)| {
        let path = std::path::absolute(&path).ok()?;
        let real = std::fs::canonicalize(&path).ok()?;
        // What cannot be run is none.
        let program = seen.insert(real).then(|| probed(state, &path).ok())??;
        Some(Listed { program, from })
    })
    .collect()
}

/// Probes a program, unless it is known.
pub(crate) fn probed(state: &StateDir, path: &Path) -> anyhow::Result<Program> {
    let path = std::path::absolute(path)?;
    let known = state.known_servers().into_iter().find(|one| one.program.path == path && one.is_current());
    if let Some(known) = known {
        return Ok(known.program);
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
    // Failing to keep it costs the next probe, nothing else.
    let _ = state.keep_server(&program, KnownBy::Found);
    Ok(program)
}

/// Would the program start with this configuration? The last that it does start with is remembered: a detached `up` asks twice.
pub(crate) fn try_config(state: &StateDir, program: &Program, config: &ServerConfig) -> Trial {
    let known = Known::of(state, &program.path);
    if known.as_ref().and_then(Known::read::<ServerConfig>).as_ref() == Some(config) {
        return Trial::Starts;
    }
    let trial = program.start_with(config);
    if let (Trial::Starts, Some(known)) = (&trial, known) {
        known.keep(config);
    }
    trial
}

/// What a trial found, kept beside the clusters: it starts a server, which is a good part of the time that `up` takes. A program that was
/// replaced has another length or time of change.
struct Known {
    file: PathBuf,
    stamp: (PathBuf, u64, std::time::SystemTime),
}

impl Known {
    fn of(state: &StateDir, path: &Path) -> Option<Self> {
        let metadata = std::fs::metadata(path).ok()?;
        let stamp = (path.to_owned(), metadata.len(), metadata.modified().ok()?);
        Some(Self { file: state.path().join(".tried.json"), stamp })
    }

    fn read<T: serde::de::DeserializeOwned>(&self) -> Option<T> {
        let (stamp, found) = serde_json::from_slice::<((PathBuf, u64, std::time::SystemTime), T)>(
            &std::fs::read(&self.file).ok()?,
        )
        .ok()?;
        (stamp == self.stamp).then_some(found)
    }

    /// Failing to keep it costs the next trial, nothing else.
    fn keep(&self, found: &impl serde::Serialize) {
        if let Ok(text) = serde_json::to_vec(&(&self.stamp, found)) {
            let _ = self.file.parent().map(valkeeper_agent::make_private_dir);
            let _ = valkeeper_agent::replace(&self.file, &text);
        }
    }
}

/// The newest of the fetched ones, Valkey before Redis.
fn fetched() -> Option<PathBuf> {
    in_folders(Path::new(FETCHED)).into_iter().next()
}

/// The servers in the folders of this folder, the last by name first.
fn in_folders(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten();
    let mut found: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    found.sort();
    let server = |dir: &PathBuf| NAMES.iter().map(|name| dir.join(name)).find(|path| path.is_file());
    found.iter().rev().filter_map(server).collect()
}

/// Where people keep servers that no cluster's folder holds.
fn cache() -> Option<PathBuf> {
    let from = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let home = || from("HOME").map(|home| home.join(".cache"));
    Some(from("XDG_CACHE_HOME").or_else(home)?.join("valkeeper/servers"))
}

fn in_path() -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    NAMES
        .iter()
        .find_map(|name| std::env::split_paths(&path).map(|dir| dir.join(name)).find(|path| path.is_file()))
}
