//! Conditions: the status in the form that `kubectl wait` and tools without knowledge of us read.

use super::{Facts, Verdict};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use valkeeper_model::{Phase, Report, Waiting};

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
        }
    }
}

/// Why a condition is as it is. The first five pairs are those of redis.io/v1 in cluster mode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
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
    /// The spec is followed.
    SpecFollowed,
    /// The spec is wrong by itself.
    InvalidSpec,
    /// The spec asks for something that a running cluster cannot become, or that its zones do not allow.
    ChangeRefused,
}

impl Reason {
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
            Self::SpecFollowed => "SpecFollowed",
            Self::InvalidSpec => "InvalidSpec",
            Self::ChangeRefused => "ChangeRefused",
        }
    }
}

/// What the API server takes as a condition's message.
const MAX_MESSAGE: usize = 32_768;

/// Sets one condition; the time moves only when its status does.
fn set(
    conditions: &mut Vec<Condition>,
    (kind, holds, reason, mut message): (ConditionType, bool, Reason, String),
    generation: Option<i64>,
    now: &Time,
) {
    let mut end = MAX_MESSAGE.min(message.len());
    while !message.is_char_boundary(end) {
        end -= 1;
    }
    message.truncate(end);
    let status = if holds { "True" } else { "False" };
    let place = conditions.iter().position(|condition| condition.type_ == kind.as_str());
    let since = place.map(|at| &conditions[at]).filter(|old| old.status == status);
    let condition = Condition {
        last_transition_time: since.map_or(now, |old| &old.last_transition_time).clone(),
        message,
        observed_generation: generation,
        reason: reason.as_str().to_owned(),
        status: status.to_owned(),
        type_: kind.as_str().to_owned(),
    };
    match place {
        Some(at) => conditions[at] = condition,
        None => conditions.push(condition),
    }
}

/// All that the report and the spec's fate decide. Conditions of others stay.
pub(super) fn of_report(report: &Report, facts: &Facts<'_>) -> Vec<Condition> {
    let mut conditions = facts.before.map(|before| before.conditions.clone()).unwrap_or_default();
    let said = |which: &dyn Fn(&Waiting) -> bool| {
        let reasons: Vec<_> =
            report.waiting.iter().filter(|one| which(one)).map(ToString::to_string).collect();
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
    let without_primary = without_primary.join(", ");
    let without_primary = match without_primary.as_str() {
        "" => None,
        names => Some(format!("without a primary: {names}")),
    };
    let missing = said(&|waiting| matches!(waiting, Waiting::ReplicasMissing { .. }));
    // What has no primary has nothing to be in sync with.
    let replicas = [without_primary.clone().unwrap_or_default(), missing];
    let replicas = replicas.into_iter().filter(|text| !text.is_empty()).collect::<Vec<_>>().join("; ");
    let of_zones = |waiting: &&Waiting| {
        matches!(
            waiting,
            Waiting::ZoneShared { .. } | Waiting::ZoneMajority { .. } | Waiting::ZoneWithoutNodes { .. }
        )
    };
    // What is accepted (`zones: besteffort`) is a risk all the same.
    let mut zones: Vec<String> =
        report.waiting.iter().filter(of_zones).chain(facts.at_risk).map(ToString::to_string).collect();
    zones.sort();
    zones.dedup();
    let zones = zones.join("; ");
    let formed = matches!(report.phase, Phase::Healthy | Phase::Degraded);
    let exists = !report.shards.is_empty();
    let mut set = |kind, holds: bool, yes: (Reason, &str), no: (Reason, String)| {
        let (reason, message) = if holds { (yes.0, yes.1.to_owned()) } else { no };
        let message = if exists { message } else { "the cluster has no shards yet".to_owned() };
        set(&mut conditions, (kind, holds, reason, message), facts.generation, facts.now);
    };
    let not_ready = match said(&serving) {
        why if why.is_empty() => report.waiting.first().map(ToString::to_string).unwrap_or_default(),
        why => why,
    };
    set(
        ConditionType::Ready,
        exists && formed && unserved.is_empty(),
        (Reason::ClusterSlotsCovered, "all slots are served"),
        (Reason::ClusterNotReady, not_ready),
    );
    set(
        ConditionType::PrimaryAvailable,
        exists && without_primary.is_none(),
        (Reason::ShardsAvailable, "every shard has a primary"),
        (Reason::ShardsUnavailable, without_primary.unwrap_or_default()),
    );
    set(
        ConditionType::ReplicationHealthy,
        exists && replicas.is_empty(),
        (Reason::ClusterReplicasHealthy, "every primary has its wanted replicas in sync"),
        (Reason::ClusterReplicasDegraded, replicas),
    );
    set(
        ConditionType::ZoneLossTolerated,
        exists && zones.is_empty(),
        (Reason::ZonesSpread, "any zone may be lost"),
        (Reason::ZonesNotSpread, zones),
    );
    of_spec(&conditions, facts.verdict, facts.generation, facts.now)
}

/// The given conditions with the one about the spec.
pub(super) fn of_spec(
    before: &[Condition],
    verdict: Verdict<'_>,
    generation: Option<i64>,
    now: &Time,
) -> Vec<Condition> {
    let mut conditions = before.to_vec();
    let (holds, reason, message) = match verdict {
        Verdict::Followed => (true, Reason::SpecFollowed, "the spec is followed".to_owned()),
        Verdict::Invalid(refused) => (false, Reason::InvalidSpec, refused.to_string()),
        Verdict::Unfit(refusal) => (false, Reason::ChangeRefused, refusal.with_hint()),
    };
    set(&mut conditions, (ConditionType::SpecValid, holds, reason, message), generation, now);
    conditions
}
