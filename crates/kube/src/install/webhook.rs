//! What an install has for the webhook.

use super::{Install, NAME, allow, labels};
use crate::WEBHOOK_PORT;
use crate::operator::webhook::{PATH, REVIEW_VERSION, SERVICE, WEBHOOK, configuration_name};
use serde_json::{Value, json};
use valkeeper_kube_api::RedisCluster;
use valkeeper_kube_api::names::{GROUP, VERSION};
use valkeeper_model::{FencedInstances, HibernationWish};

/// Where API servers call.
const SERVICE_PORT: u16 = 443;

/// All operators, whether they act or not.
pub(super) fn service(install: &Install) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": { "name": SERVICE, "namespace": install.namespace, "labels": labels() },
        "spec": {
            "selector": { "app.kubernetes.io/name": NAME },
            "ports": [{ "name": "webhook", "port": SERVICE_PORT, "targetPort": WEBHOOK_PORT, "protocol": "TCP" }],
        },
    })
}

/// What API servers are told. Whom to trust they are told by the operator: a field that the install had would be taken back each
/// time the install is applied again.
pub(super) fn configuration(install: &Install) -> Value {
    // Clusters of other namespaces are another install's to judge.
    let selector = match install.namespaces.as_slice() {
        [] => json!({}),
        these => json!({ "matchExpressions": [
            { "key": "kubernetes.io/metadata.name", "operator": "In", "values": these },
        ] }),
    };
    json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration",
        "metadata": { "name": configuration_name(&install.namespace), "labels": labels() },
        "webhooks": [{
            "name": WEBHOOK,
            "namespaceSelector": selector,
            "clientConfig": {
                "service": { "name": SERVICE, "namespace": install.namespace, "path": PATH, "port": SERVICE_PORT },
            },
            "rules": [{
                "apiGroups": [GROUP], "apiVersions": [VERSION], "resources": [RedisCluster::PLURAL],
                "operations": ["CREATE", "UPDATE"], "scope": "Namespaced",
            }],
            // What needs no judgement does not wait for one either: without an operator, objects can still be deleted.
            "matchConditions": [
                { "name": "not-going", "expression": "!has(object.metadata.deletionTimestamp)" },
                { "name": "another-wish", "expression": another_wish() },
            ],
            "admissionReviewVersions": [REVIEW_VERSION],
            "failurePolicy": "Fail",
            "matchPolicy": "Equivalent",
            "sideEffects": "None",
            "timeoutSeconds": 5,
        }],
    })
}

/// In CEL: it is new, its spec is another, or an annotation says something else that asks the operator for something. One that is taken away asks for nothing.
fn another_wish() -> String {
    let judged = [FencedInstances::ANNOTATION, HibernationWish::ANNOTATION].map(|one| format!("'{one}'"));
    let new = "(!has(oldObject.metadata.annotations) || !(name in oldObject.metadata.annotations) \
         || oldObject.metadata.annotations[name] != object.metadata.annotations[name])";
    format!(
        "request.operation == 'CREATE' || object.spec != oldObject.spec || (has(object.metadata.annotations) \
         && [{}].exists(name, name in object.metadata.annotations && {new}))",
        judged.join(", ")
    )
}

/// What it may do in its own namespace.
pub(super) fn own_rules() -> [Value; 2] {
    let mut kept = allow(&[""], &["secrets"], &["get", "update"]);
    kept["resourceNames"] = json!([SERVICE]);
    [kept, allow(&[""], &["secrets"], &["create"])]
}

/// What it may do beside that.
pub(super) fn rules(namespace: &str) -> Value {
    let resources = ["validatingwebhookconfigurations"];
    let mut trust = allow(&["admissionregistration.k8s.io"], &resources, &["get", "patch"]);
    trust["resourceNames"] = json!([configuration_name(namespace)]);
    json!([trust])
}
