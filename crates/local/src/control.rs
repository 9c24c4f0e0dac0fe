//! How the program talks to a running supervisor: a line of JSON each way over a socket that only its owner can reach.

use crate::state_dir::ClusterDir;
use serde::{Deserialize, Serialize};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use valkeeper_model::{InstanceName, Refusal, Report, Request};

/// The longest line that is read, bytes. A report of 3,000 instances is under a megabyte.
const LONGEST: u64 = 16 << 20;

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
}

/// Why a supervisor could not be asked.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// There is none.
    #[error("no supervisor runs")]
    NoSupervisor,
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
            let stream = match UnixStream::connect(self.dir.socket_path()).await {
                Ok(stream) => stream,
                Err(error)
                    if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) =>
                {
                    return Err(ControlError::NoSupervisor);
                }
                Err(error) => return Err(error.into()),
            };
            let mut stream = BufReader::new(stream);
            write_line(stream.get_mut(), request).await?;
            Ok(read_line(&mut stream).await?)
        };
        tokio::time::timeout(within, exchange).await.unwrap_or(Err(ControlError::Timeout))
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
    serde_json::from_slice(&text).map_err(io::Error::other)
}
