//! Law 4: promotion without a vote, only when no vote can be had.

use crate::mode::{self, Voters};
use crate::placement::zones::quorum;
use crate::view::cluster_view::{ClusterView, InstanceView, ShardView};
use valkeeper_model::{Activity, AgentReport, InstanceName, Observed, Process, Role, Waiting};

/// The count of those who could vote.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Votes {
    /// Shards whose primary runs, or may run.
    pub alive: usize,
    /// Votes needed.
    pub needed: usize,
}

/// Counts the shards whose primary may vote. A shard counts as dead only if every one of its instances is accounted for and
/// none serves its slots: what is unknown may be a primary that votes (law 1).
pub fn votes(cluster_view: &ClusterView<'_>) -> Votes {
    // Agents that vote do so or do not: nobody is promoted without them.
    if mode::rules(cluster_view.layout.config.mode).voters() == Voters::Agents {
        return Votes { alive: 1, needed: 1 };
    }
    let alive = cluster_view.voters().filter(|shard| shard.instances.iter().any(may_vote)).count();
    Votes { alive, needed: quorum(cluster_view.voters().count()) }
}

fn may_vote(instance: &InstanceView<'_>) -> bool {
    let Some(report) = instance.report else { return true };
    match &report.server {
        _ if report.process == Process::Down => false,
        Observed::Known(view) => view.is_shard_primary(),
        Observed::Unknown(_) => true,
    }
}

/// May this replica take its shard over without a vote? Only if votes cannot be had, nobody else of the shard serves or may
/// serve (every sibling is down for certain, or a replica by its own words), and its agent has asked for votes in vain.
pub fn may_take_over(votes: Votes, shard: &ShardView<'_>, successor: &InstanceName) -> bool {
    let siblings_harmless = shard.instances.iter().all(|instance| {
        instance.report.is_some_and(|report| report.is_down() || report.role() == Some(Role::Replica))
    });
    let asked_in_vain = shard.instances.iter().filter_map(|instance| instance.report).any(|report| {
        report.is_down()
            && matches!(&report.activity, Activity::WithoutVotes { successor: wanted, .. } if wanted == successor)
    });
    votes.alive < votes.needed && siblings_harmless && asked_in_vain && !another_has_more(shard, successor)
}

/// Does another replica hold more of the same history? The dead primary's agent could not see it when it chose, and chooses again. One that
/// refuses to become primary is passed over there too.
fn another_has_more(shard: &ShardView<'_>, successor: &InstanceName) -> bool {
    let Some(successor) = shard.get(successor) else { return false };
    let Some(own) = successor.view().map(|view| &view.replication) else { return false };
    let refuses = |name: &InstanceName| {
        let mut waits = shard.instances.iter().filter_map(|one| one.report?.waiting.as_ref());
        waits.any(|one| matches!(one, Waiting::PromotionRefused { instance, .. } if instance == name))
    };
    shard.instances.iter().any(|one| {
        let theirs = one.view().map(|view| &view.replication);
        let more = theirs.is_some_and(|it| it.replid == own.replid && it.offset > own.offset);
        more && one.report.is_some_and(AgentReport::is_caught_up) && !refuses(one.name)
    })
}
