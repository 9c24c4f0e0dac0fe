//! What was seen, and what the planner says of it.

use crate::{
    AgentReport, InstanceName, Millis, Observed, Role, ShardName, SlotSet, StartFailure, Waiting, ZoneName,
};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// Everything seen at one moment. What did not answer is `Unknown`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Observation {
    /// When.
    pub at: Millis,
    /// What each agent said.
    pub instances: BTreeMap<InstanceName, Observed<AgentReport>>,
    /// Whose names lead clients elsewhere, to where they were, or nowhere.
    pub names_elsewhere: BTreeSet<InstanceName>,
    /// Whose agents the platform cannot start, and why: nothing of theirs runs.
    #[serde(default)]
    pub not_starting: BTreeMap<InstanceName, StartFailure>,
}

impl Observation {
    /// A report that came.
    pub fn report(&self, instance: &InstanceName) -> Option<&AgentReport> {
        self.instances.get(instance).and_then(Observed::known)
    }
}

/// Where a cluster is, in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Phase {
    /// Never served all slots yet.
    Creating,
    /// Whole.
    Healthy,
    /// All slots served, but not whole.
    Degraded,
    /// A shard is without a serving primary.
    Failing,
    /// Its servers run, and nobody watches them.
    Unsupervised,
    /// Stopped, its data kept.
    Down,
    /// Its servers are being stopped, and its pods go then: a user's wish.
    Hibernating,
    /// Its servers are stopped, it has no pods, and its data is kept: a user's wish.
    Hibernated,
    /// A word that only a newer version knows.
    #[serde(other)]
    Other,
}

/// A shard as it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ShardReport {
    /// Its name.
    pub name: ShardName,
    /// Its slots.
    pub slots: SlotSet,
    /// Its primary, if one serves.
    pub primary: Option<InstanceName>,
    /// Its replicas that answer as such.
    pub replicas: Vec<InstanceName>,
    /// Where the number is not fixed: so many replicas must be attached for the primary to take writes now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub needed_replicas: Option<u32>,
}

/// An instance as it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct InstanceReport {
    /// Its name.
    pub name: InstanceName,
    /// Its shard.
    pub shard: ShardName,
    /// Its zone.
    pub zone: ZoneName,
    /// Its role, if it answers.
    pub role: Option<Role>,
    /// Where it answers.
    pub address: Option<String>,
    /// Its process, if running.
    pub pid: Option<u32>,
    /// Its version, if it answers.
    pub version: Option<String>,
    /// Its engine, if it answers and its agent tells.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub engine: Option<crate::EngineKind>,
    /// How far behind its primary, bytes; of a replica in sync only.
    pub lag_bytes: Option<u64>,
    /// Down by the user's wish.
    pub fenced: bool,
    /// Keys that it holds, if it answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keys: Option<u64>,
    /// Memory that its data takes (`used_memory`), bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_bytes: Option<u64>,
    /// In a mode with one primary: what it holds, if it answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<Box<crate::HeldData>>,
}

/// What the planner says of the cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// What the servers are to each other.
    #[serde(default, skip_serializing_if = "crate::Mode::is_cluster")]
    pub mode: crate::Mode,
    /// In one word.
    pub phase: Phase,
    /// Law 8.
    pub healthy: bool,
    /// Shards, by name.
    pub shards: Vec<ShardReport>,
    /// Instances, by name.
    pub instances: Vec<InstanceReport>,
    /// Everything that is not as it should be.
    pub waiting: Vec<Waiting>,
    /// The Sentinels, in mode `sentinel`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sentinels: Vec<crate::SentinelReport>,
    /// Of a cluster that follows another, or did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replica_mode: Option<Box<crate::ReplicaModeReport>>,
    /// Long work under way.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub progress: Vec<crate::Progress>,
    /// Zones in which no instance is placed, by the user's wish.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub cordoned_zones: BTreeSet<ZoneName>,
}

impl Report {
    /// In a mode with one primary: which, or the designated member of a cluster that follows another.
    pub fn current_primary(&self) -> Option<&InstanceName> {
        let primary = self.shards.first().and_then(|shard| shard.primary.as_ref());
        primary.or_else(|| self.replica_mode.as_ref()?.designated.as_ref())
    }

    /// Can every key be read and written, whatever else is missing?
    pub fn serves_all_slots(&self) -> bool {
        !self.waiting.iter().any(Waiting::is_outage)
    }
}
