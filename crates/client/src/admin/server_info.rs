//! `INFO` and `CLUSTER INFO`, the parts decisions need.

use super::error::AskError;
use super::info::Info;
use super::replication::{ReplicationInfo, ReplicationRole};
use valkeeper_model::{AofStatus, EngineKind, Epoch, MemoryFull, Paused};

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
    /// `maxmemory-policy`.
    pub maxmemory_policy: String,
    /// Bytes of `used_memory` that do not count towards the limit: what waits for replicas and for the append-only file.
    pub uncounted_memory: u64,
    /// Connected clients.
    pub clients: u64,
    /// Commands carried out per second, lately.
    pub ops_per_second: u64,
    /// Keys in all databases.
    pub keys: u64,
    /// The most clients that may be connected, where the server tells.
    pub max_clients: Option<u64>,
    /// What somebody's `CLIENT PAUSE` holds back. Engines before 7.2 do not tell.
    pub paused: Option<Paused>,
    /// Full copies sent to replicas since its start.
    pub full_syncs: Option<u64>,
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

    /// Is there more in memory than may be, and nothing that may be evicted? Then a primary answers OOM. A replica takes what its
    /// primary sends, whatever the limit.
    pub fn memory_full(&self) -> Option<MemoryFull> {
        let used = self.used_memory.saturating_sub(self.uncounted_memory);
        let evictable = match self.maxmemory_policy.split('-').next() {
            Some("allkeys") => self.keys,
            Some("volatile") => self.expiring_keys,
            _ => 0,
        };
        let is_full = self.maxmemory > 0 && used > self.maxmemory && evictable == 0;
        let refuses = is_full && matches!(self.replication.role, ReplicationRole::Primary { .. });
        refuses.then_some(MemoryFull { used, limit: self.maxmemory })
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
            maxmemory_policy: info.needed("maxmemory_policy")?,
            uncounted_memory: info.needed("mem_not_counted_for_evict")?,
            clients: info.needed("connected_clients")?,
            ops_per_second: info.optional("instantaneous_ops_per_sec")?.unwrap_or(0),
            max_clients: info.optional("maxclients")?,
            paused: paused(&info),
            full_syncs: info.optional("sync_full")?,
            keys: keys(text, "keys"),
            expiring_keys: keys(text, "expires"),
            replication: ReplicationInfo::from_info(&info)?,
        })
    }
}

/// The engine's own handover pauses clients too; that is no fault.
fn paused(info: &Info<'_>) -> Option<Paused> {
    if !info.is("paused_reason", "client_pause") {
        return None;
    }
    match info.text("paused_actions") {
        Some("write") => Some(Paused::Writes),
        Some("all") => Some(Paused::All),
        _ => None,
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

#[cfg(test)]
mod tests {
    use super::*;

    /// A primary is full where it is over its limit and may evict nothing; what waits for replicas does not count.
    #[test]
    fn memory_is_used_up_when_nothing_may_be_evicted() {
        let full = |used: u64, uncounted: u64, policy: &str, keys: &str| {
            let text = format!(
                "valkey_version:9.1.2\r\nrun_id:a\r\nprocess_id:7\r\nrdb_last_save_time:1\r\nrdb_changes_since_last_save:0\r\n\
                 used_memory:{used}\r\nmaxmemory:100\r\nmaxmemory_policy:{policy}\r\n\
                 mem_not_counted_for_evict:{uncounted}\r\nconnected_clients:1\r\nrole:master\r\nconnected_slaves:0\r\n\
                 master_replid:0000000000000000000000000000000000000001\r\nmaster_repl_offset:0\r\n\
                 second_repl_offset:-1\r\n{keys}"
            );
            ServerInfo::parse(&text).unwrap().memory_full()
        };
        let (some, some_expire) = ("db0:keys=5,expires=0\r\n", "db0:keys=5,expires=2\r\n");
        let is_full = Some(MemoryFull { used: 101, limit: 100 });
        assert_eq!(full(101, 0, "noeviction", some), is_full);
        assert_eq!(full(100, 0, "noeviction", some), None);
        assert_eq!(full(111, 11, "noeviction", some), None);
        assert_eq!(full(101, 0, "volatile-lru", some), is_full);
        assert_eq!(full(101, 0, "volatile-lru", some_expire), None);
        assert_eq!(full(101, 0, "allkeys-lfu", some), None);
        assert_eq!(full(101, 0, "allkeys-lfu", ""), is_full);
    }

    /// After the clock was set back a server says that it was started in the future; it serves all the same.
    #[test]
    fn a_clock_that_was_set_back_makes_no_server_unreadable() {
        let text = "valkey_version:9.1.2\r\nrun_id:a\r\nprocess_id:7\r\nuptime_in_seconds:-3599\r\nuptime_in_days:-1\r\n\
                    rdb_last_save_time:1795850163\r\nrdb_last_bgsave_time_sec:-1\r\nrdb_changes_since_last_save:0\r\n\
                    used_memory:1\r\nmaxmemory:0\r\nmaxmemory_policy:noeviction\r\nmem_not_counted_for_evict:0\r\nconnected_clients:1\r\nrole:master\r\nconnected_slaves:0\r\n\
                    master_replid:0000000000000000000000000000000000000001\r\n\
                    master_replid2:0000000000000000000000000000000000000000\r\nmaster_repl_offset:0\r\n\
                    second_repl_offset:-1\r\nrepl_backlog_active:0\r\nrepl_backlog_size:1048576\r\n\
                    repl_backlog_first_byte_offset:0\r\nrepl_backlog_histlen:0\r\n";
        assert_eq!(ServerInfo::parse(text).map(|info| info.version), Ok("9.1.2".to_owned()));
    }
}
