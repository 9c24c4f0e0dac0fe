//! When a layout goes on from following to promoted.

use super::choose_member;
use crate::view::cluster_view::{ClusterView, ShardView};
use valkeeper_model::{Happened, InstanceName, Layout, ReplicaMode, ReplicaModeStage};

/// The layout that follows from what was seen; `None` if it stays as it is.
pub fn next(cluster_view: &ClusterView<'_>) -> Option<Layout> {
    let layout = cluster_view.layout;
    let held = layout.replica_mode.as_ref()?;
    let ReplicaModeStage::Promoting { designated } = &held.stage else { return None };
    let with = |stage| {
        let replica_mode = Some(Box::new(ReplicaMode { stage, ..ReplicaMode::clone(held) }));
        Layout { generation: layout.generation.next(), replica_mode, ..layout.clone() }
    };
    let primary = cluster_view.shards.values().find_map(ShardView::primary);
    if let Some(primary) = primary {
        let loss = primary.report.and_then(|report| report.source.as_ref()?.loss);
        return Some(with(ReplicaModeStage::Promoted { designated: primary.name.clone(), loss }));
    }
    let chosen = choose_member(cluster_view).map(|one| one.name.clone())?;
    let stands = designated.as_ref().is_some_and(|designated| answers(cluster_view, designated));
    (!stands && designated.as_ref() != Some(&chosen))
        .then(|| with(ReplicaModeStage::Promoting { designated: Some(chosen) }))
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
        .is_some_and(|one| one.view().is_some() && !one.instance.fenced)
}

/// What people are told of the step from one layout to the next.
pub fn happened(before: &Layout, after: &Layout) -> Vec<Happened> {
    let (Some(before), Some(after)) = (&before.replica_mode, &after.replica_mode) else { return Vec::new() };
    let source = after.source.name();
    match (&before.stage, &after.stage) {
        (ReplicaModeStage::Following, ReplicaModeStage::Promoting { .. }) => {
            vec![Happened::ReplicaModePromoteRequested { source }]
        }
        (ReplicaModeStage::Promoting { .. }, ReplicaModeStage::Promoted { designated, loss }) => {
            let (instance, loss) = (designated.clone(), *loss);
            vec![Happened::ReplicaClusterPromoted { instance, source, loss }]
        }
        (ReplicaModeStage::Following, ReplicaModeStage::Following) if before.source != after.source => {
            vec![Happened::ReplicaModeSourceUpdated { place: after.source.place() }]
        }
        _ => Vec::new(),
    }
}
