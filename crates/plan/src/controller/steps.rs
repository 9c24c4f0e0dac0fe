//! What agents cannot do alone, derived from layout and observation. Each step is one command that whoever carries it out
//! checks again: it names the run it is meant for.

use crate::failover::takeover::{may_take_over, votes};
use crate::operations::disruption::{changing, may_disturb, may_succeed};
use crate::placement::zones::{majority_holder, quorum};
use crate::view::cluster_view::{ClusterView, InstanceView, ShardView};
use crate::view::health::{in_sync, isolated};
use crate::view::topology_views::TopologyViews;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use valkeeper_model::{
    Activity, Address, Incarnation, InstanceName, Link, NodeId, Observed, Report, Role, ServerView,
    ShardName, SlotSet, StepKey, Unseen, ZoneName, ZonePolicy,
};

/// A server meets so many at once, at most: with these it knows all others soon, as servers tell each other whom they know.
const MEETS_AT_ONCE: usize = 16;
/// How long a zone that holds too many primaries is borne while an instance is on its way up: mostly it comes back where it was.
const RETURN_MS: u64 = 10_000;
/// How long a primary that cannot write its data is borne: one write that failed may be followed by one that does not.
const DISK_MS: u64 = 3_000;
/// A shard is not switched for its disks again before that: where both fill up in turn, clients are not sent to and fro.
const DISK_AGAIN_MS: u64 = 60_000;

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
        /// How long the cause must have been seen, milliseconds.
        patience_ms: u64,
    },
    /// Hand over from a primary that cannot write its data to disk, and refuses writes or is about to, to a replica that can.
    SwitchForDisk {
        /// Which shard.
        shard: ShardName,
        /// From whom.
        from: InstanceName,
        /// To whom.
        to: InstanceName,
    },
    /// Give a primary the slots of its shard that nobody owns any more.
    TakeSlots {
        /// Which shard.
        shard: ShardName,
        /// Its primary.
        instance: InstanceName,
        /// Which run of it.
        incarnation: Incarnation,
        /// Which slots.
        slots: SlotSet,
    },
    /// Make a replica primary in the place of another shard's member, which was moved here by hand and serves the slots.
    BringHome {
        /// Of which shard.
        shard: ShardName,
        /// From whom.
        from: InstanceName,
        /// To whom.
        to: InstanceName,
        /// Which run of it.
        incarnation: Incarnation,
    },
}

impl Step {
    /// How long the cause must have been seen before the step is taken, milliseconds: the engine mends most of it alone.
    pub fn patience_ms(&self) -> u64 {
        match self {
            Self::TakeOver { .. } | Self::Meet { mutual: true, .. } => 0,
            Self::Follow { .. } => 1_000,
            Self::SwitchForZones { patience_ms, .. } => *patience_ms,
            Self::SwitchForDisk { .. } => DISK_MS,
            // Who moves slots by hand takes them away here and gives them to another in the next moment.
            Self::Meet { .. } | Self::TakeSlots { .. } | Self::BringHome { .. } => 2_000,
        }
    }
    /// How long the outcome is waited for before the step is taken again, milliseconds.
    pub fn settle_ms(&self) -> u64 {
        match self {
            Self::TakeOver { .. } => 1_000,
            Self::SwitchForDisk { .. } => DISK_AGAIN_MS,
            Self::Follow { .. }
            | Self::Meet { .. }
            | Self::SwitchForZones { .. }
            | Self::BringHome { .. }
            | Self::TakeSlots { .. } => 3_000,
        }
    }
    /// What it is done to, for patience and settling.
    pub fn key(&self) -> StepKey {
        match self.clone() {
            Self::TakeOver { shard, to, .. } => StepKey::TakeOver { shard, to },
            Self::Follow { instance, primary, .. } => StepKey::Follow { instance, primary },
            Self::Meet { instance, whom, .. } => StepKey::Meet { instance, whom },
            Self::SwitchForZones { shard, from, to, .. } => StepKey::SwitchForZones { shard, from, to },
            Self::SwitchForDisk { shard, from, to } => StepKey::SwitchForDisk { shard, from, to },
            Self::TakeSlots { shard, instance, .. } => StepKey::TakeSlots { shard, instance },
            Self::BringHome { shard, to, .. } => StepKey::BringHome { shard, to },
        }
    }
}

/// What is not done although what was seen asks for it.
#[derive(Debug, Clone, Default)]
pub struct Barred {
    /// Shards whose roles a user has chosen lately: they are not switched back for their zones.
    pub chosen: BTreeSet<ShardName>,
    /// Steps that were refused a short time ago: another way is looked for.
    pub refused: BTreeSet<StepKey>,
}

/// All steps that are due by what was seen.
pub fn due(cluster_view: &ClusterView<'_>, report: &Report, barred: &Barred) -> Vec<Step> {
    let mut steps = Vec::new();
    steps.extend(take_over(cluster_view));
    for shard in cluster_view.shards.values() {
        steps.extend(shard.instances.iter().filter_map(|instance| follow(shard, instance)));
    }
    if !report.healthy {
        let beliefs = TopologyViews::of(cluster_view);
        steps.extend(meet(cluster_view, &beliefs));
        steps.extend(
            cluster_view.shards.values().filter_map(|shard| take_slots(cluster_view, shard, &beliefs)),
        );
        steps.extend(cluster_view.shards.values().filter_map(|shard| bring_home(cluster_view, shard)));
    }
    steps.extend(
        cluster_view.shards.values().filter_map(|shard| switch_for_disk(cluster_view, shard, barred)),
    );
    steps.extend(switch_for_zones(cluster_view, barred));
    steps
}

/// A primary whose disk is full refuses writes that a replica could take. Where a user has chosen the roles lately, and where nobody is sound,
/// nothing is done: the reason is told.
fn switch_for_disk(cluster_view: &ClusterView<'_>, shard: &ShardView<'_>, barred: &Barred) -> Option<Step> {
    if !cluster_view.layout.formed || barred.chosen.contains(shard.name) {
        return None;
    }
    let primary = shard.primary().filter(|one| one.view().is_some_and(|view| view.persistence_failing))?;
    let switch = |to: &InstanceView<'_>| Step::SwitchForDisk {
        shard: shard.name.clone(),
        from: primary.name.clone(),
        to: to.name.clone(),
    };
    let may =
        |to: &&InstanceView<'_>| may_take_role(&primary, to) && !barred.refused.contains(&switch(to).key());
    let to = shard.instances.iter().find(may)?;
    may_disturb(cluster_view, shard).ok()?;
    Some(switch(to))
}

/// One shard at a time: the first takeover may bring the quorum back, and then the others are voted for.
fn take_over(cluster_view: &ClusterView<'_>) -> Option<Step> {
    let votes = votes(cluster_view);
    cluster_view.shards.values().filter(|shard| shard.primary().is_none()).find_map(|shard| {
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

fn follow(shard: &ShardView<'_>, instance: &InstanceView<'_>) -> Option<Step> {
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

/// Members that run and do not see each other: addresses that changed while a server was down, or a table that was lost.
fn meet(cluster_view: &ClusterView<'_>, beliefs: &TopologyViews<'_>) -> Vec<Step> {
    let running: Vec<&InstanceView<'_>> = cluster_view
        .shards
        .values()
        .flat_map(|shard| &shard.instances)
        .filter(|instance| instance.view().is_some())
        .collect();
    let unknown = beliefs.each(|topology| {
        let with_address =
            running.iter().enumerate().filter_map(|(at, other)| Some((at, &other.report?.address)));
        let unknown = with_address.filter(|(at, address)| {
            let known = running.get(*at).and_then(|other| topology.get(&other.instance.node_id));
            known.is_none_or(|node| node.address.as_ref() != Some(*address))
        });
        unknown.collect::<Vec<_>>()
    });
    let mut steps = Vec::new();
    for (at, one) in running.iter().enumerate() {
        let Some(unknown) = one.view().and_then(|view| unknown.of(view)) else { continue };
        // Each begins with who comes after it, so that all are met by somebody.
        let next = unknown.partition_point(|(other, _)| *other <= at);
        let in_turn = unknown.iter().skip(next).chain(unknown.iter().take(next));
        for (other, address) in in_turn.filter(|(other, _)| *other != at).take(MEETS_AT_ONCE) {
            let Some(other) = running.get(*other) else { continue };
            let (instance, whom) = (one.name.clone(), other.name.clone());
            let mutual = !knows_place(one, other) && !knows_place(other, one);
            steps.push(Step::Meet { instance, whom, address: (*address).clone(), mutual });
        }
    }
    steps
}

/// Does this server know an address of that one, be it an old one?
fn knows_place(one: &InstanceView<'_>, other: &InstanceView<'_>) -> bool {
    let known = one.view().and_then(|view| view.topology.get(&other.instance.node_id));
    known.is_some_and(|node| node.address.is_some())
}

/// Slots of a shard that nobody owns any more go back to its primary: they were taken away by hand. Only if it is certain who that is,
/// and if no server that runs knows another owner.
fn take_slots(
    cluster_view: &ClusterView<'_>,
    shard: &ShardView<'_>,
    beliefs: &TopologyViews<'_>,
) -> Option<Step> {
    if !cluster_view.layout.formed || changing(shard).is_some() {
        return None;
    }
    let is_primary = |view: &ServerView| view.replication.role() == Role::Primary;
    let primary = shard.instances.iter().find(|one| one.view().is_some_and(is_primary))?;
    let no_rival = |one: &InstanceView<'_>| {
        one.name == primary.name
            || one.report.is_some_and(|report| match report.view() {
                Some(view) => !is_primary(view),
                None => report.is_down() && report.disk_role.claims().is_none(),
            })
    };
    let own = primary.view()?.slots().cloned().unwrap_or_default();
    let slots = shard.shard.slots.minus(&own);
    // One that serves another shard was moved there by hand, and holds that shard's data.
    let elsewhere = !own.minus(&shard.shard.slots).is_empty();
    if elsewhere || slots.is_empty() || isolated(primary) || !shard.instances.iter().all(no_rival) {
        return None;
    }
    let owned = beliefs.each(|topology| {
        topology.iter().any(|(id, node)| *id != primary.instance.node_id && node.slots.intersects(&slots))
    });
    if owned.all().any(|owned| *owned) {
        return None;
    }
    let (shard, instance) = (shard.name.clone(), primary.name.clone());
    Some(Step::TakeSlots { shard, instance, incarnation: primary.report?.incarnation()?, slots })
}

/// The slots of a shard without a primary of its own are served by a member of another shard: it was moved by hand and promoted. The
/// engine hands over to the shard's best replica without losing a write, and what was moved follows its own shard again.
fn bring_home(cluster_view: &ClusterView<'_>, shard: &ShardView<'_>) -> Option<Step> {
    let slots = &shard.shard.slots;
    if slots.is_empty() || shard.primary().is_some() || changing(shard).is_some() {
        return None;
    }
    let others = cluster_view.shards.values().filter(|other| other.name != shard.name);
    let serves = |one: &&InstanceView<'_>| one.view().is_some_and(|view| view.serves(slots));
    let stray = others.flat_map(|other| &other.instances).find(serves)?;
    let in_sync = shard.instances.iter().filter(|one| in_sync(stray, one));
    let to = in_sync.max_by_key(|one| one.view().map(|view| view.replication.offset))?;
    Some(Step::BringHome {
        shard: shard.name.clone(),
        from: stray.name.clone(),
        to: to.name.clone(),
        incarnation: to.report?.incarnation()?,
    })
}

/// After failovers primaries may have gathered in one zone. Then hand over towards zones that can take one more: the shortest chain of handovers from the full zone to one with room, its last link first, so that no zone
/// gets fuller than it may be in between.
/// Whatever else is wrong: a handover needs a replica in sync, and a majority of the primaries that is left alone (law 6).
fn switch_for_zones(cluster_view: &ClusterView<'_>, barred: &Barred) -> Option<Step> {
    if !cluster_view.layout.formed || cluster_view.layout.zones != ZonePolicy::Required {
        return None;
    }
    let mut held: BTreeMap<&ZoneName, usize> = BTreeMap::new();
    for zone in cluster_view.primary_zones().flatten() {
        *held.entry(zone).or_default() += 1;
    }
    let Some((full, _)) = majority_holder(cluster_view.primary_zones()) else {
        return leave_shared_zone(cluster_view, barred);
    };
    let room = cluster_view.shards.len().saturating_sub(quorum(cluster_view.shards.len()));
    let mut reached = BTreeSet::from([full]);
    let mut queue = VecDeque::from([full]);
    while let Some(zone) = queue.pop_front() {
        for shard in cluster_view.shards.values().filter(|shard| !barred.chosen.contains(shard.name)) {
            let Some(primary) = shard.primary().filter(|primary| primary.instance.zone == *zone) else {
                continue;
            };
            for to in shard.instances.iter().filter(|replica| may_take_role(&primary, replica)) {
                let step = switch(cluster_view, shard, &primary, to);
                if barred.refused.contains(&step.key()) || may_disturb(cluster_view, shard).is_err() {
                    continue;
                }
                if !reached.insert(&to.instance.zone) {
                    continue;
                }
                if held.get(&to.instance.zone).is_none_or(|held| *held < room) {
                    return Some(step);
                }
                queue.push_back(&to.instance.zone);
            }
        }
    }
    None
}

/// Clients that are sent on by name must find it: one that has just got another address is where it was for who asks for its name. One
/// that cannot write to its disk would refuse writes as a primary.
fn may_take_role(primary: &InstanceView<'_>, replica: &InstanceView<'_>) -> bool {
    may_succeed(primary, replica)
        && !replica.name_leads_elsewhere
        && replica.view().is_some_and(|view| !view.persistence_failing)
}

fn switch(
    cluster_view: &ClusterView<'_>,
    shard: &ShardView<'_>,
    from: &InstanceView<'_>,
    to: &InstanceView<'_>,
) -> Step {
    let returning = cluster_view.shards.values().flat_map(|shard| &shard.instances).any(on_its_way);
    Step::SwitchForZones {
        shard: shard.name.clone(),
        from: from.name.clone(),
        to: to.name.clone(),
        patience_ms: if returning { RETURN_MS } else { 1_000 },
    }
}

/// Is this instance about to be what it should be, or to be gone, by itself?
fn on_its_way(instance: &InstanceView<'_>) -> bool {
    let Some(report) = instance.report else { return false };
    let loads = report.server == Observed::Unknown(Unseen::Loading);
    let syncs = matches!(report.link(), Some(Link::Syncing | Link::NeverUp));
    match report.activity {
        Activity::Starting => report.waiting.is_none(),
        Activity::Watching => loads || syncs,
        Activity::Resting => false,
        Activity::FailingOver
        | Activity::WithoutVotes { .. }
        | Activity::HandingOver
        | Activity::Newer(_)
        | Activity::Stopping => true,
    }
}

/// A primary that shares its zone with one of its replicas hands over to one that shares its own with nobody, if the
/// majority of primaries then still survives any zone.
fn leave_shared_zone(cluster_view: &ClusterView<'_>, barred: &Barred) -> Option<Step> {
    cluster_view.shards.values().filter(|shard| !barred.chosen.contains(shard.name)).find_map(|shard| {
        let primary = shard.primary()?;
        let alone = |one: &InstanceView<'_>| {
            shard
                .instances
                .iter()
                .all(|other| other.name == one.name || other.instance.zone != one.instance.zone)
        };
        if alone(&primary) {
            return None;
        }
        let to = shard.instances.iter().find(|replica| {
            let after = cluster_view.shards.values().map(|shard| {
                let other = shard.primary()?;
                Some(if other.name == primary.name { &replica.instance.zone } else { &other.instance.zone })
            });
            let refused = barred.refused.contains(&switch(cluster_view, shard, &primary, replica).key());
            alone(replica) && !refused && may_take_role(&primary, replica) && majority_holder(after).is_none()
        })?;
        may_disturb(cluster_view, shard).ok()?;
        Some(switch(cluster_view, shard, &primary, to))
    })
}
