//! What is missing while servers are restarted one after the other.

use crate::{InstanceName, RollFault, ServerVersion};
use serde::{Deserialize, Serialize};
use std::fmt;

/// Why not all servers run with what is wanted.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(tag = "reason", rename_all_fields = "camelCase")]
pub enum RollWaiting {
    /// A server has a change after its restart only, and its turn comes.
    RestartDue {
        /// Which.
        instance: InstanceName,
        /// What of its configuration.
        directives: Vec<String>,
    },
    /// A server runs another version than the wanted one.
    OtherVersion {
        /// Which.
        instance: InstanceName,
        /// What it runs.
        runs: String,
        /// What is wanted.
        wanted: ServerVersion,
    },
    /// A pod was made by a former template, and its turn comes.
    ReplacementDue {
        /// Whose.
        instance: InstanceName,
    },
    /// A pod was made by a former template, and stays until its instance is restarted.
    ReplacementNeeded {
        /// Whose.
        instance: InstanceName,
    },
    /// The canary did not get well with what the manifest says: the cluster has what it had before.
    RollReturned {
        /// Why.
        why: RollFault,
    },
}

impl RollWaiting {
    /// The instance it is about, if it is about one.
    pub fn instance(&self) -> Option<&InstanceName> {
        match self {
            Self::RestartDue { instance, .. }
            | Self::OtherVersion { instance, .. }
            | Self::ReplacementDue { instance }
            | Self::ReplacementNeeded { instance } => Some(instance),
            Self::RollReturned { .. } => None,
        }
    }
}

impl fmt::Display for RollWaiting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::RestartDue { instance, directives } => {
                write!(f, "{instance}: {} changes by a restart, which comes in turn", directives.join(", "))
            }
            Self::OtherVersion { instance, runs, wanted } => {
                write!(f, "{instance}: runs {runs}, and is to run {wanted}")
            }
            Self::ReplacementDue { instance } => {
                write!(f, "{instance}: its pod was made by a former template, and is replaced in turn")
            }
            Self::ReplacementNeeded { instance } => write!(
                f,
                "{instance}: its pod was made by a former template: `kubectl valkeeper restart {instance}` replaces it"
            ),
            Self::RollReturned { why } => write!(
                f,
                "what the manifest says was tried and given up: {why}; the cluster has what it had before: correct the manifest"
            ),
        }
    }
}
