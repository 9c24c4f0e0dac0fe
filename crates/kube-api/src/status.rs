//! The status of a `RedisCluster`: the planner's report under the names that users of redis.io/v1 know, with what else
//! the operator sees.

mod conditions;
pub(crate) mod replica_mode;

pub use replica_mode::{PromotionStatus, ReplicaModeStatus, SourceStatus, StageWord};
pub use valkeeper_model::ConditionType;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use k8s_openapi::jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use valkeeper_model::manifest::Refused;
use valkeeper_model::{
    AgentReport, CalledAs, InstanceName, InstanceReport, Link, Mode, NodeId, Observation, Part, Phase,
    Progress, Refusal, Report, Role, ServerView, ShardName, ShardReport, Slot, SlotRange, SlotSet, Waiting,
    ZoneName,
};

/// What the operator says of a cluster.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RedisClusterStatus {
    /// The generation of the spec that this is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// The mode of the cluster.
    pub mode: Mode,
    /// In one word; none before the first report.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub phase: Option<Phase>,
    /// Is everything as it should be (law 8)?
    pub healthy: bool,
    /// The primary where there is one only; a cluster has one per shard.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub current_primary: Option<InstanceName>,
    /// Instances in the layout.
    pub instances: u32,
    /// Those whose server answers.
    pub ready_instances: u32,
    /// Each instance.
    pub instances_status: BTreeMap<InstanceName, InstanceStatus>,
    /// Each shard.
    pub shards: BTreeMap<ShardName, ShardStatus>,
    /// `ok` if a majority of all instances says so; none if no server answers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cluster_state: Option<ClusterState>,
    /// Slots served according to a majority of instances.
    pub slots_assigned: u16,
    /// Has the cluster served all its slots once?
    pub bootstrap_completed: bool,
    /// Volume claims of the layout's instances that exist.
    #[serde(rename = "healthyPVC")]
    pub healthy_pvc: u32,
    /// Volume claims of the cluster that no instance uses. They are never deleted for that.
    #[serde(rename = "danglingPVC", skip_serializing_if = "Vec::is_empty")]
    pub dangling_pvc: Vec<String>,
    /// The versions of the Secrets in use.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub secrets_resource_version: BTreeMap<String, String>,
    /// Of a cluster that follows another, or did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replica_mode: Option<ReplicaModeStatus>,
    /// Long work under way.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub progress: Vec<Progress>,
    /// Zones in which no instance is placed, by the user's wish.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub cordoned_zones: BTreeSet<ZoneName>,
    /// Everything that is not as it should be.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub waiting: Vec<WaitingStatus>,
    /// For `kubectl wait` and tools that know no more of us.
    pub conditions: Vec<Condition>,
}

/// An instance in the status.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct InstanceStatus {
    /// Its shard.
    pub shard: ShardName,
    /// Its zone.
    pub zone: ZoneName,
    /// Does its server answer?
    #[serde(default)]
    pub connected: bool,
    /// Down by the user's wish.
    #[serde(default)]
    pub fenced: bool,
    /// Its role, if it answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<Role>,
    /// Where it answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// The name under which clients are sent to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// Its process inside the pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pid: Option<u32>,
    /// Its version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Its node id.
    #[serde(default, rename = "nodeID", skip_serializing_if = "Option::is_none")]
    pub node_id: Option<NodeId>,
    /// How far behind its primary, bytes; of a replica in sync only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replica_lag_bytes: Option<u64>,
    /// Its position in the stream of writes, bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replication_offset: Option<u64>,
    /// Replicas that are attached to it and online, of a primary.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connected_replicas: Option<usize>,
    /// `up` or `down`, of a replica.
    #[serde(default, rename = "masterLinkStatus", skip_serializing_if = "Option::is_none")]
    pub link_status: Option<String>,
    /// The slots it owns by its own belief.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub slots_served: Vec<SlotRangeStatus>,
    /// `cluster_state` by its own words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster_state: Option<ClusterState>,
    /// The engine's epoch there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub current_epoch: Option<u64>,
}

/// A shard in the status.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ShardStatus {
    /// Its primary, if one serves.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub primary_pod: Option<InstanceName>,
    /// Its replicas that answer as such.
    pub replica_pods: Vec<InstanceName>,
    /// Its slots.
    pub slot_ranges: Vec<SlotRangeStatus>,
    /// The node id of its primary.
    #[serde(rename = "primaryNodeID", skip_serializing_if = "Option::is_none")]
    pub primary_node_id: Option<NodeId>,
    /// The configuration epoch of its primary.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub epoch: Option<u64>,
}

/// Neighbouring slots, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SlotRangeStatus {
    /// The first.
    pub start: Slot,
    /// The last.
    pub end: Slot,
}

/// The engine's `cluster_state`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ClusterState {
    /// It serves.
    Ok,
    /// It refuses commands.
    Fail,
}

/// Something that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WaitingStatus {
    /// The reason's name.
    pub reason: String,
    /// The same for people.
    #[serde(default)]
    pub message: String,
    /// What the reason is about: instance, shard and so on.
    #[serde(flatten)]
    pub details: serde_json::Map<String, serde_json::Value>,
}

/// What a status is made from beside the report.
#[derive(Debug, Clone, Copy)]
pub struct Facts<'a> {
    /// `metadata.generation` of the object that was read.
    pub generation: Option<i64>,
    /// What became of its spec.
    pub verdict: Verdict<'a>,
    /// What the report was made from, for what a report leaves out.
    pub observation: Option<&'a Observation>,
    /// What the loss of a zone would cost, also where the spec accepts that.
    pub at_risk: &'a [Waiting],
    /// Volume claims of the layout's instances that exist.
    pub volumes: u32,
    /// Volume claims that no instance uses.
    pub dangling_volumes: &'a [String],
    /// Secrets in use and their versions.
    pub secrets: &'a BTreeMap<String, String>,
    /// The status until now: conditions keep the time of their last change.
    pub before: Option<&'a RedisClusterStatus>,
    /// The time.
    pub now: &'a Time,
}

/// What became of the spec of an object.
#[derive(Debug, Clone, Copy)]
pub enum Verdict<'a> {
    /// It is what the layout follows.
    Followed,
    /// It is refused by itself.
    Invalid(&'a Refused),
    /// It is refused as a change of the running cluster, or as none that the zones allow.
    Unfit(&'a Refusal),
}

impl RedisClusterStatus {
    /// The status that says what the report says.
    pub fn from_report(report: &Report, facts: &Facts<'_>) -> Self {
        let slots = report.mode == Mode::Cluster;
        let agent = |name: &InstanceName| facts.observation.and_then(|seen| seen.report(name));
        let status = Self {
            observed_generation: facts.generation,
            mode: report.mode,
            phase: Some(report.phase),
            healthy: report.healthy,
            current_primary: report.current_primary().cloned().filter(|_| !slots),
            instances: count(report.instances.len()),
            ready_instances: count(report.instances.iter().filter(|one| one.role.is_some()).count()),
            instances_status: report
                .instances
                .iter()
                .map(|one| (one.name.clone(), InstanceStatus::new(one, agent(&one.name))))
                .collect(),
            shards: report
                .shards
                .iter()
                .map(|one| (one.name.clone(), ShardStatus::new(one, one.primary.as_ref().and_then(agent))))
                .collect(),
            cluster_state: cluster_state(report).filter(|_| slots),
            slots_assigned: if slots { slots_served(report) } else { 0 },
            // It never becomes false again: a cluster that holds data is not founded anew.
            bootstrap_completed: facts.before.is_some_and(|before| before.bootstrap_completed)
                || matches!(report.phase, Phase::Healthy | Phase::Degraded | Phase::Failing),
            healthy_pvc: facts.volumes,
            dangling_pvc: facts.dangling_volumes.to_vec(),
            secrets_resource_version: facts.secrets.clone(),
            replica_mode: report.replica_mode.as_deref().map(|mode| ReplicaModeStatus::of(mode, facts.now)),
            progress: report.progress.clone(),
            cordoned_zones: report.cordoned_zones.clone(),
            waiting: report.waiting.iter().map(WaitingStatus::from).collect(),
            conditions: Vec::new(),
        };
        let conditions = conditions::of_report(report, facts);
        Self { conditions, ..status }
    }

    /// The status of a cluster that has no layout yet, or of which nothing new is known: only what became of its spec.
    pub fn of_spec(verdict: Verdict<'_>, generation: Option<i64>, before: Option<&Self>, now: &Time) -> Self {
        let status = before.cloned().unwrap_or_default();
        let conditions = conditions::of_spec(&status.conditions, verdict, generation, now);
        Self { observed_generation: generation, conditions, ..status }
    }

    /// The report it was made from, with ages as of `now`; none if there was none, or one that another version of Valkeeper wrote otherwise.
    pub fn report(&self, now: Timestamp) -> Option<Report> {
        let replica_mode = match &self.replica_mode {
            Some(told) => Some(Box::new(told.report(now)?)),
            None => None,
        };
        Some(Report {
            mode: self.mode,
            phase: self.phase?,
            healthy: self.healthy,
            shards: self.shards.iter().map(|(name, shard)| shard.report(name)).collect(),
            instances: self.instances_status.iter().map(|(name, one)| one.report(name)).collect(),
            waiting: self.waiting.iter().map(WaitingStatus::waiting).collect::<Option<_>>()?,
            // Mode `sentinel` is not on Kubernetes yet.
            sentinels: Vec::new(),
            replica_mode,
            progress: self.progress.clone(),
            cordoned_zones: self.cordoned_zones.clone(),
        })
    }

    /// Is the difference to what was written worth a write? Positions in the stream of writes change all the time: every one of them written
    /// would make the operator the busiest client of the API server.
    pub fn differs_materially(&self, written: &Self) -> bool {
        let mut now = self.without_positions();
        now.replica_mode =
            now.replica_mode.map(|mode| mode.with_lag_as_written(written.replica_mode.as_ref()));
        now != written.without_positions()
    }

    fn without_positions(&self) -> Self {
        let mut status = self.clone();
        for instance in status.instances_status.values_mut() {
            instance.replica_lag_bytes = None;
            instance.replication_offset = None;
        }
        status
    }

    /// Was the spec of that generation followed?
    pub fn follows(&self, generation: Option<i64>) -> bool {
        let valid = self.condition(ConditionType::SpecValid);
        valid.is_some_and(|valid| valid.status == "True" && valid.observed_generation == generation)
    }

    /// One of the conditions.
    pub fn condition(&self, kind: ConditionType) -> Option<&Condition> {
        self.conditions.iter().find(|condition| condition.type_ == kind.as_str())
    }
}

impl InstanceStatus {
    fn new(report: &InstanceReport, agent: Option<&AgentReport>) -> Self {
        let view = agent.and_then(AgentReport::view);
        let link = agent.and_then(AgentReport::link);
        let online = |view: &ServerView| match &view.replication.part {
            Part::Primary { replicas } => Some(replicas.iter().filter(|replica| replica.online).count()),
            Part::Replica { .. } => None,
        };
        Self {
            shard: report.shard.clone(),
            zone: report.zone.clone(),
            connected: report.role.is_some(),
            fenced: report.fenced,
            role: report.role,
            address: report.address.clone(),
            host: None,
            pid: report.pid,
            version: report.version.clone(),
            node_id: view.map(|view| view.node_id),
            replica_lag_bytes: report.lag_bytes,
            replication_offset: view.map(|view| view.replication.offset.0),
            connected_replicas: view.and_then(online),
            link_status: link.map(|link| if link == Link::Up { "up" } else { "down" }.to_owned()),
            slots_served: view.and_then(ServerView::slots).map(ranges).unwrap_or_default(),
            cluster_state: view
                .map(|view| if view.cluster_ok { ClusterState::Ok } else { ClusterState::Fail }),
            current_epoch: view.map(|view| view.current_epoch.0),
        }
    }

    fn report(&self, name: &InstanceName) -> InstanceReport {
        InstanceReport {
            name: name.clone(),
            shard: self.shard.clone(),
            zone: self.zone.clone(),
            role: self.role,
            address: self.address.clone(),
            pid: self.pid,
            version: self.version.clone(),
            engine: None,
            lag_bytes: self.replica_lag_bytes,
            fenced: self.fenced,
            keys: None,
            memory_bytes: None,
            data: None,
        }
    }
}

impl ShardStatus {
    fn new(report: &ShardReport, primary: Option<&AgentReport>) -> Self {
        let view = primary.and_then(AgentReport::view);
        Self {
            primary_pod: report.primary.clone(),
            replica_pods: report.replicas.clone(),
            slot_ranges: ranges(&report.slots),
            primary_node_id: view.map(|view| view.node_id),
            epoch: view.and_then(ServerView::myself).map(|node| node.config_epoch.0),
        }
    }

    fn report(&self, name: &ShardName) -> ShardReport {
        let slots = self.slot_ranges.iter().filter_map(|range| SlotRange::new(range.start, range.end));
        ShardReport {
            name: name.clone(),
            slots: slots.collect(),
            primary: self.primary_pod.clone(),
            replicas: self.replica_pods.clone(),
            // What the operator sees each second is not written into the object.
            needed_replicas: None,
        }
    }
}

impl From<&Waiting> for WaitingStatus {
    fn from(waiting: &Waiting) -> Self {
        let mut details = match serde_json::to_value(waiting) {
            Ok(serde_json::Value::Object(details)) => details,
            // A reason is always written as an object with its name.
            _ => serde_json::Map::new(),
        };
        let reason = details.remove("reason").and_then(|reason| reason.as_str().map(str::to_owned));
        Self {
            reason: reason.unwrap_or_default(),
            message: waiting.told(CalledAs::KubectlValkeeper),
            details,
        }
    }
}

impl WaitingStatus {
    /// The reason it was made from. One that only a newer version of Valkeeper knows keeps that version's words.
    pub fn waiting(&self) -> Option<Waiting> {
        let mut whole = self.details.clone();
        whole.insert("reason".to_owned(), self.reason.clone().into());
        match serde_json::from_value(serde_json::Value::Object(whole)).ok()? {
            Waiting::Newer(newer) => Some(Waiting::Newer(newer.saying(&self.message))),
            known => Some(known),
        }
    }
}

fn ranges(slots: &SlotSet) -> Vec<SlotRangeStatus> {
    slots.ranges().iter().map(|range| SlotRangeStatus { start: range.first(), end: range.last() }).collect()
}

fn count(of: usize) -> u32 {
    u32::try_from(of).unwrap_or(u32::MAX)
}

fn cluster_state(report: &Report) -> Option<ClusterState> {
    let answering = report.instances.iter().filter(|one| one.role.is_some()).count();
    let failing = report.waiting.iter().filter(|one| matches!(one, Waiting::ClusterStateFail { .. })).count();
    let majority = report.instances.len() / 2 + 1;
    match answering {
        0 => None,
        _ if answering.saturating_sub(failing) >= majority => Some(ClusterState::Ok),
        _ => Some(ClusterState::Fail),
    }
}

fn slots_served(report: &Report) -> u16 {
    if report.shards.is_empty() {
        return 0;
    }
    let unserved = report.waiting.iter().filter_map(|waiting| match waiting {
        Waiting::SlotsUnserved { slots } | Waiting::SlotsDisowned { slots, .. } => Some(slots),
        _ => None,
    });
    unserved.fold(SlotSet::all(), |served, slots| served.minus(slots)).len()
}

#[cfg(test)]
pub(crate) mod tests;
