//! What our server is told, and what it says.

use crate::program::Program;
use crate::rotation::Rotation;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use valkeeper_client::admin::{ClusterView, FailoverMode, ServerInfo};
use valkeeper_client::{AdminConnection, AskError, Value};
use valkeeper_model::{Replication, Role, ServerView, Topology, TopologyNode};
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
        let values = Values { started_with, ..Values::default() };
        Self { connection, rotation, program, values: Arc::new(Mutex::new(values)) }
    }

    /// Its password.
    pub(crate) fn rotation(&self) -> &Rotation {
        &self.rotation
    }

    pub(crate) async fn serve(&self, command: ServerCommand, within: Duration) -> Result<Reply, ServerError> {
        let server = &self.connection;
        let done = |result: Result<(), AskError>| result.map(|()| Reply::Done).map_err(error);
        match command {
            ServerCommand::Look(wanted) => {
                self.look(wanted, within).await.map(|view| Reply::View(Box::new(view))).map_err(error)
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

    async fn look(&self, wanted: Vec<Directive>, within: Duration) -> Result<ServerView, AskError> {
        let wanted: Vec<Directive> =
            wanted.into_iter().filter(|(name, _)| self.program.knows(name)).collect();
        let names: Vec<&str> = wanted.iter().map(|(name, _)| name.as_str()).collect();
        let (info, nodes, cluster, shown) = tokio::try_join!(
            self.connection.server_info(within),
            self.connection.cluster_nodes(within),
            self.connection.cluster_info(within),
            self.shown(&names, within),
        )?;
        let drift = self.drift(&wanted, &shown);
        self.view(info, &nodes, cluster.ok, cluster.current_epoch, drift)
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

    fn view(
        &self,
        info: ServerInfo,
        nodes: &ClusterView,
        cluster_ok: bool,
        current_epoch: valkeeper_model::Epoch,
        (config_drift, config_refused): (Vec<String>, Vec<String>),
    ) -> Result<ServerView, AskError> {
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
            aof: Some(info.aof_status()),
            expiring_keys: info.expiring_keys,
            branched_from: info.replication.branched_from(),
            replication: Replication::from(info.replication),
            topology,
        })
    }
}

fn error(error: AskError) -> ServerError {
    match error {
        AskError::Timeout => ServerError::Silent(valkeeper_model::Unseen::Timeout),
        AskError::Unreachable(_) => ServerError::Silent(valkeeper_model::Unseen::Unreachable),
        AskError::AuthRefused => ServerError::AuthRefused,
        AskError::Busy => ServerError::Busy,
        AskError::Loading => ServerError::Loading,
        AskError::MisConf(text) => ServerError::Refused(text),
        AskError::Refused { code, text } => ServerError::Refused(format!("{code} {text}")),
        AskError::Garbled { .. } => ServerError::Garbled,
    }
}
