//! The register of a cluster of mode `standalone`: a Lease in which its votes stand, and the right of its agents to that one object.
//!
//! The agents write it themselves. The operator could on their behalf, but one that stood on the lost host has a successor only after
//! ten seconds, and until then the primary that is left would refuse writes. So all that is needed is an API server.
//!
//! Each cluster of the mode has one, whatever its number of instances: that may be changed, and a pod that runs gets no token later.

use super::Owner;
use serde_json::{Value, json};
use valkeeper_kube_api::names;

const RBAC: &str = "rbac.authorization.k8s.io";

/// All of it. The agents' account can do nothing but read and replace that Lease.
pub(crate) fn objects(owner: &Owner) -> [Value; 4] {
    let home = &owner.home;
    let name = names::register(&home.cluster);
    let metadata = owner.metadata(&name);
    let version = format!("{RBAC}/v1");
    [
        json!({ "apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": metadata }),
        json!({
            "apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata,
            "automountServiceAccountToken": false,
        }),
        json!({
            "apiVersion": version, "kind": "Role", "metadata": metadata,
            "rules": [{
                "apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "resourceNames": [name],
                "verbs": ["get", "update"],
            }],
        }),
        json!({
            "apiVersion": version, "kind": "RoleBinding", "metadata": metadata,
            "roleRef": { "apiGroup": RBAC, "kind": "Role", "name": name },
            "subjects": [{ "kind": "ServiceAccount", "name": name, "namespace": home.namespace }],
        }),
    ]
}

/// The account's token in a pod, where programs look for it.
pub(super) fn token_volume() -> Value {
    json!({ "name": "token", "projected": { "defaultMode": 0o440, "sources": [
        { "serviceAccountToken": { "expirationSeconds": 3600, "path": "token" } },
        { "configMap": { "name": "kube-root-ca.crt", "items": [{ "key": "ca.crt", "path": "ca.crt" }] } },
        { "downwardAPI": { "items": [{ "path": "namespace", "fieldRef": { "fieldPath": "metadata.namespace" } }] } },
    ] } })
}
