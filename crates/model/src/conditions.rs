//! Conditions: the status in the form that `kubectl wait` and tools without knowledge of Valkeeper read.

mod service;

use crate::{CalledAs, Phase, ReplicaModeReport, ReplicaModeStage, Report, Waiting};
use serde::{Deserialize, Serialize};
use service::Verdict;

/// A condition, as Kubernetes has them in a status.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Condition {
    /// Which: [`ConditionType`], or what a newer version knows.
    #[serde(rename = "type")]
    pub kind: String,
    /// `True`, `False` or `Unknown`.
    pub status: String,
    /// Why, in one word.
    pub reason: String,
    /// Why, for people.
    pub message: String,
}

impl Condition {
    /// One that holds, or not.
    pub fn new(kind: ConditionType, holds: bool, reason: ConditionReason, message: String) -> Self {
        let status = if holds { "True" } else { "False" };
        let (kind, reason) = (kind.as_str().to_owned(), reason.as_str().to_owned());
        Self { kind, status: status.to_owned(), reason, message }
    }
}

/// What a condition is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConditionType {
    /// All slots are served: clients can work.
    Ready,
    /// Every shard has a primary.
    PrimaryAvailable,
    /// Every primary has its wanted replicas in sync.
    ReplicationHealthy,
    /// Any zone may be lost (law 7).
    ZoneLossTolerated,
    /// The spec is followed.
    SpecValid,
    /// The cluster follows another one.
    ReplicaMode,
    /// The cluster is stopped by a user's wish.
    Hibernated,
}

impl ConditionType {
    /// The word in the object.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ready => "Ready",
            Self::PrimaryAvailable => "PrimaryAvailable",
            Self::ReplicationHealthy => "ReplicationHealthy",
            Self::ZoneLossTolerated => "ZoneLossTolerated",
            Self::SpecValid => "SpecValid",
            Self::ReplicaMode => "ReplicaMode",
            Self::Hibernated => "Hibernated",
        }
    }
}

/// Why a condition is as it is. Those that tell of service are redis.io/v1's: three sets, in mode `cluster`, in a mode with one
/// primary, and of a cluster that follows another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConditionReason {
    /// All slots are served.
    ClusterSlotsCovered,
    /// Some slots are not.
    ClusterNotReady,
    /// Every shard has a primary.
    ShardsAvailable,
    /// A shard has none.
    ShardsUnavailable,
    /// All wanted replicas are in sync.
    ClusterReplicasHealthy,
    /// Some are not.
    ClusterReplicasDegraded,
    /// The primary serves.
    ClusterReady,
    /// It does not, or there is none.
    NoPrimaryAvailable,
    /// There is a primary.
    PrimaryRunning,
    /// There is none.
    PrimaryUnavailable,
    /// All wanted replicas are in sync.
    ReplicasConnected,
    /// Some are not.
    ReplicasNotHealthy,
    /// The designated member holds the source's data.
    FollowerReady,
    /// It has not.
    FollowerNotReady,
    /// There is a member that a promotion would make the primary.
    DesignatedAvailable,
    /// There is none.
    DesignatedUnavailable,
    /// All wanted replicas follow the source in sync.
    ExternalReplicationHealthy,
    /// Some do not.
    ExternalReplicationDegraded,
    /// Any zone may be lost.
    ZonesSpread,
    /// The loss of a zone would cost more than it must.
    ZonesNotSpread,
    /// The cluster follows another one.
    Enabled,
    /// It did, and was promoted.
    Promoted,
    /// It is to be stopped, or is.
    HibernationEnabled,
    /// It was, and runs again.
    HibernationDisabled,
    /// The spec is followed.
    SpecFollowed,
    /// The spec is wrong by itself.
    InvalidSpec,
    /// The spec asks for something that a running cluster cannot become, or that its zones do not allow.
    ChangeRefused,
}

impl ConditionReason {
    /// The word in the object.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ClusterSlotsCovered => "ClusterSlotsCovered",
            Self::ClusterNotReady => "ClusterNotReady",
            Self::ShardsAvailable => "ShardsAvailable",
            Self::ShardsUnavailable => "ShardsUnavailable",
            Self::ClusterReplicasHealthy => "ClusterReplicasHealthy",
            Self::ClusterReplicasDegraded => "ClusterReplicasDegraded",
            Self::ClusterReady => "ClusterReady",
            Self::NoPrimaryAvailable => "NoPrimaryAvailable",
            Self::PrimaryRunning => "PrimaryRunning",
            Self::PrimaryUnavailable => "PrimaryUnavailable",
            Self::ReplicasConnected => "ReplicasConnected",
            Self::ReplicasNotHealthy => "ReplicasNotHealthy",
            Self::FollowerReady => "ReplicaModeReady",
            Self::FollowerNotReady => "ReplicaModeLeaderUnavailable",
            Self::DesignatedAvailable => "ReplicaLeaderAvailable",
            Self::DesignatedUnavailable => "ReplicaLeaderUnavailable",
            Self::ExternalReplicationHealthy => "ExternalReplicationHealthy",
            Self::ExternalReplicationDegraded => "ExternalReplicationDegraded",
            Self::ZonesSpread => "ZonesSpread",
            Self::ZonesNotSpread => "ZonesNotSpread",
            Self::Enabled => "Enabled",
            Self::Promoted => "Promoted",
            Self::HibernationEnabled => "HibernationEnabled",
            Self::HibernationDisabled => "HibernationDisabled",
            Self::SpecFollowed => "SpecFollowed",
            Self::InvalidSpec => "InvalidSpec",
            Self::ChangeRefused => "ChangeRefused",
        }
    }
}

/// All that a report decides. `at_risk` are risks that the spec accepts.
pub fn conditions(report: &Report, at_risk: &[Waiting], called: CalledAs) -> Vec<Condition> {
    let mut conditions = Vec::new();
    let told = |waiting: &Waiting| waiting.told(called);
    let of_zones = |waiting: &&Waiting| {
        matches!(
            waiting,
            Waiting::ZoneShared { .. } | Waiting::ZoneMajority { .. } | Waiting::ZoneWithoutNodes { .. }
        )
    };
    // What is accepted (`zones: besteffort`) is a risk all the same.
    let mut zones: Vec<String> = report.waiting.iter().filter(of_zones).chain(at_risk).map(told).collect();
    zones.sort();
    zones.dedup();
    let zones = zones.join("; ");
    let zones = Verdict {
        kind: ConditionType::ZoneLossTolerated,
        holds: zones.is_empty(),
        yes: (ConditionReason::ZonesSpread, "any zone may be lost"),
        no: (ConditionReason::ZonesNotSpread, zones),
    };
    let stopped = stopped(report.phase);
    let exists = !report.shards.is_empty();
    for Verdict { kind, holds, yes, no } in service::verdicts(report, called).into_iter().chain([zones]) {
        let holds = holds && exists;
        let (reason, message) = if holds { (yes.0, yes.1.to_owned()) } else { no };
        let message = match stopped {
            Some(why) if !holds => why.to_owned(),
            _ => message,
        };
        let message = if exists { message } else { "the cluster has no shards yet".to_owned() };
        conditions.push(Condition::new(kind, holds, reason, message));
    }
    conditions.extend(hibernated(report.phase));
    conditions.extend(report.replica_mode.as_deref().map(ReplicaModeReport::condition));
    conditions
}

/// Of a cluster that a user has stopped, or that is being stopped.
fn stopped(phase: Phase) -> Option<&'static str> {
    match phase {
        Phase::Hibernating => Some("the cluster is being stopped, to hibernate"),
        Phase::Hibernated => Some("the cluster hibernates: it has no pods, and its data is kept"),
        _ => None,
    }
}

/// The condition `Hibernated`, while there is something to say.
fn hibernated(phase: Phase) -> Option<Condition> {
    let holds = phase == Phase::Hibernated;
    let message = stopped(phase)?.to_owned();
    Some(Condition::new(ConditionType::Hibernated, holds, ConditionReason::HibernationEnabled, message))
}

impl ReplicaModeReport {
    /// The condition `ReplicaMode`, in the words of redis-operator's documents.
    pub fn condition(&self) -> Condition {
        let name = self.source.name();
        match &self.stage {
            ReplicaModeStage::Promoted { loss, .. } => {
                let loss = loss.map(|loss| format!("; {loss}")).unwrap_or_default();
                let message = format!("Cluster promoted to standalone (former source: {name}){loss}");
                Condition::new(ConditionType::ReplicaMode, false, ConditionReason::Promoted, message)
            }
            ReplicaModeStage::Following | ReplicaModeStage::Promoting { .. } | ReplicaModeStage::Newer(_) => {
                let message = format!("Cluster is replicating from {name} ({})", self.source.place());
                Condition::new(ConditionType::ReplicaMode, true, ConditionReason::Enabled, message)
            }
        }
    }
}
