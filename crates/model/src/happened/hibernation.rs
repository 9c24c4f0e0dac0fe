//! What happens to a cluster that hibernates.

use crate::InstanceName;
use serde::{Deserialize, Serialize};
use std::fmt;

/// A step into hibernation, or out of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all_fields = "camelCase")]
pub enum HibernationHappened {
    /// Servers are stopped for it, replicas before primaries.
    Hibernating {
        /// Which.
        instances: Vec<InstanceName>,
    },
    /// All servers are down, their data is on their volumes, and the pods go.
    Hibernated,
    /// The cluster is to run again.
    Resuming,
}

impl fmt::Display for HibernationHappened {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Hibernating { instances } => {
                let names: Vec<&str> = instances.iter().map(InstanceName::as_str).collect();
                write!(f, "the cluster is to hibernate: {} stopped", names.join(", "))
            }
            Self::Hibernated => f.write_str(
                "the cluster hibernates: all servers are down, their data is on their volumes, and the pods go",
            ),
            Self::Resuming => f.write_str("the cluster hibernates no more: its servers start"),
        }
    }
}
