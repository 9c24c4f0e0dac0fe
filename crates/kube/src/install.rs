//! The whole install as one stream of objects, for `kubectl apply --server-side -f -`.

mod webhook;

use crate::operator::{LABEL_LEADING, LEASE};
use crate::{METRICS_PORT, NEWS_PORT, WEBHOOK_PORT};
use serde_json::{Value, json};

/// What may be chosen of an install.
#[derive(Debug, Clone)]
pub struct Install {
    /// Where the operator runs.
    pub namespace: String,
    /// Its image.
    pub image: String,
    /// How many run; one acts, the others stand by.
    pub replicas: u32,
    /// Only clusters of these namespaces; all if there are none.
    pub namespaces: Vec<String>,
    /// Is what users write judged before it is stored?
    pub webhook: bool,
    /// The DNS domain of this Kubernetes; what the operator's pod is told if none is said.
    pub domain: Option<String>,
}

const NAME: &str = "valkeeper-operator";
/// Where the operator runs unless something else is asked for.
pub const NAMESPACE: &str = "valkeeper-system";

/// The name of an object that is in no namespace: another install in another namespace has one of its own. No Role or Namespace has a
/// colon in its own name, so that no two come out the same.
fn name_in_all(name: &str, namespace: &str) -> String {
    if namespace == NAMESPACE { name.to_owned() } else { format!("{name}:{namespace}") }
}

/// All objects but the definitions, in the order in which they can be applied after these.
pub fn manifests(install: &Install) -> Vec<Value> {
    let mut objects = vec![json!({
        "apiVersion": "v1", "kind": "Namespace",
        "metadata": { "name": install.namespace, "labels": { "pod-security.kubernetes.io/enforce": "restricted" } },
    })];
    objects.extend(rbac(install));
    objects.push(json!({
        "apiVersion": "v1", "kind": "Service", "metadata": metadata(install),
        "spec": {
            // Only the one that acts takes agents' news. It has this label as long as it holds the lease.
            "selector": { "app.kubernetes.io/name": NAME, LABEL_LEADING: "true" },
            "ports": [{ "name": "news", "port": NEWS_PORT, "protocol": "TCP" }],
            // An operator that has just been elected need not wait for its probe.
            "publishNotReadyAddresses": true,
        },
    }));
    if install.webhook {
        objects.push(webhook::service(install));
    }
    objects.push(deployment(install));
    if install.webhook {
        // Last: from here on no cluster can be written until an operator answers.
        objects.push(webhook::configuration(install));
    }
    objects
}

/// The definitions of our kinds: a list of their own, as removing them removes all clusters.
pub fn crds() -> Vec<Value> {
    valkeeper_kube_api::crd::definitions().into_iter().map(|(_, definition)| definition).collect()
}

fn metadata(install: &Install) -> Value {
    json!({ "name": NAME, "namespace": install.namespace, "labels": labels() })
}

fn labels() -> Value {
    json!({ "app.kubernetes.io/name": NAME, "app.kubernetes.io/part-of": "valkeeper" })
}

/// What the operator may do. Each verb has its reason in docs/kubernetes.md.
fn rbac(install: &Install) -> Vec<Value> {
    let in_namespaces = json!([
        allow(&["redis.io"], &["redisclusters", "redisclusterrequests"], &["get", "list", "watch"]),
        // The annotation with an approval is taken away when it was taken.
        allow(&["redis.io"], &["redisclusters"], &["patch"]),
        allow(&["redis.io"], &["redisclusters/status", "redisclusterrequests/status"], &["patch"]),
        // Owner references that hold up deletion ask for it where that admission is on.
        allow(&["redis.io"], &["redisclusters/finalizers"], &["update"]),
        allow(&[""], &["pods"], &["get", "list", "watch", "create", "patch", "delete"]),
        // Delete: a claim that has no volume and would be made otherwise now.
        allow(&[""], &["persistentvolumeclaims"], &["get", "list", "watch", "create", "patch", "delete"]),
        allow(&[""], &["configmaps"], &["get", "list", "watch", "create", "update", "patch"]),
        allow(&[""], &["secrets"], &["get", "list", "watch", "create", "update", "patch"]),
        allow(&[""], &["services"], &["get", "list", "watch", "create", "patch"]),
        allow(&["policy"], &["poddisruptionbudgets"], &["get", "list", "watch", "create", "patch", "delete"]),
        allow(&["networking.k8s.io"], &["networkpolicies"], &["get", "list", "watch", "create", "patch"]),
        allow(&["events.k8s.io"], &["events"], &["create", "patch"]),
        // What agents get to reach their register. Nobody can give a right that it has not.
        allow(&["coordination.k8s.io"], &["leases"], &["get", "list", "watch", "create", "update", "patch"]),
        allow(&[""], &["serviceaccounts"], &["get", "list", "watch", "create", "patch"]),
        allow(
            &["rbac.authorization.k8s.io"],
            &["roles", "rolebindings"],
            &["get", "list", "watch", "create", "patch"]
        ),
    ]);
    let mut leases = allow(&["coordination.k8s.io"], &["leases"], &["list"]);
    leases["resourceNames"] = json!([LEASE]);
    let everywhere = json!([allow(&[""], &["nodes"], &["get", "list", "watch"]), leases]);
    let mut own = vec![
        allow(&["coordination.k8s.io"], &["leases"], &["get", "create", "update"]),
        // The label by which agents find the one that acts.
        allow(&[""], &["pods"], &["get", "patch"]),
    ];
    if install.webhook {
        own.extend(webhook::own_rules());
    }
    let account = json!([{ "kind": "ServiceAccount", "name": NAME, "namespace": install.namespace }]);
    // Of another name than what it may do elsewhere: its own namespace may be one of those.
    let own_name = format!("{NAME}-own");
    let own_metadata = json!({ "name": own_name, "namespace": install.namespace, "labels": labels() });
    let api = RBAC;
    let shared = name_in_all(NAME, &install.namespace);
    let mut objects = vec![
        json!({ "apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata(install) }),
        json!({ "apiVersion": api, "kind": "ClusterRole", "metadata": { "name": shared, "labels": labels() }, "rules": in_namespaces }),
        json!({ "apiVersion": api, "kind": "Role", "metadata": own_metadata, "rules": own }),
        json!({ "apiVersion": api, "kind": "RoleBinding", "metadata": own_metadata, "roleRef": role("Role", &own_name), "subjects": account }),
    ];
    let in_all = |name: &str| name_in_all(&format!("{NAME}-{name}"), &install.namespace);
    objects.extend(in_all_of_it(&in_all("nodes"), &everywhere, &account));
    if install.webhook {
        objects.extend(in_all_of_it(&in_all("webhook"), &webhook::rules(&install.namespace), &account));
    }
    if install.namespaces.is_empty() {
        objects.push(json!({ "apiVersion": api, "kind": "ClusterRoleBinding", "metadata": { "name": shared, "labels": labels() }, "roleRef": role("ClusterRole", &shared), "subjects": account }));
    }
    for namespace in &install.namespaces {
        objects.push(json!({ "apiVersion": api, "kind": "RoleBinding", "metadata": { "name": shared, "namespace": namespace, "labels": labels() }, "roleRef": role("ClusterRole", &shared), "subjects": account }));
    }
    objects
}

const RBAC: &str = "rbac.authorization.k8s.io/v1";

fn allow(groups: &[&str], resources: &[&str], verbs: &[&str]) -> Value {
    json!({ "apiGroups": groups, "resources": resources, "verbs": verbs })
}

fn role(kind: &str, name: &str) -> Value {
    json!({ "apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": name })
}

/// What is allowed wherever the operator's clusters may be.
fn in_all_of_it(name: &str, rules: &Value, account: &Value) -> [Value; 2] {
    let metadata = json!({ "name": name, "labels": labels() });
    [
        json!({ "apiVersion": RBAC, "kind": "ClusterRole", "metadata": metadata, "rules": rules }),
        json!({ "apiVersion": RBAC, "kind": "ClusterRoleBinding", "metadata": metadata, "roleRef": role("ClusterRole", name), "subjects": account }),
    ]
}

fn deployment(install: &Install) -> Value {
    let field =
        |name: &str, path: &str| json!({ "name": name, "valueFrom": { "fieldRef": { "fieldPath": path } } });
    let mut args = vec!["operator".to_owned()];
    args.extend(install.namespaces.iter().map(|namespace| format!("--watch={namespace}")));
    args.extend(install.domain.iter().map(|domain| format!("--cluster-domain={domain}")));
    let mut ports = vec![
        json!({ "name": "news", "containerPort": NEWS_PORT }),
        json!({ "name": "metrics", "containerPort": METRICS_PORT }),
    ];
    if install.webhook {
        ports.push(json!({ "name": "webhook", "containerPort": WEBHOOK_PORT }));
    }
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata(install),
        "spec": {
            "replicas": install.replicas,
            // A pod that is ready has an address in the Service only when each node's proxy has heard of it, a second or two later. Until then
            // the webhook refuses connections, and `rollout status` is not to end before it answers.
            "minReadySeconds": 5,
            "selector": { "matchLabels": { "app.kubernetes.io/name": NAME } },
            "template": {
                "metadata": { "labels": labels() },
                "spec": {
                    "serviceAccountName": NAME,
                    "terminationGracePeriodSeconds": 10,
                    "securityContext": {
                        "runAsNonRoot": true, "runAsUser": 65532, "runAsGroup": 65532,
                        "seccompProfile": { "type": "RuntimeDefault" },
                    },
                    "containers": [{
                        "name": "operator",
                        "image": install.image,
                        "imagePullPolicy": "IfNotPresent",
                        "command": ["/valkeeper"],
                        "args": args,
                        "env": [
                            field("VALKEEPER_OPERATOR_NAME", "metadata.name"),
                            field("VALKEEPER_OPERATOR_NAMESPACE", "metadata.namespace"),
                            { "name": "VALKEEPER_IMAGE", "value": install.image },
                        ],
                        "ports": ports,
                        "readinessProbe": { "httpGet": { "path": "/readyz", "port": METRICS_PORT }, "periodSeconds": 2 },
                        "livenessProbe": { "httpGet": { "path": "/livez", "port": METRICS_PORT }, "periodSeconds": 10, "failureThreshold": 6 },
                        "resources": { "requests": { "cpu": "50m", "memory": "64Mi" }, "limits": { "memory": "512Mi" } },
                        "securityContext": {
                            "allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true, "capabilities": { "drop": ["ALL"] },
                        },
                    }],
                },
            },
        },
    })
}

/// The name of the lease, for those who want to know who acts.
pub const LEASE_NAME: &str = LEASE;

#[cfg(test)]
mod tests {
    use super::*;

    fn install(webhook: bool) -> Install {
        Install {
            namespace: "system".to_owned(),
            image: "i".to_owned(),
            replicas: 2,
            namespaces: vec!["shop".to_owned()],
            webhook,
            domain: None,
        }
    }

    #[test]
    fn two_installs_share_nothing_and_removing_one_leaves_the_definitions() {
        let names = |namespace: &str| -> Vec<String> {
            let objects = manifests(&Install { namespace: namespace.to_owned(), ..install(true) });
            assert!(!kinds(&objects).contains(&"CustomResourceDefinition"));
            let name = |object: &Value| {
                let metadata = &object["metadata"];
                format!("{} {} {}", object["kind"], metadata["namespace"], metadata["name"])
            };
            objects.iter().map(name).collect()
        };
        let [default, one, other] = [NAMESPACE, "one", "nodes"].map(names);
        for (these, those) in [(&default, &one), (&default, &other), (&one, &other)] {
            let both: Vec<_> = these.iter().filter(|name| those.contains(name)).collect();
            assert_eq!(both, [""; 0]);
        }
    }

    fn kinds(objects: &[Value]) -> Vec<&str> {
        objects.iter().filter_map(|object| object["kind"].as_str()).collect()
    }

    #[test]
    fn the_webhook_comes_last_and_nothing_is_left_of_it_without() {
        let with = manifests(&install(true));
        assert_eq!(kinds(&with).last(), Some(&"ValidatingWebhookConfiguration"));
        let before = kinds(&with).iter().position(|kind| *kind == "Deployment");
        assert_eq!(before, Some(with.len() - 2));
        let without = manifests(&install(false));
        let text = serde_json::to_string(&without).unwrap();
        assert_eq!(text.matches("webhook").count(), 0);
        assert_eq!(with.len() - without.len(), 4);
    }

    #[test]
    fn the_webhook_may_do_what_it_needs_and_no_more() {
        let objects = manifests(&install(true));
        let rules = |kind: &str, name: &str| {
            let named = |object: &&Value| object["kind"] == kind && object["metadata"]["name"] == name;
            objects.iter().find(named).map(|object| object["rules"].clone()).unwrap_or_default()
        };
        let own = rules("Role", "valkeeper-operator-own");
        let secrets: Vec<&Value> =
            own.as_array().unwrap().iter().filter(|rule| rule["resources"][0] == "secrets").collect();
        assert_eq!(secrets.len(), 2);
        for rule in secrets {
            // A name cannot limit what is made: it has none by then.
            let made = rule["verbs"] == json!(["create"]);
            assert!(made || rule["resourceNames"] == json!(["valkeeper-webhook"]), "{rule}");
        }
        let everywhere = rules("ClusterRole", "valkeeper-operator-webhook:system");
        assert_eq!(everywhere[0]["resourceNames"], json!(["valkeeper-system"]));
        assert_eq!(everywhere[0]["verbs"], json!(["get", "patch"]));
    }
}
