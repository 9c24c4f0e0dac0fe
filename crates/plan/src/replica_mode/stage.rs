//! When a layout goes on from following to promoted.

use super::choose_member;
use super::judge::is_followed;
use super::witnesses;
use crate::view::cluster_view::{ClusterView, InstanceView, ShardView};
use valkeeper_model::{
    Happened, HeldBackCopy, InstanceName, Layout, Position, PromotionPoint, ReplicaMode, ReplicaModeStage,
};

/// What was seen so long ago at most says where the source is.
const LATELY_MS: u64 = 5_000;

/// The layout that follows from what was seen; `None` if it stays as it is.
pub fn next(cluster_view: &ClusterView<'_>) -> Option<Layout> {
    let layout = cluster_view.layout;
    let held = layout.replica_mode.as_ref()?;
    if let Some(held_back) = newly_held_back(cluster_view) {
        let replica_mode =
            Some(Box::new(ReplicaMode { held_back: Some(held_back), ..ReplicaMode::clone(held) }));
        return Some(Layout { generation: layout.generation.next(), replica_mode, ..layout.clone() });
    }
    if held.demotion.is_some() && is_followed(held, cluster_view) {
        // From here on the one copy is kept from whatever the source does.
        let over = ReplicaMode { demotion: None, before_handover: None, ..ReplicaMode::clone(held) };
        let replica_mode = Some(Box::new(over));
        return Some(Layout { generation: layout.generation.next(), replica_mode, ..layout.clone() });
    }
    if let Some(witnesses) = witnesses::suffice(held, cluster_view) {
        let designated = Some(choose_member(cluster_view)?.name.clone());
        let stage = ReplicaModeStage::Promoting { designated };
        let replica_mode = Some(Box::new(ReplicaMode { stage, witnesses, ..ReplicaMode::clone(held) }));
        return Some(Layout { generation: layout.generation.next(), replica_mode, ..layout.clone() });
    }
    let ReplicaModeStage::Promoting { designated } = &held.stage else { return None };
    let with = |stage| {
        let replica_mode = Some(Box::new(ReplicaMode { stage, ..ReplicaMode::clone(held) }));
        Layout { generation: layout.generation.next(), replica_mode, ..layout.clone() }
    };
    let primary = cluster_view.shards.values().find_map(ShardView::primary);
    if let Some(primary) = primary {
        let loss = primary.report.and_then(|report| report.source.as_ref()?.loss);
        let designated = primary.name.clone();
        return Some(with(ReplicaModeStage::Promoted { designated, loss, point: point(&primary) }));
    }
    let chosen = choose_member(cluster_view).map(|one| one.name.clone())?;
    let stands = designated.as_ref().is_some_and(|designated| answers(cluster_view, designated));
    (!stands && designated.as_ref() != Some(&chosen))
        .then(|| with(ReplicaModeStage::Promoting { designated: Some(chosen) }))
}

/// Where the primary has gone on from the source's history, by its own words.
fn point(primary: &InstanceView<'_>) -> Option<PromotionPoint> {
    let view = primary.view()?;
    let (from, term) = (view.branched_from?, view.myself()?.config_epoch);
    Some(PromotionPoint { from, history: view.replication.replid, term })
}

/// The copy that an agent has held back, and the layout does not know of yet: it stays held back whoever dies.
fn newly_held_back(cluster_view: &ClusterView<'_>) -> Option<HeldBackCopy> {
    let followed = cluster_view.layout.replica_mode.as_ref().filter(|mode| mode.follows())?;
    if followed.held_back.is_some() {
        return None;
    }
    cluster_view.shards.values().flat_map(|shard| &shard.instances).find_map(|one| {
        // What an agent held back before a person accepted it is over once the agent obeys that.
        let report = one.report.filter(|report| report.generation >= cluster_view.layout.generation)?;
        let why = report.source.as_ref()?.held_back.clone()?;
        Some(HeldBackCopy { instance: one.name.clone(), why })
    })
}

/// Where the source's stream is, by an agent that has seen it lately.
pub fn source_position(cluster_view: &ClusterView<'_>) -> Option<Position> {
    let all = cluster_view.shards.values().flat_map(|shard| &shard.instances);
    let sources = all.filter_map(|one| one.report?.source.as_ref());
    let lately = sources.filter(|source| source.seen_ms_ago.is_some_and(|ms| ms <= LATELY_MS));
    lately.filter_map(|source| source.position).max_by_key(|position| position.offset)
}

/// The layout with the designated member in it, if a promotion has just been asked for: so agents are told at once.
#[must_use]
pub fn choose_designated(mut layout: Layout, cluster_view: &ClusterView<'_>) -> Layout {
    if let Some(ReplicaMode {
        stage: ReplicaModeStage::Promoting { designated: designated @ None }, ..
    }) = layout.replica_mode.as_deref_mut()
    {
        *designated = choose_member(cluster_view).map(|one| one.name.clone());
    }
    layout
}

fn answers(cluster_view: &ClusterView<'_>, designated: &InstanceName) -> bool {
    let shard = cluster_view.shard_of(designated);
    shard
        .and_then(|shard| shard.get(designated))
        .is_some_and(|one| one.view().is_some() && !one.instance.is_fenced())
}

/// What people are told of the step from one layout to the next.
pub fn happened(before: &Layout, after: &Layout) -> Vec<Happened> {
    let (Some(before), Some(after)) = (&before.replica_mode, &after.replica_mode) else { return Vec::new() };
    let source = after.source.name();
    if let (None, Some(HeldBackCopy { instance, why })) = (&before.held_back, &after.held_back) {
        return vec![Happened::CopyHeldBack { instance: instance.clone(), why: why.clone() }];
    }
    match (&before.stage, &after.stage) {
        (ReplicaModeStage::Following, ReplicaModeStage::Promoting { .. }) => {
            let witnesses = after.witnesses.clone();
            vec![if witnesses.is_empty() {
                Happened::ReplicaModePromoteRequested { source }
            } else {
                Happened::SourceOutOfReach { source, witnesses }
            }]
        }
        (ReplicaModeStage::Promoting { .. }, ReplicaModeStage::Promoted { designated, loss, .. }) => {
            let (instance, loss) = (designated.clone(), *loss);
            vec![Happened::ReplicaClusterPromoted { instance, source, loss }]
        }
        (ReplicaModeStage::Following, ReplicaModeStage::Following) if before.source != after.source => {
            vec![Happened::ReplicaModeSourceUpdated { place: after.source.place() }]
        }
        _ => Vec::new(),
    }
}
