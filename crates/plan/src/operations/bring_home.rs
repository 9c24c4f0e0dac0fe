//! Slots that a member of another shard serves go back to their own shard.

use super::Step;
use super::disruption::changing;
use crate::view::cluster_view::{ClusterView, InstanceView, ShardView};
use crate::view::health::in_sync;

/// The slots of a shard without a primary of its own are served by a member of another shard: it was moved by hand and promoted. The
/// engine hands over to the shard's best replica without losing a write, and what was moved follows its own shard again.
pub(super) fn next(cluster_view: &ClusterView<'_>, shard: &ShardView<'_>) -> Option<Step> {
    let slots = &shard.shard.slots;
    // Where slots move, a member of another shard that owns them is where it should be.
    let moves = !cluster_view.layout.outgoing(shard.name).is_empty();
    if slots.is_empty() || moves || shard.primary().is_some() || changing(shard).is_some() {
        return None;
    }
    let others = cluster_view.shards.values().filter(|other| other.name != shard.name);
    let serves = |one: &&InstanceView<'_>| one.view().is_some_and(|view| view.serves(slots));
    let stray = others.flat_map(|other| &other.instances).find(serves)?;
    let in_sync = shard.instances.iter().filter(|one| in_sync(stray, one));
    let to = in_sync.max_by_key(|one| one.view().map(|view| view.replication.offset))?;
    Some(Step::BringHome {
        shard: shard.name.clone(),
        from: stray.name.clone(),
        to: to.name.clone(),
        incarnation: to.report?.incarnation()?,
    })
}
