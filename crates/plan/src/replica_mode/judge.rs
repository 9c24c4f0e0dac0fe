//! What is missing to a cluster that follows, and what people are told of it.

use super::choose_member;
use crate::view::cluster_view::{ClusterView, InstanceView, ShardView};
use valkeeper_model::{
    AgentReport, Link, PromotionPoint, PromotionToken, ReplicaCause, ReplicaFault, ReplicaMode,
    ReplicaModeReport, ReplicaModeStage, ReplicaModeWaiting, Waiting,
};

/// What is missing to a shard that follows the source.
pub fn judge(followed: &ReplicaMode, shard: &ShardView<'_>, waiting: &mut Vec<Waiting>) {
    if matches!(followed.stage, ReplicaModeStage::Promoting { .. }) {
        waiting.push(Waiting::ReplicaMode(ReplicaModeWaiting::Promoting));
    }
    if let Some(held) = &followed.held_back {
        let (instance, why) = (held.instance.clone(), held.why.clone());
        waiting.push(Waiting::ReplicaMode(ReplicaModeWaiting::CopyHeldBack { instance, why }));
    }
    let held_up = shard.instances.iter().filter_map(|one| {
        let why = one.report?.source.as_ref()?.demotion_hold.clone()?;
        let instance = one.name.clone();
        Some(Waiting::ReplicaMode(ReplicaModeWaiting::DemotionHeld { instance, why }))
    });
    waiting.extend(held_up);
    let faults = shard.instances.iter().filter_map(|one| {
        let why = one.report?.source.as_ref()?.fault.clone()?;
        let instance = one.name.clone();
        Some(Waiting::ReplicaMode(ReplicaModeWaiting::SourceUnusable { instance, why }))
    });
    waiting.extend(faults);
    let causes: Vec<ReplicaCause> = shard
        .instances
        .iter()
        .filter_map(|one| Some(ReplicaCause { instance: one.name.clone(), fault: fault(followed, one)? }))
        .collect();
    if !causes.is_empty() {
        waiting.push(Waiting::ReplicaMode(ReplicaModeWaiting::SourceNotFollowed { causes }));
    }
}

/// Are all members in sync with the source?
pub(super) fn is_followed(followed: &ReplicaMode, cluster_view: &ClusterView<'_>) -> bool {
    let mut all = cluster_view.shards.values().flat_map(|shard| &shard.instances);
    all.all(|one| fault(followed, one).is_none())
}

/// Why an instance is not in sync with the source; `None` if it is.
fn fault(followed: &ReplicaMode, one: &InstanceView<'_>) -> Option<ReplicaFault> {
    let Some(view) = one.view() else {
        let down = one.report.is_some_and(AgentReport::is_down);
        return Some(if down { ReplicaFault::Down } else { ReplicaFault::Unknown });
    };
    if view.primary() != Some(followed.node_id) {
        return Some(ReplicaFault::FollowsAnother);
    }
    match view.replication.link() {
        Some(Link::Up) if one.report.is_some_and(AgentReport::is_caught_up) => None,
        Some(Link::Up) => Some(ReplicaFault::CatchingUp),
        Some(Link::Syncing) => Some(ReplicaFault::Copying),
        Some(Link::Lost) => Some(ReplicaFault::LinkLost),
        Some(Link::NeverUp) => Some(ReplicaFault::NeverLinked),
        None => Some(ReplicaFault::FollowsAnother),
    }
}

/// What people are told of it; `None` of a cluster that has never followed.
pub fn report(cluster_view: &ClusterView<'_>) -> Option<ReplicaModeReport> {
    let held = cluster_view.layout.replica_mode.as_deref()?;
    let designated = match &held.stage {
        ReplicaModeStage::Promoted { designated, .. } => {
            let primary = cluster_view.shards.values().find_map(ShardView::primary);
            Some(primary.map_or_else(|| designated.clone(), |primary| primary.name.clone()))
        }
        ReplicaModeStage::Promoting { designated: Some(designated) } => Some(designated.clone()),
        ReplicaModeStage::Following | ReplicaModeStage::Promoting { .. } | ReplicaModeStage::Newer(_) => {
            choose_member(cluster_view).map(|one| one.name.clone())
        }
    };
    let seen = designated.as_ref().and_then(|designated| cluster_view.shard_of(designated)?.get(designated));
    let source = seen.and_then(|one| one.report?.source.as_ref()).filter(|_| held.follows());
    let token = match &held.stage {
        ReplicaModeStage::Promoted { point: Some(point), .. } => {
            // Whoever is to follow compares it with what it sees of the primary, which may have failed over since.
            let primary = cluster_view.shards.values().find_map(ShardView::primary);
            let history =
                primary.and_then(|one| Some(one.view()?.replication.replid)).unwrap_or(point.history);
            let point = PromotionPoint { history, ..*point };
            Some(PromotionToken { cluster: cluster_view.layout.id, point }.to_string())
        }
        _ => None,
    };
    Some(ReplicaModeReport {
        token,
        source: held.source.clone(),
        stage: held.stage.clone(),
        link: seen.and_then(|one| one.view()?.replication.link()).filter(|_| held.follows()),
        lag_bytes: source.and_then(|source| source.lag_bytes),
        lag_age_ms: source.and_then(|source| source.seen_ms_ago),
        held_back: held.held_back.clone().filter(|_| held.follows()),
        designated,
    })
}
