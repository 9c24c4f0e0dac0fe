//! The definitions of our kinds, generated from the tables that the reader of manifests checks by.
//!
//! The API server answers a wrong object at once with the schema and the rules of [`rules`]. What neither can say is left
//! to the webhook, which asks the reader ([`RedisCluster::manifest`]), and to the operator, which does so again:
//!
//! - the quotes and control characters in a directive's value, and two spellings of one directive;
//! - why each directive is reserved, and what to do instead;
//! - numbers that are too long, and durations with parts of a millisecond;
//! - a percentage of memory that comes to nothing;
//! - whether an update shrinks a volume: quantities of any spelling are compared;
//! - whether the zones that exist suffice;
//! - all that is allowed and costs something (warnings), and all that has no effect.
//!
//! It is stricter than the reader in one thing: a key without a value where one of some words belongs is refused.

mod fields;
mod rules;
mod status;

use crate::names::{GROUP, VERSION};
use crate::{RedisCluster, RedisClusterRequest};
use serde_json::{Value, json};
use valkeeper_model::manifest::schema::SPEC;

/// The definitions as files, for people and `kubectl apply`: name and text. `cargo xtask crds` writes them.
pub const FILES: [(&str, &str); 2] = [
    ("redisclusters.yaml", include_str!("../crds/redisclusters.yaml")),
    ("redisclusterrequests.yaml", include_str!("../crds/redisclusterrequests.yaml")),
];

/// The definitions (apiextensions.k8s.io/v1 `CustomResourceDefinition`) with the names of their files.
pub fn definitions() -> [(&'static str, Value); 2] {
    [("redisclusters.yaml", redis_cluster()), ("redisclusterrequests.yaml", redis_cluster_request())]
}

/// What tells the kinds apart.
struct Definition {
    kind: &'static str,
    plural: &'static str,
    singular: &'static str,
    short: &'static [&'static str],
    columns: Value,
    schema: Value,
}

fn definition(of: &Definition) -> Value {
    json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {
            "name": format!("{}.{GROUP}", of.plural),
            "labels": {"app.kubernetes.io/name": "valkeeper"},
        },
        "spec": {
            "group": GROUP,
            "scope": "Namespaced",
            "names": {
                "kind": of.kind,
                "listKind": format!("{}List", of.kind),
                "plural": of.plural,
                "singular": of.singular,
                "shortNames": of.short,
                "categories": ["valkeeper"],
            },
            "versions": [{
                "name": VERSION,
                "served": true,
                "storage": true,
                "subresources": {"status": {}},
                "additionalPrinterColumns": of.columns,
                "schema": {"openAPIV3Schema": of.schema},
            }],
        },
    })
}

fn column(name: &str, kind: &str, path: &str) -> Value {
    json!({"name": name, "type": kind, "jsonPath": path})
}

/// Shown by `-o wide` only.
fn wide(name: &str, kind: &str, path: &str) -> Value {
    json!({"name": name, "type": kind, "jsonPath": path, "priority": 1})
}

fn redis_cluster() -> Value {
    let mut spec = fields::object(SPEC);
    spec["description"] = "What is wanted.".into();
    rules::limit_texts(&mut spec);
    spec["x-kubernetes-validations"] = rules::of_spec().into();
    definition(&Definition {
        kind: RedisCluster::KIND,
        plural: RedisCluster::PLURAL,
        singular: "rediscluster",
        // `rc` belongs to this API, but kubectl takes it for core's ReplicationController.
        short: &["rc", "rcl"],
        columns: json!([
            column("Shards", "integer", ".spec.shards"),
            column("Instances", "integer", ".status.instances"),
            column("Ready", "integer", ".status.readyInstances"),
            column("Phase", "string", ".status.phase"),
            column("Reason", "string", ".status.waiting[0].reason"),
            column("Age", "date", ".metadata.creationTimestamp"),
            wide("Slots", "integer", ".status.slotsAssigned"),
            wide("Primary", "string", ".status.currentPrimary"),
            wide("Message", "string", ".status.waiting[0].message"),
        ]),
        schema: json!({
            "description": "A cluster of Valkey or Redis servers.",
            "type": "object",
            "required": ["spec"],
            "properties": {
                "apiVersion": {"type": "string"},
                "kind": {"type": "string"},
                "metadata": {"type": "object"},
                "spec": spec,
                "status": status::of_cluster(),
            },
            "x-kubernetes-validations": rules::of_object(),
        }),
    })
}

fn redis_cluster_request() -> Value {
    definition(&Definition {
        kind: RedisClusterRequest::KIND,
        plural: RedisClusterRequest::PLURAL,
        singular: "redisclusterrequest",
        short: &["rcq"],
        columns: json!([
            column("Cluster", "string", ".spec.cluster"),
            column("Request", "string", ".spec.request.request"),
            column("Done", "boolean", ".status.done"),
            column("Message", "string", ".status.message"),
            column("Age", "date", ".metadata.creationTimestamp"),
        ]),
        schema: json!({
            "description": "One thing that a user asks of a running cluster.",
            "type": "object",
            "required": ["spec"],
            "properties": {
                "apiVersion": {"type": "string"},
                "kind": {"type": "string"},
                "metadata": {"type": "object"},
                "spec": fields::request(),
                "status": status::of_request(),
            },
        }),
    })
}

#[cfg(test)]
mod tests;
