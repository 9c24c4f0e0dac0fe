//! How pods are made: what the manifest says for Kubernetes alone, and whose password they use.

use serde_json::Value;
use sha2::{Digest as _, Sha256};
use std::fmt::Write as _;
use valkeeper_kube_api::names;
use valkeeper_model::{ClusterName, KubernetesSpec, manifest::Manifest};

/// How pods are made.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Template {
    pub(crate) kubernetes: KubernetesSpec,
    /// The Secret with the password; ours if none is named.
    pub(crate) auth_secret: Option<String>,
}

impl Template {
    /// Of a manifest.
    pub(crate) fn of(manifest: &Manifest) -> Self {
        Self { kubernetes: manifest.kubernetes.clone(), auth_secret: manifest.spec.auth_secret.clone() }
    }
}

impl Template {
    /// The Secret with the password, if it is the user's to keep and not ours.
    pub(crate) fn users_secret(&self, cluster: &ClusterName) -> Option<&str> {
        self.auth_secret.as_deref().filter(|named| *named != names::auth_secret(cluster))
    }
}

/// Tells one object from another.
pub(crate) fn hash(object: &Value) -> String {
    let digest = Sha256::digest(object.to_string());
    digest.iter().take(8).fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
