//! What people are told of each shard and each instance, whatever is wrong with it.

use super::cluster_view::{InstanceView, ShardView};
use super::health::in_sync;
use crate::failover::succession::lag;
use crate::replica_mode;
use crate::server::sync_replicas;
use valkeeper_model::{HeldData, InstanceReport, Mode, Role, ServerConfig, ServerView, ShardReport};

/// A shard as it is.
pub(super) fn shard(config: &ServerConfig, shard: &ShardView<'_>) -> ShardReport {
    let primary = shard.primary();
    let replicas = shard
        .instances
        .iter()
        .filter(|instance| instance.view().is_some_and(|view| view.replication.role() == Role::Replica));
    ShardReport {
        name: shard.name.clone(),
        slots: shard.shard.slots.clone(),
        primary: primary.as_ref().map(|instance| instance.name.clone()),
        replicas: replicas.map(|instance| instance.name.clone()).collect(),
        needed_replicas: primary
            .and_then(|instance| sync_replicas::needed(config, &instance.view()?.replication)),
    }
}

/// An instance as it is.
pub(super) fn instance(mode: Mode, shard: &ShardView<'_>, instance: &InstanceView<'_>) -> InstanceReport {
    let view = instance.view();
    let lag_bytes = match shard.primary() {
        Some(primary) if in_sync(&primary, instance) => {
            primary.view().and_then(|primary| lag(&primary.replication, &instance.view()?.replication))
        }
        Some(_) => None,
        None => instance.report.and_then(|report| report.source.as_ref()?.lag_bytes),
    };
    InstanceReport {
        name: instance.name.clone(),
        shard: shard.name.clone(),
        zone: instance.instance.zone.clone(),
        role: view.map(|view| view.replication.role()).filter(|role| !second_primary(shard, instance, *role)),
        address: instance.report.map(|report| report.address.to_string()),
        pid: instance.report.and_then(|report| match report.process {
            valkeeper_model::Process::Running { pid, .. } => pid,
            valkeeper_model::Process::Down => None,
        }),
        version: view.map(|view| view.version.clone()),
        engine: view.and_then(|view| view.engine),
        lag_bytes,
        fenced: instance.instance.is_fenced_by_user(),
        keys: view.map(|view| view.keys),
        memory_bytes: view.map(|view| view.memory_bytes),
        data: view.filter(|_| !mode.has_slots()).map(|view| Box::new(held_data(instance, view))),
    }
}

/// What an instance holds, with the histories that its record knows.
fn held_data(instance: &InstanceView<'_>, view: &ServerView) -> HeldData {
    let mut data = replica_mode::held_data(view, instance.report.and_then(|report| report.last_write));
    let recorded = instance.report.and_then(|report| report.copy.as_ref());
    data.former_histories.extend(recorded.iter().flat_map(|copy| &copy.histories).map(|one| one.history));
    data.former_histories.retain(|history| *history != data.position.history);
    data.former_histories.sort_unstable();
    data.former_histories.dedup();
    data
}

/// Does it call itself the primary of a shard that another serves? A server that comes back does, until it has learned of its successor:
/// its role is not known before.
fn second_primary(shard: &ShardView<'_>, instance: &InstanceView<'_>, role: Role) -> bool {
    role == Role::Primary && shard.primary().is_some_and(|primary| primary.name != instance.name)
}
