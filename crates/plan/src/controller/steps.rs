//! What agents cannot do alone, derived from layout and observation. Each step is one command that whoever carries it out
//! checks again: it names the run it is meant for.

use crate::belief::Beliefs;
use crate::health::in_sync;
use crate::safety::disruption::{busy, may_disturb};
use crate::safety::takeover::{may_take_over, votes};
use crate::safety::zones::{majority_holder, quorum};
use crate::sight::{InstanceSight, ShardSight, Sight};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use valkeeper_model::{
    Activity, Address, Incarnation, InstanceName, NodeId, Report, Role, ShardName, ZoneName,
};

/// One step.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Step {
    /// Promote without a vote (law 4).
    TakeOver {
        /// Which shard.
        shard: ShardName,
        /// Whom.
        to: InstanceName,
        /// Which run of it.
        incarnation: Incarnation,
        /// The dead primary.
        replaces: NodeId,
        /// Primaries that can vote.
        alive: usize,
        /// Votes needed.
        needed: usize,
    },
    /// Make an instance follow its shard's primary.
    Follow {
        /// Whom.
        instance: InstanceName,
        /// Which run of it.
        incarnation: Incarnation,
        /// The primary.
        primary: NodeId,
    },
    /// Make two members know each other (again).
    Meet {
        /// Who does not know.
        instance: InstanceName,
        /// Whom.
        whom: InstanceName,
        /// Where that one is.
        address: Address,
        /// Neither knows where the other is: the engine never mends that alone.
        mutual: bool,
    },
    /// Swap roles so that no zone's loss loses the majority, nor a shard (law 7).
    SwitchForZones {
        /// Which shard.
        shard: ShardName,
        /// From whom.
        from: InstanceName,
        /// To whom.
        to: InstanceName,
    },
}

impl Step {
    /// How long the cause must have been seen before the step is taken, milliseconds: the engine mends most of it alone.
    pub fn patience_ms(&self) -> u64 {
        match self {
            Self::TakeOver { .. } | Self::Meet { mutual: true, .. } => 0,
            Self::Follow { .. } | Self::SwitchForZones { .. } => 1_000,
            Self::Meet { .. } => 2_000,
        }
    }
    /// How long the outcome is waited for before the step is taken again, milliseconds.
    pub fn settle_ms(&self) -> u64 {
        match self {
            Self::TakeOver { .. } => 1_000,
            Self::Follow { .. } | Self::Meet { .. } | Self::SwitchForZones { .. } => 3_000,
        }
    }
    /// What it is done to, for patience and settling.
    pub fn key(&self) -> String {
        match self {
            Self::TakeOver { .. } => "takeover".to_owned(),
            Self::Follow { instance, primary, .. } => format!("{instance} follow {primary}"),
            Self::Meet { instance, whom, .. } => format!("{instance} meet {whom}"),
            Self::SwitchForZones { .. } => "switch for zones".to_owned(),
        }
    }
}

/// All steps that are due by what was seen.
///
/// `chosen` are shards whose roles a user has chosen lately: they are not switched back for their zones.
pub fn due(sight: &Sight<'_>, report: &Report, chosen: &BTreeSet<ShardName>) -> Vec<Step> {
    let mut steps = Vec::new();
    steps.extend(take_over(sight));
    for shard in sight.shards.values() {
        steps.extend(shard.instances.iter().filter_map(|instance| follow(shard, instance)));
    }
    if !report.healthy {
        steps.extend(meet(sight));
    }
    steps.extend(switch_for_zones(sight, report, chosen));
    steps
}

/// One shard at a time: the first takeover may bring the quorum back, and then the others are voted for.
fn take_over(sight: &Sight<'_>) -> Option<Step> {
    let votes = votes(sight);
    sight.shards.values().filter(|shard| shard.primary().is_none()).find_map(|shard| {
        let (to, incarnation, replaces) =
            shard.instances.iter().find_map(|instance| match &instance.report?.activity {
                Activity::WithoutVotes { successor, incarnation } => {
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

fn follow(shard: &ShardSight<'_>, instance: &InstanceSight<'_>) -> Option<Step> {
    let primary = shard.primary()?;
    let view = instance.view()?;
    let astray = match view.replication.role() {
        Role::Primary => view.slots().is_none(),
        Role::Replica => view.primary() != Some(primary.instance.node_id),
    };
    if instance.name == primary.name || !astray || busy(shard).is_some() {
        return None;
    }
    let incarnation = instance.report?.incarnation()?;
    Some(Step::Follow { instance: instance.name.clone(), incarnation, primary: primary.instance.node_id })
}

/// Members that run and do not see each other: addresses that changed while a server was down, or a table that was lost.
fn meet(sight: &Sight<'_>) -> Vec<Step> {
    let running: Vec<&InstanceSight<'_>> = sight
        .shards
        .values()
        .flat_map(|shard| &shard.instances)
        .filter(|instance| instance.view().is_some())
        .collect();
    let beliefs = Beliefs::of(sight);
    let unknown = beliefs.each(|topology| {
        let with_address = running.iter().filter_map(|other| Some((other, &other.report?.address)));
        let unknown = with_address.filter(|(other, address)| {
            let known = topology.get(&other.instance.node_id);
            known.is_none_or(|node| node.address.as_ref() != Some(*address))
        });
        unknown.collect::<Vec<_>>()
    });
    let mut steps = Vec::new();
    for one in &running {
        for (other, address) in one.view().and_then(|view| unknown.of(view)).into_iter().flatten() {
            if other.name != one.name {
                let (instance, whom) = (one.name.clone(), other.name.clone());
                let mutual = !knows_place(one, other) && !knows_place(other, one);
                steps.push(Step::Meet { instance, whom, address: (*address).clone(), mutual });
            }
        }
    }
    steps
}

/// Does this server know an address of that one, be it an old one?
fn knows_place(one: &InstanceSight<'_>, other: &InstanceSight<'_>) -> bool {
    let known = one.view().and_then(|view| view.topology.get(&other.instance.node_id));
    known.is_some_and(|node| node.address.is_some())
}

/// After failovers primaries may have gathered in one zone. When that is all that is wrong, hand over towards zones that can
/// take one more: the shortest chain of handovers from the full zone to one with room, its last link first, so that no zone
/// gets fuller than it may be in between.
fn switch_for_zones(sight: &Sight<'_>, report: &Report, chosen: &BTreeSet<ShardName>) -> Option<Step> {
    if !report.healthy || report.waiting.is_empty() {
        return None;
    }
    let mut held: BTreeMap<&ZoneName, usize> = BTreeMap::new();
    for primary in sight.shards.values().filter_map(ShardSight::primary) {
        *held.entry(&primary.instance.zone).or_default() += 1;
    }
    let zones =
        || sight.shards.values().filter_map(ShardSight::primary).map(|primary| &primary.instance.zone);
    let Some((full, _)) = majority_holder(zones()) else { return leave_shared_zone(sight, chosen) };
    let room = sight.shards.len().saturating_sub(quorum(sight.shards.len()));
    let mut reached = BTreeSet::from([full]);
    let mut queue = VecDeque::from([full]);
    while let Some(zone) = queue.pop_front() {
        for shard in sight.shards.values().filter(|shard| !chosen.contains(shard.name)) {
            let Some(primary) = shard.primary().filter(|primary| primary.instance.zone == *zone) else {
                continue;
            };
            for to in shard.instances.iter().filter(|replica| may_take_role(&primary, replica)) {
                if !reached.insert(&to.instance.zone) {
                    continue;
                }
                if held.get(&to.instance.zone).copied().unwrap_or(0) < room {
                    may_disturb(sight, shard).ok()?;
                    let (from, to) = (primary.name.clone(), to.name.clone());
                    return Some(Step::SwitchForZones { shard: shard.name.clone(), from, to });
                }
                queue.push_back(&to.instance.zone);
            }
        }
    }
    None
}

/// Clients that are sent on by name must find it: one that has just got another address is where it was for who asks for its name.
fn may_take_role(primary: &InstanceSight<'_>, replica: &InstanceSight<'_>) -> bool {
    in_sync(primary, replica) && !replica.name_leads_elsewhere
}

/// A primary that shares its zone with one of its replicas hands over to one that shares its own with nobody, if the
/// majority of primaries then still survives any zone.
fn leave_shared_zone(sight: &Sight<'_>, chosen: &BTreeSet<ShardName>) -> Option<Step> {
    sight.shards.values().filter(|shard| !chosen.contains(shard.name)).find_map(|shard| {
        let primary = shard.primary()?;
        let alone = |one: &InstanceSight<'_>| {
            shard
                .instances
                .iter()
                .all(|other| other.name == one.name || other.instance.zone != one.instance.zone)
        };
        if alone(&primary) {
            return None;
        }
        let to = shard.instances.iter().find(|replica| {
            let moved = sight.shards.values().filter_map(ShardSight::primary).map(|other| {
                if other.name == primary.name { &replica.instance.zone } else { &other.instance.zone }
            });
            alone(replica) && may_take_role(&primary, replica) && majority_holder(moved).is_none()
        })?;
        may_disturb(sight, shard).ok()?;
        Some(Step::SwitchForZones {
            shard: shard.name.clone(),
            from: primary.name.clone(),
            to: to.name.clone(),
        })
    })
}
