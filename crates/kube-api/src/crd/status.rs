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
                "lastTransitionTime": {"type": "string", "format": "date-time"},
                "message": {"type": "string", "maxLength": 32768},
                "observedGeneration": {"type": "integer", "format": "int64", "minimum": 0},
                "reason": {"type": "string", "minLength": 1, "maxLength": 1024},
                "status": {"type": "string", "enum": ["True", "False", "Unknown"]},
                "type": {"type": "string", "maxLength": 316},
            },
        },
    })
}

pub(super) fn of_cluster() -> Value {
    json!({
        "description": "What is. Written by the operator.",
        "type": "object",
        "properties": {
            "observedGeneration": integer("int64"),
            "phase": text(),
            "healthy": {"type": "boolean"},
            "currentPrimary": text(),
            "instances": integer("int32"),
            "readyInstances": integer("int32"),
            "instancesStatus": {
                "type": "object",
                "additionalProperties": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
            },
            "shards": {
                "type": "object",
                "maxProperties": 1000,
                "additionalProperties": {
                    "type": "object",
                    "properties": {
                        "primaryPod": text(),
                        "replicaPods": names(),
                        "slotRanges": slot_ranges(),
                        "primaryNodeID": text(),
                        "epoch": integer("int64"),
                    },
                },
            },
            "clusterState": text(),
            "slotsAssigned": integer("int32"),
            "bootstrapCompleted": {"type": "boolean"},
            "healthyPVC": integer("int32"),
            "danglingPVC": names(),
            "secretsResourceVersion": {"type": "object", "additionalProperties": text()},
            "waiting": {
                "type": "array",
                "items": {
                    "type": "object",
                    "required": ["reason"],
                    "x-kubernetes-preserve-unknown-fields": true,
                    "properties": {"reason": text(), "message": text()},
                },
            },
            "conditions": conditions(),
        },
    })
}

pub(super) fn of_request() -> Value {
    json!({
        "description": "What came of it. Written by the operator.",
        "type": "object",
        "properties": {
            "done": {"type": "boolean"},
            "refused": {"type": "object", "nullable": true, "x-kubernetes-preserve-unknown-fields": true},
            "message": text(),
        },
    })
}
