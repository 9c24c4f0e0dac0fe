//! Do clients get what the mode promises? Three conditions, whose reasons redis.io/v1 names by mode.

use super::{ConditionReason, ConditionType};
use crate::{CalledAs, Mode, Phase, ReplicaModeReport, Report, Waiting};

/// One of the conditions, and its reason and message if it holds and if it does not.
pub(super) struct Verdict {
    pub(super) kind: ConditionType,
    pub(super) holds: bool,
    pub(super) yes: (ConditionReason, &'static str),
    pub(super) no: (ConditionReason, String),
}

/// What `Ready`, `PrimaryAvailable` and `ReplicationHealthy` say.
pub(super) fn verdicts(report: &Report, called: CalledAs) -> [Verdict; 3] {
    match report.replica_mode.as_deref().filter(|mode| mode.stage.follows()) {
        Some(mode) => of_follower(report, mode, called),
        None => of_primaries(report, called),
    }
}

/// What is waited for, of those that `which` chooses.
fn said(report: &Report, called: CalledAs, which: impl Fn(&Waiting) -> bool) -> String {
    let reasons = report.waiting.iter().filter(|one| which(one)).map(|one| one.told(called));
    reasons.collect::<Vec<_>>().join("; ")
}

/// Has every instance been formed, so that what is wrong is not that the cluster is being made?
fn is_formed(report: &Report) -> bool {
    matches!(report.phase, Phase::Healthy | Phase::Degraded)
}

/// A cluster that has primaries of its own.
fn of_primaries(report: &Report, called: CalledAs) -> [Verdict; 3] {
    // A primary that the others hold for serving may still refuse: the engine's do for their first two seconds.
    let refuses = |waiting: &Waiting| match waiting {
        Waiting::ClusterStateFail { instance } => {
            report.shards.iter().any(|shard| shard.primary.as_ref() == Some(instance))
        }
        _ => false,
    };
    let unserved = |waiting: &Waiting| {
        matches!(waiting, Waiting::SlotsUnserved { .. } | Waiting::SlotsDisowned { .. }) || refuses(waiting)
    };
    let not_ready = match said(report, called, |waiting| waiting.is_outage() || refuses(waiting)) {
        why if why.is_empty() => report.waiting.first().map(|one| one.told(called)).unwrap_or_default(),
        why => why,
    };
    let without_primary: Vec<_> = report
        .shards
        .iter()
        .filter(|shard| shard.primary.is_none())
        .map(|shard| shard.name.to_string())
        .collect();
    // Nobody follows a primary that is not there.
    let nobody =
        (!without_primary.is_empty()).then(|| format!("without a primary: {}", without_primary.join(", ")));
    let replicas = said(report, called, |waiting| matches!(waiting, Waiting::ReplicasMissing { .. }));
    let complete = replicas.is_empty() && nobody.is_none();
    let not_followed = nobody.clone().into_iter().chain((!replicas.is_empty()).then_some(replicas));
    let not_followed = not_followed.collect::<Vec<_>>().join("; ");
    let has_primaries = nobody.is_none();
    let nobody = nobody.unwrap_or_default();
    let served = is_formed(report) && !report.waiting.iter().any(unserved);
    let [ready, primary, replication] = match report.mode {
        Mode::Cluster => [
            (
                (ConditionReason::ClusterSlotsCovered, "all slots are served"),
                ConditionReason::ClusterNotReady,
            ),
            (
                (ConditionReason::ShardsAvailable, "every shard has a primary"),
                ConditionReason::ShardsUnavailable,
            ),
            (
                (ConditionReason::ClusterReplicasHealthy, "every primary has its wanted replicas in sync"),
                ConditionReason::ClusterReplicasDegraded,
            ),
        ],
        Mode::Standalone | Mode::Sentinel => [
            ((ConditionReason::ClusterReady, "the primary serves"), ConditionReason::NoPrimaryAvailable),
            ((ConditionReason::PrimaryRunning, "there is a primary"), ConditionReason::PrimaryUnavailable),
            (
                (ConditionReason::ReplicasConnected, "the wanted replicas are in sync with the primary"),
                ConditionReason::ReplicasNotHealthy,
            ),
        ],
    };
    [
        Verdict { kind: ConditionType::Ready, holds: served, yes: ready.0, no: (ready.1, not_ready) },
        Verdict {
            kind: ConditionType::PrimaryAvailable,
            holds: has_primaries,
            yes: primary.0,
            no: (primary.1, nobody),
        },
        Verdict {
            kind: ConditionType::ReplicationHealthy,
            holds: complete,
            yes: replication.0,
            no: (replication.1, not_followed),
        },
    ]
}

/// A cluster whose primary is the source. Its own leader is the member that a promotion makes the primary.
fn of_follower(report: &Report, mode: &ReplicaModeReport, called: CalledAs) -> [Verdict; 3] {
    let everything = || said(report, called, |_| true);
    let behind = said(report, called, |waiting| matches!(waiting, Waiting::ReplicaMode(_)));
    let designated = mode.designated.is_some();
    [
        Verdict {
            kind: ConditionType::Ready,
            holds: is_formed(report) && designated,
            yes: (ConditionReason::FollowerReady, "the designated leader holds the source's data"),
            no: (ConditionReason::FollowerNotReady, everything()),
        },
        Verdict {
            kind: ConditionType::PrimaryAvailable,
            holds: designated,
            yes: (
                ConditionReason::DesignatedAvailable,
                "there is a member that a promotion makes the primary",
            ),
            no: (ConditionReason::DesignatedUnavailable, everything()),
        },
        Verdict {
            kind: ConditionType::ReplicationHealthy,
            holds: is_formed(report) && behind.is_empty(),
            yes: (ConditionReason::ExternalReplicationHealthy, "all members follow the source in sync"),
            no: (
                ConditionReason::ExternalReplicationDegraded,
                if behind.is_empty() { everything() } else { behind },
            ),
        },
    ]
}
