//! Real servers in temporary directories, killed when dropped.

use std::collections::BTreeMap;
use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};
use tempfile::TempDir;
use valkeeper_client::{AdminConnection, Endpoint, Password};
use valkeeper_model::nodes_conf::{self, NodeLine, NodesConf, Vars};
use valkeeper_model::{Address, Epoch, NodeId, Role, ShardId, Slot, SlotSet};

pub(crate) const SHORT: Duration = Duration::from_secs(1);
const PASSWORD: &str = "a-password-that-no-message-may-show";

pub(crate) fn password() -> Password {
    Password::new(PASSWORD)
}

/// `VALKEEPER_SERVER`, or what `cargo xtask servers` fetched.
pub(crate) fn server_program() -> PathBuf {
    match std::env::var_os("VALKEEPER_SERVER") {
        Some(path) => path.into(),
        None => fetched("valkey-9.1.2/valkey-server"),
    }
}

/// One of the servers that `cargo xtask servers` fetches.
pub(crate) fn fetched(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.servers").join(name);
    assert!(
        path.exists(),
        "{} is missing: run `cargo xtask servers` or set VALKEEPER_SERVER",
        path.display()
    );
    path
}

/// A process in a directory of its own.
pub(crate) struct Server {
    program: PathBuf,
    dir: TempDir,
    pub(crate) address: Address,
    process: Child,
}

impl Server {
    /// Starts one that knows no other.
    pub(crate) fn alone(program: &Path) -> Self {
        let address = free_address();
        Self::start(program, address, "cluster-enabled no", None)
    }

    fn start(program: &Path, address: Address, more: &str, nodes_conf: Option<&str>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let conf = format!(
            "bind 127.0.0.1\nport {}\ndir {}\nlogfile server.log\nsave \"\"\nappendonly no\nrequirepass {PASSWORD}\n\
             masterauth {PASSWORD}\nrepl-diskless-sync-delay 0\nenable-debug-command yes\n{more}\n",
            address.port,
            dir.path().display()
        );
        fs::write(dir.path().join("server.conf"), conf).unwrap();
        if let Some(text) = nodes_conf {
            fs::write(dir.path().join("nodes.conf"), text).unwrap();
        }
        let process = spawn(program, dir.path());
        let server = Self { program: program.to_owned(), dir, address, process };
        server.wait_for_port();
        server
    }

    pub(crate) fn endpoint(&self) -> Endpoint {
        Endpoint::from(&self.address)
    }

    pub(crate) fn admin(&self) -> AdminConnection {
        AdminConnection::new(self.endpoint(), Some(password()))
    }

    pub(crate) fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    /// In the same directory, at the same address.
    pub(crate) fn start_again(&mut self) {
        self.process = spawn(&self.program, self.dir.path());
        self.wait_for_port();
    }

    /// Waits for the end of the process.
    pub(crate) fn ended(&mut self, within: Duration) -> bool {
        let start = Instant::now();
        while start.elapsed() < within {
            if self.process.try_wait().unwrap().is_some() {
                return true;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        false
    }

    fn wait_for_port(&self) {
        let start = Instant::now();
        while std::net::TcpStream::connect(self.address.socket()).is_err() {
            let log = || fs::read_to_string(self.dir.path().join("server.log")).unwrap_or_default();
            assert!(
                start.elapsed() < Duration::from_secs(10),
                "{} does not listen:\n{}",
                self.address,
                log()
            );
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn spawn(program: &Path, dir: &Path) -> Child {
    Command::new(program)
        .arg(dir.join("server.conf"))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// A port whose bus port is free too, and that no other test of this run was given. Neither is one that systems hand out by themselves (from 32,768 on: one
/// that was free when it was looked at was taken by the time the server started) or that a scenario is given (`testkit::ports`).
fn free_address() -> Address {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let start = u16::try_from(std::process::id() % 28).unwrap() * 10;
    for _ in 0..280 {
        let port = 9_710 + (start + NEXT.fetch_add(1, Ordering::Relaxed)) % 280;
        let bus_port = port + Address::BUS_OFFSET;
        let free = |port| TcpListener::bind(("127.0.0.1", port)).is_ok();
        if free(port) && free(bus_port) {
            return Address { ip: "127.0.0.1".parse().unwrap(), port, bus_port };
        }
    }
    panic!("no free port from 9710 to 9989");
}

/// A key in one of these slots.
pub(crate) fn key_in(slots: &SlotSet) -> String {
    (0..100_000).map(|n| format!("k{n}")).find(|key| slots.contains(Slot::of_key(key.as_bytes()))).unwrap()
}

/// Three shards with a replica each, formed by the nodes.conf that the model renders.
pub(crate) struct Fleet {
    pub(crate) servers: BTreeMap<NodeId, Server>,
}

pub(crate) fn node_id(n: u8) -> NodeId {
    NodeId::from_bytes([n; 20])
}

impl Fleet {
    /// Primaries are nodes 1, 2, 3; their replicas 11, 12, 13. `with_aux`: an engine that knows shard ids.
    pub(crate) async fn start(program: &Path, with_aux: bool) -> Self {
        let nodes: Vec<NodeLine> =
            [(1, None), (2, None), (3, None), (11, Some(1)), (12, Some(2)), (13, Some(3))]
                .into_iter()
                .map(|(n, primary): (u8, Option<u8>)| {
                    let shard = primary.unwrap_or(n);
                    let role = if primary.is_some() { Role::Replica } else { Role::Primary };
                    let mut line = NodeLine::new(node_id(n), Some(free_address()), role);
                    line.primary = primary.map(node_id);
                    line.config_epoch = Epoch(shard.into());
                    if primary.is_none() {
                        line.slots = SlotSet::part(u32::from(n) - 1, 3);
                    }
                    if with_aux {
                        line.aux.insert("shard-id".to_owned(), ShardId::from_bytes([shard; 20]).to_string());
                    }
                    line
                })
                .collect();
        let servers = nodes.iter().map(|me| {
            let mut nodes = nodes.clone();
            for node in &mut nodes {
                node.flags.myself = node.id == me.id;
            }
            let vars = Some(Vars { current_epoch: Epoch(3), last_vote_epoch: Epoch(0) });
            let text = nodes_conf::render(&NodesConf { nodes, vars });
            let address = me.address.clone().unwrap();
            let more = "cluster-enabled yes\ncluster-config-file nodes.conf\ncluster-node-timeout 15000";
            (me.id, Server::start(program, address, more, Some(&text)))
        });
        let fleet = Self { servers: servers.collect() };
        fleet.whole().await;
        fleet
    }

    pub(crate) fn server(&self, n: u8) -> &Server {
        &self.servers[&node_id(n)]
    }

    pub(crate) fn server_mut(&mut self, n: u8) -> &mut Server {
        self.servers.get_mut(&node_id(n)).unwrap()
    }

    pub(crate) fn seeds(&self) -> Vec<Endpoint> {
        self.servers.values().map(Server::endpoint).collect()
    }

    /// Waits until all say ok and the replicas are in sync.
    async fn whole(&self) {
        let start = Instant::now();
        for server in self.servers.values() {
            let admin = server.admin();
            loop {
                let ok = admin.cluster_info(SHORT).await.is_ok_and(|info| info.ok && info.known_nodes == 6);
                let link = admin.replication(SHORT).await.map(|info| info.link());
                if ok && matches!(link, Ok(None | Some(valkeeper_model::Link::Up))) {
                    break;
                }
                assert!(start.elapsed() < Duration::from_secs(30), "{} does not get whole", server.address);
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    }
}
