//! The directives a server runs with. Rendered from the layout only (law 5).

use std::collections::BTreeMap;
use valkeeper_model::{Persistence, ServerConfig};

/// A directive and its value, as `CONFIG SET` and the configuration file take them.
pub type Directive = (String, String);

/// Directives that hold for every instance of the cluster, by name. Names are those that Redis 6.2 knows too;
/// what an older engine lacks is left out by whoever knows the engine.
///
/// - Automatic failover stays on as a backstop: agents are faster, but may be dead themselves.
/// - `cluster-allow-replica-migration no`: placement is ours (law 7).
/// - `cluster-replica-validity-factor 0`: an old copy is better than none when the engine is on its own.
/// - `cluster-require-full-coverage no`: a dead shard must not stop the others.
/// - `cluster-config-save-behavior best-effort` (9.1): a full disk must not end the server at the next vote.
/// - `repl-diskless-sync-delay 0`: the default 5 s delays every full sync.
/// - `shutdown-on-sigterm`: the default: agents hand over before they stop.
pub fn directives(config: &ServerConfig) -> Vec<Directive> {
    let mut all: BTreeMap<String, String> = BTreeMap::new();
    let mut set = |name: &str, value: String| all.insert(name.to_owned(), value);
    set("cluster-enabled", "yes".to_owned());
    set("cluster-node-timeout", config.node_timeout_ms.to_string());
    set("cluster-require-full-coverage", "no".to_owned());
    set("cluster-allow-replica-migration", "no".to_owned());
    set("cluster-replica-validity-factor", "0".to_owned());
    set(NO_FAILOVER, "no".to_owned());
    set("cluster-config-save-behavior", "best-effort".to_owned());
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

/// Gives a directive that is among them another value.
pub fn set(directives: &mut [Directive], name: &str, value: &str) {
    for directive in directives.iter_mut().filter(|(known, _)| known == name) {
        value.clone_into(&mut directive.1);
    }
}

/// Directives that a returning replica starts with another value of, until it is in sync: see [`crate::agent`].
pub const APPENDONLY: &str = "appendonly";
/// See [`APPENDONLY`].
pub const NO_FAILOVER: &str = "cluster-replica-no-failover";

/// Refuses writes while fewer replicas are in sync.
pub const MIN_REPLICAS: &str = "min-replicas-to-write";
/// How late a replica may be to count as in sync; `0` turns [`MIN_REPLICAS`] off.
const MAX_LAG: &str = "min-replicas-max-lag";
/// A value of [`MIN_REPLICAS`] that no shard reaches.
const NEVER_ENOUGH: &str = "1000000";

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

/// Has this directive a part in [`refusing_writes`]?
pub fn refuses_writes(name: &str) -> bool {
    name == MIN_REPLICAS || name == MAX_LAG
}
