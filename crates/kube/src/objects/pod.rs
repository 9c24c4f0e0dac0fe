//! An instance's pod: the stock server image with our agent as its first process.

use super::template::Template;
use super::{Owner, label_instance, register, selector};
use crate::pod::{place, variable};
use crate::{AGENT_METRICS_PORT, AGENT_PORT, PROBE_PORT};
use serde_json::{Value, json};
use valkeeper_kube_api::names::{self, ANNOTATION_SPEC_HASH, BUS_PORT, CLIENT_PORT};
use valkeeper_model::{ClusterName, Instance, InstanceName, Mode, Storage, ZoneName};

/// The user of the server, as the stock images have it.
const USER: u32 = 999;
/// A handover under saturation takes seconds, the farewell to clients two; a server that is killed loses nothing but time.
const GRACE_SECONDS: u32 = 90;

/// What the operator says about itself to the pods.
#[derive(Debug, Clone)]
pub(crate) struct OperatorFacts {
    /// Its own image: the agent comes from it.
    pub(crate) image: String,
    /// Where it takes news: host and port.
    pub(crate) news: String,
    /// The DNS domain of this Kubernetes.
    pub(crate) domain: String,
}

/// The pod of one instance.
pub(crate) fn pod(
    owner: &Owner,
    name: &InstanceName,
    instance: &Instance,
    template: &Template,
    operator: &OperatorFacts,
    mode: Mode,
) -> Value {
    let home = &owner.home;
    let mut metadata = owner.metadata(&names::pod(name));
    label_instance(&mut metadata, name, instance);
    let container = container(owner, name, template, operator);
    let mut init = Vec::new();
    if template.kubernetes.kernel_tuning {
        init.push(kernel_tuning(operator));
    }
    init.push(install(operator));
    let data = match &template.kubernetes.storage {
        Storage::Pvc { .. } => {
            let claim = names::volume_claim(&home.cluster, name);
            json!({ "name": "data", "persistentVolumeClaim": { "claimName": claim } })
        }
        Storage::EmptyDir { size } => json!({ "name": "data", "emptyDir": { "sizeLimit": size.text } }),
    };
    let mut spec = json!({
        "hostname": name,
        "subdomain": names::headless_service(&home.cluster),
        "automountServiceAccountToken": false,
        "enableServiceLinks": false,
        "terminationGracePeriodSeconds": GRACE_SECONDS,
        "securityContext": pod_security(),
        "initContainers": init,
        "containers": [container],
        "volumes": [
            data,
            { "name": "bin", "emptyDir": {} },
            { "name": "scratch", "emptyDir": { "sizeLimit": "64Mi" } },
            { "name": "tls", "secret": {
                "secretName": names::agent_tls_secret(&home.cluster),
                "items": [
                    { "key": "ca.crt", "path": "ca.crt" },
                    { "key": format!("{name}.crt"), "path": "tls.crt" },
                    { "key": format!("{name}.key"), "path": "tls.key" },
                ],
                "defaultMode": 0o440,
            } },
            auth_volume(&home.cluster, template),
        ],
        "affinity": in_zone_and_apart(&selector(home), &instance.zone, template),
    });
    if !mode.has_slots() {
        keep_register(&mut spec, owner);
    }
    if !template.kubernetes.topology_spread.is_empty() {
        spec["topologySpreadConstraints"] = json!(template.kubernetes.topology_spread);
    }
    schedule(&mut spec, template);
    metadata["annotations"] = json!({ ANNOTATION_SPEC_HASH: super::template::hash(&spec) });
    json!({ "apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec })
}

/// Copies this program into the pod: the server's image has none.
pub(super) fn install(operator: &OperatorFacts) -> Value {
    json!({
        "name": "install",
        "image": operator.image,
        "imagePullPolicy": "IfNotPresent",
        "command": ["/valkeeper", "install", place::PROGRAM],
        "volumeMounts": [{ "name": "bin", "mountPath": place::PROGRAM }],
        "resources": { "requests": { "cpu": "10m", "memory": "16Mi" } },
        "securityContext": container_security(),
    })
}

/// As whom the pod's processes run.
pub(super) fn pod_security() -> Value {
    json!({
        "runAsNonRoot": true, "runAsUser": USER, "runAsGroup": USER, "fsGroup": USER,
        // A volume of many files would be walked through at every start otherwise.
        "fsGroupChangePolicy": "OnRootMismatch",
        "seccompProfile": { "type": "RuntimeDefault" },
    })
}

/// The cluster's password.
pub(super) fn auth_volume(cluster: &ClusterName, template: &Template) -> Value {
    json!({ "name": "auth", "secret": {
        "secretName": template.auth_secret.clone().unwrap_or_else(|| names::auth_secret(cluster)),
        "items": [{ "key": names::PASSWORD_KEY, "path": names::PASSWORD_KEY }],
        "defaultMode": 0o440,
    } })
}

/// What the manifest says of nodes.
pub(super) fn schedule(spec: &mut Value, template: &Template) {
    let wanted = &template.kubernetes;
    if !wanted.node_selector.is_empty() {
        spec["nodeSelector"] = json!(wanted.node_selector);
    }
    if !wanted.tolerations.is_empty() {
        spec["tolerations"] = json!(wanted.tolerations);
    }
    if let Some(class) = &wanted.priority_class {
        spec["priorityClassName"] = json!(class);
    }
}

fn container(owner: &Owner, name: &InstanceName, template: &Template, operator: &OperatorFacts) -> Value {
    let home = &owner.home;
    let field =
        |name: &str, path: &str| json!({ "name": name, "valueFrom": { "fieldRef": { "fieldPath": path } } });
    let probe = |path: &str, every: u32, within: u32, failures: u32| {
        json!({
            "httpGet": { "path": path, "port": PROBE_PORT },
            "periodSeconds": every, "timeoutSeconds": within, "failureThreshold": failures,
        })
    };
    let mut container = json!({
        "name": "server",
        "image": template.kubernetes.image,
        "command": [format!("{}/valkeeper", place::PROGRAM), "agent"],
        "env": [
            { "name": variable::INSTANCE, "value": name },
            { "name": variable::CLUSTER, "value": home.cluster },
            { "name": variable::NAMESPACE, "value": home.namespace },
            { "name": variable::HOSTNAME, "value": names::host(&home.cluster, name, &home.namespace, &operator.domain) },
            { "name": variable::OPERATOR, "value": operator.news },
            field(variable::POD_IP, "status.podIP"),
            field(variable::POD_UID, "metadata.uid"),
            { "name": "TMPDIR", "value": place::SCRATCH },
            { "name": "VALKEEPER_LOG", "value": "info" },
        ],
        "ports": [
            { "name": "redis", "containerPort": CLIENT_PORT },
            { "name": "cluster-bus", "containerPort": BUS_PORT },
            { "name": "agent", "containerPort": AGENT_PORT },
            { "name": "probes", "containerPort": PROBE_PORT },
            { "name": "metrics", "containerPort": AGENT_METRICS_PORT },
        ],
        "readinessProbe": probe("/readyz", 1, 2, 2),
        // An agent that hangs for minutes is started again, its server with it. Not sooner: a node that has no time for the probe
        // has none for a restart either, and would be busier after it.
        "livenessProbe": probe("/livez", 20, 15, 9),
        "volumeMounts": [
            { "name": "data", "mountPath": place::DATA },
            { "name": "bin", "mountPath": place::PROGRAM },
            { "name": "scratch", "mountPath": place::SCRATCH },
            { "name": "tls", "mountPath": place::TLS, "readOnly": true },
            { "name": "auth", "mountPath": place::AUTH, "readOnly": true },
        ],
        "securityContext": container_security(),
    });
    if let Some(policy) = template.kubernetes.image_pull_policy {
        container["imagePullPolicy"] = json!(policy.as_str());
    }
    container["resources"] = template.kubernetes.resources();
    container
}

/// Its agent reaches the register: see [`register`].
fn keep_register(spec: &mut Value, owner: &Owner) {
    spec["serviceAccountName"] = json!(names::register(&owner.home.cluster));
    let mount = json!({ "name": "token", "mountPath": place::TOKEN, "readOnly": true });
    for (path, entry) in [("/volumes", register::token_volume()), ("/containers/0/volumeMounts", mount)] {
        if let Some(list) = spec.pointer_mut(path).and_then(Value::as_array_mut) {
            list.push(entry);
        }
    }
}

/// What the pod security standard `restricted` asks for.
pub(super) fn container_security() -> Value {
    json!({
        "allowPrivilegeEscalation": false,
        "readOnlyRootFilesystem": true,
        "capabilities": { "drop": ["ALL"] },
    })
}

/// The only thing that needs privileges, and only when asked for: a queue of waiting connections as long as the server's.
fn kernel_tuning(operator: &OperatorFacts) -> Value {
    json!({
        "name": "kernel-tuning",
        "image": operator.image,
        "imagePullPolicy": "IfNotPresent",
        "command": ["/valkeeper", "tune-kernel"],
        "securityContext": { "privileged": true, "runAsUser": 0, "runAsNonRoot": false },
    })
}

/// In its zone (law 7), beside the user's own wishes, and on a node of its own when asked.
pub(super) fn in_zone_and_apart(selector: &Value, zone: &ZoneName, template: &Template) -> Value {
    let mut affinity = template.kubernetes.affinity.clone().unwrap_or_else(|| json!({}));
    let zone = json!({ "key": names::LABEL_ZONE, "operator": "In", "values": [zone] });
    let required = &mut affinity["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"];
    match required["nodeSelectorTerms"].as_array_mut() {
        // Terms are alternatives: each of them has to be in the zone.
        Some(terms) if !terms.is_empty() => {
            for term in terms {
                match term["matchExpressions"].as_array_mut() {
                    Some(expressions) => expressions.push(zone.clone()),
                    None => term["matchExpressions"] = json!([zone]),
                }
            }
        }
        _ => *required = json!({ "nodeSelectorTerms": [{ "matchExpressions": [zone] }] }),
    }
    let apart =
        json!({ "labelSelector": { "matchLabels": selector }, "topologyKey": "kubernetes.io/hostname" });
    let (kind, term) = if template.kubernetes.one_per_host {
        ("requiredDuringSchedulingIgnoredDuringExecution", apart)
    } else {
        ("preferredDuringSchedulingIgnoredDuringExecution", json!({ "weight": 50, "podAffinityTerm": apart }))
    };
    match affinity["podAntiAffinity"][kind].as_array_mut() {
        Some(terms) => terms.push(term),
        None => affinity["podAntiAffinity"][kind] = json!([term]),
    }
    affinity
}
