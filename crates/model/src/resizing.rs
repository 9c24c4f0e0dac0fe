//! Instances that come to a running cluster and go from it: what stands in the layout of that.

use crate::newer::NewerFields;
use crate::{Instance, InstanceName, NodeId, RoleSwitch, ShardName, ZoneName};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::fmt;

/// An instance that is none any more. Its name is given to nobody else, its node id is removed from every server's table whenever it is seen there,
/// and its data is kept where it was (law 9).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RetiredInstance {
    /// The shard of which it was.
    pub shard: ShardName,
    /// Its zone.
    pub zone: ZoneName,
    /// Its node id.
    pub node_id: NodeId,
    /// What a newer version has added.
    #[serde(flatten)]
    pub newer: NewerFields,
}

impl RetiredInstance {
    /// What is kept of an instance that goes.
    pub fn of(instance: &Instance) -> Self {
        Self {
            shard: instance.shard.clone(),
            zone: instance.zone.clone(),
            node_id: instance.node_id,
            newer: NewerFields::default(),
        }
    }
}

/// Long work on the instances of a cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "camelCase")]
pub enum ResizeOperation {
    /// Instances join, and others leave once those are there. How far each is stands in its life.
    Move(InstanceMoves),
    /// A primary that is to leave hands over.
    HandOverToLeave(RoleSwitch),
}

/// Which instances come and go together, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct InstanceMoves {
    /// Why.
    pub cause: MoveCause,
    /// These come.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub joining: BTreeSet<InstanceName>,
    /// These go.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub leaving: BTreeSet<InstanceName>,
    /// What a newer version has added.
    #[serde(flatten)]
    pub newer: NewerFields,
}

/// Why instances come and go.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "cause", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum MoveCause {
    /// Shards are to have another number of replicas.
    Replicas {
        /// This one.
        wanted: u32,
    },
    /// The cluster is to have another number of shards.
    Shards {
        /// This one.
        wanted: u32,
    },
    /// A user wants a new instance in the place of one.
    Replace {
        /// Which is replaced.
        instance: InstanceName,
        /// What is known of where it runs.
        host: HostFate,
    },
    /// A zone is to be empty.
    Drain {
        /// Which.
        zone: ZoneName,
    },
}

/// What is known of the host of an instance that is to be removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum HostFate {
    /// Its agent has to say that its server is down.
    Answers,
    /// The user says that it is gone for good: nothing that it does not say is waited for.
    GoneForGood,
}

impl MoveCause {
    /// The one whose host is gone for good by the user's word.
    pub fn gone_for_good(&self) -> Option<&InstanceName> {
        match self {
            Self::Replace { instance, host: HostFate::GoneForGood } => Some(instance),
            Self::Replace { .. } | Self::Replicas { .. } | Self::Shards { .. } | Self::Drain { .. } => None,
        }
    }
}

impl fmt::Display for MoveCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Replicas { wanted } => write!(f, "{wanted} replicas for each shard"),
            Self::Shards { wanted } => write!(f, "{wanted} shards"),
            Self::Replace { instance, .. } => write!(f, "replacing {instance}"),
            Self::Drain { zone } => write!(f, "draining zone {zone}"),
        }
    }
}
