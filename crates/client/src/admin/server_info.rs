//! `INFO` and `CLUSTER INFO`, the parts decisions need.

use super::error::AskError;
use super::info::Info;
use super::replication::ReplicationInfo;
use std::time::Duration;
use valkeeper_model::{AofStatus, Epoch};

/// Which engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EngineKind {
    /// Valkey.
    Valkey,
    /// Redis.
    Redis,
}

/// What a server says of itself in one `INFO`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(clippy::struct_excessive_bools, reason = "the engine tells each apart")]
pub struct ServerInfo {
    /// Valkey or Redis.
    pub engine: EngineKind,
    /// Its own version, `9.1.2` (Valkey also claims a Redis version; that one is not here).
    pub version: String,
    /// A new one at each start.
    pub run_id: String,
    /// Its process.
    pub pid: u32,
    /// Time since its start, in whole seconds.
    pub uptime: Duration,
    /// Started with `cluster-enabled yes`?
    pub cluster_enabled: bool,
    /// Still reading its data.
    pub loading: bool,
    /// Is the append-only file on?
    pub aof_enabled: bool,
    /// The last write to it succeeded.
    pub aof_last_write_ok: bool,
    /// Is it being rewritten?
    pub aof_rewrite_in_progress: bool,
    /// Does a rewrite wait for another child to end?
    pub aof_rewrite_scheduled: bool,
    /// The last rewrite succeeded.
    pub aof_last_rewrite_ok: bool,
    /// Unix time of the last snapshot that succeeded.
    pub rdb_last_save: u64,
    /// The last snapshot succeeded.
    pub rdb_last_bgsave_ok: bool,
    /// Is one being made?
    pub rdb_bgsave_in_progress: bool,
    /// Writes since the last snapshot.
    pub changes_since_last_save: u64,
    /// Bytes used.
    pub used_memory: u64,
    /// The limit; 0 for none.
    pub maxmemory: u64,
    /// Connected clients.
    pub clients: u64,
    /// Commands carried out per second, lately.
    pub ops_per_second: u64,
    /// Keys in all databases.
    pub keys: u64,
    /// Those of them that have a time to live.
    pub expiring_keys: u64,
    /// Replication, from the same moment.
    pub replication: ReplicationInfo,
}

/// `CLUSTER INFO`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClusterInfo {
    /// `cluster_state:ok`.
    pub ok: bool,
    /// The highest epoch seen.
    pub current_epoch: Epoch,
    /// This server's, or its primary's.
    pub my_epoch: Epoch,
    /// Slots that have an owner.
    pub slots_assigned: u16,
    /// Slots whose owner is neither suspected nor failed.
    pub slots_ok: u16,
    /// Primaries that own slots.
    pub size: u32,
    /// Nodes known, this one too.
    pub known_nodes: u32,
}

impl ServerInfo {
    /// The append-only file in one word.
    pub fn aof_status(&self) -> AofStatus {
        let rewriting =
            self.aof_rewrite_in_progress || self.aof_rewrite_scheduled || !self.aof_last_rewrite_ok;
        match (self.aof_enabled, rewriting || self.loading) {
            (false, _) => AofStatus::Off,
            (true, true) => AofStatus::Rewriting,
            (true, false) => AofStatus::Settled,
        }
    }

    pub(super) fn parse(text: &str) -> Result<Self, AskError> {
        let info = Info::new(text);
        let (engine, version) = match info.text("valkey_version") {
            Some(version) => (EngineKind::Valkey, version.to_owned()),
            None => (EngineKind::Redis, info.needed("redis_version")?),
        };
        Ok(Self {
            engine,
            version,
            run_id: info.needed("run_id")?,
            pid: info.needed("process_id")?,
            uptime: Duration::from_secs(info.needed("uptime_in_seconds")?),
            cluster_enabled: info.flag("cluster_enabled"),
            loading: info.flag("loading"),
            aof_enabled: info.flag("aof_enabled"),
            aof_last_write_ok: info.is("aof_last_write_status", "ok"),
            aof_rewrite_in_progress: info.flag("aof_rewrite_in_progress"),
            aof_rewrite_scheduled: info.flag("aof_rewrite_scheduled"),
            aof_last_rewrite_ok: info.is("aof_last_bgrewrite_status", "ok"),
            rdb_last_save: info.needed("rdb_last_save_time")?,
            rdb_last_bgsave_ok: info.is("rdb_last_bgsave_status", "ok"),
            rdb_bgsave_in_progress: info.flag("rdb_bgsave_in_progress"),
            changes_since_last_save: info.needed("rdb_changes_since_last_save")?,
            used_memory: info.needed("used_memory")?,
            maxmemory: info.needed("maxmemory")?,
            clients: info.needed("connected_clients")?,
            ops_per_second: info.optional("instantaneous_ops_per_sec")?.unwrap_or(0),
            keys: keys(text, "keys"),
            expiring_keys: keys(text, "expires"),
            replication: ReplicationInfo::from_info(&info)?,
        })
    }
}

/// The sum of a field over `db0:keys=1,expires=0,…` lines.
fn keys(text: &str, field: &str) -> u64 {
    let databases = text.lines().filter_map(|line| line.strip_prefix("db")?.split_once(':'));
    let fields = databases.flat_map(|(_, fields)| fields.split(','));
    fields
        .filter_map(|pair| pair.split_once('=')?.1.parse::<u64>().ok().filter(|_| pair.starts_with(field)))
        .sum()
}

impl ClusterInfo {
    pub(super) fn parse(text: &str) -> Result<Self, AskError> {
        let info = Info::new(text);
        let ok = match info.text("cluster_state") {
            Some("ok") => true,
            Some("fail") => false,
            _ => return Err(AskError::garbled("`cluster_state` is neither ok nor fail")),
        };
        Ok(Self {
            ok,
            current_epoch: Epoch(info.needed("cluster_current_epoch")?),
            my_epoch: Epoch(info.needed("cluster_my_epoch")?),
            slots_assigned: info.needed("cluster_slots_assigned")?,
            slots_ok: info.needed("cluster_slots_ok")?,
            size: info.needed("cluster_size")?,
            known_nodes: info.needed("cluster_known_nodes")?,
        })
    }
}
