//! A Sentinel's pod, the Service that leads to all of them, and their disruption budget.

use super::Owner;
use super::pod::{OperatorFacts, container_security, in_zone_and_apart, install, schedule};
use super::template::Template;
use crate::pod::{place, variable};
use serde_json::{Value, json};
use valkeeper_kube_api::names::{
    self, ANNOTATION_SPEC_HASH, LABEL_CLUSTER, LABEL_INSTANCE, LABEL_ROLE, LABEL_WORKLOAD, ROLE_SENTINEL,
    SENTINEL_PORT, WORKLOAD_SENTINEL,
};
use valkeeper_model::{InstanceName, Layout, Sentinel};

/// A Sentinel writes its file when it is told to end.
const GRACE_SECONDS: u32 = 30;

/// The Sentinels' pods.
fn selector(owner: &Owner) -> Value {
    json!({ LABEL_CLUSTER: owner.home.cluster, LABEL_WORKLOAD: WORKLOAD_SENTINEL })
}

/// The pod of one Sentinel. Its file is in a volume that goes with the pod: what it holds is known to the layout, and where the primary is
/// the primary's agent tells.
pub(crate) fn pod(
    owner: &Owner,
    name: &InstanceName,
    sentinel: &Sentinel,
    layout: &Layout,
    template: &Template,
    operator: &OperatorFacts,
) -> Value {
    let home = &owner.home;
    let mut metadata = owner.metadata(&names::pod(name));
    metadata["labels"][LABEL_INSTANCE] = json!(name);
    metadata["labels"][LABEL_WORKLOAD] = json!(WORKLOAD_SENTINEL);
    metadata["labels"][LABEL_ROLE] = json!(ROLE_SENTINEL);
    let mut spec = json!({
        "automountServiceAccountToken": false,
        "enableServiceLinks": false,
        "terminationGracePeriodSeconds": GRACE_SECONDS,
        "securityContext": super::pod::pod_security(),
        "initContainers": [install(operator)],
        "containers": [container(owner, name, sentinel, layout, template, operator)],
        "volumes": [
            { "name": "data", "emptyDir": { "sizeLimit": "64Mi" } },
            { "name": "bin", "emptyDir": {} },
            { "name": "scratch", "emptyDir": { "sizeLimit": "64Mi" } },
            super::pod::auth_volume(&home.cluster, template),
        ],
        "affinity": in_zone_and_apart(&selector(owner), &sentinel.zone, template),
    });
    schedule(&mut spec, template);
    metadata["annotations"] = json!({ ANNOTATION_SPEC_HASH: super::template::hash(&spec) });
    json!({ "apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec })
}

fn container(
    owner: &Owner,
    name: &InstanceName,
    sentinel: &Sentinel,
    layout: &Layout,
    template: &Template,
    operator: &OperatorFacts,
) -> Value {
    let home = &owner.home;
    let host = |name: &InstanceName| names::host(&home.cluster, name, &home.namespace, &operator.domain);
    // The founder first: what a Sentinel begins with, until the primary's agent tells it better.
    let founder = layout.shards.values().next().map(|shard| &shard.founder);
    let others = layout.instances.keys().filter(|name| Some(*name) != founder);
    let servers: Vec<String> =
        founder.into_iter().chain(others).map(|name| format!("{name}={}", host(name))).collect();
    let quorum = layout.sentinels.as_ref().map_or(0, |sentinels| sentinels.quorum);
    let mut container = json!({
        "name": "sentinel",
        "image": template.kubernetes.image,
        "command": [format!("{}/valkeeper", place::PROGRAM), "sentinel"],
        "env": [
            { "name": variable::INSTANCE, "value": name },
            { "name": variable::CLUSTER, "value": home.cluster },
            { "name": variable::NAMESPACE, "value": home.namespace },
            { "name": variable::CLUSTER_ID, "value": layout.id },
            { "name": variable::SENTINEL_ID, "value": sentinel.id },
            { "name": variable::QUORUM, "value": quorum.to_string() },
            { "name": variable::SERVERS, "value": servers.join(",") },
            { "name": variable::POD_IP, "valueFrom": { "fieldRef": { "fieldPath": "status.podIP" } } },
            { "name": "TMPDIR", "value": place::SCRATCH },
            { "name": "VALKEEPER_LOG", "value": "info" },
        ],
        "ports": [{ "name": "sentinel", "containerPort": SENTINEL_PORT }],
        "readinessProbe": {
            "tcpSocket": { "port": SENTINEL_PORT },
            "periodSeconds": 1, "timeoutSeconds": 2, "failureThreshold": 2,
        },
        "volumeMounts": [
            { "name": "data", "mountPath": place::DATA },
            { "name": "bin", "mountPath": place::PROGRAM },
            { "name": "scratch", "mountPath": place::SCRATCH },
            { "name": "auth", "mountPath": place::AUTH, "readOnly": true },
        ],
        "resources": { "requests": { "cpu": "10m", "memory": "32Mi" } },
        "securityContext": container_security(),
    });
    if let Some(policy) = template.kubernetes.image_pull_policy {
        container["imagePullPolicy"] = json!(policy.as_str());
    }
    container
}

/// Leads to any Sentinel that listens.
pub(crate) fn service(owner: &Owner) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": owner.metadata(&names::sentinel_service(&owner.home.cluster)),
        "spec": {
            "selector": selector(owner),
            "ports": [{ "name": "redis", "port": SENTINEL_PORT, "targetPort": SENTINEL_PORT, "protocol": "TCP" }],
            "type": "ClusterIP", "sessionAffinity": "None", "internalTrafficPolicy": "Cluster",
        },
    })
}

/// One at a time.
pub(crate) fn disruption_budget(owner: &Owner, sentinels: usize) -> Value {
    json!({
        "apiVersion": "policy/v1", "kind": "PodDisruptionBudget",
        "metadata": owner.metadata(&names::sentinel_service(&owner.home.cluster)),
        "spec": {
            "minAvailable": sentinels.saturating_sub(1),
            "selector": { "matchLabels": selector(owner) },
            "unhealthyPodEvictionPolicy": "IfHealthyBudget",
        },
    })
}
