//! A primary that cannot write to its disk hands over to a replica that can.

use super::disruption::may_disturb;
use super::{Barred, Step, may_take_role};
use crate::view::cluster_view::{ClusterView, InstanceView, ShardView};
use valkeeper_model::ShardLife;

/// A primary whose disk is full refuses writes that a replica could take. Where a user has chosen the roles lately, and where nobody is sound,
/// nothing is done: the reason is told.
pub(super) fn next(cluster_view: &ClusterView<'_>, shard: &ShardView<'_>, barred: &Barred) -> Option<Step> {
    if shard.shard.life == ShardLife::Founding || barred.chosen.contains(shard.name) {
        return None;
    }
    let primary = shard.primary().filter(|one| one.view().is_some_and(|view| view.persistence_failing))?;
    let switch = |to: &InstanceView<'_>| Step::SwitchForDisk {
        shard: shard.name.clone(),
        from: primary.name.clone(),
        to: to.name.clone(),
    };
    let may = |to: &&InstanceView<'_>| {
        may_take_role(cluster_view, &primary, to) && !barred.refused.contains(&switch(to).key())
    };
    let to = shard.instances.iter().find(may)?;
    may_disturb(cluster_view, shard).ok()?;
    Some(switch(to))
}
