//! Law 4: a replica becomes primary without a vote where no majority of the primaries can vote.

use super::Step;
use crate::failover::takeover::{may_take_over, votes};
use crate::view::cluster_view::ClusterView;
use valkeeper_model::Activity;

/// One shard at a time: the first takeover may bring the quorum back, and then the others are voted for.
pub(super) fn next(cluster_view: &ClusterView<'_>) -> Option<Step> {
    let votes = votes(cluster_view);
    cluster_view.shards.values().filter(|shard| shard.primary().is_none()).find_map(|shard| {
        let (to, incarnation, replaces) =
            shard.instances.iter().find_map(|instance| match &instance.report?.activity {
                // A replica that misses its primary's host asks for votes too; the node that is replaced is the dead one's.
                Activity::WithoutVotes { successor, incarnation } if instance.report?.is_down() => {
                    Some((successor, *incarnation, instance.instance.node_id))
                }
                _ => None,
            })?;
        let (alive, needed) = (votes.alive, votes.needed);
        may_take_over(votes, shard, to).then(|| Step::TakeOver {
            shard: shard.name.clone(),
            to: to.clone(),
            incarnation,
            replaces,
            alive,
            needed,
        })
    })
}
