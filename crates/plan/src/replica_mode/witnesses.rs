//! Whether enough agents have been without the source for long enough that the cluster is promoted without a person.

use crate::view::cluster_view::{ClusterView, InstanceView};
use valkeeper_model::{Link, ReplicaMode, ReplicaModeStage, SourceFault, SourceWitness};

/// Who has been without the source for long enough; `None` unless these suffice, and nothing else speaks against a promotion: a copy that is
/// held back, or a cluster that still goes over to following.
pub(super) fn suffice(held: &ReplicaMode, cluster_view: &ClusterView<'_>) -> Option<Vec<SourceWitness>> {
    let wanted = held.automatic.filter(|_| held.stage == ReplicaModeStage::Following)?;
    if held.held_back.is_some() || held.demotion.is_some() {
        return None;
    }
    let all = cluster_view.shards.values().flat_map(|shard| &shard.instances);
    let witnesses: Vec<SourceWitness> = all.filter_map(|one| witness(one, wanted.after_ms)).collect();
    let count = u32::try_from(witnesses.len()).unwrap_or(u32::MAX);
    (count >= wanted.witnesses).then_some(witnesses)
}

/// An agent whose looks at the source are not answered, and whose server receives nothing of it either. One that has never seen the source
/// says nothing of when it was lost.
fn witness(one: &InstanceView<'_>, after_ms: u64) -> Option<SourceWitness> {
    let source = one.report?.source.as_ref()?;
    let is_out_of_reach =
        matches!(source.fault, Some(SourceFault::Unreachable { .. } | SourceFault::Unresolved { .. }));
    let receives = one.view().is_none_or(|view| view.replication.link() == Some(Link::Up));
    let unseen_ms = source.seen_ms_ago.filter(|ms| *ms >= after_ms)?;
    (is_out_of_reach && !receives).then(|| SourceWitness { instance: one.name.clone(), unseen_ms })
}
