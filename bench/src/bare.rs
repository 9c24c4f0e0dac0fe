//! Servers without anybody who looks after them, formed by a nodes.conf written before their start: the fastest way there
//! is. Configured as Valkeeper configures its own, so that both write the same things to the same disk.

use anyhow::{Context as _, ensure};
use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;
use valkeeper_client::{AdminConnection, Endpoint};
use valkeeper_model::nodes_conf::{self, NodeLine, NodesConf, Vars};
use valkeeper_model::{Address, Epoch, Link, NodeId, Role, ShardId, SlotSet};

const FIRST_PORT: u16 = 8401;
const SHARDS: u8 = 3;
const WHOLE_WITHIN: Duration = Duration::from_secs(60);
const SHORT: Duration = Duration::from_millis(500);

/// One server's process.
pub(crate) struct Server {
    program: PathBuf,
    dir: PathBuf,
    pub(crate) address: Address,
    pub(crate) admin: AdminConnection,
    process: Child,
}

impl Server {
    /// SIGKILL, and waits for the end.
    pub(crate) fn kill(&mut self) -> anyhow::Result<()> {
        self.process.kill()?;
        self.process.wait()?;
        Ok(())
    }

    /// Starts it again as it was.
    pub(crate) fn start_again(&mut self) -> anyhow::Result<()> {
        self.process = spawn(&self.program, &self.dir)?;
        Ok(())
    }

    async fn whole(&self, members: u32) -> bool {
        let ok =
            self.admin.cluster_info(SHORT).await.is_ok_and(|info| info.ok && info.known_nodes == members);
        let link = self.admin.replication(SHORT).await.map(|info| info.link());
        let settled = self.admin.cluster_nodes(SHORT).await.is_ok_and(|view| {
            view.nodes.iter().all(|node| !node.flags.fail && !node.flags.pfail)
                && view.myself().is_some_and(|me| me.is_replica() || !me.slots.is_empty())
        });
        ok && settled && matches!(link, Ok(None | Some(Link::Up)))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Three shards of two.
pub(crate) struct Cluster {
    pub(crate) servers: Vec<Server>,
    _dir: TempDir,
}

impl Cluster {
    /// Starts all six and waits until they are whole. Answers how long that took too.
    pub(crate) async fn start(program: &Path, node_timeout_ms: u64) -> anyhow::Result<(Self, Duration)> {
        let dir = tempfile::tempdir()?;
        let nodes = members()?;
        let began = Instant::now();
        let mut servers = Vec::new();
        for me in &nodes {
            servers.push(start(program, dir.path(), &nodes, me, node_timeout_ms)?);
        }
        let cluster = Self { servers, _dir: dir };
        cluster.whole().await?;
        Ok((cluster, began.elapsed()))
    }

    pub(crate) fn seeds(&self) -> Vec<Endpoint> {
        self.servers.iter().map(|server| Endpoint::from(&server.address)).collect()
    }

    /// Waits until everybody sees everybody and all replicas are in sync.
    pub(crate) async fn whole(&self) -> anyhow::Result<()> {
        let began = Instant::now();
        for server in &self.servers {
            while !server.whole(u32::from(2 * SHARDS)).await {
                ensure!(began.elapsed() < WHOLE_WITHIN, "{} does not get whole", server.address);
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
        Ok(())
    }

    pub(crate) fn at(&self, place: &Endpoint) -> anyhow::Result<&Server> {
        self.servers.iter().find(|server| server.address.port == place.port).context("no such server")
    }

    pub(crate) fn at_mut(&mut self, place: &Endpoint) -> anyhow::Result<&mut Server> {
        self.servers.iter_mut().find(|server| server.address.port == place.port).context("no such server")
    }
}

fn members() -> anyhow::Result<Vec<NodeLine>> {
    let mut ports = (FIRST_PORT..).filter(|port| free(*port) && free(port + Address::BUS_OFFSET));
    let mut nodes = Vec::new();
    for number in 0..2 * SHARDS {
        let shard = number % SHARDS;
        let port = ports.next().context("no free port")?;
        let address = Address { ip: "127.0.0.1".parse()?, port, bus_port: port + Address::BUS_OFFSET };
        let id = |number: u8| NodeId::from_bytes([number + 1; 20]);
        let role = if number < SHARDS { Role::Primary } else { Role::Replica };
        let mut line = NodeLine::new(id(number), Some(address), role);
        line.config_epoch = Epoch(u64::from(shard) + 1);
        line.aux.insert("shard-id".to_owned(), ShardId::from_bytes([shard + 1; 20]).to_string());
        if role == Role::Primary {
            line.slots = SlotSet::part(u32::from(shard), u32::from(SHARDS));
        } else {
            line.primary = Some(id(shard));
        }
        nodes.push(line);
    }
    Ok(nodes)
}

fn free(port: u16) -> bool {
    TcpListener::bind(("127.0.0.1", port)).is_ok()
}

fn start(
    program: &Path,
    dir: &Path,
    nodes: &[NodeLine],
    me: &NodeLine,
    node_timeout_ms: u64,
) -> anyhow::Result<Server> {
    let address = me.address.clone().context("no address")?;
    let dir = dir.join(address.port.to_string());
    fs::create_dir(&dir)?;
    let mut nodes = nodes.to_vec();
    for node in &mut nodes {
        node.flags.myself = node.id == me.id;
    }
    let vars = Some(Vars { current_epoch: Epoch(u64::from(SHARDS)), last_vote_epoch: Epoch(0) });
    fs::write(dir.join("nodes.conf"), nodes_conf::render(&NodesConf { nodes, vars }))?;
    let conf = format!(
        "bind 127.0.0.1\nport {}\ndir {}\nlogfile server.log\ncluster-enabled yes\ncluster-config-file nodes.conf\n\
         cluster-node-timeout {node_timeout_ms}\ncluster-require-full-coverage no\ncluster-replica-validity-factor 0\n\
         appendonly yes\nrepl-diskless-sync-delay 0\nrepl-backlog-size 64mb\n",
        address.port,
        dir.display()
    );
    fs::write(dir.join("server.conf"), conf)?;
    let process = spawn(program, &dir)?;
    let admin = AdminConnection::new(Endpoint::from(&address), None);
    Ok(Server { program: program.to_owned(), dir, address, admin, process })
}

fn spawn(program: &Path, dir: &Path) -> anyhow::Result<Child> {
    Command::new(program)
        .arg(dir.join("server.conf"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .context("start a server")
}
