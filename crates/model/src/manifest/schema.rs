//! Which fields a manifest may have: those of the `RedisCluster` of redis.io/v1, and Valkeeper's own.

use Effect::{Kubernetes, Later, Used};
use Shape::{
    Anything, Bool, Duration, Fields, Integer, List, NamedFields, OneOf, Quantities, Quantity, Text, TextMap,
};

/// What a value must look like.
pub(super) enum Shape {
    Text,
    Bool,
    /// Not negative, and fitting into 32 bits with a sign.
    Integer,
    Quantity,
    Duration,
    OneOf(&'static [&'static str]),
    /// Any keys, each with a text.
    TextMap,
    /// Any keys, each with a quantity.
    Quantities,
    Fields(&'static [Field]),
    List(&'static Shape),
    /// A mapping that only Kubernetes understands.
    NamedFields,
    Anything,
}

/// What comes of a field.
#[derive(Clone, Copy)]
pub(super) enum Effect {
    Used,
    /// Understood, and without effect on local processes because of this.
    Kubernetes(&'static str),
    /// Not supported yet; what to do instead.
    Later(&'static str),
}

pub(super) struct Field {
    pub(super) name: &'static str,
    pub(super) shape: Shape,
    pub(super) effect: Effect,
}

const fn field(name: &'static str, shape: Shape) -> Field {
    Field { name, shape, effect: Used }
}
const fn kubernetes(name: &'static str, shape: Shape, why: &'static str) -> Field {
    Field { name, shape, effect: Kubernetes(why) }
}
const fn later(name: &'static str, shape: Shape, instead: &'static str) -> Field {
    Field { name, shape, effect: Later(instead) }
}

/// A reference to an object in the same namespace.
const NAME: &[Field] = &[field("name", Text)];

const BY_KUBERNETES: &str = "written by Kubernetes";
const SCHEDULING: &str = "places pods; local processes are spread over zones";

pub(super) const ROOT: &[Field] = &[
    field("apiVersion", Text),
    field("kind", Text),
    field("metadata", Fields(METADATA)),
    field("spec", Fields(SPEC)),
    kubernetes("status", Anything, BY_KUBERNETES),
];

const METADATA: &[Field] = &[
    field("name", Text),
    kubernetes("namespace", Text, "local clusters are told apart by name only"),
    field("labels", TextMap),
    field("annotations", TextMap),
    kubernetes("uid", Text, BY_KUBERNETES),
    kubernetes("resourceVersion", Text, BY_KUBERNETES),
    kubernetes("generation", Integer, BY_KUBERNETES),
    kubernetes("creationTimestamp", Anything, BY_KUBERNETES),
    kubernetes("deletionTimestamp", Anything, BY_KUBERNETES),
    kubernetes("selfLink", Text, BY_KUBERNETES),
    kubernetes("managedFields", List(&Anything), BY_KUBERNETES),
    kubernetes("ownerReferences", List(&Anything), BY_KUBERNETES),
    kubernetes("finalizers", List(&Text), BY_KUBERNETES),
];

pub(super) const SPEC: &[Field] = &[
    field("mode", OneOf(&["standalone", "sentinel", "cluster"])),
    field("shards", Integer),
    field("replicasPerShard", Integer),
    field("instances", Integer),
    field("zones", OneOf(&["required", "besteffort"])),
    field("nodeTimeout", Duration),
    field("unresponsiveAfter", Duration),
    field("persistence", OneOf(&["aof", "rdb", "none"])),
    field("redis", TextMap),
    field("memory", Fields(MEMORY)),
    field("minSyncReplicas", Integer),
    field("maxSyncReplicas", Integer),
    field("authSecret", Fields(NAME)),
    field("replicaMode", Fields(REPLICA_MODE)),
    kubernetes("imageName", Text, "local processes run the server program of this machine"),
    kubernetes("storage", Fields(STORAGE), "local processes keep their data in a directory"),
    kubernetes("resources", Fields(RESOURCES), "limits pods; only maxMemoryPercent looks at limits.memory"),
    kubernetes(
        "primaryUpdateStrategy",
        OneOf(&["unsupervised", "supervised"]),
        "decides about updates of pods; local updates are asked for on the command line",
    ),
    kubernetes("enablePodDisruptionBudget", Bool, "there are no pods to disrupt"),
    kubernetes("nodeSelector", TextMap, SCHEDULING),
    kubernetes("affinity", NamedFields, SCHEDULING),
    kubernetes("tolerations", List(&NamedFields), SCHEDULING),
    kubernetes("topologySpreadConstraints", List(&NamedFields), SCHEDULING),
    kubernetes("nodeMaintenanceWindow", Fields(MAINTENANCE), "is about the machines of a Kubernetes cluster"),
    kubernetes("connectionSecret", Fields(NAME), "there is no place to publish a Secret"),
    kubernetes(
        "primaryIsolation",
        Fields(ISOLATION),
        "local processes share one machine with their supervisor",
    ),
    kubernetes(
        "backupCredentialsSecret",
        Fields(NAME),
        "credentials for object stores come from the environment",
    ),
    later("bootstrap", Fields(&[field("backupName", Text)]), "remove it; the cluster starts empty"),
    later("tlsSecret", Fields(NAME), "remove it; connections are not encrypted"),
    later("caSecret", Fields(NAME), "remove it; connections are not encrypted"),
    later("aclConfigSecret", Fields(NAME), "remove it; the password is set with spec.authSecret.name"),
];

pub(super) const POLICIES: &[&str] = &[
    "noeviction",
    "allkeys-lru",
    "allkeys-lfu",
    "allkeys-random",
    "volatile-lru",
    "volatile-lfu",
    "volatile-random",
    "volatile-ttl",
];

const MEMORY: &[Field] = &[
    field("maxMemory", Quantity),
    field("maxMemoryPercent", Integer),
    field("maxMemoryPolicy", OneOf(POLICIES)),
];

const REPLICA_MODE: &[Field] = &[
    field("enabled", Bool),
    field("promote", Bool),
    field(
        "source",
        Fields(&[
            field("clusterName", Text),
            field("host", Text),
            field("port", Integer),
            field("authSecretName", Text),
        ]),
    ),
];

const STORAGE: &[Field] =
    &[field("type", OneOf(&["pvc", "emptyDir"])), field("size", Quantity), field("storageClassName", Text)];

const RESOURCES: &[Field] =
    &[field("limits", Quantities), field("requests", Quantities), field("claims", List(&NamedFields))];

const MAINTENANCE: &[Field] = &[field("inProgress", Bool), field("reusePVC", Bool)];

const ISOLATION: &[Field] =
    &[field("enabled", Bool), field("apiServerTimeout", Duration), field("peerTimeout", Duration)];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::MaxMemoryPolicy;

    #[test]
    fn the_policies_are_those_of_the_type() {
        assert_eq!(POLICIES, MaxMemoryPolicy::ALL.map(MaxMemoryPolicy::as_str));
    }
}
