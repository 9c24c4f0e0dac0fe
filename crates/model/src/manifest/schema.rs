//! Which fields a manifest may have: those of the `RedisCluster` of redis.io/v1, and Valkeeper's own. The reader checks
//! manifests by these tables, and the definition of the kind on Kubernetes is generated from them.

use Effect::{Kubernetes, Later, Unused, Used};
use Preset::{Empty, No, Number, Word, Yes};
use Shape::{
    Anything, Bool, Duration, Fields, Integer, IntegerIn, List, NamedFields, OneOf, Quantities, Quantity,
    Text, TextMap,
};

/// What a value must look like.
#[derive(Debug, Clone, Copy)]
pub enum Shape {
    /// Text.
    Text,
    /// True or false.
    Bool,
    /// Not negative, and fitting into 32 bits with a sign.
    Integer,
    /// An integer from the first to the second.
    IntegerIn(u32, u32),
    /// A quantity of bytes.
    Quantity,
    /// A duration with units.
    Duration,
    /// One of these words.
    OneOf(&'static [&'static str]),
    /// Any keys, each with a text.
    TextMap,
    /// Any keys, each with a quantity.
    Quantities,
    /// These fields.
    Fields(&'static [Field]),
    /// A list of this.
    List(&'static Shape),
    /// A mapping that only Kubernetes understands.
    NamedFields,
    /// Anything at all.
    Anything,
}

/// What comes of a field.
#[derive(Debug, Clone, Copy)]
pub enum Effect {
    /// It is used.
    Used,
    /// Understood, and without effect on local processes because of this.
    Kubernetes(&'static str),
    /// Understood, and without effect: on local processes because of this, on Kubernetes because it is not supported yet.
    Unused(&'static str),
    /// Refused: not supported yet. What to do instead.
    Later(&'static str),
}

/// What a field is taken for when it is not there. It says what the reader does, which a test holds it to.
#[derive(Debug, Clone, Copy)]
pub enum Preset {
    /// True.
    Yes,
    /// False.
    No,
    /// A number.
    Number(u32),
    /// A text.
    Word(&'static str),
    /// A mapping whose fields have their own.
    Empty,
}

/// A field.
#[derive(Debug, Clone, Copy)]
pub struct Field {
    /// Its name.
    pub name: &'static str,
    /// What its value looks like.
    pub shape: Shape,
    /// What comes of it.
    pub effect: Effect,
    /// What it is for, in a sentence.
    pub about: &'static str,
    /// What its absence means, where that depends on no other field.
    pub preset: Option<Preset>,
}

impl Field {
    const fn preset(self, preset: Preset) -> Self {
        Self { preset: Some(preset), ..self }
    }
    /// Without effect on local processes.
    const fn on_kubernetes(self, why: &'static str) -> Self {
        Self { effect: Kubernetes(why), ..self }
    }
    const fn unused(self, why: &'static str) -> Self {
        Self { effect: Unused(why), ..self }
    }
    const fn later(self, instead: &'static str) -> Self {
        Self { effect: Later(instead), ..self }
    }
}

const fn field(name: &'static str, shape: Shape, about: &'static str) -> Field {
    Field { name, shape, effect: Used, about, preset: None }
}

/// A reference to an object in the same namespace.
const NAME: &[Field] = &[field("name", Text, "Its name, in the same namespace.")];

const BY_KUBERNETES: &str = "written by Kubernetes";
const SCHEDULING: &str = "places pods; local processes are spread over zones";
const NO_PODS: &str = "there are no pods";

pub(super) const ROOT: &[Field] = &[
    field("apiVersion", Text, "redis.io/v1."),
    field("kind", Text, "RedisCluster."),
    field("metadata", Fields(METADATA), "Name and labels."),
    field("spec", Fields(SPEC), "What is wanted."),
    noted("status", Anything),
];

const fn noted(name: &'static str, shape: Shape) -> Field {
    field(name, shape, "Written by Kubernetes.").on_kubernetes(BY_KUBERNETES)
}

const METADATA: &[Field] = &[
    field("name", Text, "The cluster's name."),
    field("namespace", Text, "Where it is.").on_kubernetes("local clusters are told apart by name only"),
    field("labels", TextMap, "Labels."),
    field("annotations", TextMap, "Annotations."),
    noted("uid", Text),
    noted("resourceVersion", Text),
    noted("generation", Integer),
    noted("creationTimestamp", Anything),
    noted("deletionTimestamp", Anything),
    noted("selfLink", Text),
    noted("managedFields", List(&Anything)),
    noted("ownerReferences", List(&Anything)),
    noted("finalizers", List(&Text)),
];

/// The fields of `spec`.
pub const SPEC: &[Field] = &[
    field("mode", OneOf(&["standalone", "sentinel", "cluster"]), "The topology. Without: standalone."),
    field("shards", Integer, "Primaries that own slots.").preset(Number(3)),
    field("replicasPerShard", Integer, "Replicas of each primary.").preset(Number(0)),
    field("instances", Integer, "Servers in modes standalone and sentinel: one primary, the others its replicas. Without: 1. 0 in mode cluster, where shards and replicas say how many."),
    field(
        "zones",
        OneOf(&["required", "besteffort"]),
        "What to do when there are too few zones to survive the loss of one: refuse, or accept the risk and say so.",
    )
    .preset(Word("required")),
    field("nodeTimeout", Duration, "How long the engine waits before it suspects a silent node.")
        .preset(Word("15s")),
    field(
        "unresponsiveAfter",
        Duration,
        "How long a running server may stay silent before its agent treats it as dead. Without: a third of nodeTimeout, \
         from 1s to 5s.",
    ),
    field(
        "persistence",
        OneOf(&["aof", "rdb", "none"]),
        "What survives when all instances of a shard stop: all writes, those up to the last snapshot, or nothing.",
    )
    .preset(Word("aof")),
    field(
        "redis",
        TextMap,
        "Directives for the servers' configuration. Those that Valkeeper sets itself are refused.",
    ),
    field("memory", Fields(MEMORY), "The memory limit of each server."),
    field(
        "minSyncReplicas",
        Integer,
        "A primary refuses writes with fewer replicas in sync than this. 0: never.",
    )
    .preset(Number(0)),
    field("maxSyncReplicas", Integer, "The most replicas a write has to wait for. 0: not limited.")
        .preset(Number(0)),
    field(
        "authSecret",
        Fields(NAME),
        "The Secret whose key password protects the servers. Without: one is made.",
    ),
    field("sentinel", Fields(SENTINEL), "The Sentinels of mode sentinel. Without: three."),
    field("replicaMode", Fields(REPLICA_MODE), "Following the primary of another cluster."),
    field("imageName", Text, "The image of the servers: Valkey or Redis. On a machine its tag names the version of the server program.")
        .preset(Word(DEFAULT_IMAGE)),
    field(
        "drift",
        OneOf(&["correct", "keep"]),
        "What becomes of a directive that is not in spec.redis and that somebody has set by hand: it goes back to what the server program gives it, or stays until the next restart.",
    )
    .preset(Word("correct")),
    field("update", Fields(UPDATE), "How changes that need a restart get to the servers."),
    field(
        "imagePullPolicy",
        OneOf(&["Always", "IfNotPresent", "Never"]),
        "When the image is pulled. Without: what Kubernetes decides by the image's tag.",
    )
    .on_kubernetes("local processes run the server program of this machine"),
    field("storage", Fields(STORAGE), "Where an instance keeps its data.")
        .on_kubernetes("local processes keep their data in a directory")
        .preset(Empty),
    field(
        "resources",
        Fields(RESOURCES),
        "Resources of each server. Without requests: 100m and 128Mi of what has no limit.",
    )
    .on_kubernetes("limits pods; only maxMemoryPercent looks at limits.memory"),
    field(
        "primaryUpdateStrategy",
        OneOf(&["unsupervised", "supervised"]),
        "Whether an update waits for `valkeeper approve` before it touches a primary. A primary hands over first in any case.",
    )
    .preset(Word("unsupervised")),
    field("enablePodDisruptionBudget", Bool, "Whether drains of nodes take one pod at a time.")
        .on_kubernetes("there are no pods to disrupt")
        .preset(Yes),
    field(
        "deleteVolumes",
        Bool,
        "Whether the volumes, and so the data, are deleted with the RedisCluster. Without: they stay.",
    )
    .on_kubernetes("local data is deleted with `valkeeper delete --purge` only")
    .preset(No),
    field("onePerHost", Bool, "Whether no two pods of the cluster may share a node. Without: they avoid it.")
        .on_kubernetes(SCHEDULING)
        .preset(No),
    field("kernelTuning", Bool, "Whether a privileged init container raises the node's limit of waiting connections (net.core.somaxconn) to the server's.")
        .on_kubernetes("local processes leave the kernel of this machine as it is")
        .preset(No),
    field("priorityClassName", Text, "The priority class of the pods.").on_kubernetes(NO_PODS),
    field("nodeSelector", TextMap, "Labels of the nodes that pods may run on.").on_kubernetes(SCHEDULING),
    field("affinity", NamedFields, "Affinity of the pods (core/v1 Affinity).").on_kubernetes(SCHEDULING),
    field("tolerations", List(&NamedFields), "Tolerations of the pods (core/v1 Toleration).")
        .on_kubernetes(SCHEDULING),
    field(
        "topologySpreadConstraints",
        List(&NamedFields),
        "How the pods are spread (core/v1 TopologySpreadConstraint), beside what zones ask for.",
    )
    .on_kubernetes(SCHEDULING),
    field("nodeMaintenanceWindow", Fields(MAINTENANCE), "That nodes are being worked on.")
        .on_kubernetes("is about the machines of a Kubernetes cluster"),
    field("connectionSecret", Fields(NAME), "The Secret to publish connection data in.")
        .on_kubernetes("`valkeeper connect` says the same of a local cluster"),
    field(
        "primaryIsolation",
        Fields(ISOLATION),
        "How an isolated primary is found. Not supported yet: the engine refuses writes in a minority.",
    )
    .unused("local processes share one machine with their supervisor"),
    field("backupCredentialsSecret", Fields(NAME), "Credentials of the object store. Not supported yet.")
        .unused("credentials for object stores come from the environment"),
    field("bootstrap", Fields(BOOTSTRAP), "What the cluster starts with. Not supported yet.")
        .later("remove it; the cluster starts empty"),
    field("tlsSecret", Fields(NAME), "Certificate and key of the servers. Not supported yet.").later(NO_TLS),
    field("caSecret", Fields(NAME), "The authority of the certificates. Not supported yet.").later(NO_TLS),
    field("aclConfigSecret", Fields(NAME), "Users and what they may. Not supported yet.")
        .later("remove it; the password is set with spec.authSecret.name"),
];

const NO_TLS: &str = "remove it; connections are not encrypted";

/// The image of the servers when the manifest names none: the newest server that the tests run.
pub const DEFAULT_IMAGE: &str = "valkey/valkey:9.1.2";

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
    field("maxMemory", Quantity, "An amount, such as 512Mi."),
    field("maxMemoryPercent", Integer, "A percentage of resources.limits.memory."),
    field("maxMemoryPolicy", OneOf(POLICIES), "What the server does when the limit is reached.")
        .preset(Word("noeviction")),
];

const UPDATE: &[Field] = &[
    field(
        "canary",
        Duration,
        "How long the first servers with a change must stay well before the others get it.",
    )
    .preset(Word("30s")),
    field("restart", OneOf(&["rolling", "manual"]), "Whether servers are restarted in turn, or by a person.")
        .preset(Word("rolling")),
];

const SENTINEL: &[Field] = &[
    field("instances", Integer, "How many Sentinels. Without: 3."),
    field(
        "quorum",
        Integer,
        "How many of them have to find the primary down before they say so together. Without: a majority.",
    ),
];

const REPLICA_MODE: &[Field] = &[
    field("enabled", Bool, "Whether the cluster follows the source.").preset(No),
    field("promote", Bool, "Whether it stops to follow and takes writes.").preset(No),
    field(
        "token",
        Text,
        "Of a cluster with data of its own: the token that the source publishes since its promotion.",
    ),
    field(
        "automaticPromotion",
        Fields(&[
            field("after", Duration, "How long the source must have been out of reach.").preset(Word("30s")),
            field("witnesses", Integer, "Of how many agents. Without: a majority, and never one alone."),
        ]),
        "Whether the cluster is promoted without a person when the source is lost. Without: it is not.",
    ),
    field(
        "source",
        Fields(&[
            field("clusterName", Text, "The source's name, for people."),
            field("host", Text, "Where it answers."),
            field("port", IntegerIn(1, 65_535), "At which port.").preset(Number(6_379)),
            field("authSecretName", Text, "The Secret with its password."),
            field("user", Text, "The user to connect as. Without: default."),
            field(
                "sentinel",
                Fields(&[
                    field("hosts", List(&Text), "Where they answer: host:port."),
                    field("masterName", Text, "What they call the source."),
                ]),
                "The Sentinels that know where the source is, in place of host and port.",
            ),
        ]),
        "What is followed.",
    ),
];

const STORAGE: &[Field] = &[
    field(
        "type",
        OneOf(&["pvc", "emptyDir"]),
        "A volume of its own, or a directory that is lost with the pod.",
    )
    .preset(Word("pvc")),
    field("size", Quantity, "How large it is.").preset(Word(DEFAULT_STORAGE)),
    field("storageClassName", Text, "The class of the volume. Without: the default class."),
];

/// `spec.storage.size` when the manifest has none.
pub(crate) const DEFAULT_STORAGE: &str = "1Gi";

const RESOURCES: &[Field] = &[
    field("limits", Quantities, "The most it may use."),
    field("requests", Quantities, "What is set aside for it."),
    field("claims", List(&NamedFields), "Claims (core/v1 ResourceClaim)."),
];

const MAINTENANCE: &[Field] = &[
    field("inProgress", Bool, "Whether it is on.").preset(No),
    field("reusePVC", Bool, "Whether pods wait for their volumes to come back.").preset(Yes),
];

const ISOLATION: &[Field] = &[
    field("enabled", Bool, "Whether it is looked for."),
    field("apiServerTimeout", Duration, "How long the API server may stay silent."),
    field("peerTimeout", Duration, "How long the other pods may stay silent."),
];

const BOOTSTRAP: &[Field] = &[field("backupName", Text, "The RedisBackup to restore.")];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::MaxMemoryPolicy;

    #[test]
    fn the_policies_are_those_of_the_type() {
        assert_eq!(POLICIES, MaxMemoryPolicy::ALL.map(MaxMemoryPolicy::as_str));
    }
}
