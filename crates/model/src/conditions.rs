//! Conditions: the status in the form that `kubectl wait` and tools without knowledge of Valkeeper read.

use crate::{CalledAs, Phase, ReplicaModeReport, ReplicaModeStage, Report, Waiting};
use serde::{Deserialize, Serialize};

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
        }
    }
}

/// Why a condition is as it is. The first five pairs are those of redis.io/v1 in cluster mode.
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
    /// Any zone may be lost.
    ZonesSpread,
    /// The loss of a zone would cost more than it must.
    ZonesNotSpread,
    /// The cluster follows another one.
    Enabled,
    /// It did, and was promoted.
    Promoted,
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
            Self::ZonesSpread => "ZonesSpread",
            Self::ZonesNotSpread => "ZonesNotSpread",
            Self::Enabled => "Enabled",
            Self::Promoted => "Promoted",
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
    let said = |which: &dyn Fn(&Waiting) -> bool| {
        let reasons: Vec<_> = report.waiting.iter().filter(|one| which(one)).map(told).collect();
        reasons.join("; ")
    };
    // A primary that the others hold for serving may still refuse: the engine's do for their first two seconds.
    let refuses = |waiting: &Waiting| match waiting {
        Waiting::ClusterStateFail { instance } => {
            report.shards.iter().any(|shard| shard.primary.as_ref() == Some(instance))
        }
        _ => false,
    };
    let unserved = said(&|waiting: &Waiting| {
        matches!(waiting, Waiting::SlotsUnserved { .. } | Waiting::SlotsDisowned { .. }) || refuses(waiting)
    });
    let serving = |waiting: &Waiting| waiting.is_outage() || refuses(waiting);
    let without_primary: Vec<_> = report
        .shards
        .iter()
        .filter(|shard| shard.primary.is_none())
        .map(|shard| shard.name.to_string())
        .collect();
    let replicas = said(&|waiting| matches!(waiting, Waiting::ReplicasMissing { .. }));
    // Nobody follows a primary that is not there.
    let nobody =
        (!without_primary.is_empty()).then(|| format!("without a primary: {}", without_primary.join(", ")));
    let not_followed = nobody.clone().into_iter().chain((!replicas.is_empty()).then(|| replicas.clone()));
    let not_followed = not_followed.collect::<Vec<_>>().join("; ");
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
    let formed = matches!(report.phase, Phase::Healthy | Phase::Degraded);
    let exists = !report.shards.is_empty();
    let mut set =
        |kind: ConditionType, holds: bool, yes: (ConditionReason, &str), no: (ConditionReason, String)| {
            let (reason, message) = if holds { (yes.0, yes.1.to_owned()) } else { no };
            let message = if exists { message } else { "the cluster has no shards yet".to_owned() };
            conditions.push(Condition::new(kind, holds, reason, message));
        };
    let not_ready = match said(&serving) {
        why if why.is_empty() => report.waiting.first().map(told).unwrap_or_default(),
        why => why,
    };
    set(
        ConditionType::Ready,
        exists && formed && unserved.is_empty(),
        (ConditionReason::ClusterSlotsCovered, "all slots are served"),
        (ConditionReason::ClusterNotReady, not_ready),
    );
    set(
        ConditionType::PrimaryAvailable,
        exists && without_primary.is_empty(),
        (ConditionReason::ShardsAvailable, "every shard has a primary"),
        (ConditionReason::ShardsUnavailable, nobody.unwrap_or_default()),
    );
    set(
        ConditionType::ReplicationHealthy,
        exists && replicas.is_empty() && without_primary.is_empty(),
        (ConditionReason::ClusterReplicasHealthy, "every primary has its wanted replicas in sync"),
        (ConditionReason::ClusterReplicasDegraded, not_followed),
    );
    set(
        ConditionType::ZoneLossTolerated,
        exists && zones.is_empty(),
        (ConditionReason::ZonesSpread, "any zone may be lost"),
        (ConditionReason::ZonesNotSpread, zones),
    );
    conditions.extend(report.replica_mode.as_deref().map(ReplicaModeReport::condition));
    conditions
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
