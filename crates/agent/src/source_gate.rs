//! The gate before a copy that is kept: the server follows the source through a port of its agent, on this host's loopback.
//! What passes is decided by [`valkeeper_plan::replica_mode::gate`].

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::Duration;
use valkeeper_model::{Address, HeldBack, Position, SourceView};
use valkeeper_plan::agent::{GateSeen, Passes};
use valkeeper_plan::replica_mode::gate::{Allowed, Cut, Gate};

/// The source must be reached within this.
const CONNECT_WITHIN: Duration = Duration::from_secs(2);
/// Bytes that are read at once.
const PIECE: usize = 64 << 10;

/// Listens from the first time on that it is told something, until it is dropped. Cheap to clone.
#[derive(Clone, Default)]
pub(crate) struct SourceGate(Arc<Shared>);

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    /// Where the source is: a connection to another place ends.
    at: watch::Sender<Option<SocketAddr>>,
    /// One at a time begins to listen.
    listening: tokio::sync::Mutex<Option<Listening>>,
}

#[derive(Default)]
struct State {
    allowed: Option<Allowed>,
    accepted: Option<Position>,
    held_back: Option<HeldBack>,
}

struct Listening {
    address: Address,
    task: AbortHandle,
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl SourceGate {
    /// Lets through what passes from now on. `seen` is the source as it was seen last; without one the former is kept.
    pub(crate) async fn told(&self, passes: Passes, seen: Option<&SourceView>) -> Option<GateSeen> {
        let held_back = {
            let mut state = self.0.state();
            let former = state.allowed.take().and_then(|allowed| allowed.source);
            let accepted_before = state.accepted;
            // What was held back is given up once a person has accepted something else than before.
            if passes.accepted != accepted_before {
                state.held_back = None;
            }
            state.accepted = passes.accepted;
            let source = seen.cloned().or(former);
            let at = source.as_ref().map(|source| source.address.socket());
            self.0.at.send_if_modified(|known| std::mem::replace(known, at) != at);
            state.allowed = Some(Allowed { passes, source });
            state.held_back.clone()
        };
        let mut listening = self.0.listening.lock().await;
        if listening.is_none() {
            *listening = self.listen().await;
        }
        let address = listening.as_ref()?.address.clone();
        Some(GateSeen { address, held_back })
    }

    async fn listen(&self) -> Option<Listening> {
        let listener = match TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await {
            Ok(listener) => listener,
            Err(error) => {
                tracing::warn!(%error, "cannot listen for a server that follows a source; tried again");
                return None;
            }
        };
        let port = listener.local_addr().ok()?.port();
        let address = Address {
            ip: Ipv4Addr::LOCALHOST.into(),
            port,
            bus_port: port.wrapping_add(Address::BUS_OFFSET),
        };
        // Not the listener itself: it would keep what it belongs to alive for good.
        let shared = Arc::downgrade(&self.0);
        let task = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                tokio::select! {
                    accepted = listener.accept() => {
                        let (Ok((replica, _)), Some(shared)) = (accepted, shared.upgrade()) else { continue };
                        connections.spawn(async move { shared.serve(replica).await });
                    }
                    Some(_) = connections.join_next() => {}
                }
            }
        });
        Some(Listening { address, task: task.abort_handle() })
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Carries one connection until it ends, or is cut.
    async fn serve(&self, replica: TcpStream) {
        let (allowed, held_back) = {
            let state = self.state();
            (state.allowed.clone(), state.held_back.is_some())
        };
        let Some(allowed) = allowed.filter(|allowed| !allowed.passes.is_closed && !held_back) else { return };
        let Some(source) = allowed.source.as_ref().map(|source| source.address.socket()) else { return };
        let mut at = self.at.subscribe();
        let moved = async {
            let _ = at.wait_for(|at| *at != Some(source)).await;
        };
        let cut = tokio::select! {
            cut = carry(replica, source, allowed) => cut,
            () = moved => None,
        };
        match cut {
            Some(Cut::Held(why)) => {
                self.state().held_back.get_or_insert(why);
            }
            Some(Cut::Undecided) => {
                tracing::debug!("a server's link to the source is cut until the source is seen anew");
            }
            Some(Cut::NotUnderstood) => {
                tracing::warn!("what the source sends is not understood: a server's link to it is cut");
            }
            None => {}
        }
    }
}

/// `None` if one side has ended the connection.
async fn carry(mut replica: TcpStream, source: SocketAddr, allowed: Allowed) -> Option<Cut> {
    let connecting = tokio::time::timeout(CONNECT_WITHIN, TcpStream::connect(source)).await;
    let mut source = connecting.ok()?.ok()?;
    let (_, _) = (replica.set_nodelay(true), source.set_nodelay(true));
    let mut gate = Gate::new(allowed);
    let (mut of_replica, mut of_source) = (vec![0; PIECE], vec![0; PIECE]);
    let mut passed = Vec::new();
    loop {
        tokio::select! {
            read = replica.read(&mut of_replica) => {
                let count = read.ok().filter(|count| *count > 0)?;
                let bytes = of_replica.get(..count)?;
                gate.read_replica(bytes);
                source.write_all(bytes).await.ok()?;
            }
            read = source.read(&mut of_source) => {
                let count = read.ok().filter(|count| *count > 0)?;
                passed.clear();
                let cut = gate.read_source(of_source.get(..count)?, &mut passed);
                replica.write_all(&passed).await.ok()?;
                if cut.is_some() {
                    return cut;
                }
            }
        }
    }
}
