//! Mode `sentinel`: which Sentinels there are, what they and the agents are told of them, what they say.
//!
//! A Sentinel is a real one of the engine's (`--sentinel`). Clients ask it where the primary is. Who is the primary is decided by the agents,
//! as in mode `standalone`; a Sentinel is told, and has no right to change a server's role.

use crate::{
    Address, ClusterId, ClusterName, Epoch, Followed, Format, Generation, InstanceName, NewerFields, NodeId,
    ZoneName,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;

/// `spec.sentinel`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SentinelSpec {
    /// How many Sentinels.
    pub instances: u32,
    /// How many of them have to find the primary down before they say so together (`+odown`).
    pub quorum: u32,
}

impl SentinelSpec {
    /// When the manifest says nothing of them.
    pub const DEFAULT_INSTANCES: u32 = 3;

    /// So many, and a majority of them as the quorum.
    pub fn of(instances: u32) -> Self {
        Self { instances, quorum: instances / 2 + 1 }
    }
}

impl Default for SentinelSpec {
    fn default() -> Self {
        Self::of(Self::DEFAULT_INSTANCES)
    }
}

/// The Sentinels, as the layout has them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Sentinels {
    /// How many of them have to find the primary down.
    pub quorum: u32,
    /// Each.
    pub members: BTreeMap<InstanceName, Sentinel>,
    /// What a newer version has added.
    #[serde(flatten)]
    pub newer: NewerFields,
}

impl fmt::Display for Sentinels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, quorum {}", self.members.len(), self.quorum)
    }
}

/// One Sentinel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Sentinel {
    /// Its zone.
    pub zone: ZoneName,
    /// Its id (`sentinel myid`), for life: a Sentinel that comes back is the same one to the others, with or without its file.
    pub id: NodeId,
    /// What a newer version has added.
    #[serde(flatten)]
    pub newer: NewerFields,
}

/// A Sentinel as agents and other Sentinels need to know it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SentinelMember {
    /// Its id.
    pub id: NodeId,
    /// Where it listens; `None` while it has never had a place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<Address>,
}

/// What agents are told of the Sentinels.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SentinelsOrder {
    /// What they call the primary: the cluster's name.
    pub name: ClusterName,
    /// Each.
    pub members: BTreeMap<InstanceName, SentinelMember>,
}

/// Everything that whoever keeps a Sentinel running needs to know.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SentinelOrder {
    /// Of this type.
    #[serde(default)]
    pub format: Format<1>,
    /// The layout's generation this was rendered from.
    pub generation: Generation,
    /// The cluster it belongs to.
    pub cluster: ClusterId,
    /// What the Sentinels call the primary: the cluster's name.
    pub name: ClusterName,
    /// Whose order.
    pub sentinel: InstanceName,
    /// How many of them have to find the primary down.
    pub quorum: u32,
    /// All Sentinels, this one too.
    pub sentinels: BTreeMap<InstanceName, SentinelMember>,
    /// The servers.
    pub servers: BTreeMap<InstanceName, Address>,
    /// The server that is the primary when the cluster is founded.
    pub founder: InstanceName,
}

impl SentinelOrder {
    /// The Sentinel this order is for.
    pub fn myself(&self) -> Option<&SentinelMember> {
        self.sentinels.get(&self.sentinel)
    }
}

/// What a Sentinel says of the primary that it knows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SentinelView {
    /// Where clients are sent.
    pub primary: Followed,
    /// Its configuration epoch: what it is told with a higher one it takes.
    pub config_epoch: Epoch,
    /// How many other Sentinels it knows.
    pub other_sentinels: u32,
    /// The replicas that it knows, by address.
    pub replicas: Vec<KnownReplica>,
    /// Does it try to promote a replica? A user has asked it to, or it finds the primary down.
    #[serde(default)]
    pub fails_over: bool,
}

/// A replica that a Sentinel knows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct KnownReplica {
    /// Where.
    pub at: Followed,
    /// Does the Sentinel find it down?
    pub down: bool,
}

/// What an agent knows of a Sentinel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum SentinelSeen {
    /// What it says.
    Known(SentinelView),
    /// Why it was not seen.
    Unseen(SentinelFault),
}

/// A Sentinel as people are told of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SentinelReport {
    /// Its name.
    pub name: InstanceName,
    /// Its zone.
    pub zone: ZoneName,
    /// Where it listens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// Where it sends clients; `None` if it is not seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub leads_to: Option<String>,
}

/// Why a Sentinel was not seen.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, thiserror::Error)]
#[serde(tag = "because", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum SentinelFault {
    /// It does not answer.
    #[error("does not answer: {why}")]
    Silent {
        /// The system's words.
        why: String,
    },
    /// It refused the password.
    #[error("refused the password")]
    AuthRefused,
    /// It does not know the primary by this name.
    #[error("does not know the primary `{name}`")]
    UnknownPrimary {
        /// The name.
        name: String,
    },
    /// It said something else.
    #[error("said: {said}")]
    Other {
        /// What.
        said: String,
    },
    /// What only a newer version knows.
    #[error("{0}")]
    #[serde(untagged)]
    Newer(crate::Newer),
}
