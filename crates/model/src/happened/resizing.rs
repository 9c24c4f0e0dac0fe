//! What happened to the instances that there are.

use crate::{InstanceName, ShardName, ZoneName};
use serde::{Deserialize, Serialize};
use std::fmt;

/// Instances came or went, or a zone is used otherwise.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all_fields = "camelCase")]
pub enum ResizeHappened {
    /// An instance was laid out, and joins.
    InstanceAdded {
        /// Its shard.
        shard: ShardName,
        /// Which.
        instance: InstanceName,
        /// Where.
        zone: ZoneName,
    },
    /// An instance is to be removed.
    InstanceLeaves {
        /// Its shard.
        shard: ShardName,
        /// Which.
        instance: InstanceName,
    },
    /// One that was to be removed stays.
    InstanceStays {
        /// Its shard.
        shard: ShardName,
        /// Which.
        instance: InstanceName,
    },
    /// An instance is down for good and none any more; its data is kept.
    InstanceRetired {
        /// The shard of which it was.
        shard: ShardName,
        /// Which.
        instance: InstanceName,
    },
    /// A user wants a new instance in the place of one.
    ReplaceAsked {
        /// Its shard.
        shard: ShardName,
        /// Which.
        instance: InstanceName,
    },
    /// A user wants that no instance is there.
    ZoneDrains {
        /// Where.
        zone: ZoneName,
    },
    /// No instance is placed there any more.
    ZoneCordoned {
        /// Where.
        zone: ZoneName,
    },
    /// Instances may be placed there again.
    ZoneUncordoned {
        /// Where.
        zone: ZoneName,
    },
}

impl ResizeHappened {
    /// The instance it is about, if it is about one.
    pub fn instance(&self) -> Option<&InstanceName> {
        match self {
            Self::InstanceAdded { instance, .. }
            | Self::InstanceLeaves { instance, .. }
            | Self::InstanceStays { instance, .. }
            | Self::ReplaceAsked { instance, .. }
            | Self::InstanceRetired { instance, .. } => Some(instance),
            Self::ZoneDrains { .. } | Self::ZoneCordoned { .. } | Self::ZoneUncordoned { .. } => None,
        }
    }

    /// The shard it is about, if it names one.
    pub fn shard(&self) -> Option<&ShardName> {
        match self {
            Self::InstanceAdded { shard, .. }
            | Self::InstanceLeaves { shard, .. }
            | Self::InstanceStays { shard, .. }
            | Self::ReplaceAsked { shard, .. }
            | Self::InstanceRetired { shard, .. } => Some(shard),
            Self::ZoneDrains { .. } | Self::ZoneCordoned { .. } | Self::ZoneUncordoned { .. } => None,
        }
    }
}

impl fmt::Display for ResizeHappened {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InstanceAdded { shard, instance, zone } => {
                write!(f, "{instance} is to join {shard}, in zone {zone}")
            }
            Self::InstanceLeaves { shard, instance } => write!(f, "{instance} is to leave {shard}"),
            Self::InstanceStays { shard, instance } => write!(f, "{instance} stays in {shard} after all"),
            Self::InstanceRetired { shard, instance } => {
                write!(f, "{instance} has left {shard}; its data is kept, and its name is not used again")
            }
            Self::ReplaceAsked { shard, instance } => {
                write!(f, "a new instance is to take the place of {instance} in {shard}")
            }
            Self::ZoneDrains { zone } => write!(f, "all instances are to leave zone {zone}"),
            Self::ZoneCordoned { zone } => write!(f, "no instance is placed in zone {zone} any more"),
            Self::ZoneUncordoned { zone } => write!(f, "instances may be placed in zone {zone} again"),
        }
    }
}
