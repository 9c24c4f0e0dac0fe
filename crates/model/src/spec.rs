//! What the user wants, as typed values with every default filled in. `manifest` reads it from YAML; on Kubernetes it
//! is read from the `RedisCluster` object. Both ask [`validate`] for what is wrong with it.

mod directives;
mod drift;
mod memory;
pub mod rules;
mod text;
mod units;
mod update;
mod validate;

pub use directives::{is_reserved, normal_name, reserved_directives};
pub use drift::DriftPolicy;
pub use memory::MemoryWish;
pub(crate) use text::printable;
pub use units::{InvalidUnit, parse_duration_ms, parse_engine_bytes, parse_quantity_bytes};
pub use update::{PrimaryUpdate, RestartPolicy, UpdateSpec};
pub(crate) use validate::say;
pub use validate::{FieldProblem, is_dns_subdomain, validate, warnings};

use crate::{ClusterName, Refusal};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

/// A cluster as its user wants it. Values may be impossible until [`validate`] has found nothing wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ClusterSpec {
    /// `metadata.name`.
    pub name: ClusterName,
    /// `spec.mode`.
    #[serde(default)]
    pub mode: Mode,
    /// Primaries that own slots.
    pub shards: u32,
    /// Replicas of each primary.
    pub replicas_per_shard: u32,
    /// What to do when the zones do not suffice (law 7).
    pub zones: ZonePolicy,
    /// `cluster-node-timeout`: how long the engine waits before it suspects a silent node.
    pub node_timeout_ms: u64,
    /// How long a running server may stay silent before its agent treats it as dead.
    pub unresponsive_after_ms: u64,
    /// What survives when all instances of a shard stop.
    pub persistence: Persistence,
    /// `spec.redis`: directives for the server's configuration. Names are trimmed and lower-case, values are what
    /// follows the name in the file; an empty value must be rendered as `""`.
    pub directives: BTreeMap<String, String>,
    /// The memory limit of each server; `None` leaves it to the directives or the engine.
    pub max_memory: Option<MaxMemory>,
    /// What the server does when the limit is reached.
    pub max_memory_policy: Option<MaxMemoryPolicy>,
    /// A primary refuses writes with fewer in-sync replicas than this (`min-replicas-to-write`). 0: never.
    pub min_sync_replicas: u32,
    /// The most replicas a write has to wait for. 0: not limited.
    pub max_sync_replicas: u32,
    /// Name of the Secret whose key `password` protects the servers. `None`: Valkeeper makes one.
    pub auth_secret: Option<String>,
    /// The Sentinels, in mode `sentinel`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sentinel: Option<crate::SentinelSpec>,
    /// Does the cluster follow another one?
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replica_mode: Option<crate::ReplicaModeSpec>,
    /// What becomes of directives that somebody has set by hand.
    #[serde(default, skip_serializing_if = "DriftPolicy::is_default")]
    pub drift: DriftPolicy,
    /// How changes that need a restart get to the servers.
    #[serde(default, skip_serializing_if = "UpdateSpec::is_default")]
    pub update: UpdateSpec,
    /// The server program. `None` where the platform chooses it: on Kubernetes, and on a machine where the manifest names no image, or a program
    /// was named beside it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<crate::ServerVersion>,
    /// How pods are made, on a platform that has them; `None` says nothing of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod_template: Option<crate::PodTemplate>,
}

impl ClusterSpec {
    /// `nodeTimeout` when the manifest has none.
    pub const DEFAULT_NODE_TIMEOUT_MS: u64 = 15_000;
    /// `unresponsiveAfter` when the manifest has none and the node timeout is long enough for it.
    pub const DEFAULT_UNRESPONSIVE_AFTER_MS: u64 = 5_000;
    /// `shards` when the manifest has none.
    pub const DEFAULT_SHARDS: u32 = 3;

    /// A cluster of which only the name is said: everything else has its default.
    pub fn new(name: ClusterName) -> Self {
        Self {
            name,
            mode: Mode::Cluster,
            shards: Self::DEFAULT_SHARDS,
            replicas_per_shard: 0,
            zones: ZonePolicy::default(),
            node_timeout_ms: Self::DEFAULT_NODE_TIMEOUT_MS,
            unresponsive_after_ms: Self::DEFAULT_UNRESPONSIVE_AFTER_MS,
            persistence: Persistence::default(),
            directives: BTreeMap::new(),
            max_memory: None,
            max_memory_policy: None,
            min_sync_replicas: 0,
            max_sync_replicas: 0,
            auth_secret: None,
            sentinel: None,
            replica_mode: None,
            drift: DriftPolicy::default(),
            update: UpdateSpec::default(),
            version: None,
            pod_template: None,
        }
    }

    /// Why a running cluster does not follow this spec after that one. What is stored does not tell which Secret it came from.
    pub fn refuse_change_from(&self, before: &Self) -> Option<Refusal> {
        let (from, to) = (before.named_secret(), self.named_secret());
        let owned = |name: Option<&str>| name.map(str::to_owned);
        (from != to).then(|| Refusal::PasswordSecretChanged { from: owned(from), to: owned(to) })
    }

    /// The Secret that Valkeeper makes when none is named.
    pub fn made_secret(cluster: &ClusterName) -> String {
        format!("{cluster}-auth")
    }

    fn named_secret(&self) -> Option<&str> {
        self.auth_secret.as_deref().filter(|named| *named != Self::made_secret(&self.name))
    }

    /// How many servers that makes.
    pub fn instances(&self) -> u32 {
        self.replicas_per_shard.saturating_add(1).saturating_mul(self.shards)
    }

    /// `unresponsiveAfter` for a cluster that sets only `nodeTimeout`: a third of it, between one and five seconds, so
    /// that the agent acts before the engine's own election.
    pub fn default_unresponsive_after_ms(node_timeout_ms: u64) -> u64 {
        (node_timeout_ms / 3).clamp(validate::MIN_UNRESPONSIVE_AFTER_MS, Self::DEFAULT_UNRESPONSIVE_AFTER_MS)
    }
}

/// What the servers of a cluster are to each other.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// The engine's cluster mode: shards that own slots, primaries that vote.
    #[default]
    Cluster,
    /// One primary and its replicas, without slots. Their agents vote.
    Standalone,
    /// The same, with Sentinels that clients ask where the primary is.
    Sentinel,
}

impl Mode {
    /// As the manifest has it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Cluster => "cluster",
            Self::Standalone => "standalone",
            Self::Sentinel => "sentinel",
        }
    }

    /// Are there shards that own slots? Without, there is one primary, which all clients have to find.
    pub fn has_slots(self) -> bool {
        match self {
            Self::Cluster => true,
            Self::Standalone | Self::Sentinel => false,
        }
    }

    /// Is it the mode that older versions, which say none, know?
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
    pub(crate) fn is_cluster(&self) -> bool {
        *self == Self::Cluster
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// What to do when zones do not suffice to survive the loss of one. Surviving takes at least three zones: with two, one
/// of them holds half of the primaries or more.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ZonePolicy {
    /// Refuse the layout.
    #[default]
    Required,
    /// Accept it, and say in a condition what the loss of a zone would cost.
    BestEffort,
}

impl fmt::Display for ZonePolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Required => "required",
            Self::BestEffort => "besteffort",
        })
    }
}

/// How the servers keep their data on disk.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Persistence {
    /// An append-only file (with an RDB preamble).
    #[default]
    Aof,
    /// Snapshots only: a stop of the whole shard may lose the last minutes.
    Rdb,
    /// Nothing on disk: a stop of the whole shard loses its data.
    None,
}

impl fmt::Display for Persistence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Aof => "aof",
            Self::Rdb => "rdb",
            Self::None => "none",
        })
    }
}

/// The memory limit of a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MaxMemory {
    /// In bytes, as rendered into `maxmemory`.
    pub bytes: u64,
}

/// What a server does when its memory limit is reached.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum MaxMemoryPolicy {
    /// Refuse writes.
    #[default]
    NoEviction,
    /// Drop the least recently used key.
    AllKeysLru,
    /// Drop the least frequently used key.
    AllKeysLfu,
    /// Drop any key.
    AllKeysRandom,
    /// Drop the least recently used key that has a time to live.
    VolatileLru,
    /// Drop the least frequently used key that has a time to live.
    VolatileLfu,
    /// Drop any key that has a time to live.
    VolatileRandom,
    /// Drop the key with the shortest time to live.
    VolatileTtl,
}

impl MaxMemoryPolicy {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::NoEviction,
        Self::AllKeysLru,
        Self::AllKeysLfu,
        Self::AllKeysRandom,
        Self::VolatileLru,
        Self::VolatileLfu,
        Self::VolatileRandom,
        Self::VolatileTtl,
    ];

    /// The engine's word, as in `maxmemory-policy`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NoEviction => "noeviction",
            Self::AllKeysLru => "allkeys-lru",
            Self::AllKeysLfu => "allkeys-lfu",
            Self::AllKeysRandom => "allkeys-random",
            Self::VolatileLru => "volatile-lru",
            Self::VolatileLfu => "volatile-lfu",
            Self::VolatileRandom => "volatile-random",
            Self::VolatileTtl => "volatile-ttl",
        }
    }
}

/// A word that is no eviction policy of the engine.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{}` is not an eviction policy", printable(.0))]
pub struct InvalidPolicy(String);

impl FromStr for MaxMemoryPolicy {
    type Err = InvalidPolicy;
    fn from_str(text: &str) -> Result<Self, InvalidPolicy> {
        Self::ALL
            .into_iter()
            .find(|policy| policy.as_str() == text)
            .ok_or_else(|| InvalidPolicy(text.to_owned()))
    }
}
impl TryFrom<String> for MaxMemoryPolicy {
    type Error = InvalidPolicy;
    fn try_from(text: String) -> Result<Self, InvalidPolicy> {
        text.parse()
    }
}
impl From<MaxMemoryPolicy> for String {
    fn from(policy: MaxMemoryPolicy) -> String {
        policy.as_str().to_owned()
    }
}
impl fmt::Display for MaxMemoryPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}
