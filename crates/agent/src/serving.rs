//! What our server is told, and what it says.

use crate::entrance::Entrance;
use crate::program::Program;
use crate::rotation::Rotation;
use crate::slow::Silenced;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use valkeeper_client::admin::{ClusterView, FailoverMode, ServerInfo};
use valkeeper_client::{AdminConnection, AskError, Value};
use valkeeper_model::{
    ClientTrouble, Epoch, Replication, Role, ServerView, SlowCommand, Topology, TopologyNode, Unseen,
};
use valkeeper_plan::agent::{Reply, ServerCommand, ServerError};
use valkeeper_plan::config::Directive;

/// One byte more than a TCP segment on loopback can take (MSS 65483): see docs/engine-facts.md, "Nagle on the bus".
const FLUSH_BYTES: usize = 66_000;
/// Where they go.
const FLUSH_CHANNEL: &str = "__valkeeper__:flush";

/// The way to one running server. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Serving {
    connection: AdminConnection,
    rotation: Rotation,
    program: Arc<Program>,
    values: Arc<Mutex<Values>>,
    entrance: Entrance,
    silenced: Silenced,
}

/// Which values are known to be as ordered. A server shows many values in another form than they were given in (`1gb`), so that
/// comparing text would find differences that are none.
#[derive(Default)]
struct Values {
    /// By the file it was started with.
    started_with: BTreeMap<String, String>,
    /// Ordered, and how the server shows it.
    settled: BTreeMap<String, (String, String)>,
    /// Ordered, and refused while the server runs.
    refused: BTreeMap<String, String>,
    /// The last topology, so that equal ones share their memory.
    topology: Arc<Topology>,
}

impl Serving {
    pub(crate) fn new(
        connection: AdminConnection,
        rotation: Rotation,
        program: Arc<Program>,
        started_with: BTreeMap<String, String>,
    ) -> Self {
        let values = Arc::new(Mutex::new(Values { started_with, ..Values::default() }));
        let entrance = Entrance::new(connection.clone());
        Self { connection, rotation, program, values, entrance, silenced: Silenced::default() }
    }

    /// Its password.
    pub(crate) fn rotation(&self) -> &Rotation {
        &self.rotation
    }

    pub(crate) async fn serve(&self, command: ServerCommand, within: Duration) -> Result<Reply, ServerError> {
        let server = &self.connection;
        let right = right(&command);
        let error = |said| error(said, right);
        let done = |result: Result<(), AskError>| result.map(|()| Reply::Done).map_err(error);
        match command {
            ServerCommand::Look(wanted) => {
                self.look_or_knock(wanted, within).await.map(|view| Reply::View(Box::new(view)))
            }
            ServerCommand::Replication => {
                server.replication(within).await.map(|info| Reply::Replication(info.into())).map_err(error)
            }
            ServerCommand::FailoverForce => done(server.failover(FailoverMode::Force, within).await),
            ServerCommand::FailoverTakeover => done(server.failover(FailoverMode::Takeover, within).await),
            ServerCommand::FailoverPlanned => done(server.failover(FailoverMode::Planned, within).await),
            ServerCommand::Flush => done(self.flush(within).await),
            ServerCommand::PauseWrites(ms) => done(server.pause_writes(ms, within).await),
            ServerCommand::HoldsWrites => {
                let held = server.info("clients", within).await.map_err(error)?;
                Ok(Reply::HoldsWrites(held.contains("paused_reason:failover_in_progress")))
            }
            ServerCommand::UnpauseWrites => done(server.unpause(within).await),
            ServerCommand::Follow(primary) => done(server.replicate(primary, within).await),
            ServerCommand::Meet(address) => done(server.meet(&address, within).await),
            ServerCommand::Configure(directives) => done(self.configure(directives, within).await),
            ServerCommand::Save => done(server.bgsave(within).await),
        }
    }

    fn values(&self) -> std::sync::MutexGuard<'_, Values> {
        self.values.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks; a server that does not answer is asked on a new connection as well, whether it is there at all.
    async fn look_or_knock(
        &self,
        wanted: Vec<Directive>,
        within: Duration,
    ) -> Result<ServerView, ServerError> {
        let mut look = std::pin::pin!(self.look(wanted, within));
        if let Ok(looked) = tokio::time::timeout(within / 2, &mut look).await {
            return looked;
        }
        let (looked, there) = tokio::join!(look, self.connection.answers_strangers(within / 2));
        match looked {
            Err(ServerError::Silent(Unseen::Timeout)) if there => Err(ServerError::HeldBack),
            Err(silent @ ServerError::Silent(Unseen::Timeout)) => {
                self.silenced.note();
                Err(silent)
            }
            looked => looked,
        }
    }

    async fn look(&self, wanted: Vec<Directive>, within: Duration) -> Result<ServerView, ServerError> {
        let wanted: Vec<Directive> =
            wanted.into_iter().filter(|(name, _)| self.program.knows(name)).collect();
        let names: Vec<&str> = wanted.iter().map(|(name, _)| name.as_str()).collect();
        let needs = |right: &'static str| move |said: AskError| error(said, right);
        let (info, nodes, cluster, shown) = tokio::try_join!(
            async { self.connection.server_info(within).await.map_err(needs("info")) },
            async { self.connection.cluster_nodes(within).await.map_err(needs("cluster|nodes")) },
            async { self.connection.cluster_info(within).await.map_err(needs("cluster|info")) },
            async { self.shown(&names, within).await.map_err(needs("config|get")) },
        )?;
        let drift = self.drift(&wanted, &shown);
        let clients = ClientTrouble { access: self.entrance.fault(&info), paused: info.paused };
        let slow = self.silenced.cause(&self.connection, within).await;
        let (cluster_ok, current_epoch) = (cluster.ok, cluster.current_epoch);
        let seen = Seen { info, cluster_ok, current_epoch, clients, slow, drift };
        self.view(seen, &nodes).map_err(needs("cluster|nodes"))
    }

    /// `CONFIG GET` of these names. Redis before 7.0 takes one pattern only.
    async fn shown(&self, names: &[&str], within: Duration) -> Result<BTreeMap<String, String>, AskError> {
        if names.is_empty() {
            return Ok(BTreeMap::new());
        }
        if self.program.version.starts_with("6.") {
            return self.connection.config_get("*", within).await;
        }
        let args: Vec<&str> = ["CONFIG", "GET"].into_iter().chain(names.iter().copied()).collect();
        match self.connection.raw(&args, within).await? {
            Value::Array(parts) => {
                let text = |value: &Value| {
                    redis::from_redis_value_ref::<String>(value)
                        .map_err(|e| AskError::from(&redis::RedisError::from(e)))
                };
                parts.chunks_exact(2).map(|pair| Ok((text(&pair[0])?, text(&pair[1])?))).collect()
            }
            _ => Err(AskError::Garbled { what: "CONFIG GET is no list".to_owned() }),
        }
    }

    /// What differs and can be tried, and what was refused.
    fn drift(&self, wanted: &[Directive], shown: &BTreeMap<String, String>) -> (Vec<String>, Vec<String>) {
        let mut values = self.values();
        let (mut drifted, mut refused) = (Vec::new(), Vec::new());
        for (name, value) in wanted {
            let Some(shown) = shown.get(name) else { continue };
            let pair = (value.clone(), shown.clone());
            if values.settled.get(name) == Some(&pair) {
                continue;
            }
            let trusted = !values.settled.contains_key(name) && values.started_with.get(name) == Some(value);
            if value == shown || trusted {
                values.settled.insert(name.clone(), pair);
            } else if values.refused.get(name) == Some(value) {
                refused.push(name.clone());
            } else {
                drifted.push(name.clone());
            }
        }
        (drifted, refused)
    }

    /// Sets one by one: a directive that cannot change while the server runs must not keep the others from changing.
    async fn configure(&self, directives: Vec<Directive>, within: Duration) -> Result<(), AskError> {
        let mut refused = None;
        for (name, value) in directives.iter().filter(|(name, _)| self.program.knows(name)) {
            match self.connection.config_set(&[(name, value)], within).await {
                Ok(()) => {
                    let shown =
                        self.connection.config_get(name, within).await?.remove(name).unwrap_or_default();
                    self.values().settled.insert(name.clone(), (value.clone(), shown));
                }
                // Only the server's word about this directive: while it loads or is busy it says no to everything.
                Err(error @ AskError::Refused { .. }) => {
                    tracing::warn!(%error, directive = name, "cannot be set while the server runs");
                    self.values().refused.insert(name.clone(), value.clone());
                    refused = Some(error);
                }
                Err(error) => return Err(error),
            }
        }
        refused.map_or(Ok(()), Err)
    }

    /// Publishes something that every node gets: it goes out on the bus links behind the announcement that Nagle holds back
    /// there, and is long enough to push both out. Nobody listens on the channel.
    async fn flush(&self, within: Duration) -> Result<(), AskError> {
        let filler = ".".repeat(FLUSH_BYTES);
        self.connection.raw(&["PUBLISH", FLUSH_CHANNEL, &filler], within).await.map(drop)
    }

    fn view(&self, seen: Seen, nodes: &ClusterView) -> Result<ServerView, AskError> {
        let Seen { info, cluster_ok, current_epoch, clients, drift: (config_drift, config_refused), slow } =
            seen;
        let myself = nodes
            .myself()
            .ok_or_else(|| AskError::Garbled { what: "CLUSTER NODES without myself".to_owned() })?;
        let mut topology = Topology::new();
        let (mut failed, mut suspected) = (BTreeSet::new(), BTreeSet::new());
        for node in nodes.nodes.iter().filter(|node| !node.flags.handshake) {
            let Some(role) = node.flags.role else { continue };
            let primary = node.primary.filter(|_| role == Role::Replica);
            let (slots, address) = (node.slots.clone(), node.address.clone());
            topology.insert(
                node.id,
                TopologyNode { role, primary, slots, config_epoch: node.config_epoch, address },
            );
            if node.flags.fail {
                failed.insert(node.id);
            }
            if node.flags.pfail {
                suspected.insert(node.id);
            }
        }
        let topology = {
            let mut values = self.values();
            if *values.topology != topology {
                values.topology = Arc::new(topology);
            }
            Arc::clone(&values.topology)
        };
        let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        Ok(ServerView {
            node_id: myself.id,
            version: info.version.clone(),
            keys: info.keys,
            cluster_ok,
            current_epoch,
            failed,
            suspected,
            blank: count(nodes.nodes.iter().filter(|node| node.flags.handshake).count()),
            open_slots: count(myself.migrating.len() + myself.importing.len()),
            config_drift,
            config_refused,
            memory_bytes: info.used_memory,
            persistence_failing: !info.rdb_last_bgsave_ok || info.aof_enabled && !info.aof_last_write_ok,
            clients,
            full_syncs: info.full_syncs,
            slow,
            aof: Some(info.aof_status()),
            expiring_keys: info.expiring_keys,
            replication: Replication::from(info.replication),
            topology,
        })
    }
}

/// What a look found, beside the topology.
struct Seen {
    info: ServerInfo,
    cluster_ok: bool,
    current_epoch: Epoch,
    clients: ClientTrouble,
    slow: Option<SlowCommand>,
    /// Directives that differ, and those that were refused.
    drift: (Vec<String>, Vec<String>),
}

/// The right that a command needs, as the engine's ACL rules name it.
fn right(command: &ServerCommand) -> &'static str {
    match command {
        ServerCommand::Look(_) | ServerCommand::Replication | ServerCommand::HoldsWrites => "info",
        ServerCommand::FailoverForce | ServerCommand::FailoverTakeover | ServerCommand::FailoverPlanned => {
            "cluster|failover"
        }
        ServerCommand::Flush => "publish",
        ServerCommand::PauseWrites(_) => "client|pause",
        ServerCommand::UnpauseWrites => "client|unpause",
        ServerCommand::Follow(_) => "cluster|replicate",
        ServerCommand::Meet(_) => "cluster|meet",
        ServerCommand::Configure(_) => "config|set",
        ServerCommand::Save => "bgsave",
    }
}

fn error(error: AskError, right: &str) -> ServerError {
    match error {
        AskError::Timeout => ServerError::Silent(Unseen::Timeout),
        AskError::Unreachable(_) => ServerError::Silent(Unseen::Unreachable),
        AskError::NoPermission(_) => ServerError::RightMissing(right.to_owned()),
        AskError::AuthRefused => ServerError::AuthRefused,
        AskError::Busy => ServerError::Busy,
        AskError::Loading => ServerError::Loading,
        AskError::MisConf(text) => ServerError::Refused(text),
        AskError::Refused { code, text } => ServerError::Refused(format!("{code} {text}")),
        AskError::Garbled { .. } => ServerError::Garbled,
    }
}
