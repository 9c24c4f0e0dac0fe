//! What users may ask about where instances are.

use crate::{HostFate, InstanceName, ZoneName};
use serde::{Deserialize, Serialize};

/// What is asked of the instances of a running cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "request", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum ResizeRequest {
    /// Build a new instance, and remove that one once the new one is in sync.
    Replace {
        /// Which.
        instance: InstanceName,
        /// What is known of where it runs.
        host: HostFate,
    },
    /// Place no new instance there.
    CordonZone {
        /// Where.
        zone: ZoneName,
    },
    /// Move all instances away from there, and place none there.
    DrainZone {
        /// From where.
        zone: ZoneName,
    },
    /// Instances may be placed there again; those that have not moved away stay.
    UncordonZone {
        /// Where.
        zone: ZoneName,
    },
}
