//! What our server is told, and what it says.

use crate::configured::Configured;
use crate::entrance::Entrance;
use crate::rotation::Rotation;
use crate::slot_transfer::{Giving, Pace};
use crate::slow::Silenced;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use valkeeper_client::admin::{ClusterInfo, ClusterNodes, FailoverMode, NotSet, ReplicationRole, ServerInfo};
use valkeeper_client::{AdminConnection, AskError, Value};
use valkeeper_model::nodes_conf::{NodeLine, NodesConf};
use valkeeper_model::{
    Address, ChangeCount, ClientTrouble, Epoch, Followed, NodeId, Replication, Role, ServerView, SlowCommand,
    Topology, TopologyNode, Unseen,
};
use valkeeper_plan::agent::{Reply, ServerCommand, ServerError};
use valkeeper_plan::failover::succession::may_replace;
use valkeeper_plan::server::config::{self, Directive, OrderedConfig};
use valkeeper_plan::server::drift::{Differences, Extent, Took};

/// One byte more than a TCP segment on loopback can take (MSS 65483): see docs/engine-facts.md, "Nagle on the bus".
const FLUSH_BYTES: usize = 66_000;
/// Where they go.
const FLUSH_CHANNEL: &str = "__valkeeper__:flush";
/// What may wait for a client before it is disconnected.
const BUFFER_LIMITS: &str = "client-output-buffer-limit";

/// The way to one running server. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Serving {
    connection: AdminConnection,
    rotation: Rotation,
    configured: Configured,
    entrance: Entrance,
    silenced: Silenced,
    identity: Identity,
    /// The last topology, so that equal ones share their memory.
    topology: Arc<Mutex<Arc<Topology>>>,
    pace: Pace,
}

/// Where the identity of a server is known from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Identity {
    /// From the engine: `CLUSTER NODES`.
    Engine,
    /// The engine has none: it is this one, and its agent adds the rest ([`valkeeper_plan::mode::standalone::complete`]).
    Given(NodeId),
}

impl Serving {
    pub(crate) fn new(
        connection: AdminConnection,
        rotation: Rotation,
        configured: Configured,
        identity: Identity,
    ) -> Self {
        let entrance = Entrance::new(connection.clone());
        let silenced = Silenced::default();
        let (topology, pace) = (Arc::default(), Pace::default());
        Self { connection, rotation, configured, entrance, silenced, identity, topology, pace }
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
            ServerCommand::Look(ordered) => {
                self.look_or_knock(ordered, within).await.map(|view| Reply::View(Box::new(view)))
            }
            ServerCommand::Replication => {
                server.replication(within).await.map(|info| Reply::Replication(info.into())).map_err(error)
            }
            ServerCommand::FailoverForce { replaces } => {
                self.replace(FailoverMode::Force, replaces, within).await
            }
            ServerCommand::FailoverTakeover { replaces } => {
                self.replace(FailoverMode::Takeover, replaces, within).await
            }
            ServerCommand::FailoverPlanned => done(server.failover(FailoverMode::Planned, within).await),
            ServerCommand::Flush => done(self.flush(within).await),
            ServerCommand::PauseWrites(ms) => done(server.pause_writes(ms, within).await),
            ServerCommand::HoldsWrites => {
                let held = server.info("clients", within).await.map_err(error)?;
                Ok(Reply::HoldsWrites(held.contains("paused_reason:failover_in_progress")))
            }
            ServerCommand::UnpauseWrites => done(server.unpause(within).await),
            ServerCommand::Follow(primary) => self.follow(primary, within).await,
            ServerCommand::FollowAt(address, login) => {
                self.rotation.log_in(login, within).await.map_err(error)?;
                done(server.replica_of(&address, within).await)
            }
            ServerCommand::Promote => done(server.replica_of_no_one(within).await),
            ServerCommand::CloseClients => {
                for kind in ["normal", "pubsub"] {
                    let kill = ["CLIENT", "KILL", "TYPE", kind, "SKIPME", "yes"];
                    server.raw(&kill, within).await.map_err(error)?;
                }
                Ok(Reply::Done)
            }
            ServerCommand::Meet { address, node } => {
                self.is_member_there(&address, node, within).await?;
                done(server.meet(&address, within).await)
            }
            ServerCommand::TakeSlots(slots) if self.configured.program().version.starts_with("6.") => {
                done(server.add_slots(&slots, within).await)
            }
            ServerCommand::TakeSlots(slots) => done(server.add_slot_ranges(&slots, within).await),
            ServerCommand::MoveSlots(transfer) => {
                let target = AdminConnection::new(transfer.address.socket(), Some(self.rotation.used()));
                let pace = self.pace.clone();
                let giving = Giving::new(server.clone(), target, self.rotation.used(), *transfer, pace);
                giving.give(within).await.map(|()| Reply::Done)
            }
            ServerCommand::Forget(nodes) => done(self.forget(&nodes, within).await),
            ServerCommand::Configure(directives) => done(self.configure(&directives, within).await),
            ServerCommand::PutBack(names) => {
                done(self.configure(&self.configured.back_to(&names), within).await)
            }
            ServerCommand::Save => done(server.bgsave(within).await),
            ServerCommand::RewriteAof => done(server.bgrewriteaof(within).await),
            ServerCommand::Relink => self.relink(within).await,
        }
    }

    /// Is the server there the member that is to be met? A port of one that has died may be another cluster's by now, and the bus knows no
    /// password: whoever is met takes the other in, and two clusters become one.
    async fn is_member_there(
        &self,
        address: &Address,
        node: Option<NodeId>,
        within: Duration,
    ) -> Result<(), ServerError> {
        let there = AdminConnection::new(address.socket(), Some(self.rotation.used()));
        let found = there.myid(within).await.map_err(|refused| error(refused, "cluster|myid"))?;
        match node {
            Some(node) if node != found => {
                Err(ServerError::Refused(format!("at {address} another node answers: {found}")))
            }
            _ => Ok(()),
        }
    }

    /// Ends a replica's link, which it then makes anew. Only if it has no history at all: from a place in a former one the primary would let it go on, and what
    /// it has carried out since would be carried out again (docs/engine-facts.md).
    async fn relink(&self, within: Duration) -> Result<Reply, ServerError> {
        let said = |refused| error(refused, "client|kill");
        let info = self.connection.info("replication", within).await.map_err(said)?;
        if !info.lines().any(|line| line.trim_end() == "master_replid:") {
            return Err(ServerError::Refused("it holds a place in a former history".to_owned()));
        }
        self.connection.raw(&["CLIENT", "KILL", "TYPE", "master"], within).await.map_err(said)?;
        Ok(Reply::Done)
    }

    /// A failover in the place of that primary.
    async fn replace(
        &self,
        mode: FailoverMode,
        replaces: Option<NodeId>,
        within: Duration,
    ) -> Result<Reply, ServerError> {
        let nodes =
            self.connection.cluster_nodes(within).await.map_err(|said| error(said, "cluster|nodes"))?;
        let followed = nodes.myself().and_then(|myself| myself.primary);
        if !may_replace(followed, replaces) {
            return Err(ServerError::Refused("it follows another primary by now".to_owned()));
        }
        let told = self.connection.failover(mode, within).await;
        told.map(|()| Reply::Done).map_err(|said| error(said, "cluster|failover"))
    }

    /// Looks; a server that does not answer is asked on a new connection as well, whether it is there at all.
    async fn look_or_knock(
        &self,
        ordered: OrderedConfig,
        within: Duration,
    ) -> Result<ServerView, ServerError> {
        let mut look = std::pin::pin!(self.look(ordered, within));
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

    async fn look(&self, ordered: OrderedConfig, within: Duration) -> Result<ServerView, ServerError> {
        let wanted = &ordered.directives;
        let asked = self.configured.due(wanted);
        let whole = asked.extent == Extent::Whole;
        let program = self.configured.program();
        let names: Vec<&str> = if whole {
            vec!["*"]
        } else {
            wanted.iter().map(|(name, _)| name.as_str()).filter(|name| program.knows(name)).collect()
        };
        let needs = |right: &'static str| move |said: AskError| error(said, right);
        let (info, nodes, cluster, shown) = tokio::try_join!(
            async { self.connection.server_info(within).await.map_err(needs("info")) },
            async { self.nodes(within).await.map_err(needs("cluster|nodes")) },
            async { self.cluster_info(within).await.map_err(needs("cluster|info")) },
            async { self.shown(&names, within).await.map_err(needs("config|get")) },
        )?;
        if whole {
            self.rotation.shown(&shown, within).await;
            // Users of a file are their owner's business. Without the right to see them nothing is told of them.
            let own_file = shown.get("aclfile").is_some_and(|file| !file.is_empty());
            if !own_file
                && let Ok(users) = self.connection.raw(&["ACL", "USERS"], within).await
                && let Ok(users) = redis::from_redis_value(users)
            {
                self.configured.saw_users(users);
            }
        }
        let differences = self.configured.differences(&ordered, &shown, asked);
        let clients = ClientTrouble { access: self.entrance.fault(&info), paused: info.paused };
        let slow = self.silenced.cause(&self.connection, within).await;
        // A server without cluster mode serves whatever it has.
        let (cluster_ok, current_epoch) =
            cluster.map_or((true, Epoch::default()), |cluster| (cluster.ok, cluster.current_epoch));
        let seen = Seen { info, cluster_ok, current_epoch, clients, slow, differences };
        self.view(seen, &nodes).map_err(needs("cluster|nodes"))
    }

    /// What a server knows of the others: without cluster mode nothing but who it is.
    async fn nodes(&self, within: Duration) -> Result<ClusterNodes, AskError> {
        match self.identity {
            Identity::Engine => self.connection.cluster_nodes(within).await,
            Identity::Given(id) => {
                let mut me = NodeLine::new(id, None, Role::Primary);
                me.flags.myself = true;
                Ok(NodesConf { nodes: vec![me], vars: None })
            }
        }
    }

    async fn cluster_info(&self, within: Duration) -> Result<Option<ClusterInfo>, AskError> {
        match self.identity {
            Identity::Engine => self.connection.cluster_info(within).await.map(Some),
            Identity::Given(_) => Ok(None),
        }
    }

    /// `CONFIG GET` of these names. Redis before 7.0 takes one pattern only.
    async fn shown(&self, names: &[&str], within: Duration) -> Result<BTreeMap<String, String>, AskError> {
        if names.is_empty() {
            return Ok(BTreeMap::new());
        }
        if self.configured.program().version.starts_with("6.") {
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

    /// First it must not be promoted by the engine's own election any more: should its new primary be held for failed, it would be, within half a
    /// second of the order and without any of that primary's data (docs/engine-facts.md). Its agent allows it again once it has caught up.
    async fn follow(&self, primary: NodeId, within: Duration) -> Result<Reply, ServerError> {
        let bar = [(config::NO_FAILOVER.to_owned(), "yes".to_owned())];
        self.configure(&bar, within).await.map_err(|said| error(said, "config|set"))?;
        let followed = self.connection.replicate(primary, within).await;
        followed.map(|()| Reply::Done).map_err(|said| error(said, "cluster|replicate"))
    }

    /// Sets one by one: a directive that cannot change while the server runs must not keep the others from changing.
    async fn configure(&self, directives: &[Directive], within: Duration) -> Result<(), AskError> {
        let mut refused = None;
        let program = self.configured.program();
        let _setting = self.configured.setting();
        for directive in directives.iter().filter(|(name, _)| program.knows(name)) {
            let (name, value) = directive;
            let took = match self.connection.config_set(&[(name, value)], within).await {
                Ok(()) => Took::Set(
                    self.connection.config_get(name, within).await?.remove(name).unwrap_or_default(),
                ),
                // Only the server's word about this directive: while it loads or is busy it says no to everything.
                Err(error) => {
                    let took = match error.not_set() {
                        NotSet::Immutable => Took::Immutable,
                        NotSet::Invalid(why) => Took::Invalid(why),
                        NotSet::Other => return Err(error),
                    };
                    tracing::warn!(%error, directive = name, "is not set");
                    refused = Some(error);
                    took
                }
            };
            self.configured.told(directive, took);
        }
        refused.map_or(Ok(()), Err)
    }

    /// Forgets those of these nodes that it knows.
    async fn forget(&self, nodes: &[NodeId], within: Duration) -> Result<(), AskError> {
        let known = self.connection.cluster_nodes(within).await?;
        for node in nodes.iter().filter(|node| known.nodes.iter().any(|line| line.id == **node)) {
            self.connection.forget(*node, within).await?;
        }
        Ok(())
    }

    /// Publishes something that every node gets: it goes out on the bus links behind the announcement that Nagle holds back
    /// there, and is long enough to push both out. Nobody listens on the channel, but some may listen on all: where that much could
    /// end their connections, the announcement takes the engine's own time.
    async fn flush(&self, within: Duration) -> Result<(), AskError> {
        let limits = self.connection.config_get(BUFFER_LIMITS, within).await?;
        let bytes = u64::try_from(FLUSH_BYTES).unwrap_or(u64::MAX);
        if !limits.get(BUFFER_LIMITS).is_some_and(|limits| config::may_publish(limits, bytes)) {
            return Ok(());
        }
        let filler = ".".repeat(FLUSH_BYTES);
        self.connection.raw(&["PUBLISH", FLUSH_CHANNEL, &filler], within).await.map(drop)
    }

    fn view(&self, seen: Seen, nodes: &ClusterNodes) -> Result<ServerView, AskError> {
        let Seen { info, cluster_ok, current_epoch, clients, differences, slow } = seen;
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
            let mut kept = self.topology.lock().unwrap_or_else(PoisonError::into_inner);
            if **kept != topology {
                *kept = Arc::new(topology);
            }
            Arc::clone(&kept)
        };
        let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        Ok(ServerView {
            node_id: myself.id,
            version: info.version.clone(),
            engine: Some(info.engine),
            keys: info.keys,
            cluster_ok,
            current_epoch,
            failed,
            suspected,
            blank: count(nodes.nodes.iter().filter(|node| node.flags.handshake).count()),
            open_slots: count(myself.migrating.len() + myself.importing.len()),
            config_drift: differences.drift,
            config_refused: differences.refused,
            config_invalid: differences.invalid,
            config_altered: differences.altered,
            config_by_hand: differences.by_hand,
            users_by_hand: differences.users,
            memory_bytes: info.used_memory,
            persistence_failing: !info.rdb_last_bgsave_ok || info.aof_enabled && !info.aof_last_write_ok,
            memory_full: info.memory_full(),
            clients,
            full_syncs: info.full_syncs,
            slow,
            aof: Some(info.aof_status()),
            expiring_keys: info.expiring_keys,
            branched_from: info.replication.branched_from(),
            follows: match (&self.identity, &info.replication.role) {
                (Identity::Given(_), ReplicationRole::Replica(link)) => {
                    Some(Followed { host: link.primary.host.clone(), port: link.primary.port })
                }
                _ => None,
            },
            changes: Some(ChangeCount {
                since_save: info.changes_since_last_save,
                saved_at: info.rdb_last_save,
            }),
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
    differences: Differences,
}

/// The right that a command needs, as the engine's ACL rules name it.
fn right(command: &ServerCommand) -> &'static str {
    match command {
        ServerCommand::Look(_) | ServerCommand::Replication | ServerCommand::HoldsWrites => "info",
        ServerCommand::FailoverForce { .. }
        | ServerCommand::FailoverTakeover { .. }
        | ServerCommand::FailoverPlanned => "cluster|failover",
        ServerCommand::Flush => "publish",
        ServerCommand::PauseWrites(_) => "client|pause",
        ServerCommand::UnpauseWrites => "client|unpause",
        ServerCommand::Follow(_) => "cluster|replicate",
        ServerCommand::FollowAt(..) | ServerCommand::Promote => "replicaof",
        ServerCommand::Meet { .. } => "cluster|meet",
        ServerCommand::TakeSlots(_) => "cluster|addslotsrange",
        ServerCommand::MoveSlots(_) => "cluster|setslot",
        ServerCommand::Forget(_) => "cluster|forget",
        ServerCommand::Configure(_) | ServerCommand::PutBack(_) => "config|set",
        ServerCommand::Save => "bgsave",
        ServerCommand::RewriteAof => "bgrewriteaof",
        ServerCommand::CloseClients | ServerCommand::Relink => "client|kill",
    }
}

pub(crate) fn error(error: AskError, right: &str) -> ServerError {
    match error {
        AskError::Timeout => ServerError::Silent(Unseen::Timeout),
        AskError::Unreachable(_) => ServerError::Silent(Unseen::Unreachable),
        AskError::NoDescriptors => ServerError::Silent(Unseen::NoDescriptors),
        AskError::NoPermission(_) => ServerError::RightMissing(right.to_owned()),
        AskError::AuthRefused => ServerError::AuthRefused,
        AskError::Busy => ServerError::Busy,
        AskError::Loading => ServerError::Loading,
        AskError::MisConf(text) => ServerError::Refused(text),
        AskError::Refused { code, text } => ServerError::Refused(format!("{code} {text}")),
        AskError::Garbled { .. } => ServerError::Garbled,
    }
}
