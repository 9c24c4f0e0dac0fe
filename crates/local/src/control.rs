//! How the program talks to a running supervisor: a line of JSON each way over a socket that only its owner can reach.

use crate::file_id::FileId;
use crate::lock::{Keeper, Lock};
use crate::state_dir::ClusterDir;
use serde::{Deserialize, Serialize};
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::mpsc;
use valkeeper_model::{InstanceName, Refusal, Report, Request};

/// The longest line that is read, bytes. A report of 3,000 instances is under a megabyte.
const LONGEST: u64 = 16 << 20;
/// So often a supervisor looks whether it can be found.
const TEND_EVERY: Duration = Duration::from_secs(1);
/// A living supervisor that cannot be found puts that right within this.
const FOUND_WITHIN: Duration = Duration::from_millis(2_500);
/// Between tries to find it.
const BETWEEN_TRIES: Duration = Duration::from_millis(20);

/// What can be asked of a supervisor.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ControlRequest {
    /// How is the cluster?
    Status,
    /// Do this.
    Do(Request),
    /// Stop all servers, then yourself.
    Down,
}

/// What a supervisor answers.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ControlAnswer {
    /// The newest report, once there is one.
    Status(Box<Seen>),
    /// Done.
    Done,
    /// All servers are stopped, and these could not save their data.
    DownUnsaved(Vec<InstanceName>),
    /// Not done.
    Refused(Refusal),
}

/// The newest that a supervisor has seen.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Seen {
    /// The explanation; none before the first look.
    pub report: Option<Report>,
    /// The supervisor's process.
    pub supervisor_pid: u32,
    /// Where it serves metrics; `None` if it does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metrics: Option<SocketAddr>,
}

/// Why a supervisor could not be asked.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// There is none.
    #[error("no supervisor runs")]
    NoSupervisor,
    /// There is one, and it does not listen.
    #[error("{keeper} lives but does not answer at {path}")]
    Silent {
        /// Who.
        keeper: Keeper,
        /// Where it should listen.
        path: PathBuf,
    },
    /// It did not answer in time.
    #[error("the supervisor did not answer in time")]
    Timeout,
    /// The connection broke, or said something else.
    #[error("the supervisor's answer was lost: {0}")]
    Lost(#[from] io::Error),
}

/// The way to a cluster's supervisor.
#[derive(Debug, Clone)]
pub struct Control {
    dir: ClusterDir,
}

impl Control {
    /// Of that cluster.
    pub fn new(dir: ClusterDir) -> Self {
        Self { dir }
    }

    /// Asks.
    pub async fn ask(
        &self,
        request: &ControlRequest,
        within: Duration,
    ) -> Result<ControlAnswer, ControlError> {
        let exchange = async {
            let mut stream = BufReader::new(self.connect().await?);
            write_line(stream.get_mut(), request).await?;
            Ok(read_line(&mut stream).await?)
        };
        tokio::time::timeout(within, exchange).await.unwrap_or(Err(ControlError::Timeout))
    }

    /// Somebody listens, or nobody supervises the cluster, or who does has not listened for a while.
    async fn connect(&self) -> Result<UnixStream, ControlError> {
        let begun = Instant::now();
        let path = self.dir.socket_path();
        loop {
            match UnixStream::connect(&path).await {
                Ok(stream) => return Ok(stream),
                Err(error)
                    if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) => {
                }
                Err(error) => return Err(error.into()),
            }
            match self.dir.supervisor() {
                None => return Err(ControlError::NoSupervisor),
                Some(keeper) if begun.elapsed() > FOUND_WITHIN => {
                    return Err(ControlError::Silent { keeper, path });
                }
                Some(_) => tokio::time::sleep(BETWEEN_TRIES).await,
            }
        }
    }
}

/// Listens where the supervisor is looked for. The socket of a dead one is in the way; the lock says that it is dead.
pub(crate) fn listen(dir: &ClusterDir) -> io::Result<UnixListener> {
    let path = dir.socket_path();
    if let Some(parent) = path.parent() {
        valkeeper_agent::make_private_dir(parent)?;
        // A folder in a place where everybody may write must be ours, or somebody else could listen in our place.
        let metadata = std::fs::symlink_metadata(parent)?;
        if metadata.uid() != rustix::process::getuid().as_raw() || !metadata.is_dir() {
            return Err(io::Error::other(format!("{} belongs to somebody else", parent.display())));
        }
    }
    match std::fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    UnixListener::bind(&path)
}

/// Sees to it that the supervisor is found: by its lock's file and by its socket, whoever removes them. Each time that the socket
/// is made anew it goes to who accepts.
pub(crate) async fn tend(dir: ClusterDir, lock: Arc<Lock>, anew: mpsc::Sender<UnixListener>) {
    let mut ours = FileId::at(&dir.socket_path()).ok().flatten();
    let mut has_told = false;
    loop {
        tokio::time::sleep(TEND_EVERY).await;
        let (dir, lock) = (dir.clone(), Arc::clone(&lock));
        // The disk may hang: whatever else this process does goes on.
        let tended = tokio::task::spawn_blocking(move || {
            // A folder that was moved or removed is no place of ours any more.
            if !lock.is_in_place()? {
                return Ok(None);
            }
            lock.renew()?;
            let path = dir.socket_path();
            if ours.is_some() && FileId::at(&path)? == ours {
                return Ok(None);
            }
            let listener = listen(&dir)?;
            Ok::<_, io::Error>(Some((listener, FileId::at(&path)?)))
        });
        match tended.await {
            Ok(Ok(Some((listener, id)))) => {
                tracing::warn!("the socket for commands was gone: it is made anew");
                ours = id;
                if anew.send(listener).await.is_err() {
                    return;
                }
            }
            Ok(Err(error)) if !has_told => {
                tracing::warn!(%error, "cannot see to the lock and the socket for commands");
                has_told = true;
            }
            Ok(Ok(None)) => has_told = false,
            Ok(Err(_)) | Err(_) => {}
        }
    }
}

/// Has the client closed its end, or does it within that time? It says nothing more after its request.
pub(crate) async fn has_gone(stream: &mut BufReader<UnixStream>, within: Duration) -> bool {
    tokio::time::timeout(within, stream.fill_buf()).await.is_ok_and(|read| read.is_ok_and(<[u8]>::is_empty))
}

pub(crate) async fn write_line<T: Serialize>(stream: &mut UnixStream, value: &T) -> io::Result<()> {
    let mut text = serde_json::to_vec(value)?;
    text.push(b'\n');
    stream.write_all(&text).await
}

pub(crate) async fn read_line<T: for<'a> Deserialize<'a>>(
    stream: &mut BufReader<UnixStream>,
) -> io::Result<T> {
    let mut text = Vec::new();
    stream.take(LONGEST).read_until(b'\n', &mut text).await?;
    if text.last() != Some(&b'\n') {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    serde_json::from_slice(&text).map_err(|error| match name_of(&text) {
        Some(name) => io::Error::other(format!("`{name}`: {error}")),
        None => io::Error::other(error),
    })
}

/// What is asked for by a request that is not understood: that no known one fits does not say which one did not.
fn name_of(text: &[u8]) -> Option<String> {
    let asked: serde_json::Value = serde_json::from_slice(text).ok()?;
    let name = asked.as_str().or_else(|| asked.get("do")?.get("request")?.as_str());
    name.map(|name| name.chars().filter(char::is_ascii_alphanumeric).take(40).collect())
}
