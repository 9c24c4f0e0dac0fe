//! A replica that follows another node follows its shard's primary again.

use super::Step;
use super::disruption::changing;
use crate::view::cluster_view::{InstanceView, ShardView};
use valkeeper_model::Role;

pub(super) fn next(shard: &ShardView<'_>, instance: &InstanceView<'_>) -> Option<Step> {
    let primary = shard.primary()?;
    let view = instance.view()?;
    let astray = match view.replication.role() {
        Role::Primary => view.slots().is_none(),
        Role::Replica => view.primary() != Some(primary.instance.node_id),
    };
    if instance.name == primary.name || !astray || changing(shard).is_some() {
        return None;
    }
    let incarnation = instance.report?.incarnation()?;
    Some(Step::Follow { instance: instance.name.clone(), incarnation, primary: primary.instance.node_id })
}
