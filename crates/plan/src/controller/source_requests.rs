//! What users may ask of a cluster about its source: to be promoted, to accept what the source has now, to change places with it.

use valkeeper_model::{DemotionHold, Happened, Layout, Refusal, ReplicaMode, Source};

use super::requests::Decision;
use super::storing::DoneWhen;
use crate::replica_mode::{self, choose_designated};
use crate::view::cluster_view::{ClusterView, InstanceView};

pub(super) fn accept(cluster_view: &ClusterView<'_>) -> Result<Decision, Refusal> {
    let layout = cluster_view.layout;
    let accepted =
        replica_mode::accept(layout.replica_mode.as_deref(), replica_mode::source_position(cluster_view))?;
    let happened = Happened::SourceAccepted { source: accepted.source.name() };
    let next = with_replica_mode(layout, Some(Box::new(accepted)));
    Ok(Decision::Commit(Box::new(next), happened, None, DoneWhen::Observed))
}

pub(super) fn promote(cluster_view: &ClusterView<'_>) -> Result<Decision, Refusal> {
    let layout = cluster_view.layout;
    let promoted = replica_mode::promote(layout.replica_mode.as_deref())?;
    if layout.replica_mode.as_deref() == Some(&promoted) {
        let follows = promoted.follows();
        return Ok(if follows { Decision::Await(DoneWhen::Promoted) } else { Decision::Done });
    }
    let next = choose_designated(with_replica_mode(layout, Some(Box::new(promoted))), cluster_view);
    let happened = Happened::ConfigChanged { directives: vec!["follows".to_owned()] };
    Ok(Decision::Commit(Box::new(next), happened, None, DoneWhen::Promoted))
}

pub(super) fn hand_over_to(cluster_view: &ClusterView<'_>, copy: Source) -> Result<Decision, Refusal> {
    let layout = cluster_view.layout;
    if layout.config.mode.has_slots() {
        return Err(Refusal::HandoverOfCluster);
    }
    let handing_over = replica_mode::hand_over(layout.replica_mode.as_deref(), copy, layout.id)?;
    if layout.replica_mode.as_deref() == Some(&handing_over) {
        return Ok(Decision::Done);
    }
    let happened = Happened::HandoverBegun { to: handing_over.source.name() };
    let next = with_replica_mode(layout, Some(Box::new(handing_over)));
    Ok(Decision::Commit(Box::new(next), happened, None, DoneWhen::Observed))
}

pub(super) fn cancel_hand_over(cluster_view: &ClusterView<'_>) -> Result<Decision, Refusal> {
    let layout = cluster_view.layout;
    let Some(before) = replica_mode::cancel_hand_over(layout.replica_mode.as_deref()) else {
        return Err(Refusal::NoHandover);
    };
    // The primary gives its place to a copy that is promoted: whoever cancels must know that this one is not.
    let awaits_promotion = |primary: InstanceView<'_>| {
        let hold = primary.report.and_then(|report| report.source.as_ref()?.demotion_hold.as_ref());
        matches!(hold, Some(DemotionHold::AwaitsPromotion { .. } | DemotionHold::NotPromotedInTime))
    };
    if !cluster_view.shards.values().all(|shard| shard.primary().is_some_and(awaits_promotion)) {
        return Err(Refusal::HandoverNotSeen);
    }
    let next = with_replica_mode(layout, before);
    Ok(Decision::Commit(Box::new(next), Happened::HandoverCancelled, None, DoneWhen::Observed))
}

fn with_replica_mode(layout: &Layout, replica_mode: Option<Box<ReplicaMode>>) -> Layout {
    Layout { generation: layout.generation.next(), replica_mode, ..layout.clone() }
}
