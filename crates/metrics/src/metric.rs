//! The table of all metrics.
//!
//! Names are those of `redis_exporter` where it has one for the same thing, since dashboards and alerts are written for them; so are the words
//! `master` and `slave` in them.

/// How a metric's value moves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Up and down.
    Gauge,
    /// Up only, from 0 at the start of the process that counts.
    Counter,
}

impl Kind {
    /// As a TYPE line has it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Gauge => "gauge",
            Self::Counter => "counter",
        }
    }
}

macro_rules! metrics {
    ($($metric:ident $kind:ident $name:literal [$($label:literal),*] $help:literal, when $when:literal;)*) => {
        /// A metric.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        #[non_exhaustive]
        pub enum Metric {
            $(#[doc = concat!("`", $name, "`.")] $metric,)*
        }

        impl Metric {
            /// All, in the order in which they are told.
            pub const ALL: &'static [Self] = &[$(Self::$metric,)*];

            /// Its name.
            pub fn name(self) -> &'static str {
                match self { $(Self::$metric => $name,)* }
            }
            /// How its value moves.
            pub fn kind(self) -> Kind {
                match self { $(Self::$metric => Kind::$kind,)* }
            }
            /// What it tells, in a line.
            pub fn help(self) -> &'static str {
                match self { $(Self::$metric => $help,)* }
            }
            /// When it is there: what is not known is left out.
            pub fn when(self) -> &'static str {
                match self { $(Self::$metric => $when,)* }
            }
            /// Its labels beside those of every metric.
            pub fn labels(self) -> &'static [&'static str] {
                match self { $(Self::$metric => &[$($label),*],)* }
            }
        }
    };
}

metrics! {
    Up Gauge "redis_up" []
        "Whether the server answers its agent: 1 or 0",
        when "always, unless the agent itself does not answer";
    InstanceInfo Gauge "redis_instance_info" ["redis_version"]
        "1, with the version that the server says it is",
        when "the server answers";
    MemoryUsedBytes Gauge "redis_memory_used_bytes" []
        "Memory that the server uses (used_memory), bytes",
        when "the server answers";
    AttachedReplicas Gauge "redis_connected_slaves" []
        "Replicas that are attached to the server, in the stream or on their way there",
        when "the server is a primary";
    AttachedReplicaOffsetBytes Gauge "redis_connected_slave_offset_bytes" ["slave_ip", "slave_port", "slave_state"]
        "The offset that a replica has acknowledged last, bytes",
        when "the server is a primary and the replica is online";
    PrimaryOffset Gauge "redis_master_repl_offset" []
        "How far the stream of the server is (master_repl_offset), bytes",
        when "the server is a primary";
    ReplicaOffset Gauge "redis_slave_repl_offset" []
        "How far the server is in the stream of its primary (slave_repl_offset), bytes",
        when "the server is a replica";
    LinkUp Gauge "redis_master_link_up" []
        "Whether the link to the primary, or to the source, is up, as the server says (master_link_status): 1 or 0",
        when "the server is a replica";
    SyncInProgress Gauge "redis_master_sync_in_progress" []
        "Whether a full copy is under way: 1 or 0",
        when "the server is a replica";
    ReplicationLagBytes Gauge "redis_replication_lag_bytes" []
        "The last known offset of the primary, or of the source of a cluster that follows another, minus the server's own, bytes",
        when "the server is a replica, and both offsets are known and of one history";
    ReplicationLagAgeSeconds Gauge "redis_replication_lag_age_seconds" []
        "How long ago the offset was seen on which redis_replication_lag_bytes rests, seconds",
        when "redis_replication_lag_bytes is there";
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn names_are_those_that_prometheus_takes_and_each_is_there_once() {
        let names: BTreeSet<_> = Metric::ALL.iter().map(|metric| metric.name()).collect();
        assert_eq!(names.len(), Metric::ALL.len());
        let lower =
            |text: &str| text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
        for metric in Metric::ALL {
            assert!(lower(metric.name()) && metric.labels().iter().all(|label| lower(label)), "{metric:?}");
            let counts = metric.kind() == Kind::Counter;
            assert_eq!(metric.name().ends_with("_total"), counts, "{metric:?}: promtool wants it so");
            assert!(!metric.help().ends_with('.') && !metric.help().contains('\n'), "{metric:?}");
        }
    }
}
