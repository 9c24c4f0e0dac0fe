//! Asking somebody. A connection carries one request at a time and is used again; one on which an answer did not come in time
//! is dropped, so that a network that comes back is not waited for at the pace of TCP's retransmissions.

use super::{Credentials, Home, Who};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use valkeeper_model::Unseen;

/// Longest answer, bytes. A report of a member among 3,000 is under a megabyte.
const LONGEST: usize = 16 << 20;
/// Connections to one peer that are kept for later.
const IDLE_PER_PEER: usize = 4;
/// The request's header with the sender's claim.
pub(super) const CLAIM: &str = "valkeeper-from";

/// Why nobody answered.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CallFailed {
    #[error("no answer in time")]
    Timeout,
    #[error("cannot be reached: {0}")]
    Unreachable(String),
    #[error("refused ({0})")]
    Refused(StatusCode),
    #[error("an answer that could not be understood: {0}")]
    Garbled(String),
}

async fn bounded<A>(
    within: Duration,
    asking: impl Future<Output = Result<A, CallFailed>>,
) -> Result<A, CallFailed> {
    tokio::time::timeout(within, asking).await.unwrap_or(Err(CallFailed::Timeout))
}

impl CallFailed {
    /// As what could not be seen.
    pub(crate) fn unseen(&self) -> Unseen {
        match self {
            Self::Timeout => Unseen::Timeout,
            Self::Unreachable(_) => Unseen::Unreachable,
            Self::Refused(StatusCode::FORBIDDEN) => Unseen::AuthRefused,
            Self::Refused(_) | Self::Garbled(_) => Unseen::Garbled,
        }
    }
}

type Connection = SendRequest<Full<Bytes>>;
/// Where, and under which name.
type Peer = (SocketAddr, Who);

/// What is done when a connection that was kept breaks under a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Repeat {
    /// It is sent again: it comes to the same if it arrives twice.
    Yes,
    /// It is sent again only if it was not sent at all.
    IfUnsent,
}

/// Asks others, with the certificate of one cluster.
#[derive(Debug)]
pub(crate) struct Caller {
    home: Home,
    me: Who,
    credentials: Arc<Credentials>,
    idle: Mutex<HashMap<Peer, Vec<Connection>>>,
}

impl Caller {
    pub(crate) fn new(home: Home, me: Who, credentials: Arc<Credentials>) -> Self {
        Self { home, me, credentials, idle: Mutex::default() }
    }

    /// Asks `to`, which is at `at`, and reads its answer as JSON.
    pub(crate) async fn call<Q: Serialize, A: DeserializeOwned>(
        &self,
        to: &Who,
        at: SocketAddr,
        path: &str,
        question: &Q,
        repeat: Repeat,
        within: Duration,
    ) -> Result<A, CallFailed> {
        // Written once there is somebody to read it: orders are long, and there is nobody at a pod that is on its way.
        let write = || match serde_json::to_vec(question) {
            Ok(body) => Ok(Bytes::from(body)),
            Err(error) => Err(CallFailed::Garbled(error.to_string())),
        };
        let answer = bounded(within, self.exchange(to, at, path, repeat, write)).await?;
        serde_json::from_slice(&answer).map_err(|error| CallFailed::Garbled(error.to_string()))
    }

    /// The same with a body and an answer of any kind.
    pub(crate) async fn send(
        &self,
        to: &Who,
        at: SocketAddr,
        path: &str,
        body: Bytes,
        within: Duration,
    ) -> Result<Bytes, CallFailed> {
        bounded(within, self.exchange(to, at, path, Repeat::Yes, || Ok(body.clone()))).await
    }

    async fn exchange(
        &self,
        to: &Who,
        at: SocketAddr,
        path: &str,
        repeat: Repeat,
        write: impl Fn() -> Result<Bytes, CallFailed>,
    ) -> Result<Bytes, CallFailed> {
        let peer = (at, to.clone());
        loop {
            let (mut connection, used) = match self.take_idle(&peer) {
                Some(connection) => (connection, true),
                None => (self.connect(to, at).await?, false),
            };
            let request = Request::builder()
                .method(Method::POST)
                .uri(path)
                .header("host", to.claim())
                .header(CLAIM, self.me.claim())
                .body(Full::new(write()?))
                .map_err(|error| CallFailed::Garbled(error.to_string()))?;
            let response = match connection.send_request(request).await {
                Ok(response) => response,
                // It was closed while nobody used it.
                Err(error) if used && (repeat == Repeat::Yes || error.is_canceled()) => continue,
                Err(error) => return Err(CallFailed::Unreachable(error.to_string())),
            };
            let status = response.status();
            let answer = Limited::new(response.into_body(), LONGEST)
                .collect()
                .await
                .map_err(|error| CallFailed::Unreachable(error.to_string()))?
                .to_bytes();
            self.keep_idle(peer, connection);
            if !status.is_success() {
                return Err(CallFailed::Refused(status));
            }
            return Ok(answer);
        }
    }

    async fn connect(&self, to: &Who, at: SocketAddr) -> Result<Connection, CallFailed> {
        fn unreachable(error: impl std::fmt::Display) -> CallFailed {
            CallFailed::Unreachable(error.to_string())
        }
        let name = to.server_name(&self.home).ok_or_else(|| unreachable("it has no name"))?;
        let stream = TcpStream::connect(at).await.map_err(unreachable)?;
        stream.set_nodelay(true).map_err(unreachable)?;
        let connector = TlsConnector::from(self.credentials.settings().client);
        let stream = connector.connect(name, stream).await.map_err(unreachable)?;
        let (sender, driver) = handshake(TokioIo::new(stream)).await.map_err(unreachable)?;
        tokio::spawn(async move {
            if let Err(error) = driver.await {
                tracing::debug!(%error, "a connection ended");
            }
        });
        Ok(sender)
    }

    fn take_idle(&self, peer: &Peer) -> Option<Connection> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let connections = idle.get_mut(peer)?;
        while let Some(connection) = connections.pop() {
            if connection.is_ready() {
                return Some(connection);
            }
        }
        idle.remove(peer);
        None
    }

    fn keep_idle(&self, peer: Peer, connection: Connection) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let connections = idle.entry(peer).or_default();
        if connections.len() < IDLE_PER_PEER {
            connections.push(connection);
        }
    }

    /// Forgets connections: with who is gone, or made with credentials that are not valid any more.
    pub(crate) fn forget(&self) {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}
