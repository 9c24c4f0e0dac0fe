//! A roll: servers are restarted one after the other, for directives that they cannot take while they run, or for another version of their program.
//!
//! Whose turn comes is stored before anything is done: the ledger counts the instance (law 6: replicas too, so that never more shards are in the
//! middle of a restart than may be), and from then on its order has the new version. Which servers still need a restart is seen: by what the
//! engine says it cannot set while it runs, and by the version it tells.
//!
//! | checkpoint | what is due |
//! | --- | --- |
//! | canary | its replicas, one after the other, then its primary, which hands over. Then it is watched. Of a cluster with one shard the first replica is the canary |
//! | rest | the same in all shards, as many at a time as law 6 leaves |
//! | returning | the same, back to what the cluster had: the canary did not get well |

mod begin;
mod condition;

pub use begin::{approve, begin, refuse_unreadable, returned};
pub use condition::{Condition, Pace, condition};

use super::Step;
use super::disruption::{busy, disturbed, may_go_on, may_succeed};
use super::votes::is_known_to_voters;
use crate::mode;
use crate::view::cluster_view::{ClusterView, InstanceView, ShardView};
use crate::view::health::isolated;
use std::collections::BTreeMap;
use valkeeper_model::{
    AgentReport, DisturbedBy, InstanceName, OperationName, Progress, ProgressUnit, Refusal, Roll,
    RollCheckpoint, RollFault, RollRefusal,
};

/// A server that was restarted and is neither in sync nor on its way there is given up after this.
const NOT_WELL_MS: u64 = 60_000;
/// One whose agent does not come back is given up after this: an image may have to be pulled first.
const NOT_SEEN_MS: u64 = 180_000;
/// One that cannot be started: it is tried again meanwhile.
const NOT_STARTED_MS: u64 = 4_000;
/// One whose agent cannot be started: a registry that does not answer is asked again within this.
const AGENT_NOT_STARTED_MS: u64 = 20_000;
/// One that runs as before after its restart: its last look may be of before.
const NOT_TAKEN_MS: u64 = 3_000;
/// Runs after a restart that all ended by themselves.
const RUNS: u32 = 4;

/// What a controller knows by having looked on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Watched {
    /// How long the canary has been well without a break, milliseconds.
    pub canary_well_ms: u64,
    /// Instances whose turn has come and that are not well, with how long that has been so.
    pub unwell: BTreeMap<InstanceName, Unwell>,
    /// A restart was refused for this.
    pub refused: Option<RollFault>,
}

/// Since when an instance is not well.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Unwell {
    /// How long without a break, milliseconds.
    pub for_ms: u64,
    /// Runs of it that were seen since.
    pub runs: u32,
}

/// What a roll comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    /// The turn of these has come.
    Turn(Vec<InstanceName>),
    /// It is further.
    GoOn(RollCheckpoint),
    /// It is given up, and what was restarted goes back.
    Return(RollFault),
    /// Nothing is to be done now; why not, if there is more to it than that servers restart.
    Wait(Option<Refusal>),
    /// All servers run with what is wanted.
    Done,
}

/// What is due for this roll.
pub fn next(cluster_view: &ClusterView<'_>, roll: &Roll, watched: &Watched) -> Next {
    if let Some(fault) = fault(cluster_view, roll, watched) {
        return if roll.checkpoint != RollCheckpoint::Returning && begin::may_return(cluster_view, roll) {
            Next::Return(fault)
        } else {
            Next::Wait(Some(RollRefusal::NotWell { why: fault }.into()))
        };
    }
    let all =
        || cluster_view.shards.values().flat_map(|shard| shard.instances.iter().map(move |one| (shard, one)));
    let is = |wanted: Condition| {
        move |(shard, one): &(&ShardView<'_>, &InstanceView<'_>)| {
            condition(cluster_view, roll, shard, one) == wanted
        }
    };
    if let Some((_, unseen)) = all().find(is(Condition::Unknown)) {
        // One that nobody sees may be anything: nobody is disturbed beside it.
        return Next::Wait(Some(RollRefusal::NotSeen { instance: unseen.name.clone() }.into()));
    }
    let pending = all().any(|one| is(Condition::Pending)(&one));
    let coming = all().any(|(shard, one)| {
        roll.turned.contains(one.name) && condition(cluster_view, roll, shard, one) != Condition::Well
    });
    if !pending && !coming {
        return Next::Done;
    }
    let shards = match roll.checkpoint {
        RollCheckpoint::Canary => {
            let Some(canary) = cluster_view.shards.get(&roll.target.canary) else {
                return Next::GoOn(RollCheckpoint::Rest);
            };
            match watch_canary(cluster_view, roll, canary, watched) {
                Some(next) => return next,
                None => vec![canary],
            }
        }
        RollCheckpoint::Rest | RollCheckpoint::Returning => cluster_view.shards.values().collect(),
    };
    turn(cluster_view, roll, &shards)
}

/// What the canary comes to; `None` while more of it is to be restarted.
fn watch_canary(
    cluster_view: &ClusterView<'_>,
    roll: &Roll,
    canary: &ShardView<'_>,
    watched: &Watched,
) -> Option<Next> {
    let one_shard = cluster_view.shards.len() == 1 && canary.instances.len() > 1;
    let pending = |one: &InstanceView<'_>| condition(cluster_view, roll, canary, one) == Condition::Pending;
    let due = |one: &&InstanceView<'_>| pending(one) && !awaits_approval(roll, canary, one);
    let all_turned =
        if one_shard { !roll.turned.is_empty() } else { !canary.instances.iter().any(|one| due(&one)) };
    if !all_turned {
        return None;
    }
    // None of it had to be restarted: whoever has to comes next.
    if !canary.instances.iter().any(|one| roll.turned.contains(one.name)) {
        return Some(Next::GoOn(RollCheckpoint::Rest));
    }
    Some(if is_canary_well(cluster_view, roll) && watched.canary_well_ms >= roll.target.canary_ms {
        Next::GoOn(RollCheckpoint::Rest)
    } else {
        let shard = canary.name.clone();
        Next::Wait(Some(RollRefusal::CanaryWatched { shard }.into()))
    })
}

/// Are all of the canary well whose turn has come, and is it some?
pub fn is_canary_well(cluster_view: &ClusterView<'_>, roll: &Roll) -> bool {
    let Some(canary) = cluster_view.shards.get(&roll.target.canary) else { return false };
    let mut turned = canary.instances.iter().filter(|one| roll.turned.contains(one.name)).peekable();
    turned.peek().is_some() && turned.all(|one| condition(cluster_view, roll, canary, one) == Condition::Well)
}

/// What keeps the roll from going on for good.
fn fault(cluster_view: &ClusterView<'_>, roll: &Roll, watched: &Watched) -> Option<RollFault> {
    let each =
        cluster_view.shards.values().flat_map(|shard| shard.instances.iter().map(move |one| (shard, one)));
    let found = each.filter_map(|(shard, one)| {
        let instance = || one.name.clone();
        let unwell = watched.unwell.get(one.name).copied().unwrap_or_default();
        match condition(cluster_view, roll, shard, one) {
            Condition::ConfigRefused(directives) => {
                Some(RollFault::ConfigRefused { instance: instance(), directives })
            }
            Condition::NotStarted(failure) if unwell.for_ms >= NOT_STARTED_MS => {
                Some(RollFault::StartFailed { instance: instance(), failure })
            }
            Condition::AgentNotStarted(failure) if unwell.for_ms >= AGENT_NOT_STARTED_MS => {
                Some(RollFault::StartFailed { instance: instance(), failure })
            }
            Condition::NotTaken if unwell.for_ms >= NOT_TAKEN_MS => {
                Some(RollFault::NotTaken { instance: instance() })
            }
            Condition::Coming(Pace::Unknown) if unwell.for_ms >= NOT_WELL_MS => {
                Some(RollFault::NotWell { instance: instance() })
            }
            Condition::Coming(Pace::Unseen) if unwell.for_ms >= NOT_SEEN_MS => {
                Some(RollFault::NotWell { instance: instance() })
            }
            Condition::Coming(_) | Condition::NotStarted(_) if unwell.runs >= RUNS => {
                Some(RollFault::CrashLoop { instance: instance() })
            }
            _ => None,
        }
    });
    watched.refused.clone().into_iter().chain(found).next()
}

/// Whose turn comes now in these shards.
fn turn(cluster_view: &ClusterView<'_>, roll: &Roll, shards: &[&ShardView<'_>]) -> Next {
    let mut chosen = Vec::new();
    let mut why = None;
    let well = |shard: &&ShardView<'_>| {
        disturbed(cluster_view, shard).is_none() && shard.primary().is_some_and(|primary| !isolated(&primary))
    };
    let alone = mode::rules(cluster_view.layout.config.mode).shards_left_alone(cluster_view.voters().count());
    let room = cluster_view.voters().filter(well).count().saturating_sub(alone);
    for shard in shards {
        let Some(one) = turn_in(cluster_view, roll, shard) else { continue };
        if let Err(refusal) = may_go_on(cluster_view, shard) {
            why.get_or_insert(refusal);
        } else if chosen.len() < room {
            chosen.push(one);
        }
    }
    if !chosen.is_empty() {
        return Next::Turn(chosen);
    }
    let awaits = |shard: &&ShardView<'_>| {
        shard.instances.iter().any(|one| {
            awaits_approval(roll, shard, one)
                && condition(cluster_view, roll, shard, one) == Condition::Pending
        })
    };
    let is_quiet = why.is_none() && shards.iter().all(|shard| !comes(cluster_view, roll, shard));
    if is_quiet && shards.iter().any(awaits) {
        why = Some(RollRefusal::AwaitsApproval.into());
    }
    Next::Wait(why)
}

/// Is a person to be asked before this one is restarted?
fn awaits_approval(roll: &Roll, shard: &ShardView<'_>, one: &InstanceView<'_>) -> bool {
    let is_primary = shard.primary().is_some_and(|primary| primary.name == one.name);
    is_primary && roll.asks_before_primaries()
}

/// Is one of this shard on its way, or a replica's turn still to come?
fn comes(cluster_view: &ClusterView<'_>, roll: &Roll, shard: &ShardView<'_>) -> bool {
    shard.instances.iter().any(|one| {
        condition(cluster_view, roll, shard, one) != Condition::Well && !awaits_approval(roll, shard, one)
    })
}

/// Whose turn it is in this shard: replicas first; the primary when all of them are well.
fn turn_in(cluster_view: &ClusterView<'_>, roll: &Roll, shard: &ShardView<'_>) -> Option<InstanceName> {
    let primary = shard.primary()?;
    if disturbed(cluster_view, shard).is_some() || busy(shard).is_some() {
        return None;
    }
    let condition = |one: &InstanceView<'_>| condition(cluster_view, roll, shard, one);
    let mut replicas = shard.instances.iter().filter(|one| one.name != primary.name);
    if let Some(pending) = replicas.clone().find(|one| condition(one) == Condition::Pending) {
        // The others are to be there while it is not.
        let others = replicas.all(|one| matches!(condition(one), Condition::Pending | Condition::Well));
        return others.then(|| pending.name.clone());
    }
    let alone = shard.instances.len() == 1;
    let successor = || {
        let mut replicas = shard.instances.iter().filter(|one| one.name != primary.name);
        // Its agent chooses among them by itself, so that all must be such as would be elected.
        replicas.clone().all(|one| condition(one) == Condition::Well && is_known_to_voters(cluster_view, one))
            && replicas.any(|one| may_succeed(&primary, one))
    };
    let is_due = condition(&primary) == Condition::Pending && !awaits_approval(roll, shard, &primary);
    (is_due && (alone || successor())).then(|| primary.name.clone())
}

/// The restarts that the ledger counts and that are to be carried out.
pub fn steps(cluster_view: &ClusterView<'_>) -> Vec<Step> {
    let counted = cluster_view.layout.ledger.iter().filter(|(_, entry)| is_of_roll(&entry.by));
    let due = counted.filter(|(name, entry)| {
        let report = cluster_view.observation.report(name);
        let since = cluster_view.layout.ordered_since(name);
        report.is_some_and(|report| {
            report.generation >= since
                && entry.incarnation.is_some()
                && report.incarnation() == entry.incarnation
        })
    });
    due.map(|(name, _)| Step::Restart { instance: name.clone() }).collect()
}

/// Is it the roll that disturbs?
pub fn is_of_roll(by: &DisturbedBy) -> bool {
    matches!(by, DisturbedBy::Operation(name) if *name == OperationName::roll())
}

/// How far it is.
pub fn progress(cluster_view: &ClusterView<'_>, roll: &Roll) -> Option<Progress> {
    let each =
        || cluster_view.shards.values().flat_map(|shard| shard.instances.iter().map(move |one| (shard, one)));
    let pending =
        each().filter(|(shard, one)| condition(cluster_view, roll, shard, one) != Condition::Well).count();
    if pending == 0 && roll.turned.is_empty() {
        return None;
    }
    let count = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
    let total = cluster_view.layout.instances.len();
    let what = match &roll.target.version {
        Some(version) if roll.from.version.as_ref() != Some(version) => format!("servers get {version}"),
        _ if roll.from.pod_template != cluster_view.layout.pod_template => "pods are replaced".to_owned(),
        _ => "servers are restarted for their configuration".to_owned(),
    };
    let purpose = match roll.checkpoint {
        RollCheckpoint::Canary | RollCheckpoint::Rest => what,
        RollCheckpoint::Returning => "servers go back to what they had".to_owned(),
    };
    let waits_for = match next(cluster_view, roll, &Watched::default()) {
        Next::Wait(why) => why.map(Box::new),
        _ => None,
    };
    Some(Progress {
        operation: OperationName::roll(),
        purpose,
        done: count(total.saturating_sub(pending)),
        total: count(total),
        unit: ProgressUnit::Instances,
        per_minute: None,
        left_s: None,
        waits_for,
    })
}

/// Instances whose turn has come and that are not well, with the run that is seen of each.
pub fn unwell<'a>(
    cluster_view: &ClusterView<'a>,
    roll: &Roll,
) -> BTreeMap<&'a InstanceName, Option<valkeeper_model::Incarnation>> {
    let each =
        cluster_view.shards.values().flat_map(|shard| shard.instances.iter().map(move |one| (shard, one)));
    let unwell = each.filter(|(shard, one)| {
        roll.turned.contains(one.name) && condition(cluster_view, roll, shard, one) != Condition::Well
    });
    unwell.map(|(_, one)| (one.name, one.report.and_then(AgentReport::incarnation))).collect()
}
