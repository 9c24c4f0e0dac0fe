//! What is wrong with the objects of a cluster on Kubernetes.

use crate::{CalledAs, InstanceName, Refusal};
use serde::{Deserialize, Serialize};
use std::fmt;

/// Why an object is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(tag = "reason", rename_all_fields = "camelCase")]
pub enum KubernetesWaiting {
    /// An object of the cluster cannot be made or changed.
    NotMade {
        /// Its kind.
        kind: String,
        /// Its name.
        name: String,
        /// The instance that lacks it; none if all do.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        instance: Option<InstanceName>,
        /// What the API server says.
        why: String,
    },
    /// Something else has the name of an object of the cluster. It is left as it is.
    NotOurs {
        /// Its kind.
        kind: String,
        /// Its name.
        name: String,
        /// The instance that lacks its own; none if all do.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        instance: Option<InstanceName>,
    },
    /// Something of a cluster of this name that was deleted is still there, and goes by itself.
    Leaving {
        /// Its kind.
        kind: String,
        /// Its name.
        name: String,
        /// The instance that waits for its own; none if all do.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        instance: Option<InstanceName>,
    },
    /// What the annotations of the cluster ask for is not done, or not yet.
    AnnotationsWait {
        /// Why not.
        why: Box<Refusal>,
    },
    /// The definition of the kind on Kubernetes is older than the operator: it takes less than there is to tell.
    DefinitionOlder {
        /// What it does not take.
        fields: Vec<String>,
    },
}

impl KubernetesWaiting {
    /// In words; what to type stands there as people call the command line.
    pub(super) fn told(&self, called: CalledAs) -> String {
        match self {
            Self::AnnotationsWait { why } => {
                let hint = why.hint(called).map(|hint| format!("; {hint}")).unwrap_or_default();
                format!("the annotations are not followed yet: {why}{hint}")
            }
            other => other.to_string(),
        }
    }
}

impl fmt::Display for KubernetesWaiting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotMade { kind, name, why, .. } => write!(f, "{kind} {name} cannot be made: {why}"),
            Self::NotOurs { kind, name, .. } => write!(
                f,
                "{kind} {name} was not made by Valkeeper for this cluster and is left as it is: rename or remove it"
            ),
            Self::Leaving { kind, name, .. } => {
                write!(f, "{kind} {name} is of a RedisCluster of this name that was deleted, and will go")
            }
            Self::AnnotationsWait { .. } => f.write_str(&self.told(CalledAs::KubectlValkeeper)),
            Self::DefinitionOlder { fields } => write!(
                f,
                "the definition of RedisCluster is older than the operator and does not take {}: apply the new one",
                fields.join(", ")
            ),
        }
    }
}
