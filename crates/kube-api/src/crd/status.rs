//! The schemas of what the operator writes. A new detail of a reason or an instance must not wait for a new definition:
//! those stay open.

use serde_json::{Value, json};

fn text() -> Value {
    json!({"type": "string"})
}

fn integer(format: &str) -> Value {
    json!({"type": "integer", "format": format})
}

fn names() -> Value {
    json!({"type": "array", "items": text()})
}

fn slot_ranges() -> Value {
    let slot = json!({"type": "integer", "format": "int32", "minimum": 0, "maximum": 16383});
    json!({
        "type": "array",
        "items": {"type": "object", "required": ["start", "end"], "properties": {"start": slot, "end": slot}},
    })
}

fn conditions() -> Value {
    json!({
        "description": "The status for tools that know no more of us.",
        "type": "array",
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["type"],
        "items": {
            "type": "object",
            "required": ["lastTransitionTime", "message", "reason", "status", "type"],
            "properties": {
                "lastTransitionTime": {
                    "description": "When its status changed last.", "type": "string", "format": "date-time",
                },
                "message": {"description": "Why, for people.", "type": "string", "maxLength": 32768},
                "observedGeneration": {
                    "description": "The generation of the spec that it is about.",
                    "type": "integer", "format": "int64", "minimum": 0,
                },
                "reason": {
                    "description": "Why, for programs.", "type": "string", "minLength": 1, "maxLength": 1024,
                },
                "status": {"description": "Does it hold?", "type": "string", "enum": ["True", "False", "Unknown"]},
                "type": {
                    "description": "Ready, PrimaryAvailable, ReplicationHealthy, ZoneLossTolerated, SpecValid or ReplicaMode.",
                    "type": "string", "maxLength": 316,
                },
            },
        },
    })
}

/// The same, with what it is for `kubectl explain`.
fn about(mut schema: Value, description: &str) -> Value {
    schema["description"] = description.into();
    schema
}

fn flag() -> Value {
    json!({"type": "boolean"})
}

fn instance() -> Value {
    json!({
        "type": "object",
        "x-kubernetes-preserve-unknown-fields": true,
        "properties": {
            "shard": about(text(), "Its shard."),
            "zone": about(text(), "Its zone."),
            "connected": about(flag(), "Does its server answer?"),
            "fenced": about(flag(), "Is it kept down by a user's wish?"),
            "role": about(text(), "primary or replica, as observed; absent if its server does not answer."),
            "address": about(text(), "Where its server answers."),
            "pid": about(integer("int64"), "Its server's process inside the pod."),
            "version": about(text(), "Its server's version."),
            "nodeID": about(text(), "Its node id in the cluster."),
            "replicaLagBytes": about(integer("int64"), "How far it is behind its primary, of a replica in sync."),
            "replicationOffset": about(integer("int64"), "Its position in the stream of writes, bytes."),
            "connectedReplicas": about(integer("int32"), "Replicas that are attached to it and online, of a primary."),
            "masterLinkStatus": about(text(), "up or down, of a replica."),
            "slotsServed": about(slot_ranges(), "The slots it owns by its own belief."),
            "clusterState": about(text(), "ok or fail, by its own words."),
            "currentEpoch": about(integer("int64"), "The engine's epoch there."),
        },
    })
}

fn shard() -> Value {
    json!({
        "type": "object",
        "properties": {
            "primaryPod": about(text(), "The instance that serves its slots; absent if none does."),
            "replicaPods": about(names(), "The instances that follow."),
            "slotRanges": about(slot_ranges(), "Its slots."),
            "primaryNodeID": about(text(), "The node id of its primary."),
            "epoch": about(integer("int64"), "The configuration epoch of its primary."),
        },
    })
}

fn replica_mode() -> Value {
    let source = json!({
        "type": "object",
        "properties": {
            "clusterName": about(text(), "The source's name, for people."),
            "host": about(text(), "Where it answers."),
            "port": about(integer("int32"), "At which port."),
            "user": about(text(), "The user to connect as."),
            "authSecretName": about(text(), "The Secret with its password."),
            "sentinel": about(json!({
                "type": "object",
                "properties": {
                    "hosts": about(json!({ "type": "array", "items": text() }), "Where they answer."),
                    "masterName": about(text(), "What they call the source."),
                },
            }), "The Sentinels that know where the source is."),
        },
    });
    let held_back = json!({
        "type": "object",
        "properties": {
            "instance": about(text(), "Whose copy."),
            "why": {
                "description": "What the source did.",
                "type": "object", "x-kubernetes-preserve-unknown-fields": true,
            },
        },
    });
    let or_unknown = || json!({"type": "integer", "format": "int64", "nullable": true});
    let loss = json!({
        "type": "object",
        "properties": {
            "behindBytes": about(or_unknown(), "Bytes of the source's stream that were seen to exist and had not come."),
            "unseenMs": about(or_unknown(), "How long before the promotion the source was seen last, milliseconds."),
        },
    });
    let promotion = json!({
        "type": "object",
        "properties": {
            "instance": about(text(), "Who was chosen to become the primary."),
            "loss": about(loss, "What of the source's writes the cluster may lack; absent where nobody could tell."),
        },
    });
    let seen_at = json!({"type": "string", "format": "date-time"});
    json!({
        "type": "object",
        "x-kubernetes-preserve-unknown-fields": true,
        "properties": {
            "source": about(source, "What is followed, or was."),
            "stage": about(text(), "Following, Promoting or Promoted."),
            "designated": about(text(), "Who becomes the primary when the cluster is promoted, or has become it."),
            "link": about(text(), "The designated's link to the source."),
            "lagBytes": about(integer("int64"), "How far the designated was behind the source when that was seen last."),
            "lagSeenAt": about(seen_at, "When that was."),
            "heldBack": about(held_back, "The copy that is held back from what the source does."),
            "promotion": about(promotion, "Of a cluster that is being promoted, or was."),
            "token": about(text(), "Of a promoted cluster: the token for the cluster that is to follow it."),
        },
    })
}

fn progress() -> Value {
    json!({
        "type": "object",
        "required": ["operation"],
        "x-kubernetes-preserve-unknown-fields": true,
        "properties": {
            "operation": about(text(), "The operation's name."),
            "purpose": about(text(), "To what end, for people."),
            "done": about(integer("int64"), "So many are done."),
            "total": about(integer("int64"), "Of so many."),
            "unit": about(text(), "What is counted: instances or slots."),
        },
    })
}

fn waiting() -> Value {
    json!({
        "type": "object",
        "required": ["reason"],
        "x-kubernetes-preserve-unknown-fields": true,
        "properties": {
            "reason": about(text(), "The reason's name, for programs."),
            "message": about(text(), "The same for people."),
        },
    })
}

pub(super) fn of_cluster() -> Value {
    let phase = "Creating: it has not served all slots yet; Healthy: it is whole; Degraded: all slots are served, but it is not whole; \
                 Failing: a shard is without a serving primary; Hibernating: its servers are being stopped by a user's wish; Hibernated: they are, \
                 and it has no pods.";
    let instances = json!({"type": "object", "additionalProperties": instance()});
    let shards = json!({"type": "object", "maxProperties": 1000, "additionalProperties": shard()});
    let secrets = json!({"type": "object", "additionalProperties": text()});
    let operations = json!({"type": "array", "items": progress()});
    let reasons = json!({"type": "array", "items": waiting()});
    json!({
        "description": "What is. Written by the operator.",
        "type": "object",
        "properties": {
            "observedGeneration": about(integer("int64"), "The generation of the spec that this is about."),
            "mode": about(text(), "cluster or standalone."),
            "phase": about(text(), phase),
            "healthy": about(flag(), "Is everything as it should be?"),
            "currentPrimary": about(text(), "The primary where there is one only, or who is designated to become it; a cluster has one for each shard."),
            "instances": about(integer("int32"), "Instances that there are to be."),
            "readyInstances": about(integer("int32"), "Instances whose server answers."),
            "instancesStatus": about(instances, "Each instance, by its name, which is its pod's."),
            "shards": about(shards, "Each shard, by its name."),
            "clusterState": about(text(), "ok if a majority of all instances says so; absent if no server answers."),
            "slotsAssigned": about(integer("int32"), "Slots of 16384 that are served according to a majority of instances."),
            "bootstrapCompleted": about(flag(), "Has it served all its slots once?"),
            "healthyPVC": about(integer("int32"), "Volume claims of its instances that exist."),
            "danglingPVC": about(names(), "Volume claims that no instance uses. They are never deleted for that."),
            "secretsResourceVersion": about(secrets, "The versions of the Secrets in use."),
            "replicaMode": about(replica_mode(), "Of a cluster that follows another, or did."),
            "progress": about(operations, "Long work under way."),
            "cordonedZones": about(names(), "Zones in which no instance is placed, by the user's wish."),
            "waiting": about(reasons, "Everything that is not as it should be, the cause first."),
            "conditions": conditions(),
        },
    })
}

pub(super) fn of_request() -> Value {
    let refused = json!({"type": "object", "nullable": true, "x-kubernetes-preserve-unknown-fields": true});
    json!({
        "description": "What came of it. Written by the operator.",
        "type": "object",
        "properties": {
            "done": about(flag(), "Is it over, whichever way it ended?"),
            "refused": about(refused, "Why it was not carried out, for programs."),
            "message": about(text(), "What is going on, what was done, or why not."),
        },
    })
}
