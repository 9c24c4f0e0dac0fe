//! What a request has done, in a line.

use crate::called::called;
use crate::document::status::Status;
use valkeeper_model::{InstanceName, Request, ResizeRequest, Role, ShardName, SlotRequest};

/// By what was seen before and is seen now.
pub(crate) fn told(request: &Request, before: &Status, after: &Status) -> String {
    match request {
        Request::Switchover { shard, to } => {
            let shard = shard.clone().or_else(|| shard_of(after, to.as_ref()?)).or_else(|| only(after));
            roles(shard.as_ref(), "switched over", before, after)
        }
        Request::Failover { shard, accept_data_loss: true, .. } => {
            format!("the loss of {shard}'s data was accepted: it comes back with what is left, or empty")
        }
        Request::Failover { shard, .. } => roles(Some(shard), "failed over", before, after),
        Request::Fence { instance, .. } => {
            let heir = heir(instance, before, after);
            format!(
                "{instance} is fenced and down{heir}; `{} unfence {instance}` lets it run again",
                called()
            )
        }
        Request::Unfence { instance }
            if before.instances.iter().any(|one| one.name == *instance && !one.fenced) =>
        {
            format!("{instance} was not fenced: nothing was changed")
        }
        Request::Unfence { instance } => format!("{instance} is not fenced any more: it starts"),
        Request::Restart { instance } => {
            let pid = after.instances.iter().find(|one| one.name == *instance).and_then(|one| one.pid);
            let pid = pid.map(|pid| format!(" as process {pid}")).unwrap_or_default();
            format!("{instance} was restarted{pid}{}", heir(instance, before, after))
        }
        Request::Promote => {
            let designated = after
                .current_primary
                .as_ref()
                .map_or_else(String::new, |one| format!(": {one} is its primary"));
            let loss = after.conditions.iter().find(|one| one.kind == "ReplicaMode");
            let told = loss.map(|condition| format!("; {}", condition.message)).unwrap_or_default();
            format!("the cluster follows nobody any more{designated}{told}")
        }
        Request::HandOverTo { copy } => format!("writes are held until {} is promoted", copy.name()),
        Request::CancelHandOver => "the handover is cancelled: writes are taken again".to_owned(),
        Request::AcceptSource => {
            "no copy is held back any more: all servers take what the source has".to_owned()
        }
        Request::ApprovePrimaries => "primaries are restarted in their turn".to_owned(),
        Request::Apply { .. } => "applied".to_owned(),
        Request::Forget { nodes } => {
            let ids: Vec<String> = nodes.iter().map(ToString::to_string).collect();
            format!("all members have forgotten {}", ids.join(", "))
        }
        Request::Resize(request) => resized(request),
        Request::Slots(SlotRequest::CancelSlotMoves) => "no further slots are moved".to_owned(),
        Request::Slots(
            SlotRequest::MoveSlots { .. } | SlotRequest::Rebalance { .. } | SlotRequest::MoveTogether { .. },
        ) => "slots are on their way".to_owned(),
        Request::FollowAnnotations { .. } => "the annotations are followed".to_owned(),
        Request::Check { .. } => "the configuration is valid".to_owned(),
    }
}

fn resized(request: &ResizeRequest) -> String {
    let shows = format!("`{} status` shows how it goes on", called());
    match request {
        ResizeRequest::Replace { instance, .. } => format!("{instance} is being replaced; {shows}"),
        ResizeRequest::CordonZone { zone } => format!("no instance is placed in zone {zone} any more"),
        ResizeRequest::DrainZone { zone } => format!("zone {zone} is being drained; {shows}"),
        ResizeRequest::UncordonZone { zone } => format!("instances may be placed in zone {zone} again"),
    }
}

fn primary<'a>(status: &'a Status, shard: &ShardName) -> Option<&'a InstanceName> {
    status.shards.iter().find(|one| one.name == *shard)?.primary.as_ref()
}

fn shard_of(status: &Status, instance: &InstanceName) -> Option<ShardName> {
    Some(status.instances.iter().find(|one| one.name == *instance)?.shard.clone())
}

fn only(status: &Status) -> Option<ShardName> {
    match status.shards.as_slice() {
        [only] => Some(only.name.clone()),
        _ => None,
    }
}

fn roles(shard: Option<&ShardName>, what: &str, before: &Status, after: &Status) -> String {
    let Some(shard) = shard else { return what.to_owned() };
    match (primary(before, shard), primary(after, shard)) {
        (Some(from), Some(to)) if from != to => format!("{shard} {what} from {from} to {to}"),
        (_, Some(to)) => format!("{shard} {what}: {to} is its primary"),
        (_, None) => format!("{shard} {what}"),
    }
}

/// Who has taken over from an instance that was a primary.
fn heir(instance: &InstanceName, before: &Status, after: &Status) -> String {
    let was = before.instances.iter().find(|one| one.name == *instance);
    let heir = was.filter(|one| one.role == Some(Role::Primary)).and_then(|one| primary(after, &one.shard));
    match heir.filter(|heir| *heir != instance) {
        Some(heir) => format!(", {heir} is primary in its place"),
        None => String::new(),
    }
}
