//! What a server says of itself, as an agent sees it.

use crate::{
    Address, ClientTrouble, Epoch, InvalidDirective, NodeId, Offset, Position, ReplicationId, SlotSet,
};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

/// Which engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum EngineKind {
    /// Valkey.
    Valkey,
    /// Redis.
    Redis,
}

/// A server's part in its shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Role {
    /// Takes the writes.
    Primary,
    /// Follows a primary.
    Replica,
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Primary => "primary",
            Self::Replica => "replica",
        })
    }
}

/// A replica's link to its primary.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Link {
    /// In sync with the stream.
    Up,
    /// A full sync is on: what the replica holds is not a copy yet.
    Syncing,
    /// Was up in this run of the process, is down now: all that the primary sent has been read, the copy is whole.
    Lost,
    /// Never up in this run: what it holds comes from its own disk, or is nothing.
    NeverUp,
}

/// Replication, as `INFO replication` tells it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Replication {
    /// Primary or replica, with what only that one knows.
    pub part: Part,
    /// The history that `offset` counts in.
    pub replid: ReplicationId,
    /// `master_repl_offset` on a primary, `slave_repl_offset` on a replica; bytes.
    pub offset: Offset,
}

/// What depends on the role.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Part {
    /// A primary and the replicas attached to it, by client port.
    Primary {
        /// Attached replicas.
        replicas: Vec<AttachedReplica>,
    },
    /// A replica.
    Replica {
        /// Its link.
        link: Link,
    },
}

/// A replica as its primary sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AttachedReplica {
    /// Where it says it listens.
    pub address: std::net::SocketAddr,
    /// Is it online, that is past its full sync?
    pub online: bool,
    /// The last offset it acknowledged; about one second old at rest.
    pub acknowledged: Offset,
}

impl Replication {
    /// Where the server is in its history.
    pub fn position(&self) -> Position {
        Position { history: self.replid, offset: self.offset }
    }
    /// The role.
    pub fn role(&self) -> Role {
        match self.part {
            Part::Primary { .. } => Role::Primary,
            Part::Replica { .. } => Role::Replica,
        }
    }
    /// The link, on a replica.
    pub fn link(&self) -> Option<Link> {
        match self.part {
            Part::Primary { .. } => None,
            Part::Replica { link } => Some(link),
        }
    }
}

/// One node in the cluster as some server believes it to be; only what changes with the topology.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TopologyNode {
    /// Primary or replica.
    pub role: Role,
    /// Whose replica.
    pub primary: Option<NodeId>,
    /// Slots owned.
    pub slots: SlotSet,
    /// Its configuration epoch.
    pub config_epoch: Epoch,
    /// Where it is believed to be.
    pub address: Option<Address>,
}

/// The cluster as one server believes it to be. Shared between views that agree: 3,000 servers hold one, not 3,000.
pub type Topology = BTreeMap<NodeId, TopologyNode>;

/// One full look at a server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ServerView {
    /// Its own id.
    pub node_id: NodeId,
    /// `9.1.2`.
    pub version: String,
    /// Which engine; `None` by older agents.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub engine: Option<EngineKind>,
    /// Replication.
    pub replication: Replication,
    /// Number of keys.
    pub keys: u64,
    /// Memory in use, bytes.
    pub memory_bytes: u64,
    /// `cluster_state:ok`.
    pub cluster_ok: bool,
    /// The engine's `currentEpoch`.
    pub current_epoch: Epoch,
    /// The topology it believes in.
    pub topology: Arc<Topology>,
    /// Nodes it holds for failed (FAIL).
    pub failed: BTreeSet<NodeId>,
    /// Nodes it suspects (PFAIL).
    pub suspected: BTreeSet<NodeId>,
    /// Nodes in handshake: nobody knows yet who they are.
    pub blank: u32,
    /// Slots that are being moved by hand (importing or migrating).
    pub open_slots: u32,
    /// Directives whose value is not the ordered one yet.
    pub config_drift: Vec<String>,
    /// Directives that the server cannot change while it runs, and that its program starts with.
    pub config_refused: Vec<String>,
    /// Directives that the server, or its program, does not take at all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub config_invalid: Vec<InvalidDirective>,
    /// Directives of Valkeeper or of the manifest that somebody has set to something else since the last look.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub config_altered: Vec<String>,
    /// Directives that Valkeeper never set and that have another value than the server program gives them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub config_by_hand: Vec<String>,
    /// ACL users that somebody has added. `default` is Valkeeper's.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub users_by_hand: Vec<String>,
    /// The last attempt to persist failed (`rdb_last_bgsave_status`, `aof_last_write_status`).
    pub persistence_failing: bool,
    /// Its memory is used up, so that it refuses writes; `None` also by older agents.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_full: Option<MemoryFull>,
    /// What keeps clients from being served.
    #[serde(default, skip_serializing_if = "ClientTrouble::is_none")]
    pub clients: ClientTrouble,
    /// Full copies that it has sent since all replicas of it were last in the stream; `None` where that is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub full_syncs: Option<u64>,
    /// The command that kept it from answering before this look.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slow: Option<SlowCommand>,
    /// The append-only file, as INFO shows it; `None` by older agents.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub aof: Option<AofStatus>,
    /// The history that the data went through before the present one, and where it branched off (`master_replid2`,
    /// `second_repl_offset` − 1).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub branched_from: Option<Position>,
    /// Keys that have a time to live; they count in `keys` too.
    #[serde(default)]
    pub expiring_keys: u64,
    /// Of a replica without cluster mode: whom it follows, as it says itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub follows: Option<Followed>,
    /// Changes of its data; `None` by older agents.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub changes: Option<ChangeCount>,
}

/// A count of the changes of a server's data. As long as it stays the same there was none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ChangeCount {
    /// Since the last snapshot (`rdb_changes_since_last_save`).
    pub since_save: u64,
    /// When that was, seconds since 1970 (`rdb_last_save_time`).
    pub saved_at: u64,
}

/// Where a replica's primary is, as the replica was told.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Followed {
    /// An address or a name (`master_host`).
    pub host: String,
    /// Its port.
    pub port: u16,
}

impl Followed {
    /// Is it that address?
    pub fn is_at(&self, address: &Address) -> bool {
        self.port == address.port && self.host.parse() == Ok(address.ip)
    }
}

/// More memory in use than `maxmemory` allows, and nothing that may be evicted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MemoryFull {
    /// Bytes in use.
    pub used: u64,
    /// Bytes allowed.
    pub limit: u64,
}

/// A command that kept a server from answering.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SlowCommand {
    /// Its name.
    pub command: String,
    /// The address of the client that sent it.
    pub client: String,
    /// How long it ran, milliseconds.
    pub took_ms: u64,
}

/// The append-only file of a running server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum AofStatus {
    /// `aof_enabled:0`.
    Off,
    /// On, and no rewrite runs, is scheduled, or failed last: the files in force are those that are written to.
    Settled,
    /// On, and a rewrite runs or is scheduled, or the last one failed. After `appendonly yes` at run time nothing is in force before
    /// the first rewrite has ended.
    Rewriting,
}

impl ServerView {
    /// One that is well and holds no keys: it fails nobody, nothing in it is open, differs or fails.
    pub fn well(node_id: NodeId, version: &str, replication: Replication, topology: Arc<Topology>) -> Self {
        let current_epoch = topology.values().map(|node| node.config_epoch).max().unwrap_or_default();
        Self {
            node_id,
            version: version.to_owned(),
            engine: None,
            replication,
            keys: 0,
            memory_bytes: 0,
            cluster_ok: true,
            current_epoch,
            topology,
            failed: BTreeSet::new(),
            suspected: BTreeSet::new(),
            blank: 0,
            open_slots: 0,
            config_drift: Vec::new(),
            config_refused: Vec::new(),
            config_invalid: Vec::new(),
            config_altered: Vec::new(),
            config_by_hand: Vec::new(),
            users_by_hand: Vec::new(),
            persistence_failing: false,
            memory_full: None,
            clients: ClientTrouble::default(),
            full_syncs: None,
            slow: None,
            aof: None,
            branched_from: None,
            expiring_keys: 0,
            follows: None,
            changes: None,
        }
    }

    /// Is it a server of that version? One whose engine is not told counts by its number alone.
    pub fn is_version(&self, wanted: &crate::ServerVersion) -> bool {
        self.version == wanted.version && self.engine.is_none_or(|engine| engine == wanted.engine)
    }

    /// The server program; of this engine, if an older agent does not tell it.
    pub fn program(&self, untold: EngineKind) -> crate::ServerVersion {
        crate::ServerVersion { engine: self.engine.unwrap_or(untold), version: self.version.clone() }
    }

    /// Its own line of its topology.
    pub fn myself(&self) -> Option<&TopologyNode> {
        self.topology.get(&self.node_id)
    }
    /// The slots it owns by its own belief.
    pub fn slots(&self) -> Option<&SlotSet> {
        self.myself().map(|node| &node.slots).filter(|slots| !slots.is_empty())
    }
    /// The primary of a shard. In mode `cluster` it owns slots by its own belief; without slots its agent's file says so, which gives the shard's
    /// primary all of them (`plan::mode::standalone`). A primary that is none of a shard's serves nobody.
    pub fn is_shard_primary(&self) -> bool {
        self.replication.role() == Role::Primary && self.slots().is_some()
    }
    /// A primary that owns no slots by its own belief: its shard has none yet, or none any more.
    pub fn is_primary_without_slots(&self) -> bool {
        self.replication.role() == Role::Primary && self.slots().is_none()
    }
    /// A primary that owns slots of that shard. One that was moved to another shard by hand and promoted there serves that one.
    pub fn serves(&self, shard: &SlotSet) -> bool {
        self.is_shard_primary() && self.slots().is_some_and(|own| own.are_of(shard))
    }
    /// Whose replica, by its own belief.
    pub fn primary(&self) -> Option<NodeId> {
        self.myself().filter(|node| node.role == Role::Replica).and_then(|node| node.primary)
    }
}
