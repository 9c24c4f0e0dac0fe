//! Law 8: what healthy means, and everything that is missing to it, in typed reasons.

use crate::belief::{Beliefs, Examined};
use crate::foreign;
use crate::safety::disruption::changing;
use crate::safety::succession::lag;
use crate::safety::takeover::votes;
use crate::safety::zones::majority_holder;
use crate::sight::{InstanceSight, ShardSight, Sight};
use valkeeper_model::{
    Activity, InstanceName, InstanceReport, Link, NodeId, Observed, Phase, Report, Role, ServerView,
    ShardReport, SlotSet, Topology, Waiting,
};

/// So many members that a server does not know are told by name.
const MISSING_TOLD: usize = 5;

/// Looks at everything and says what is wrong. Healthy is exactly: nothing is.
pub fn judge(sight: &Sight<'_>) -> Report {
    let mut waiting = Vec::new();
    let beliefs = Beliefs::of(sight);
    let flaws = beliefs.each(|topology| flaws(sight, topology));
    for shard in sight.shards.values() {
        for instance in &shard.instances {
            judge_instance(sight, instance, &flaws, &mut waiting);
        }
        judge_shard(sight, shard, &mut waiting);
    }
    judge_zones(sight, &mut waiting);
    foreign::judge(sight, &beliefs, &mut waiting);
    let unserved = unserved(sight, &beliefs);
    if !unserved.is_empty() {
        waiting.push(Waiting::SlotsUnserved { slots: unserved.clone() });
    }
    let count = votes(sight);
    if count.alive < count.needed {
        waiting.push(Waiting::NoQuorum { alive: count.alive, needed: count.needed });
    }
    waiting.sort();
    waiting.dedup();
    let serving = sight.shards.values().all(|shard| shard.primary().is_some_and(|one| !isolated(&one)));
    // Zones that hold what they should not after a failover or a switchover are told, and mended by the controller, and names follow
    // pods in their own time; the cluster is whole all the same.
    let no_flaw = |reason: &Waiting| {
        matches!(
            reason,
            Waiting::ZoneMajority { .. } | Waiting::ZoneShared { .. } | Waiting::NameElsewhere { .. }
        )
    };
    let healthy = waiting.iter().all(no_flaw);
    let phase = match (healthy, sight.layout.formed, serving) {
        (true, ..) => Phase::Healthy,
        (false, false, _) => Phase::Creating,
        (false, true, true) => Phase::Degraded,
        (false, true, false) => Phase::Failing,
    };
    Report {
        phase,
        healthy,
        shards: sight.shards.values().map(shard_report).collect(),
        instances: sight
            .layout
            .instances
            .keys()
            .filter_map(|name| {
                let shard = sight.shard_of(name)?;
                Some(instance_report(shard, &shard.get(name)?))
            })
            .collect(),
        waiting,
    }
}

/// What is wrong with a topology.
#[derive(Debug)]
struct Flaws {
    /// The first members that it does not hold.
    missing: Vec<InstanceName>,
    /// How many these are.
    missing_count: usize,
    /// A primary is none in it.
    differs: bool,
    /// Members of which it does not know where they are.
    placeless: Vec<NodeId>,
}

fn flaws(sight: &Sight<'_>, topology: &Topology) -> Flaws {
    let role_known = |shard: &ShardSight<'_>| {
        let Some(primary) = shard.primary() else { return true };
        topology
            .get(&primary.instance.node_id)
            .is_none_or(|node| node.role == Role::Primary && !node.slots.is_empty())
    };
    let missing = || sight.members.iter().filter(|(id, _)| !topology.contains_key(id));
    Flaws {
        missing: missing().take(MISSING_TOLD).map(|(_, name)| (*name).clone()).collect(),
        missing_count: missing().count(),
        differs: !sight.shards.values().all(role_known),
        placeless: topology.iter().filter(|(_, node)| node.address.is_none()).map(|(id, _)| *id).collect(),
    }
}

fn judge_instance(
    sight: &Sight<'_>,
    instance: &InstanceSight<'_>,
    flaws: &Examined<'_, Flaws>,
    waiting: &mut Vec<Waiting>,
) {
    let name = || instance.name.clone();
    let report = match sight.observation.instances.get(instance.name) {
        Some(Observed::Known(report)) => report,
        Some(Observed::Unknown(why)) => {
            return waiting.push(Waiting::AgentUnknown { instance: name(), why: (*why).into() });
        }
        None => {
            let why = valkeeper_model::Unseen::NotAsked.into();
            return waiting.push(Waiting::AgentUnknown { instance: name(), why });
        }
    };
    if instance.instance.fenced {
        waiting.push(Waiting::Fenced { instance: name() });
    } else if let Some(reason) = &report.waiting {
        waiting.push(reason.clone());
    } else if report.is_down() {
        waiting.push(Waiting::InstanceDown { instance: name() });
    }
    if instance.name_leads_elsewhere {
        waiting.push(Waiting::NameElsewhere { instance: name() });
    }
    if report.generation < sight.layout.generation {
        waiting.push(Waiting::OldOrder { instance: name() });
    }
    match &report.server {
        Observed::Unknown(valkeeper_model::Unseen::Loading) => {
            waiting.push(Waiting::Loading { instance: name() });
        }
        Observed::Known(view) => judge_view(sight, instance, view, flaws.of(view), waiting),
        Observed::Unknown(why) if !report.is_down() => {
            waiting.push(Waiting::ServerUnknown { instance: name(), why: (*why).into() });
        }
        Observed::Unknown(_) => {}
    }
}

fn judge_view(
    sight: &Sight<'_>,
    instance: &InstanceSight<'_>,
    view: &ServerView,
    flaws: Option<&Flaws>,
    waiting: &mut Vec<Waiting>,
) {
    let name = || instance.name.clone();
    if !view.cluster_ok {
        waiting.push(Waiting::ClusterStateFail { instance: name() });
    }
    if view.blank > 0 {
        waiting.push(Waiting::Stranger { instance: name() });
    }
    if let Some(flaws) = flaws.filter(|flaws| flaws.missing_count > 0) {
        let (members, count) = (flaws.missing.clone(), flaws.missing_count);
        waiting.push(Waiting::MembersUnknown { instance: name(), members, count });
    }
    if view.open_slots > 0 {
        waiting.push(Waiting::OpenSlots { instance: name() });
    }
    if view.persistence_failing {
        waiting.push(Waiting::PersistenceFailing { instance: name() });
    }
    if !view.config_drift.is_empty() {
        waiting.push(Waiting::ConfigDiffers { instance: name(), directives: view.config_drift.clone() });
    }
    if !view.config_refused.is_empty() {
        waiting.push(Waiting::RestartNeeded { instance: name(), directives: view.config_refused.clone() });
    }
    for failed in &view.failed {
        if let Some(of) = sight.members.get(failed) {
            waiting.push(Waiting::HeldForFailed { instance: name(), of: (*of).clone() });
        }
    }
    // A server need not know its own address.
    let placeless = |flaws: &Flaws| flaws.placeless.iter().any(|id| *id != view.node_id);
    if flaws.is_some_and(|flaws| flaws.differs || placeless(flaws)) {
        waiting.push(Waiting::ViewDiffers { instance: name() });
    }
}

fn judge_shard(sight: &Sight<'_>, shard: &ShardSight<'_>, waiting: &mut Vec<Waiting>) {
    if let Some(going_on @ (Waiting::FailingOver { .. } | Waiting::SwitchingOver { .. })) = changing(shard) {
        waiting.push(going_on);
    }
    let Some(primary) = shard.primary() else {
        waiting.push(Waiting::NoPrimary { shard: shard.name.clone() });
        return;
    };
    let in_sync = shard.instances.iter().filter(|replica| in_sync(&primary, replica)).count();
    let in_sync = u32::try_from(in_sync).unwrap_or(u32::MAX);
    let wanted = sight.layout.replicas_per_shard;
    if in_sync < wanted {
        waiting.push(Waiting::ReplicasMissing { shard: shard.name.clone(), in_sync, wanted });
    }
    let others = shard.instances.iter().filter(|other| other.name != primary.name);
    if sight.layout.zones == valkeeper_model::ZonePolicy::Required {
        for _ in others.filter(|other| other.instance.zone == primary.instance.zone).take(1) {
            let zone = primary.instance.zone.clone();
            waiting.push(Waiting::ZoneShared { shard: shard.name.clone(), zone });
        }
    }
}

/// Is this a replica in sync with that primary?
pub fn in_sync(primary: &InstanceSight<'_>, replica: &InstanceSight<'_>) -> bool {
    let (Some(ahead), Some(behind)) = (primary.view(), replica.view()) else { return false };
    replica.name != primary.name
        && behind.replication.link() == Some(Link::Up)
        && behind.replication.replid == ahead.replication.replid
        && behind.primary() == Some(primary.instance.node_id)
}

fn judge_zones(sight: &Sight<'_>, waiting: &mut Vec<Waiting>) {
    if sight.layout.zones != valkeeper_model::ZonePolicy::Required {
        return;
    }
    let zones = sight.shards.values().filter_map(ShardSight::primary).map(|primary| &primary.instance.zone);
    if let Some((zone, primaries)) = majority_holder(zones) {
        waiting.push(Waiting::ZoneMajority { zone: zone.clone(), primaries, of: sight.shards.len() });
    }
}

/// The slots that a majority of instances does not see served by the instance that serves them.
fn unserved(sight: &Sight<'_>, beliefs: &Beliefs<'_>) -> SlotSet {
    let mut held = beliefs.each(|topology| (topology, 0_usize));
    let views =
        sight.shards.values().flat_map(|shard| shard.instances.iter()).filter_map(InstanceSight::view);
    for view in views.filter(|view| view.cluster_ok) {
        if let Some((_, count)) = held.of_mut(view) {
            *count += 1;
        }
    }
    let majority = sight.layout.instances.len() / 2 + 1;
    let served = sight.shards.values().filter(|shard| {
        let Some(primary) = shard.primary() else { return false };
        let sees = |topology: &Topology| {
            topology
                .get(&primary.instance.node_id)
                .is_some_and(|node| shard.shard.slots.minus(&node.slots).is_empty())
        };
        let witnesses = held.all().filter(|(topology, _)| sees(topology));
        witnesses.map(|(_, count)| count).sum::<usize>() >= majority
    });
    SlotSet::all().minus(&served.flat_map(|shard| shard.shard.slots.ranges().to_vec()).collect())
}

fn shard_report(shard: &ShardSight<'_>) -> ShardReport {
    let primary = shard.primary();
    let replicas = shard
        .instances
        .iter()
        .filter(|instance| instance.view().is_some_and(|view| view.replication.role() == Role::Replica));
    ShardReport {
        name: shard.name.clone(),
        slots: shard.shard.slots.clone(),
        primary: primary.map(|instance| instance.name.clone()),
        replicas: replicas.map(|instance| instance.name.clone()).collect(),
    }
}

fn instance_report(shard: &ShardSight<'_>, instance: &InstanceSight<'_>) -> InstanceReport {
    let view = instance.view();
    let lag_bytes = shard
        .primary()
        .filter(|primary| in_sync(primary, instance))
        .and_then(|primary| lag(&primary.view()?.replication, &instance.view()?.replication));
    InstanceReport {
        name: instance.name.clone(),
        shard: shard.name.clone(),
        zone: instance.instance.zone.clone(),
        role: view.map(|view| view.replication.role()),
        address: instance.report.map(|report| report.address.to_string()),
        pid: instance.report.and_then(|report| match report.process {
            valkeeper_model::Process::Running { pid, .. } => pid,
            valkeeper_model::Process::Down => None,
        }),
        version: view.map(|view| view.version.clone()),
        lag_bytes,
        fenced: instance.instance.fenced,
    }
}

/// Does it refuse writes because it may have been replaced?
pub fn isolated(instance: &InstanceSight<'_>) -> bool {
    instance.report.is_some_and(|report| matches!(report.waiting, Some(Waiting::Isolated { .. })))
}

/// Is the instance's agent at peace: nothing going on?
pub fn quiet(instance: &InstanceSight<'_>) -> bool {
    instance.report.is_some_and(|report| report.activity == Activity::Watching)
}
