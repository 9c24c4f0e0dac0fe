//! Law 8: what healthy means, and everything that is missing to it, in typed reasons.

use crate::failover::takeover::votes;
use crate::mode::{self, sentinel};
use crate::operations::disruption::changing;
use crate::operations::{leave, stored};
use crate::replica_mode;
use crate::view::cluster_view::{ClusterView, InstanceView, ShardView};
use crate::view::topology_views::{Examined, TopologyViews};
use crate::view::{foreign, reported};
use valkeeper_model::{
    Activity, AgentReport, DiskAccess, InstanceLife, InstanceName, Link, LookRefused, MemoryFull, NodeId,
    Observed, Phase, ReplicaCause, ReplicaFault, ReplicationId, Report, Role, RollWaiting, ServerView,
    ShardLife, SlotMove, SlotSet, Topology, Waiting,
};

/// So many members that a server does not know are told by name.
const MISSING_TOLD: usize = 5;

/// Looks at everything and says what is wrong. Healthy is exactly: nothing is.
pub fn judge(cluster_view: &ClusterView<'_>) -> Report {
    let mut waiting = Vec::new();
    let beliefs = TopologyViews::of(cluster_view);
    let flaws = beliefs.each(|topology| flaws(cluster_view, topology));
    let followed = cluster_view.layout.replica_mode.as_deref().filter(|mode| mode.follows());
    for shard in cluster_view.shards.values() {
        for instance in &shard.instances {
            judge_instance(cluster_view, instance, &flaws, &mut waiting);
        }
        match followed {
            Some(followed) => replica_mode::judge(followed, shard, &mut waiting),
            None => judge_shard(cluster_view, shard, &mut waiting),
        }
    }
    leave::reasons(cluster_view, &mut waiting);
    stored::reasons(cluster_view, &mut waiting);
    if followed.is_none() {
        judge_zones(cluster_view, &mut waiting);
        foreign::judge(cluster_view, &beliefs, &mut waiting);
        let unserved = unserved(cluster_view, &beliefs);
        // In a mode without slots the one primary has them all, and that there is none is told already.
        let is_told = !cluster_view.layout.config.mode.has_slots()
            && waiting.iter().any(|reason| matches!(reason, Waiting::NoPrimary { .. }));
        if !unserved.is_empty() && !is_told {
            waiting.push(Waiting::SlotsUnserved { slots: unserved });
        }
    }
    let count = votes(cluster_view);
    if count.alive < count.needed {
        waiting.push(Waiting::NoQuorum { alive: count.alive, needed: count.needed });
    }
    waiting.sort();
    waiting.dedup();
    let serving = match followed {
        Some(_) => replica_mode::choose_member(cluster_view).is_some(),
        None => cluster_view.shards.values().all(|shard| shard.primary().is_some_and(|one| !isolated(&one))),
    };
    let healthy = !waiting.iter().any(Waiting::is_flaw);
    let phase = match (healthy, cluster_view.layout.is_founding(), serving) {
        (true, ..) => Phase::Healthy,
        (false, true, _) => Phase::Creating,
        (false, false, true) => Phase::Degraded,
        (false, false, false) => Phase::Failing,
    };
    Report {
        mode: cluster_view.layout.config.mode,
        phase,
        healthy,
        shards: cluster_view
            .shards
            .values()
            .map(|shard| reported::shard(&cluster_view.layout.config, shard))
            .collect(),
        instances: cluster_view
            .layout
            .instances
            .keys()
            .filter_map(|name| {
                let shard = cluster_view.shard_of(name)?;
                Some(reported::instance(cluster_view.layout.config.mode, shard, &shard.get(name)?))
            })
            .collect(),
        waiting,
        sentinels: sentinel::report(cluster_view.layout, primary_report(cluster_view)),
        replica_mode: replica_mode::report(cluster_view).map(Box::new),
        progress: stored::progress(cluster_view),
        cordoned_zones: (*cluster_view.layout.cordoned).clone(),
    }
}

/// What the agent of the primary says, in a mode with one primary.
fn primary_report<'a>(cluster_view: &'a ClusterView<'_>) -> Option<&'a AgentReport> {
    cluster_view.shards.values().next()?.primary()?.report
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

fn flaws(cluster_view: &ClusterView<'_>, topology: &Topology) -> Flaws {
    let role_known = |shard: &ShardView<'_>| {
        let Some(primary) = shard.primary() else { return true };
        topology.get(&primary.instance.node_id).is_none_or(|node| {
            node.role == Role::Primary && (!node.slots.is_empty() || shard.shard.slots.is_empty())
        })
    };
    let missing = || cluster_view.members.iter().filter(|(id, _)| !topology.contains_key(id));
    Flaws {
        missing: missing().take(MISSING_TOLD).map(|(_, name)| (*name).clone()).collect(),
        missing_count: missing().count(),
        differs: !cluster_view.shards.values().all(role_known),
        placeless: topology.iter().filter(|(_, node)| node.address.is_none()).map(|(id, _)| *id).collect(),
    }
}

fn judge_instance(
    cluster_view: &ClusterView<'_>,
    instance: &InstanceView<'_>,
    flaws: &Examined<'_, Flaws>,
    waiting: &mut Vec<Waiting>,
) {
    // That it is down is what is wanted; that it is there still is told.
    if instance.instance.life == InstanceLife::Retired {
        return;
    }
    let name = || instance.name.clone();
    let report = match cluster_view.observation.instances.get(instance.name) {
        Some(Observed::Known(report)) => report,
        Some(Observed::Unknown(why)) => {
            return waiting.push(Waiting::AgentUnknown { instance: name(), why: (*why).into() });
        }
        None => {
            let why = valkeeper_model::Unseen::NotAsked.into();
            return waiting.push(Waiting::AgentUnknown { instance: name(), why });
        }
    };
    if report.disk == DiskAccess::Silent {
        waiting.push(Waiting::DiskSilent { instance: name() });
    }
    if instance.instance.is_fenced() {
        waiting.push(Waiting::Fenced { instance: name(), by: instance.instance.fences.clone() });
    } else if let Some(reason) = &report.waiting {
        waiting.push(reason.clone());
    } else if report.is_down() {
        waiting.push(Waiting::InstanceDown { instance: name() });
    }
    if let Some(why) = &report.password {
        waiting.push(Waiting::PasswordUnusable { instance: name(), why: why.clone() });
    }
    if instance.name_leads_elsewhere {
        waiting.push(Waiting::NameElsewhere { instance: name() });
    }
    if report.generation < cluster_view.layout.ordered_since(instance.name) {
        waiting.push(Waiting::OldOrder { instance: name() });
    }
    if let Some(refused) = look_refused(instance.name, report) {
        waiting.push(refused);
    }
    match &report.server {
        Observed::Unknown(valkeeper_model::Unseen::Loading) => {
            waiting.push(Waiting::Loading { instance: name() });
        }
        Observed::Known(view) => judge_view(cluster_view, instance, view, flaws.of(view), waiting),
        Observed::Unknown(why) if !report.is_down() && report.look_refused.is_none() => {
            waiting.push(Waiting::ServerUnknown { instance: name(), why: (*why).into() });
        }
        Observed::Unknown(_) => {}
    }
}

/// Why a server that lives does not let itself be looked at.
pub fn look_refused(name: &InstanceName, report: &AgentReport) -> Option<Waiting> {
    let instance = name.clone();
    Some(match report.look_refused.clone()? {
        LookRefused::Busy => Waiting::Busy { instance },
        LookRefused::HeldBack => Waiting::CommandsHeldBack { instance },
        LookRefused::RightMissing { command } => Waiting::RightMissing { instance, command },
        LookRefused::Other { said } => Waiting::LookRefused { instance, said },
        LookRefused::Newer(newer) => Waiting::LookRefused { instance, said: newer.to_string() },
    })
}

/// Why nothing is known of an instance's server, or why it does not do what it is there for, though it runs. `None` if no such thing is
/// known.
pub fn hindrance(instance: &InstanceView<'_>) -> Option<Waiting> {
    let report = instance.report?;
    look_refused(instance.name, report).or_else(|| paused(instance)).or_else(|| match &report.server {
        Observed::Unknown(why) if !report.is_down() => {
            Some(Waiting::ServerUnknown { instance: instance.name.clone(), why: (*why).into() })
        }
        Observed::Known(_) | Observed::Unknown(_) => None,
    })
}

/// Does somebody's `CLIENT PAUSE` hold back what a server is there for? Its agent holds writes itself while it hands over.
pub fn paused(instance: &InstanceView<'_>) -> Option<Waiting> {
    let ours = instance.report?.activity == Activity::HandingOver;
    let paused = instance.view()?.clients.paused.filter(|_| !ours)?;
    Some(Waiting::ClientsPaused { instance: instance.name.clone(), paused })
}

fn judge_view(
    cluster_view: &ClusterView<'_>,
    instance: &InstanceView<'_>,
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
    // Those of a move that stands in the layout are open on purpose.
    let moves =
        |(_, one): (_, &SlotMove)| [&one.target.from, &one.target.to].contains(&&instance.instance.shard);
    if view.open_slots > 0 && !cluster_view.layout.slot_moves().any(moves) {
        waiting.push(Waiting::OpenSlots { instance: name() });
    }
    if view.persistence_failing {
        waiting.push(Waiting::PersistenceFailing { instance: name() });
    }
    if let Some(MemoryFull { used, limit }) = view.memory_full {
        waiting.push(Waiting::MemoryFull { instance: name(), used, limit });
    }
    if let Some(why) = view.clients.access.clone() {
        waiting.push(Waiting::ClientsKeptOut { instance: name(), why });
    }
    waiting.extend(paused(instance));
    if !view.config_drift.is_empty() {
        waiting.push(Waiting::ConfigDiffers { instance: name(), directives: view.config_drift.clone() });
    }
    if !view.config_invalid.is_empty() {
        // A restart would not bring what is refused beside it.
        waiting.push(Waiting::ConfigInvalid { instance: name(), directives: view.config_invalid.clone() });
    } else if !view.config_refused.is_empty() {
        let (instance, directives) = (name(), view.config_refused.clone());
        waiting.push(match cluster_view.layout.roll() {
            Some(_) => RollWaiting::RestartDue { instance, directives }.into(),
            None => Waiting::RestartNeeded { instance, directives },
        });
    }
    if let Some(wanted) = cluster_view.layout.version.clone().filter(|wanted| !view.is_version(wanted)) {
        let runs = view.version.clone();
        waiting.push(RollWaiting::OtherVersion { instance: name(), runs, wanted }.into());
    }
    if instance.is_of_other_template(cluster_view.layout) {
        let instance = name();
        waiting.push(match cluster_view.layout.roll() {
            Some(_) => RollWaiting::ReplacementDue { instance }.into(),
            None => RollWaiting::ReplacementNeeded { instance }.into(),
        });
    }
    if !view.config_by_hand.is_empty() {
        waiting.push(Waiting::ConfigByHand { instance: name(), directives: view.config_by_hand.clone() });
    }
    if !view.users_by_hand.is_empty() {
        waiting.push(Waiting::UsersByHand { instance: name(), users: view.users_by_hand.clone() });
    }
    for failed in &view.failed {
        if let Some(of) = cluster_view.members.get(failed) {
            waiting.push(Waiting::HeldForFailed { instance: name(), of: (*of).clone() });
        }
    }
    // A server need not know its own address.
    let placeless = |flaws: &Flaws| flaws.placeless.iter().any(|id| *id != view.node_id);
    if flaws.is_some_and(|flaws| flaws.differs || placeless(flaws)) {
        waiting.push(Waiting::ViewDiffers { instance: name() });
    }
}

fn judge_shard(cluster_view: &ClusterView<'_>, shard: &ShardView<'_>, waiting: &mut Vec<Waiting>) {
    if let Some(going_on @ (Waiting::FailingOver { .. } | Waiting::SwitchingOver { .. })) = changing(shard) {
        waiting.push(going_on);
    }
    let register = shard.instances.iter().find_map(|instance| instance.report?.register.clone());
    waiting.extend(register.map(|why| Waiting::RegisterUnusable { shard: shard.name.clone(), why }));
    // What leaves and has no slots left serves nobody.
    if shard.shard.life == ShardLife::Leaving && shard.shard.slots.is_empty() {
        return;
    }
    let Some(primary) = shard.primary() else {
        waiting.push(Waiting::NoPrimary { shard: shard.name.clone() });
        return;
    };
    let in_sync = shard.instances.iter().filter(|replica| in_sync(&primary, replica)).count();
    let in_sync = u32::try_from(in_sync).unwrap_or(u32::MAX);
    let wanted = cluster_view.layout.replicas_per_shard;
    if in_sync < wanted {
        let shard_name = shard.name.clone();
        let causes = replica_causes(&primary, shard);
        waiting.push(Waiting::ReplicasMissing { shard: shard_name, in_sync, wanted, causes });
    }
    if let Some(report) = primary.report {
        sentinel::judge(cluster_view.layout, report, waiting);
    }
    if let Some(slots) = disowned(cluster_view, &primary, shard) {
        waiting.push(Waiting::SlotsDisowned { instance: primary.name.clone(), slots });
    }
    if let Some(to) = writes_where_primary_cannot(&primary, shard) {
        let (shard, primary) = (shard.name.clone(), primary.name.clone());
        waiting.push(Waiting::SwitchoverHelps { shard, primary, to: to.name.clone() });
    }
    let others = shard.instances.iter().filter(|other| other.name != primary.name);
    if cluster_view.layout.zones == valkeeper_model::ZonePolicy::Required {
        for _ in others.filter(|other| other.instance.zone == primary.instance.zone).take(1) {
            let zone = primary.instance.zone.clone();
            waiting.push(Waiting::ZoneShared { shard: shard.name.clone(), zone });
        }
    }
}

/// Is this a replica in sync with that primary? A link that is up is not enough: until the replica's agent knows that the replica has caught
/// up since it connected, a primary that dies is waited for in place of being succeeded (law 13).
pub fn in_sync(primary: &InstanceView<'_>, replica: &InstanceView<'_>) -> bool {
    is_linked(primary, replica) && replica.report.is_some_and(AgentReport::is_caught_up)
}

/// Is this a replica of that primary, in the stream of its writes? It is in sync, or will be in a moment.
pub fn is_linked(primary: &InstanceView<'_>, replica: &InstanceView<'_>) -> bool {
    let Some(behind) = replica.view() else { return false };
    replica.name != primary.name
        && behind.replication.link() == Some(Link::Up)
        && same_history(primary, behind)
        && behind.primary() == Some(primary.instance.node_id)
}

fn same_history(primary: &InstanceView<'_>, replica: &ServerView) -> bool {
    primary.view().is_some_and(|ahead| ahead.replication.replid == replica.replication.replid)
}

/// What is wrong with each instance of a shard that is not in sync.
fn replica_causes(primary: &InstanceView<'_>, shard: &ShardView<'_>) -> Vec<ReplicaCause> {
    let missing = shard.instances.iter().filter(|one| one.name != primary.name && !in_sync(primary, one));
    missing
        .map(|one| ReplicaCause { instance: one.name.clone(), fault: replica_fault(primary, one) })
        .collect()
}

/// One full copy is how a replica begins. With another it has already failed once.
const COPIES_IN_VAIN: u64 = 3;

fn replica_fault(primary: &InstanceView<'_>, replica: &InstanceView<'_>) -> ReplicaFault {
    let Some(view) = replica.view() else {
        let down = replica.report.is_some_and(AgentReport::is_down);
        return if down { ReplicaFault::Down } else { ReplicaFault::Unknown };
    };
    if view.primary() != Some(primary.instance.node_id) {
        return ReplicaFault::FollowsAnother;
    }
    let copies = primary.view().and_then(|view| view.full_syncs).filter(|copies| *copies >= COPIES_IN_VAIN);
    match (view.replication.link(), copies) {
        (None, _) => ReplicaFault::FollowsAnother,
        (Some(Link::Up), _) if view.replication.replid == ReplicationId::NONE => ReplicaFault::NoPsync,
        (Some(Link::Up), _) if same_history(primary, view) => ReplicaFault::CatchingUp,
        (Some(Link::Up), _) => ReplicaFault::OtherHistory,
        (Some(_), Some(copies)) => ReplicaFault::CopiedInVain { copies },
        (Some(Link::Syncing), None) => ReplicaFault::Copying,
        (Some(Link::Lost), None) => ReplicaFault::LinkLost,
        (Some(Link::NeverUp), None) => ReplicaFault::NeverLinked,
    }
}

/// Slots of the shard that its primary does not hold for its own. The owner decides whether it serves a key, not the majority.
fn disowned(
    cluster_view: &ClusterView<'_>,
    primary: &InstanceView<'_>,
    shard: &ShardView<'_>,
) -> Option<SlotSet> {
    let own = primary.view()?.slots()?;
    // Which of those that are on their way nobody serves is told by what the majority sees.
    let missing = shard.shard.slots.minus(own).minus(&cluster_view.layout.outgoing(shard.name));
    Some(missing).filter(|slots| !slots.is_empty())
}

/// A replica that can write its data to disk and could take over from a primary that cannot.
pub fn writes_where_primary_cannot<'a>(
    primary: &InstanceView<'_>,
    shard: &ShardView<'a>,
) -> Option<InstanceView<'a>> {
    if !primary.view()?.persistence_failing {
        return None;
    }
    let sound = |one: &&InstanceView<'a>| {
        !one.instance.is_fenced()
            && in_sync(primary, one)
            && one.view().is_some_and(|view| !view.persistence_failing)
    };
    shard.instances.iter().find(sound).copied()
}

fn judge_zones(cluster_view: &ClusterView<'_>, waiting: &mut Vec<Waiting>) {
    if cluster_view.layout.zones != valkeeper_model::ZonePolicy::Required {
        return;
    }
    let rules = mode::rules(cluster_view.layout.config.mode);
    if let Some((zone, primaries)) = rules.zone_with_majority(&mut cluster_view.primary_zones()) {
        waiting.push(Waiting::ZoneMajority {
            zone: zone.clone(),
            primaries,
            of: cluster_view.voters().count(),
        });
    }
}

/// The slots that a majority of instances does not see served by the instance that serves them.
fn unserved(cluster_view: &ClusterView<'_>, beliefs: &TopologyViews<'_>) -> SlotSet {
    let mut held = beliefs.each(|topology| (topology, 0_usize));
    let views =
        cluster_view.shards.values().flat_map(|shard| shard.instances.iter()).filter_map(InstanceView::view);
    for view in views.filter(|view| view.cluster_ok) {
        if let Some((_, count)) = held.of_mut(view) {
            *count += 1;
        }
    }
    // The others may not know one that joins, and it may not be there yet.
    let joined = cluster_view.layout.instances.values().filter(|one| one.life != InstanceLife::Joining);
    let majority = joined.count() / 2 + 1;
    // What is on its way is served by the one or by the other.
    let given = |shard: &ShardView<'_>, topology: &Topology| {
        let moves = cluster_view.layout.slot_moves().filter(|(_, one)| one.target.from == *shard.name);
        let taken = moves.filter_map(|(_, one)| {
            let primary = cluster_view.shards.get(&one.target.to)?.primary()?;
            Some(topology.get(&primary.instance.node_id)?.slots.common(&one.left(cluster_view.layout)))
        });
        taken.fold(SlotSet::empty(), |all, slots| all.union(&slots))
    };
    let served = cluster_view.shards.values().filter(|shard| {
        let Some(primary) = shard.primary() else { return false };
        let sees = |topology: &Topology| {
            topology.get(&primary.instance.node_id).is_some_and(|node| {
                shard.shard.slots.minus(&node.slots).minus(&given(shard, topology)).is_empty()
            })
        };
        let witnesses = held.all().filter(|(topology, _)| sees(topology));
        witnesses.map(|(_, count)| count).sum::<usize>() >= majority
    });
    SlotSet::all().minus(&served.flat_map(|shard| shard.shard.slots.ranges().to_vec()).collect())
}

/// Does it refuse writes because it may have been replaced?
pub fn isolated(instance: &InstanceView<'_>) -> bool {
    instance.report.is_some_and(|report| matches!(report.waiting, Some(Waiting::Isolated { .. })))
}

/// Is the instance's agent at peace: nothing going on?
pub fn quiet(instance: &InstanceView<'_>) -> bool {
    instance.report.is_some_and(|report| report.activity == Activity::Watching)
}
