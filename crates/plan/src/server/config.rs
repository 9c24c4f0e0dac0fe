//! The directives a server runs with. Rendered from the layout only (law 5).

use crate::mode;
use std::collections::BTreeMap;
use std::fmt;
use valkeeper_model::spec::parse_engine_bytes;
use valkeeper_model::{DriftPolicy, InstanceName, MaxMemoryPolicy, Persistence, ServerConfig};

/// A directive and its value, as `CONFIG SET` and the configuration file take them.
pub type Directive = (String, String);

/// What a running server's configuration is held against.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OrderedConfig {
    /// What is ordered.
    pub directives: Vec<Directive>,
    /// What becomes of other directives that somebody has set.
    pub drift: DriftPolicy,
}

/// Directives that hold for every instance of the cluster, by name. Names are those that Redis 6.2 knows too;
/// what an older engine lacks is left out by whoever knows the engine.
///
/// - What the mode needs: [`crate::mode::ModeRules::directives`].
/// - `replica-read-only yes`, `min-replicas-max-lag 10`: the defaults, spelled out because a server on which somebody has changed them
///   loses writes: they are put back like everything here.
/// - `repl-diskless-sync-delay 0`: the default 5 s delays every full sync.
/// - `lua-time-limit`, which is `busy-reply-threshold` from 7.0 on: a server with a long script says BUSY before its silence counts.
/// - `shutdown-on-sigterm`: the default: agents hand over before they stop.
pub fn directives(config: &ServerConfig) -> Vec<Directive> {
    let mut all: BTreeMap<String, String> = BTreeMap::new();
    let mut set = |name: &str, value: String| all.insert(name.to_owned(), value);
    for (name, value) in mode::rules(config.mode).directives(config) {
        set(name, value);
    }
    set("repl-diskless-sync", "yes".to_owned());
    set("repl-diskless-sync-delay", "0".to_owned());
    set("repl-backlog-size", backlog_bytes(config).to_string());
    match config.persistence {
        Persistence::Aof => {
            set("appendonly", "yes".to_owned());
            set("save", SAVE_POINTS.to_owned());
        }
        Persistence::Rdb => {
            set("appendonly", "no".to_owned());
            set("save", SAVE_POINTS.to_owned());
        }
        Persistence::None => {
            set("appendonly", "no".to_owned());
            set("save", String::new());
        }
    }
    if let Some(bytes) = config.max_memory {
        set("maxmemory", bytes.to_string());
    }
    if let Some(policy) = config.max_memory_policy {
        set("maxmemory-policy", policy.to_string());
    }
    set(MIN_REPLICAS, config.min_sync_replicas.to_string());
    set(MAX_LAG, "10".to_owned());
    set("replica-read-only", "yes".to_owned());
    if !config.directives.contains_key(BUSY_AFTER_NOW) {
        set(BUSY_AFTER, busy_after_ms(config).to_string());
    }
    for (name, value) in &config.directives {
        set(name, value.clone());
    }
    // The user's own come last and win, where the manifest let them through.
    all.into_iter().collect()
}

/// The engine's own default; spelled out because it is what a returning server continues the stream from.
const SAVE_POINTS: &str = "3600 1 300 100 60 10000";

/// How much of the stream a primary keeps for replicas that come back, bytes: enough for some seconds of heavy writes, little
/// beside the memory limit.
fn backlog_bytes(config: &ServerConfig) -> u64 {
    const MIB: u64 = 1024 * 1024;
    config.max_memory.map_or(64 * MIB, |limit| (limit / 16).clamp(MIB, 256 * MIB))
}

/// After how long a script makes the server say BUSY, milliseconds: the name that all engines know, and the newer one.
const BUSY_AFTER: &str = "lua-time-limit";
const BUSY_AFTER_NOW: &str = "busy-reply-threshold";
/// The engine's own.
const BUSY_AFTER_MS: u64 = 5_000;

/// A server that says BUSY lives; one that has been silent for too long is killed. So BUSY comes long before that.
fn busy_after_ms(config: &ServerConfig) -> u64 {
    (config.unresponsive_after_ms / 2).clamp(1, BUSY_AFTER_MS)
}

/// Gives a directive that is among them another value.
pub fn set(directives: &mut [Directive], name: &str, value: &str) {
    for directive in directives.iter_mut().filter(|(known, _)| known == name) {
        value.clone_into(&mut directive.1);
    }
}

/// Directives that a returning replica starts with another value of, until it is in sync: see [`crate::agent`].
pub const APPENDONLY: &str = "appendonly";
/// The user as whom a server follows the primary of another cluster.
pub const PRIMARY_USER: &str = "masteruser";
/// See [`APPENDONLY`].
pub const NO_FAILOVER: &str = "cluster-replica-no-failover";

/// Refuses writes while fewer replicas are in sync.
pub const MIN_REPLICAS: &str = "min-replicas-to-write";
/// How late a replica may be to count as in sync; `0` turns [`MIN_REPLICAS`] off.
const MAX_LAG: &str = "min-replicas-max-lag";
/// A value of [`MIN_REPLICAS`] that no shard reaches.
pub(super) const NEVER_ENOUGH: &str = "1000000";

/// The same directives for a server that is to refuse writes: an error to clients rather than a silence, effective for scripts and
/// transactions too, and taken back without a restart.
pub fn refusing_writes(mut directives: Vec<Directive>) -> Vec<Directive> {
    for (name, value) in &mut directives {
        match (name.as_str(), value.as_str()) {
            (MIN_REPLICAS, _) => NEVER_ENOUGH.clone_into(value),
            (MAX_LAG, "0") => "10".clone_into(value),
            _ => {}
        }
    }
    directives
}

/// Directives of ours that an older engine may lack: left out there.
pub fn may_be_lacking(name: &str) -> bool {
    name == "cluster-config-save-behavior"
}

/// Has this directive a part in [`refusing_writes`]?
pub fn refuses_writes(name: &str) -> bool {
    name == MIN_REPLICAS || name == MAX_LAG
}

/// A server that holds more than the memory limit that is wanted: the limit takes effect at once.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AboveLimit {
    /// Which.
    pub instance: InstanceName,
    /// Bytes in use.
    pub used: u64,
    /// Bytes allowed from then on.
    pub limit: u64,
    /// Are keys evicted until it fits, rather than writes refused?
    pub evicts: bool,
}

impl fmt::Display for AboveLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { instance, used, limit, evicts } = self;
        let follows = if *evicts { "keys would be evicted at once" } else { "every write would be refused" };
        write!(f, "{instance} uses {used} bytes, more than the {limit} of maxmemory: {follows}")
    }
}

/// Which servers hold more than the limit of this configuration, by what they use.
pub fn above_limit(config: &ServerConfig, used: &BTreeMap<InstanceName, u64>) -> Vec<AboveLimit> {
    let all = directives(config);
    let value = |wanted: &str| all.iter().find(|(name, _)| name == wanted).map(|(_, value)| value.as_str());
    let Some(limit) = value("maxmemory").and_then(parse_engine_bytes).filter(|limit| *limit > 0) else {
        return Vec::new();
    };
    let evicts =
        value("maxmemory-policy").is_some_and(|policy| policy != MaxMemoryPolicy::NoEviction.as_str());
    used.iter()
        .filter(|(_, used)| **used > limit)
        .map(|(instance, used)| AboveLimit { instance: instance.clone(), used: *used, limit, evicts })
        .collect()
}

/// May so many bytes be published to every client that listens to all channels, without the limit on what waits for a client
/// ending its connection? `limits` is the value of `client-output-buffer-limit`; what cannot be read there allows nothing.
pub fn may_publish(limits: &str, bytes: u64) -> bool {
    // As much again waits behind it without harm.
    let needed = bytes.saturating_mul(4);
    let words: Vec<&str> = limits.split_whitespace().collect();
    let classes = words.chunks_exact(4).find(|class| class[0].eq_ignore_ascii_case("pubsub"));
    let Some([_, hard, soft, _]) = classes else { return false };
    [hard, soft].iter().all(|limit| limit.parse::<u64>().is_ok_and(|limit| limit == 0 || limit >= needed))
}

#[cfg(test)]
#[path = "config_tests.rs"]
mod tests;
