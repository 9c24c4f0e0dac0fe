//! Law 6: one disruption per shard, and a majority of slot-owning primaries undisturbed.

use super::zones::quorum;
use crate::health::isolated;
use crate::sight::{ShardSight, Sight};
use valkeeper_model::{Activity, Refusal, Waiting};

/// Is something going on in this shard already?
pub fn busy(shard: &ShardSight<'_>) -> Option<Waiting> {
    shard.instances.iter().find_map(|sight| match &sight.report?.activity {
        Activity::FailingOver | Activity::WithoutVotes { .. } => {
            Some(Waiting::FailingOver { shard: shard.name.clone() })
        }
        Activity::HandingOver => Some(Waiting::SwitchingOver { shard: shard.name.clone() }),
        Activity::Starting | Activity::Stopping => {
            Some(Waiting::InstanceDown { instance: sight.name.clone() })
        }
        Activity::Watching | Activity::Resting => None,
    })
}

/// May this shard's primary be disturbed on purpose now? The others that are well must be a majority without it, so that a
/// failure in the middle still finds its votes.
pub fn may_disturb(sight: &Sight<'_>, shard: &ShardSight<'_>) -> Result<(), Refusal> {
    if let Some(waiting) = busy(shard) {
        return Err(Refusal::Disrupted { shard: shard.name.clone(), waiting });
    }
    let of = sight.shards.len();
    let well = |other: &&ShardSight<'_>| {
        other.name != shard.name
            && busy(other).is_none()
            && other.primary().is_some_and(|primary| !isolated(&primary))
    };
    let others = sight.shards.values().filter(well).count();
    if others < quorum(of) { Err(Refusal::MajorityAtRisk { alive: others, of }) } else { Ok(()) }
}
