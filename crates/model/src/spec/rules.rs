//! Rules about a spec and the words in which it is refused when it breaks one. The reader checks them here; the definition
//! of the kind on Kubernetes checks those that its language can express, and says the same.

use super::FieldProblem;
use std::fmt::{Display, Write as _};

/// A rule by the field it is about and what is said when it is broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rule {
    /// The field, dotted.
    pub field: &'static str,
    /// What is wrong; `{}` stands for a value.
    pub reason: &'static str,
    /// What to do about it.
    pub hint: Option<&'static str>,
}

impl Rule {
    const fn new(field: &'static str, reason: &'static str, hint: &'static str) -> Self {
        Self { field, reason, hint: Some(hint) }
    }

    /// The problem of a spec that breaks it, with the values that the reason asks for.
    pub fn broken(&self, values: &[&dyn Display]) -> FieldProblem {
        let mut reason = String::new();
        for (i, part) in self.reason.split("{}").enumerate() {
            if let Some(value) = i.checked_sub(1).and_then(|before| values.get(before)) {
                // Writing to a String cannot fail.
                _ = write!(reason, "{value}");
            }
            reason.push_str(part);
        }
        FieldProblem { field: self.field.to_owned(), reason, hint: self.hint.map(str::to_owned) }
    }
}

/// `metadata.name`. Value: the name.
pub const CLUSTER_NAME: Rule = Rule::new(
    "metadata.name",
    "`{}` cannot be the name of a cluster",
    "use lower-case letters, digits and '-' (neither first nor last), at most 40 characters",
);
/// There is no `spec.mode`, but there are shards.
pub const MODE_MISSING_BESIDE_SHARDS: Rule = Rule::new(
    "spec.mode",
    "missing, which means standalone, and that has no shards",
    "write mode: cluster, or remove spec.shards and spec.replicasPerShard and write spec.instances",
);
/// `spec.sentinel` in another mode.
pub const SENTINEL_IN_ANOTHER_MODE: Rule =
    Rule::new("spec.sentinel", "only for mode sentinel", "remove it, or write mode: sentinel");
/// Value: Sentinels.
pub const SENTINELS_RANGE: Rule = Rule::new(
    "spec.sentinel.instances",
    "{} is not between 3 and 15 Sentinels",
    "write 3: clients need one that answers, and a majority tells a lost one from a lost primary",
);
/// Values: the quorum, Sentinels.
pub const SENTINEL_QUORUM_RANGE: Rule = Rule::new(
    "spec.sentinel.quorum",
    "{} of {} Sentinels can never be found",
    "write a number from 1 to spec.sentinel.instances, or remove it for a majority",
);
/// Value: why it says nothing of instances.
pub const FENCED_INSTANCES: Rule = Rule::new(
    "metadata.annotations.redis.io/fencedInstances",
    "{}",
    "write a JSON list of instances, like [\"demo-0\"], [\"*\"] for all, or [] for none",
);
/// Value: what is written.
pub const HIBERNATION: Rule = Rule::new(
    "metadata.annotations.redis.io/hibernation",
    "`{}` is neither on nor off",
    "write on or true, off or false, or nothing",
);
/// The data is in the pods.
pub const HIBERNATION_OF_EMPTY_DIR: Rule = Rule::new(
    "metadata.annotations.redis.io/hibernation",
    "with spec.storage.type emptyDir all data would go with the pods",
    "write off; a cluster that is to hibernate needs storage of type pvc from its beginning",
);
/// The data is in memory only.
pub const HIBERNATION_WITHOUT_PERSISTENCE: Rule = Rule::new(
    "metadata.annotations.redis.io/hibernation",
    "with spec.persistence none all data would go with the servers",
    "write off, or spec.persistence: aof",
);
/// `spec.instances` is not 0 in cluster mode.
pub const INSTANCES_IN_CLUSTER: Rule = Rule::new(
    "spec.instances",
    "not for cluster mode, where spec.shards and spec.replicasPerShard say how many",
    "remove it",
);
/// `spec.shards` or `spec.replicasPerShard` in another mode; the field depends on which.
pub const SHARDS_OF_CLUSTER: Rule =
    Rule::new("spec.shards", "only for cluster mode; here spec.instances says how many servers", "remove it");
/// Value: instances.
pub const INSTANCES_RANGE: Rule = Rule::new(
    "spec.instances",
    "{} is not between 1 and 16 servers",
    "one is the primary, the others are its replicas, and each replica costs the primary a copy of every write",
);
/// Values: the number, replicas.
pub const MIN_SYNC_OVER_INSTANCES: Rule = Rule::new(
    "spec.minSyncReplicas",
    "{} is more than the {} replicas that spec.instances makes: no write would ever be accepted",
    "lower it or raise spec.instances",
);
/// Values: the number, replicas.
pub const MAX_SYNC_OVER_INSTANCES: Rule = Rule::new(
    "spec.maxSyncReplicas",
    "{} is more than the {} replicas that spec.instances makes",
    "lower it or raise spec.instances",
);
/// Value: shards.
pub const TOO_FEW_SHARDS: Rule = Rule::new(
    "spec.shards",
    "{} is fewer than 3 shards",
    "a primary is replaced by a majority vote of the others, which takes three",
);
/// Value: shards.
pub const TOO_MANY_SHARDS: Rule =
    Rule::new("spec.shards", "{} is more than 1000 shards", "make several clusters");
/// Values: shards, replicas of each, servers.
pub const TOO_MANY_INSTANCES: Rule = Rule::new(
    "spec.replicasPerShard",
    "{} shards with {} replicas each are {} servers; a cluster has at most 2000",
    "use fewer replicas or shards",
);
/// Values: the number, replicas per shard.
pub const MIN_SYNC_OVER_REPLICAS: Rule = Rule::new(
    "spec.minSyncReplicas",
    "{} is more than spec.replicasPerShard ({}): no write would ever be accepted",
    "lower it or add replicas",
);
/// Values: the number, replicas per shard.
pub const MAX_SYNC_OVER_REPLICAS: Rule = Rule::new(
    "spec.maxSyncReplicas",
    "{} is more than spec.replicasPerShard ({})",
    "lower it or add replicas",
);
/// Values: the number, `minSyncReplicas`.
pub const MAX_SYNC_UNDER_MIN: Rule = Rule::new(
    "spec.maxSyncReplicas",
    "{} is less than spec.minSyncReplicas ({})",
    "raise it, or remove it for no limit",
);
/// Value: milliseconds.
pub const NODE_TIMEOUT_RANGE: Rule = Rule::new(
    "spec.nodeTimeout",
    "{} ms is not between 500ms and 10m",
    "shorter, and a short pause of the machine looks like a death; the default is 15s",
);
/// Value: milliseconds.
pub const UNRESPONSIVE_AFTER_RANGE: Rule = Rule::new(
    "spec.unresponsiveAfter",
    "{} ms is not between 1s and 10m",
    "shorter, and a slow command looks like a death; the default is 5s",
);
/// `spec.memory.maxMemory` is nothing.
pub const NO_MEMORY: Rule = Rule::new(
    "spec.memory.maxMemory",
    "0 bytes; the engine would take it for no limit at all",
    "remove it for no limit",
);
/// Both ways to limit memory.
pub const TWO_MEMORY_LIMITS: Rule = Rule::new(
    "spec.memory.maxMemoryPercent",
    "spec.memory.maxMemory is set too, and only one of the two may decide",
    "remove one of them",
);
/// Values: wanted bytes, the container's limit in bytes.
pub const MEMORY_OVER_LIMIT: Rule = Rule::new(
    "spec.memory.maxMemory",
    "{} bytes are more than spec.resources.limits.memory ({} bytes)",
    "the server would be killed before it evicts; stay well below the limit",
);
/// Value: the percentage.
pub const PERCENT_RANGE: Rule =
    Rule { field: "spec.memory.maxMemoryPercent", reason: "{} is not between 1 and 100", hint: None };
/// A percentage of a limit that is not set.
pub const PERCENT_OF_NOTHING: Rule = Rule::new(
    "spec.memory.maxMemoryPercent",
    "a percentage of spec.resources.limits.memory, which is not set",
    "set that limit, or write spec.memory.maxMemory",
);
/// Value: the name.
pub const AUTH_SECRET_NAME: Rule = Rule::new(
    "spec.authSecret.name",
    "`{}` is not the name of a Secret",
    "use lower-case letters, digits, '-' and '.', at most 253 characters",
);
/// `spec.authSecret` without a name.
pub const AUTH_SECRET_NAME_MISSING: Rule =
    Rule::new("spec.authSecret.name", "missing", "name the Secret, or remove authSecret to get one made");
/// Value: the name.
pub const DIRECTIVE_NAME: Rule = Rule::new(
    "spec.redis",
    "`{}` is not the name of a directive",
    "names are lower-case letters, digits and '-', and the value stands after the colon",
);
/// A directive that Valkeeper sets; the hint depends on which.
pub const DIRECTIVE_RESERVED: Rule =
    Rule { field: "spec.redis", reason: "this directive is reserved for Valkeeper", hint: None };
/// `maxmemory` or its policy beside `spec.memory`; the hint depends on which.
pub const DIRECTIVE_BESIDE_MEMORY: Rule = Rule {
    field: "spec.redis",
    reason: "spec.memory is set, and only one of the two may decide",
    hint: None,
};
/// `spec.replicaMode.enabled` in mode cluster.
pub const REPLICA_MODE_OF_CLUSTER: Rule = Rule::new(
    "spec.replicaMode.enabled",
    "not for mode cluster, whose slots belong to several primaries",
    "remove spec.replicaMode, or write mode: standalone",
);
/// `spec.replicaMode.enabled` without `source.host` and without `source.sentinel`.
pub const SOURCE_MISSING: Rule = Rule::new(
    "spec.replicaMode.source.host",
    "missing; it says which primary is followed",
    "write source: with host: and port: of the primary to follow, or with sentinel: that knows it",
);
/// `source.host` beside `source.sentinel`.
pub const SOURCE_TWICE: Rule = Rule::new(
    "spec.replicaMode.source.sentinel",
    "set beside host, and only one of the two may say where the source is",
    "remove one of them",
);
/// `source.sentinel` without hosts, or without a name.
pub const SOURCE_SENTINELS_MISSING: Rule = Rule::new(
    "spec.replicaMode.source.sentinel",
    "hosts or masterName is missing",
    "list the Sentinels under hosts: as host:port, and write what they call the primary under masterName:",
);
/// Value: the entry as written.
pub const SOURCE_SENTINEL_HOST: Rule = Rule::new(
    "spec.replicaMode.source.sentinel.hosts",
    "`{}` is not the place of a Sentinel",
    "write host:port, or a host alone for port 26379",
);
/// Value: milliseconds.
pub const AUTOMATIC_AFTER: Rule = Rule::new(
    "spec.replicaMode.automaticPromotion.after",
    "{} ms is less than 5 s: a source that is restarted is away for so long",
    "write 30s, or whatever outage is to be sat out",
);
/// Values: the number, instances.
pub const AUTOMATIC_WITNESSES: Rule = Rule::new(
    "spec.replicaMode.automaticPromotion.witnesses",
    "{} of {} instances: one alone may be cut off itself, and more than there are never agree",
    "write a number from 2 to spec.instances, or remove it for a majority",
);
/// `spec.replicaMode.promote` without `enabled`.
pub const PROMOTE_WITHOUT_ENABLED: Rule = Rule::new(
    "spec.replicaMode.promote",
    "set although the cluster follows nobody",
    "remove it, or write enabled: true",
);
/// Value: the host as written.
pub const SOURCE_HOST: Rule = Rule::new(
    "spec.replicaMode.source.host",
    "`{}` is neither a host name nor an IP address",
    "write the name or the address alone, and the port under port:",
);
/// Value: the name.
pub const SOURCE_SECRET_NAME: Rule = Rule::new(
    "spec.replicaMode.source.authSecretName",
    "`{}` cannot be the name of a Secret",
    "use lower-case letters, digits, '-' and '.'",
);
/// Value: what is written.
pub const ACCEPTED_HISTORY: Rule = Rule::new(
    "metadata.annotations.redis.io/accept-data-loss",
    "`{}` names no history",
    "write the 40 digits that the refusal tells: they name the data that may be replaced",
);
/// A class for a volume that has none. On Kubernetes only.
pub const CLASS_OF_EMPTY_DIR: Rule = Rule::new(
    "spec.storage.storageClassName",
    "an emptyDir has no storage class",
    "remove it, or write type: pvc",
);
/// A volume of nothing. On Kubernetes only.
pub const NO_STORAGE: Rule =
    Rule::new("spec.storage.size", "0 bytes hold no data", "write for example size: 1Gi");
/// An empty image name. On Kubernetes only.
pub const NO_IMAGE: Rule = Rule::new(
    "spec.imageName",
    "empty",
    "name an image of Valkey or Redis, or remove it for Valkeeper's default",
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_take_their_places() {
        let problem = TOO_MANY_INSTANCES.broken(&[&1000, &2, &3000]);
        assert_eq!(
            problem.reason,
            "1000 shards with 2 replicas each are 3000 servers; a cluster has at most 2000"
        );
        assert_eq!(problem.field, "spec.replicasPerShard");
    }
}
