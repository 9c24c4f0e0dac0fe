//! A server program: which engine, which version, which directives. Asked of the program itself, never assumed of its name.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use valkeeper_model::{EngineKind, ServerVersion};

/// Oldest engine that is run: Redis 6.2.
const OLDEST: (u32, u32) = (6, 2);
/// Directives of the configuration file that `CONFIG GET` does not show.
const FILE_ONLY: [&str; 1] = ["loadmodule"];
/// A program that takes longer to tell its version, or to listen, is not used.
const WITHIN: Duration = Duration::from_secs(30);

/// A server program that can be run.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Program {
    /// Where it is.
    pub path: PathBuf,
    /// `valkey` or `redis`.
    pub engine: String,
    /// `9.1.2`.
    pub version: String,
    /// Directives it knows.
    pub directives: BTreeSet<String>,
    /// Has it shard ids? (Valkey, Redis from 7.2.)
    pub shard_ids: bool,
}

/// Why a program is not used.
#[derive(Debug, thiserror::Error)]
pub enum ProgramError {
    /// It cannot be run.
    #[error("{path}: cannot be run: {why}")]
    Unusable {
        /// Which.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// It is not a server.
    #[error("{path}: is not a Valkey or Redis server: `--version` says `{said}`")]
    NotAServer {
        /// Which.
        path: PathBuf,
        /// What it said.
        said: String,
    },
    /// It is too old.
    #[error("{path}: {engine} {version} is too old: 6.2 is the oldest that works")]
    TooOld {
        /// Which.
        path: PathBuf,
        /// Its engine.
        engine: String,
        /// Its version.
        version: String,
    },
}

impl Program {
    /// Runs it twice: for its version, and as a server on a socket of its own, for what it knows. Blocks for some 50 ms.
    pub fn probe(path: &Path) -> Result<Self, ProgramError> {
        let unusable = |why: String| ProgramError::Unusable { path: path.to_owned(), why };
        let output = Command::new(path)
            .arg("--version")
            .stdin(Stdio::null())
            .output()
            .map_err(|e| unusable(e.to_string()))?;
        let said = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        let (engine, version) = parse_version(&said)
            .ok_or_else(|| ProgramError::NotAServer { path: path.to_owned(), said: said.clone() })?;
        if numbers(&version) < OLDEST {
            return Err(ProgramError::TooOld { path: path.to_owned(), engine, version });
        }
        let (directives, shard_ids) = ask(path).map_err(unusable)?;
        Ok(Self { path: path.to_owned(), engine, version, directives, shard_ids })
    }

    /// Its engine and version.
    pub fn version(&self) -> ServerVersion {
        let engine = if self.engine == "valkey" { EngineKind::Valkey } else { EngineKind::Redis };
        ServerVersion { engine, version: self.version.clone() }
    }

    /// Does it know this directive? `masterauth` and the like are known under other names in newer engines.
    pub fn knows(&self, directive: &str) -> bool {
        self.directives.contains(directive) || FILE_ONLY.contains(&directive)
    }
}

/// `Valkey server v=9.1.2 sha=…` or `Redis server v=7.0.15 sha=…`.
fn parse_version(said: &str) -> Option<(String, String)> {
    let engine = said.split_whitespace().next()?.to_lowercase();
    let version = said.split_whitespace().find_map(|word| word.strip_prefix("v="))?;
    matches!(engine.as_str(), "valkey" | "redis").then(|| (engine, version.to_owned()))
}

fn numbers(version: &str) -> (u32, u32) {
    let mut parts = version.split('.').map_while(|part| part.parse().ok());
    (parts.next().unwrap_or(0), parts.next().unwrap_or(0))
}

/// Ends the probed server and removes its folder, whatever happens.
pub(crate) struct Probed {
    child: std::process::Child,
    pub(crate) dir: PathBuf,
}

impl Drop for Probed {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

/// Folders of probes: this, the process that probes, and something of its own.
const PROBE: &str = "valkeeper-probe-";

/// Removes folders of probes whose process was killed before it could.
fn remove_left_over() {
    for entry in std::fs::read_dir(std::env::temp_dir()).into_iter().flatten().flatten() {
        let pid = entry
            .file_name()
            .to_str()
            .and_then(|name| name.strip_prefix(PROBE)?.split_once('-')?.0.parse().ok());
        if pid.is_some_and(|pid| matches!(crate::os::find(pid), Ok(None))) {
            // Another user's cannot be removed, and need not be.
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
}

fn ask(path: &Path) -> Result<(BTreeSet<String>, bool), String> {
    remove_left_over();
    let dir = make_probe_dir().map_err(|e| e.to_string())?;
    let socket = dir.join("s");
    let mut command = Command::new(path);
    command
        .args([
            "--port",
            "0",
            "--save",
            "",
            "--appendonly",
            "no",
            "--daemonize",
            "no",
            "--cluster-enabled",
            "no",
        ])
        .arg("--dir")
        .arg(&dir)
        .arg("--unixsocket")
        .arg(&socket)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let mut probed = Probed::start(command, dir).map_err(|e| e.to_string())?;
    let mut connection = probed.connect(&socket).map_err(|error| error.to_string())?;
    let all: Vec<String> =
        redis::cmd("CONFIG").arg("GET").arg("*").query(&mut connection).map_err(|e| e.to_string())?;
    let shard_ids: redis::Value = redis::cmd("COMMAND")
        .arg("INFO")
        .arg("cluster|myshardid")
        .query(&mut connection)
        .map_err(|e| e.to_string())?;
    let known = match shard_ids {
        redis::Value::Array(list) => list.iter().any(|entry| matches!(entry, redis::Value::Array(_))),
        _ => false,
    };
    Ok((all.into_iter().step_by(2).collect(), known))
}

/// Why a probed server cannot be asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotUp {
    /// Its process has ended.
    #[error("it ended at once ({0})")]
    Ended(std::process::ExitStatus),
    /// It does not listen.
    #[error("it did not listen in time")]
    Silent,
    /// Its socket cannot be used.
    #[error(transparent)]
    Socket(#[from] redis::RedisError),
}

impl Probed {
    /// Starts a server in that folder. It ends with this process, also if this process is killed.
    pub(crate) fn start(mut command: Command, dir: PathBuf) -> std::io::Result<Self> {
        crate::os::ends_with_us(&mut command);
        match command.spawn() {
            Ok(child) => Ok(Self { child, dir }),
            Err(error) => {
                let _ = std::fs::remove_dir_all(&dir);
                Err(error)
            }
        }
    }

    /// Waits until it answers on its socket, or has ended.
    pub(crate) fn connect(&mut self, socket: &Path) -> Result<redis::Connection, NotUp> {
        let deadline = Instant::now() + WITHIN;
        let client = redis::Client::open(format!("unix://{}", socket.display()))?;
        loop {
            if let Ok(connection) = client.get_connection_with_timeout(WITHIN) {
                let _ = connection.set_read_timeout(Some(WITHIN));
                return Ok(connection);
            }
            if let Ok(Some(status)) = self.child.try_wait() {
                return Err(NotUp::Ended(status));
            }
            if Instant::now() > deadline {
                return Err(NotUp::Silent);
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

/// A folder of its own, for its owner only.
pub(crate) fn make_probe_dir() -> std::io::Result<PathBuf> {
    let name = format!("{PROBE}{}-{:x}", std::process::id(), rand_suffix());
    let dir = std::env::temp_dir().join(name);
    crate::data_dir::make_private_dir(&dir)?;
    Ok(dir)
}

fn rand_suffix() -> u128 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |since| since.as_nanos())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read() {
        let valkey = "Valkey server v=9.1.2 sha=00000000:0 malloc=libc bits=64 build=0";
        assert_eq!(parse_version(valkey), Some(("valkey".to_owned(), "9.1.2".to_owned())));
        assert_eq!(parse_version("Redis server v=7.0.15 sha=0").map(|(_, v)| numbers(&v)), Some((7, 0)));
        assert_eq!(parse_version("GNU bash, version 5"), None);
        assert!(numbers("6.0.16") < OLDEST);
    }
}
