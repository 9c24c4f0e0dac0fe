//! One connection to one server: made when first needed, made again when broken, shared by all who ask.

use super::error::{AskError, out_of_descriptors};
use super::wire::{Bounded, Pulse};
use crate::{Endpoint, Password};
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Cmd, RedisConnectionInfo, Value};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::sync::OnceCell;
use tokio::task::AbortHandle;

/// Longest answer to an admin question: `CLUSTER NODES` of 3,000 nodes is half a megabyte.
const LONGEST_ANSWER: u64 = 64 << 20;

/// A machine that is gone answers nothing at all; no call with a longer limit of its own waits on it for longer.
const CONNECT_WITHIN: Duration = Duration::from_secs(2);

/// A connection on which nothing came for so long is given up at the next timeout: its peer's machine may be gone.
/// Not sooner, because each connection left behind on a hung server is one it must accept and read when it wakes.
const GIVE_UP_AFTER: Duration = Duration::from_secs(5);

/// A connection to one server for questions and orders. Cheap to clone; clones share the connection. Every call is
/// bounded by its own timeout, connecting included.
#[derive(Clone)]
pub struct AdminConnection {
    shared: Arc<Shared>,
}

struct Shared {
    endpoint: Endpoint,
    longest_answer: u64,
    user: Option<String>,
    password: Mutex<Option<Password>>,
    live: tokio::sync::Mutex<Option<Arc<Live>>>,
}

/// A connection that was made. The driver moves its bytes; it ends with the last user.
struct Live {
    connection: MultiplexedConnection,
    pulse: Arc<Pulse>,
    authenticated: OnceCell<()>,
    driver: AbortHandle,
}

impl Drop for Live {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

/// May the request be sent a second time if the connection broke under it?
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Repeat {
    /// A question: yes.
    Yes,
    /// An order: no, the caller decides.
    No,
}

impl AdminConnection {
    /// Connects to nothing yet.
    pub fn new(endpoint: impl Into<Endpoint>, password: Option<Password>) -> Self {
        Self::new_as(None, endpoint, password)
    }

    /// As that user; without one, as `default`.
    pub fn new_as(user: Option<String>, endpoint: impl Into<Endpoint>, password: Option<Password>) -> Self {
        Self::with(user, endpoint.into(), password, LONGEST_ANSWER)
    }

    /// For data: values may be larger than any answer to an admin question.
    pub(crate) fn with_longest_answer(
        endpoint: Endpoint,
        password: Option<Password>,
        longest_answer: u64,
    ) -> Self {
        Self::with(None, endpoint, password, longest_answer)
    }

    fn with(
        user: Option<String>,
        endpoint: Endpoint,
        password: Option<Password>,
        longest_answer: u64,
    ) -> Self {
        let (password, live) = (Mutex::new(password), tokio::sync::Mutex::new(None));
        Self { shared: Arc::new(Shared { endpoint, longest_answer, user, password, live }) }
    }

    /// Whom it talks to.
    pub fn endpoint(&self) -> &Endpoint {
        &self.shared.endpoint
    }

    /// The password it uses.
    pub(super) fn password(&self) -> Option<Password> {
        self.shared.password.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Uses another password from the next connection on. A connection that is up stays up, as the engine keeps it.
    pub fn set_password(&self, password: Option<Password>) {
        *self.shared.password.lock().unwrap_or_else(PoisonError::into_inner) = password;
    }

    /// Asks, and asks once more if the connection turns out to be broken.
    pub(super) async fn ask(&self, command: &Cmd, within: Duration) -> Result<Value, AskError> {
        self.send(std::slice::from_ref(command), within, Repeat::Yes).await
    }

    /// Orders once: a broken connection leaves open whether the order arrived.
    pub(super) async fn tell(&self, command: &Cmd, within: Duration) -> Result<Value, AskError> {
        self.send(std::slice::from_ref(command), within, Repeat::No).await
    }

    /// Sends commands that belong together on one connection without waiting between them; answers the last reply.
    pub(super) async fn send(
        &self,
        commands: &[Cmd],
        within: Duration,
        repeat: Repeat,
    ) -> Result<Value, AskError> {
        Ok(self.send_all(commands, within, repeat).await?.pop().unwrap_or_default())
    }

    /// The same, and answers every reply. One that is an error fails all.
    pub(super) async fn send_all(
        &self,
        commands: &[Cmd],
        within: Duration,
        repeat: Repeat,
    ) -> Result<Vec<Value>, AskError> {
        let mut used = None;
        let answer = tokio::time::timeout(within, self.exchange(commands, repeat, &mut used)).await;
        match (answer, used) {
            (Ok(answer), _) => answer,
            (Err(_), used) => {
                if let Some(live) = used.filter(|live: &Arc<Live>| live.pulse.silence() > GIVE_UP_AFTER) {
                    live.pulse.abandon();
                }
                Err(AskError::Timeout)
            }
        }
    }

    async fn exchange(
        &self,
        commands: &[Cmd],
        repeat: Repeat,
        used: &mut Option<Arc<Live>>,
    ) -> Result<Vec<Value>, AskError> {
        loop {
            let (live, fresh) = self.live().await?;
            *used = Some(Arc::clone(&live));
            match self.exchange_on(&live, commands).await {
                Err(AskError::Unreachable(_)) if repeat == Repeat::Yes && !fresh => live.pulse.abandon(),
                Err(
                    error @ (AskError::Unreachable(_) | AskError::AuthRefused | AskError::Garbled { .. }),
                ) => {
                    live.pulse.abandon();
                    return Err(error);
                }
                answer => return answer,
            }
        }
    }

    async fn exchange_on(&self, live: &Live, commands: &[Cmd]) -> Result<Vec<Value>, AskError> {
        // Whoever comes first authenticates. If it gives up waiting, the next one does it again on this connection.
        live.authenticated.get_or_try_init(|| self.authenticate(live)).await?;
        let mut connection = live.connection.clone();
        let replies = match commands {
            [one] => connection.send_packed_command(one).await.map(|reply| vec![reply]),
            many => {
                let mut pipeline = redis::pipe();
                for command in many {
                    pipeline.add_command(command.clone());
                }
                connection.send_packed_commands(&pipeline, 0, many.len()).await
            }
        };
        match replies {
            Ok(replies) => {
                let failed = replies.iter().find_map(|reply| match reply {
                    Value::ServerError(error) => Some(AskError::from(error)),
                    _ => None,
                });
                failed.map_or(Ok(replies), Err)
            }
            Err(_) if live.pulse.oversized() => Err(AskError::garbled("it is too long")),
            Err(error) => Err(AskError::from(&error)),
        }
    }

    async fn authenticate(&self, live: &Live) -> Result<(), AskError> {
        let Some(password) = self.password() else { return Ok(()) };
        // With the user named, a server that wants no password takes any: creating and rotating pass through that.
        let mut auth = redis::cmd("AUTH");
        auth.arg(self.shared.user.as_deref().unwrap_or("default")).arg(password.reveal());
        match live.connection.clone().send_packed_command(&auth).await {
            Ok(Value::ServerError(error)) => Err(AskError::from(&error)),
            Ok(_) => Ok(()),
            Err(error) => Err(AskError::from(&error)),
        }
    }

    /// The connection, and whether it was made just now.
    async fn live(&self) -> Result<(Arc<Live>, bool), AskError> {
        let mut slot = self.shared.live.lock().await;
        if let Some(live) = slot.as_ref().filter(|live| !live.pulse.broken()) {
            return Ok((Arc::clone(live), false));
        }
        *slot = None;
        let live = Arc::new(self.connect().await?);
        *slot = Some(Arc::clone(&live));
        Ok((live, true))
    }

    async fn connect(&self) -> Result<Live, AskError> {
        let unreachable = |error: std::io::Error| {
            if out_of_descriptors(&error) {
                AskError::NoDescriptors
            } else {
                AskError::Unreachable(error.to_string())
            }
        };
        let Endpoint { host, port } = &self.shared.endpoint;
        let stream = tokio::time::timeout(CONNECT_WITHIN, TcpStream::connect((host.as_str(), *port)))
            .await
            .unwrap_or_else(|_| Err(std::io::ErrorKind::TimedOut.into()))
            .map_err(unreachable)?;
        stream.set_nodelay(true).map_err(unreachable)?;
        let (stream, pulse) = Bounded::new(stream, self.shared.longest_answer);
        // RESP2 and no CLIENT SETINFO: nothing is sent at connecting that an old engine or a small ACL would refuse.
        let info = RedisConnectionInfo::default().set_skip_set_lib_name();
        let config = AsyncConnectionConfig::new().set_response_timeout(None).set_connection_timeout(None);
        let (connection, driver) = MultiplexedConnection::new_with_config(&info, stream, config)
            .await
            .map_err(|error| AskError::from(&error))?;
        let driver = tokio::spawn(driver).abort_handle();
        Ok(Live { connection, pulse, authenticated: OnceCell::new(), driver })
    }
}

impl std::fmt::Debug for AdminConnection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "AdminConnection({})", self.shared.endpoint)
    }
}
