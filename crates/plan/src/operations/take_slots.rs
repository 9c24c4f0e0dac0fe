//! Slots that no server owns go back to their shard's primary.

use super::Step;
use super::disruption::changing;
use crate::view::cluster_view::{ClusterView, InstanceView, ShardView};
use crate::view::health::isolated;
use crate::view::topology_views::TopologyViews;
use valkeeper_model::{Role, ServerView, ShardLife};

/// Slots of a shard that nobody owns any more go back to its primary: they were taken away by hand. Only if it is certain who that is,
/// and if no server that runs knows another owner.
pub(super) fn next(
    cluster_view: &ClusterView<'_>,
    shard: &ShardView<'_>,
    views: &TopologyViews<'_>,
) -> Option<Step> {
    if !matches!(shard.shard.life, ShardLife::Member | ShardLife::Leaving) || changing(shard).is_some() {
        return None;
    }
    let is_primary = |view: &ServerView| view.replication.role() == Role::Primary;
    let primary = shard.instances.iter().find(|one| one.view().is_some_and(is_primary))?;
    let no_rival = |one: &InstanceView<'_>| {
        one.name == primary.name
            || one.report.is_some_and(|report| match report.view() {
                Some(view) => !is_primary(view),
                None => report.is_down() && report.disk_role.claims().is_none(),
            })
    };
    let own = primary.view()?.slots().cloned().unwrap_or_default();
    // What is on its way to another shard is its own until it is seen there.
    let layout = cluster_view.layout;
    let slots = shard.shard.slots.minus(&own).minus(&layout.outgoing(shard.name));
    // One that serves another shard was moved there by hand, and holds that shard's data.
    let elsewhere = !own.minus(&shard.shard.slots).minus(&layout.incoming(shard.name)).is_empty();
    if elsewhere || slots.is_empty() || isolated(primary) || !shard.instances.iter().all(no_rival) {
        return None;
    }
    let owned = views.each(|topology| {
        topology.iter().any(|(id, node)| *id != primary.instance.node_id && node.slots.intersects(&slots))
    });
    if owned.all().any(|owned| *owned) {
        return None;
    }
    let (shard, instance) = (shard.name.clone(), primary.name.clone());
    Some(Step::TakeSlots { shard, instance, incarnation: primary.report?.incarnation()?, slots })
}
