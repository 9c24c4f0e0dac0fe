//! Services, disruption budget, network policy.

use super::{Owner, selector};
use crate::{AGENT_METRICS_PORT, AGENT_PORT};
use serde_json::{Value, json};
use valkeeper_kube_api::names::{self, BUS_PORT, CLIENT_PORT, LABEL_ROLE};
use valkeeper_model::Role;

/// One DNS name for each pod, whether it is ready or not: agents and servers find each other while none is.
pub(crate) fn headless(owner: &Owner) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": owner.metadata(&names::headless_service(&owner.home.cluster)),
        "spec": {
            "clusterIP": "None",
            "publishNotReadyAddresses": true,
            "selector": selector(&owner.home),
            "ports": [service_port("redis", CLIENT_PORT), service_port("cluster-bus", BUS_PORT)],
            "type": "ClusterIP", "sessionAffinity": "None", "internalTrafficPolicy": "Cluster",
        },
    })
}

/// The servers of a role, in a cluster without slots. Whom a client is to reach is the primary, ready or not: it is told by its label, and a
/// probe that comes at the moment of a promotion must not take it away.
pub(crate) fn by_role(owner: &Owner, role: Role) -> Value {
    let cluster = &owner.home.cluster;
    let name = match role {
        Role::Primary => names::primary_service(cluster),
        Role::Replica => names::replica_service(cluster),
    };
    let mut selector = selector(&owner.home);
    selector[LABEL_ROLE] = json!(role);
    let mut service = for_clients(owner, &name, &selector);
    if role == Role::Primary {
        service["spec"]["publishNotReadyAddresses"] = json!(true);
    }
    service
}

/// Where clients begin: any pod that is ready tells them of the others.
pub(crate) fn any(owner: &Owner) -> Value {
    for_clients(owner, &names::any_service(&owner.home.cluster), &selector(&owner.home))
}

fn for_clients(owner: &Owner, name: &str, selector: &Value) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": owner.metadata(name),
        "spec": {
            "selector": selector,
            "ports": [service_port("redis", CLIENT_PORT)],
            "type": "ClusterIP", "sessionAffinity": "None", "internalTrafficPolicy": "Cluster",
        },
    })
}

/// With the defaults that the API server would fill in: what is edited is told from them.
fn service_port(name: &str, port: u16) -> Value {
    json!({ "name": name, "port": port, "targetPort": port, "protocol": "TCP" })
}

/// One pod at a time, and only while all others are ready (law 6): a ready pod serves its slots or is in sync, so that a primary
/// whose only replica is not is not evicted. A budget for each shard would let a drain take two primaries at once, and Kubernetes
/// takes no second budget for the same pod.
pub(crate) fn disruption_budget(owner: &Owner, instances: usize) -> Value {
    json!({
        "apiVersion": "policy/v1", "kind": "PodDisruptionBudget",
        "metadata": owner.metadata(&names::disruption_budget(&owner.home.cluster)),
        "spec": {
            // Said this way, as Kubernetes can count unavailable pods only of owners that have a scale.
            "minAvailable": instances.saturating_sub(1),
            "selector": { "matchLabels": selector(&owner.home) },
            // One that does not run well cannot be made worse by moving it.
            "unhealthyPodEvictionPolicy": "IfHealthyBudget",
        },
    })
}

/// Clients and Prometheus from everywhere; the bus among the pods; agents from the pods and from the operator. What agents are asked is protected
/// by their certificates too.
pub(crate) fn policy(owner: &Owner, operator_namespace: &str) -> Value {
    let pods = json!({ "podSelector": { "matchLabels": selector(&owner.home) } });
    let operator = json!({
        "namespaceSelector": { "matchLabels": { "kubernetes.io/metadata.name": operator_namespace } },
        "podSelector": { "matchLabels": { "app.kubernetes.io/name": "valkeeper-operator" } },
    });
    json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
        "metadata": owner.metadata(&names::network_policy(&owner.home.cluster)),
        "spec": {
            "podSelector": { "matchLabels": selector(&owner.home) },
            "policyTypes": ["Ingress"],
            "ingress": [
                { "ports": [{ "port": CLIENT_PORT, "protocol": "TCP" }, { "port": AGENT_METRICS_PORT, "protocol": "TCP" }] },
                { "from": [pods.clone()], "ports": [{ "port": BUS_PORT, "protocol": "TCP" }] },
                { "from": [pods, operator], "ports": [{ "port": AGENT_PORT, "protocol": "TCP" }] },
            ],
        },
    })
}
