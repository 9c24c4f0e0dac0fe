//! Ports that stay the same whichever server is the primary: for clients of a cluster without slots, which nobody redirects.
//!
//! A connection to the port of the primary goes to the server that is the primary, and ends when that one is the primary no more: so the client
//! connects anew and reaches its successor. Bytes pass as they are.

use crate::ports::ClientPorts;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::Instant;
use valkeeper_model::{Happened, InstanceName, Report, Role};

/// A connection waits so long for a server of its kind: a failover takes less.
const SERVER_WITHIN: Duration = Duration::from_secs(5);
/// Between two tries to connect to a server that does not listen.
const TRY_AGAIN: Duration = Duration::from_millis(5);
/// What the controller has seen may be so old: it does not unmake what an agent told since.
const OBSERVED_WITHIN: Duration = Duration::from_secs(3);
/// Between two tries to listen on a port that somebody else has.
const LISTEN_AGAIN: Duration = Duration::from_secs(1);

/// Which servers a port leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Door {
    Primary,
    Replica,
    Any,
}

/// The servers by role.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Servers {
    addresses: BTreeMap<InstanceName, SocketAddr>,
    primary: Option<InstanceName>,
    replicas: Vec<InstanceName>,
    /// When an agent told who the primary is.
    told_at: Option<Instant>,
}

impl Servers {
    /// As a report shows them.
    fn of(report: &Report) -> Self {
        let addresses = report
            .instances
            .iter()
            .filter_map(|one| Some((one.name.clone(), one.address.as_ref()?.parse().ok()?)))
            .collect();
        let replicas = report.instances.iter().filter(|one| one.role == Some(Role::Replica));
        Self {
            addresses,
            primary: report.current_primary().cloned(),
            replicas: replicas.map(|one| one.name.clone()).collect(),
            told_at: None,
        }
    }

    fn candidates(&self, door: Door) -> Vec<SocketAddr> {
        let at = |name: &InstanceName| self.addresses.get(name).copied();
        match door {
            Door::Primary => self.primary.iter().filter_map(at).collect(),
            Door::Replica => self.replicas.iter().filter_map(at).collect(),
            Door::Any => self.primary.iter().chain(&self.replicas).filter_map(at).collect(),
        }
    }
}

/// Tells the ports where the servers are.
#[derive(Debug, Clone)]
pub(crate) struct Guide(Arc<watch::Sender<Servers>>);

impl Guide {
    pub(crate) fn new() -> Self {
        Self(Arc::new(watch::Sender::new(Servers::default())))
    }

    /// What the controller has seen.
    pub(crate) fn saw(&self, report: &Report) {
        let seen = Servers::of(report);
        self.0.send_if_modified(|known| {
            // While a successor is being chosen the last primary stays: connections to it end by themselves.
            let told_lately = known.told_at.is_some_and(|at| at.elapsed() < OBSERVED_WITHIN);
            let primary = seen.primary.clone().filter(|_| !told_lately).or_else(|| known.primary.clone());
            let next = Servers { primary, told_at: known.told_at, ..seen };
            let changed = *known != next;
            *known = next;
            changed
        });
    }

    /// What an agent tells at once, sooner than the controller sees it.
    pub(crate) fn happened(&self, happened: &Happened) {
        let (Happened::FailedOver { to, .. }
        | Happened::SwitchedOver { to, .. }
        | Happened::BetterCopyPromoted { to, .. }
        | Happened::RoseByItself { instance: to, .. }) = happened
        else {
            return;
        };
        self.0.send_if_modified(|known| {
            let changed = known.primary.as_ref() != Some(to);
            known.replicas.retain(|name| name != to);
            known.primary = Some(to.clone());
            known.told_at = Some(Instant::now());
            changed
        });
    }

    /// Serves the ports until dropped.
    pub(crate) async fn serve(&self, ports: ClientPorts) {
        let serve = |door, at| listen(door, at, self.0.subscribe());
        tokio::join!(
            serve(Door::Primary, ports.primary),
            serve(Door::Replica, ports.replica),
            serve(Door::Any, ports.any)
        );
    }
}

async fn listen(door: Door, at: SocketAddr, servers: watch::Receiver<Servers>) {
    let mut next: usize = 0;
    loop {
        let listener = match TcpListener::bind(at).await {
            Ok(listener) => listener,
            Err(error) => {
                tracing::warn!(%error, %at, "cannot listen for clients; tried again");
                tokio::time::sleep(LISTEN_AGAIN).await;
                continue;
            }
        };
        loop {
            match listener.accept().await {
                Ok((client, _)) => {
                    next = next.wrapping_add(1);
                    tokio::spawn(forward(client, door, next, servers.clone()));
                }
                // Out of file descriptors, or the client has gone already.
                Err(error) => {
                    tracing::debug!(%error, %at, "cannot accept a client");
                    tokio::time::sleep(TRY_AGAIN).await;
                }
            }
        }
    }
}

/// Connects a client to the server that its port leads to. `turn` spreads clients over several servers.
async fn forward(mut client: TcpStream, door: Door, turn: usize, mut servers: watch::Receiver<Servers>) {
    let deadline = Instant::now() + SERVER_WITHIN;
    let (mut server, at) = loop {
        let candidates = servers.borrow_and_update().candidates(door);
        let chosen = candidates.get(turn.checked_rem(candidates.len()).unwrap_or_default()).copied();
        if let Some(at) = chosen
            && let Ok(Ok(server)) = tokio::time::timeout_at(deadline, TcpStream::connect(at)).await
        {
            break (server, at);
        }
        let again = async {
            let _ = tokio::time::timeout(TRY_AGAIN, servers.changed()).await;
        };
        if tokio::time::timeout_at(deadline, again).await.is_err() {
            return;
        }
    };
    let (_, _) = (client.set_nodelay(true), server.set_nodelay(true));
    let moved = async {
        let stays = |known: &Servers| match door {
            Door::Primary => known.candidates(door).contains(&at),
            // A replica that was promoted answers reads as well.
            Door::Replica | Door::Any => known.addresses.values().any(|address| *address == at),
        };
        let _ = servers.wait_for(|known| !stays(known)).await;
    };
    tokio::select! {
        _ = tokio::io::copy_bidirectional(&mut client, &mut server) => {}
        () = moved => {}
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test says what it expects by unwrapping")]

    use super::*;
    use std::net::{IpAddr, Ipv4Addr};
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    /// A server that says its name to whoever connects, and then what it is told.
    async fn server(name: &'static str) -> SocketAddr {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let at = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let _ = client.write_all(name.as_bytes()).await;
                    let (mut read, mut write) = client.split();
                    let _ = tokio::io::copy(&mut read, &mut write).await;
                });
            }
        });
        at
    }

    fn free() -> SocketAddr {
        let listener = std::net::TcpListener::bind((IpAddr::V4(Ipv4Addr::LOCALHOST), 0)).unwrap();
        listener.local_addr().unwrap()
    }

    async fn said(stream: &mut TcpStream) -> String {
        let mut bytes = [0; 64];
        let read = tokio::time::timeout(Duration::from_secs(10), stream.read(&mut bytes)).await;
        String::from_utf8_lossy(&bytes[..read.unwrap().unwrap_or(0)]).into_owned()
    }

    async fn connect(at: SocketAddr) -> TcpStream {
        loop {
            match TcpStream::connect(at).await {
                Ok(stream) => return stream,
                Err(_) => tokio::time::sleep(TRY_AGAIN).await,
            }
        }
    }

    #[test]
    fn a_connection_to_the_primary_ends_with_its_mandate_and_the_next_one_reaches_the_successor() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (first, second): (InstanceName, InstanceName) =
                ("solo-0".parse().unwrap(), "solo-1".parse().unwrap());
            let addresses =
                [(first.clone(), server("first").await), (second.clone(), server("second").await)];
            let servers = Servers {
                addresses: addresses.into(),
                primary: None,
                replicas: vec![second.clone()],
                told_at: None,
            };
            let guide = Guide::new();
            guide.0.send_replace(servers.clone());
            let ports = ClientPorts { primary: free(), replica: free(), any: free() };
            let serving = {
                let guide = guide.clone();
                tokio::spawn(async move { guide.serve(ports).await })
            };
            // Nobody is the primary yet: the client waits.
            let mut early = connect(ports.primary).await;
            let mut reader = connect(ports.replica).await;
            assert_eq!(said(&mut reader).await, "second");
            guide.0.send_replace(Servers { primary: Some(first.clone()), ..servers.clone() });
            assert_eq!(said(&mut early).await, "first");
            early.write_all(b"hello").await.unwrap();
            assert_eq!(said(&mut early).await, "hello");
            let shard = "s0".parse().unwrap();
            let took_ms = Some(8);
            guide.happened(&Happened::FailedOver { shard, from: first, to: second, took_ms });
            assert_eq!(said(&mut early).await, "", "the connection to the former primary goes on");
            let mut late = connect(ports.primary).await;
            assert_eq!(said(&mut late).await, "second");
            reader.write_all(b"still").await.unwrap();
            assert_eq!(said(&mut reader).await, "still");
            serving.abort();
        });
    }
}
