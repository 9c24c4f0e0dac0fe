//! How clients fare that connect to our server. Our own connection is older than most faults: a server that nobody else reaches any more
//! goes on answering there.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use valkeeper_client::AdminConnection;
use valkeeper_client::admin::ServerInfo;
use valkeeper_model::AccessFault;

/// Between two tries.
const EVERY: Duration = Duration::from_secs(5);
/// Between two tries while one has failed.
const AGAIN: Duration = Duration::from_secs(1);
/// A try must not take longer.
const WITHIN: Duration = Duration::from_secs(3);

/// Of one run of a server. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Entrance {
    connection: AdminConnection,
    tried: Arc<Mutex<Tried>>,
}

/// What came of the last tries.
struct Tried {
    due: Instant,
    fault: Option<AccessFault>,
    /// The same fault in the last two tries: one may be chance, or a password that is being changed.
    lasting: bool,
}

impl Entrance {
    pub(crate) fn new(connection: AdminConnection) -> Self {
        let tried = Tried { due: Instant::now(), fault: None, lasting: false };
        Self { connection, tried: Arc::new(Mutex::new(tried)) }
    }

    /// What is wrong, as of the last tries. Begins the next one when it is due, and does not wait for it.
    pub(crate) fn fault(&self, info: &ServerInfo) -> Option<AccessFault> {
        let mut tried = lock(&self.tried);
        if tried.due <= Instant::now() {
            tried.due = Instant::now() + EVERY;
            let (connection, tried) = (self.connection.clone(), Arc::clone(&self.tried));
            tokio::spawn(async move {
                let fault = connection.try_as_client(WITHIN).await.err();
                let mut tried = lock(&tried);
                tried.lasting = fault.is_some() && tried.fault == fault;
                if fault.is_some() {
                    tried.due = Instant::now() + AGAIN;
                }
                tried.fault = fault;
            });
        }
        let fault = tried.fault.clone().filter(|_| tried.lasting)?;
        let limit = info.max_clients.filter(|limit| info.clients >= *limit);
        Some(match fault {
            AccessFault::TooManyClients { .. } => AccessFault::TooManyClients { limit },
            // It hangs up without a word when it is too late to say one.
            AccessFault::NoAnswer if limit.is_some() => AccessFault::TooManyClients { limit },
            other => other,
        })
    }
}

fn lock(tried: &Mutex<Tried>) -> std::sync::MutexGuard<'_, Tried> {
    tried.lock().unwrap_or_else(PoisonError::into_inner)
}
