//! Law 6: one disruption per shard, and a majority of slot-owning primaries undisturbed.

use crate::mode;
use crate::view::cluster_view::{ClusterView, InstanceView, ShardView};
use crate::view::health::{is_linked, isolated};
use valkeeper_model::{Activity, Refusal, Waiting};

/// Are this shard's roles changing, or is its primary about to stop? A replica that is down, starts or cannot start is no such thing:
/// the primary serves, and another replica may follow it.
pub fn changing(shard: &ShardView<'_>) -> Option<Waiting> {
    let primary = shard.primary().map(|primary| primary.name);
    shard.instances.iter().find_map(|instance| match &instance.report?.activity {
        Activity::FailingOver | Activity::WithoutVotes { .. } => {
            Some(Waiting::FailingOver { shard: shard.name.clone() })
        }
        Activity::HandingOver => Some(Waiting::SwitchingOver { shard: shard.name.clone() }),
        Activity::Stopping if primary == Some(instance.name) => {
            Some(Waiting::InstanceDown { instance: instance.name.clone() })
        }
        // It may be anything: the shard is left alone.
        Activity::Newer(newer) => Some(Waiting::Newer(newer.clone())),
        Activity::Starting | Activity::Stopping | Activity::Watching | Activity::Resting => None,
    })
}

/// Is something going on in this shard already, or is one of its instances missing? Then none more of it is stopped.
pub fn busy(shard: &ShardView<'_>) -> Option<Waiting> {
    changing(shard).or_else(|| {
        shard.instances.iter().find_map(|instance| match &instance.report?.activity {
            Activity::Starting | Activity::Stopping => {
                Some(Waiting::InstanceDown { instance: instance.name.clone() })
            }
            _ => None,
        })
    })
}

/// Can this replica take over from that primary now, or in a moment? It is in the stream, is not to stay down, and is not about to stop. The
/// primary's agent waits until the replica has caught up.
pub fn may_succeed(primary: &InstanceView<'_>, replica: &InstanceView<'_>) -> bool {
    let stays = replica.report.is_some_and(|report| report.activity == Activity::Watching);
    !replica.instance.is_fenced() && !replica.instance.life.leaves() && stays && is_linked(primary, replica)
}

/// Is this shard's primary disturbed on purpose, by the ledger?
pub fn disturbed(cluster_view: &ClusterView<'_>, shard: &ShardView<'_>) -> Option<Waiting> {
    let counted = cluster_view.layout.ledger.iter().find(|(_, entry)| entry.shard == *shard.name);
    counted.map(|(instance, entry)| Waiting::Disturbed {
        shard: entry.shard.clone(),
        instance: instance.clone(),
        by: entry.by.clone(),
    })
}

/// May this shard's primary be disturbed, by handing over or otherwise? The others that are well must be a majority without it, so that a
/// failure in the middle still finds its votes.
pub fn may_disturb(cluster_view: &ClusterView<'_>, shard: &ShardView<'_>) -> Result<(), Refusal> {
    match disturbed(cluster_view, shard) {
        Some(waiting) => Err(Refusal::Disrupted { shard: shard.name.clone(), waiting: Box::new(waiting) }),
        None => may_go_on(cluster_view, shard),
    }
}

/// The same for what the ledger counts already.
pub fn may_go_on(cluster_view: &ClusterView<'_>, shard: &ShardView<'_>) -> Result<(), Refusal> {
    if let Some(waiting) = changing(shard) {
        return Err(Refusal::Disrupted { shard: shard.name.clone(), waiting: Box::new(waiting) });
    }
    let of = cluster_view.voters().count();
    let well = |other: &&ShardView<'_>| {
        other.name != shard.name
            && changing(other).is_none()
            && disturbed(cluster_view, other).is_none()
            && other.primary().is_some_and(|primary| !isolated(&primary))
    };
    let others = cluster_view.voters().filter(|one| well(one)).count();
    let needed = mode::rules(cluster_view.layout.config.mode).shards_left_alone(of);
    if others < needed { Err(Refusal::MajorityAtRisk { alive: others, of }) } else { Ok(()) }
}
