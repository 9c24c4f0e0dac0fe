//! What a controller does about one fault while another one stands.

use crate::ordered::{name, ordered, runs};
use serde::Deserialize as _;
use serde::de::{IntoDeserializer as _, value::StrDeserializer};
use std::collections::BTreeMap;
use std::sync::Arc;
use valkeeper_model::{
    Activity, AgentReport, Incarnation, InstanceName, Layout, MemoryFull, Millis, NodeId, Observation,
    Observed, Part, Process, Role, ServerView, SlotSet, StartFailure, StepKey, Topology, Unseen, Waiting,
};
use valkeeper_plan::operations::disruption::{busy, may_disturb};
use valkeeper_plan::operations::{self, Barred, Step};
use valkeeper_plan::view::cluster_view::{ClusterView, ShardView};
use valkeeper_plan::view::health;

type Seen = BTreeMap<InstanceName, AgentReport>;

/// A whole cluster of three shards in three zones: c-0 to c-2 are primaries, c-3 to c-5 their replicas.
fn whole() -> (Layout, Seen) {
    let (controller, given) = ordered(3, |_| ());
    let layout = controller.layout().expect("a layout").clone().founded();
    let seen = given.iter().map(|(name, order)| match runs(order, |_| true) {
        Observed::Known(report) => (name.clone(), report),
        Observed::Unknown(unseen) => panic!("{unseen}"),
    });
    (layout, seen.collect())
}

fn with<T>(layout: &Layout, seen: &Seen, look: impl FnOnce(&ClusterView<'_>) -> T) -> T {
    let instances = seen.iter().map(|(name, report)| (name.clone(), Observed::Known(report.clone())));
    let observation = Observation { at: Millis(1), instances: instances.collect(), ..Observation::default() };
    look(&ClusterView::new(layout, &observation))
}

fn due(layout: &Layout, seen: &Seen, barred: &Barred) -> Vec<Step> {
    with(layout, seen, |cluster_view| operations::due(cluster_view, &health::judge(cluster_view), barred))
}

fn waits(layout: &Layout, seen: &Seen) -> Vec<Waiting> {
    with(layout, seen, |cluster_view| health::judge(cluster_view).waiting)
}

fn view<'a>(seen: &'a mut Seen, who: &InstanceName) -> &'a mut ServerView {
    match &mut seen.get_mut(who).expect("an instance").server {
        Observed::Known(view) => view,
        Observed::Unknown(unseen) => panic!("{unseen}"),
    }
}

fn everybody_believes(seen: &mut Seen, change: impl Fn(&mut Topology)) {
    for name in seen.keys().cloned().collect::<Vec<_>>() {
        if let Observed::Known(view) = &mut seen.get_mut(&name).expect("an instance").server {
            change(Arc::make_mut(&mut view.topology));
        }
    }
}

fn cannot_start(seen: &mut Seen, who: &InstanceName) {
    let failure = StartFailure::PortTaken { port: 1 };
    let report = seen.get_mut(who).expect("an instance");
    report.process = Process::Down;
    report.server = Observed::Unknown(Unseen::NotRunning);
    report.activity = Activity::Starting;
    report.waiting = Some(Waiting::StartFailed { instance: who.clone(), failure });
}

/// Swaps the roles of a shard's two, as a failover does.
fn swap(layout: &Layout, seen: &mut Seen, from: &InstanceName, to: &InstanceName) {
    let (old, new) = (layout.instances[from].node_id, layout.instances[to].node_id);
    everybody_believes(seen, |topology| {
        let mut lost = topology.remove(&old).expect("a primary");
        let mut won = topology.remove(&new).expect("a replica");
        (won.role, won.primary, won.config_epoch) = (Role::Primary, None, lost.config_epoch.next());
        won.slots = std::mem::take(&mut lost.slots);
        (lost.role, lost.primary) = (Role::Replica, Some(new));
        topology.extend([(old, lost), (new, won)]);
    });
    let part = view(seen, from).replication.part.clone();
    view(seen, from).replication.part = view(seen, to).replication.part.clone();
    view(seen, to).replication.part = part;
}

fn shard_of(layout: &Layout, who: &InstanceName) -> valkeeper_model::ShardName {
    layout.instances[who].shard.clone()
}

#[test]
fn a_replica_that_cannot_start_disturbs_no_shard() {
    let (layout, mut seen) = whole();
    assert_eq!(waits(&layout, &seen), []);
    cannot_start(&mut seen, &name(3));
    cannot_start(&mut seen, &name(4));
    with(&layout, &seen, |cluster_view| {
        for shard in cluster_view.shards.values() {
            assert_eq!(may_disturb(cluster_view, shard), Ok(()), "{}", shard.name);
        }
        // One more instance of its own shard is not stopped.
        assert!(busy(&cluster_view.shards[&shard_of(&layout, &name(3))]).is_some());
    });
    // A primary that is about to stop is another matter: with a second one the majority would be lost.
    seen.get_mut(&name(1)).expect("an instance").activity = Activity::Stopping;
    with(&layout, &seen, |cluster_view| {
        assert!(may_disturb(cluster_view, &cluster_view.shards[&shard_of(&layout, &name(0))]).is_err());
    });
}

/// Two primaries in one zone, and something else that is not well.
fn crowded() -> (Layout, Seen) {
    let (layout, mut seen) = whole();
    let zone = |who: &InstanceName| layout.instances[who].zone.clone();
    let pairs: Vec<(InstanceName, InstanceName)> = (0..3).map(|n| (name(n), name(n + 3))).collect();
    let (from, to) = pairs.iter().find(|(from, to)| zone(from) != zone(to)).expect("zones differ").clone();
    swap(&layout, &mut seen, &from, &to);
    (layout, seen)
}

fn switches(steps: &[Step]) -> Vec<StepKey> {
    let switches = steps.iter().filter(|step| matches!(step, Step::SwitchForZones { .. }));
    switches.map(Step::key).collect()
}

#[test]
fn zones_are_put_right_whatever_else_is_wrong() {
    let (layout, mut seen) = crowded();
    assert!(waits(&layout, &seen).iter().any(|one| matches!(one, Waiting::ZoneMajority { .. })));
    let first = switches(&due(&layout, &seen, &Barred::default()));
    assert_eq!(first.len(), 1);
    for n in 0..6 {
        view(&mut seen, &name(n)).config_refused = vec!["databases".to_owned()];
    }
    assert_eq!(switches(&due(&layout, &seen, &Barred::default())), first);
    // One that cannot write its data does not become primary for a zone's sake, and neither does one that is not in sync.
    for n in 0..6 {
        view(&mut seen, &name(n)).persistence_failing = true;
    }
    assert_eq!(switches(&due(&layout, &seen, &Barred::default())), []);
}

/// Where a primary is that is not seen is not known: one beside it does not become the holder of the majority for that.
#[test]
fn a_primary_that_is_not_seen_makes_no_zone_a_danger() {
    let (layout, mut seen) = whole();
    seen.remove(&name(0));
    let waiting = waits(&layout, &seen);
    assert!(!waiting.iter().any(|one| matches!(one, Waiting::ZoneMajority { .. })), "{waiting:?}");
    assert_eq!(switches(&due(&layout, &seen, &Barred::default())), []);
    // Two of three that are seen in one zone are the majority wherever the third is.
    let (layout, mut seen) = crowded();
    let zones = |seen: &Seen| {
        with(&layout, seen, |cluster_view| {
            let primaries = cluster_view.shards.values().filter_map(ShardView::primary);
            primaries.map(|one| (one.instance.zone.clone(), one.name.clone())).collect::<Vec<_>>()
        })
    };
    let primaries = zones(&seen);
    let alone = |zone| primaries.iter().filter(|(other, _)| *other == zone).count() == 1;
    let (_, third) = primaries.iter().find(|(zone, _)| alone(zone.clone())).expect("one is alone").clone();
    seen.remove(&third);
    assert!(
        waits(&layout, &seen)
            .iter()
            .any(|one| matches!(one, Waiting::ZoneMajority { primaries: 2, of: 3, .. }))
    );
}

/// A primary gives its vote to nobody whom it does not know: a handover to such a one would hold the writes, and fail.
#[test]
fn no_role_goes_to_one_that_a_primary_does_not_know() {
    let (layout, mut seen) = crowded();
    let [StepKey::SwitchForZones { to, .. }] = &switches(&due(&layout, &seen, &Barred::default()))[..] else {
        panic!("one switch")
    };
    let (to, id) = (to.clone(), layout.instances[to].node_id);
    let voters: Vec<InstanceName> = with(&layout, &seen, |cluster_view| {
        let primaries = cluster_view.shards.values().filter_map(ShardView::primary);
        primaries.map(|primary| primary.name.clone()).collect()
    });
    let own = shard_of(&layout, &to);
    let voter = voters.into_iter().find(|voter| shard_of(&layout, voter) != own).expect("another");
    Arc::make_mut(&mut view(&mut seen, &voter).topology).remove(&id);
    let others = switches(&due(&layout, &seen, &Barred::default()));
    let goes_to = |key: &StepKey| matches!(key, StepKey::SwitchForZones { to: chosen, .. } if *chosen == to);
    assert!(!others.iter().any(goes_to), "{others:?}");
    // A full disk is no reason either.
    let (layout, mut seen) = whole();
    view(&mut seen, &name(0)).persistence_failing = true;
    Arc::make_mut(&mut view(&mut seen, &name(1)).topology).remove(&layout.instances[&name(3)].node_id);
    let steps = due(&layout, &seen, &Barred::default());
    assert!(!steps.iter().any(|step| matches!(step, Step::SwitchForDisk { .. })), "{steps:?}");
}

/// A roll hands over each shard itself: roles that a rezone puts right in between would be handed to and fro.
#[test]
fn zones_are_put_right_after_the_roll() {
    let (layout, seen) = crowded();
    assert_eq!(switches(&due(&layout, &seen, &Barred::default())).len(), 1);
    let mut rolled = layout.clone();
    let mut next = layout.clone();
    next.config.directives.insert("databases".to_owned(), "4".to_owned());
    valkeeper_plan::operations::roll::begin(
        &layout,
        &mut next,
        &valkeeper_model::UpdateSpec::default(),
        None,
    );
    rolled.operations = next.operations;
    assert!(rolled.roll().is_some());
    assert_eq!(switches(&due(&rolled, &seen, &Barred::default())), []);
}

/// A primary that cannot write its data hands over to a replica that can: not to one that cannot either, nor against a user's word.
#[test]
fn a_primary_whose_disk_is_full_hands_over_to_one_whose_disk_is_not() {
    let (layout, mut seen) = whole();
    view(&mut seen, &name(0)).persistence_failing = true;
    let steps = due(&layout, &seen, &Barred::default());
    let shard = shard_of(&layout, &name(0));
    assert_eq!(steps, [Step::SwitchForDisk { shard: shard.clone(), from: name(0), to: name(3) }]);
    let chosen = Barred { chosen: [shard].into(), ..Barred::default() };
    assert_eq!(due(&layout, &seen, &chosen), []);
    let refused = Barred { refused: [steps[0].key()].into(), ..Barred::default() };
    assert_eq!(due(&layout, &seen, &refused), []);
    view(&mut seen, &name(3)).persistence_failing = true;
    assert_eq!(due(&layout, &seen, &Barred::default()), []);
}

/// Another shard's primary without memory is no disruption, and nobody is replaced for it.
#[test]
fn a_primary_without_memory_holds_up_nobody() {
    let (layout, mut seen) = whole();
    view(&mut seen, &name(0)).memory_full = Some(MemoryFull { used: 12, limit: 10 });
    assert_eq!(waits(&layout, &seen), [Waiting::MemoryFull { instance: name(0), used: 12, limit: 10 }]);
    assert_eq!(due(&layout, &seen, &Barred::default()), []);
    with(&layout, &seen, |cluster_view| {
        for shard in cluster_view.shards.values() {
            assert_eq!(may_disturb(cluster_view, shard), Ok(()), "{}", shard.name);
        }
    });
}

/// What an agent of a newer version does may be anything: its shard is left alone, with that as the reason.
#[test]
fn a_shard_in_which_something_unknown_goes_on_is_not_disturbed() {
    let (layout, mut seen) = whole();
    let word: StrDeserializer<'_, serde::de::value::Error> = "rebalancing".into_deserializer();
    seen.get_mut(&name(3)).expect("an instance").activity = Activity::deserialize(word).expect("a word");
    with(&layout, &seen, |cluster_view| {
        let refusal =
            may_disturb(cluster_view, &cluster_view.shards[&shard_of(&layout, &name(3))]).unwrap_err();
        assert!(refusal.to_string().contains("rebalancing"), "{refusal}");
    });
}

#[test]
fn another_way_is_taken_when_a_switch_for_the_zones_was_refused() {
    let (layout, seen) = crowded();
    let first = switches(&due(&layout, &seen, &Barred::default()));
    let barred = Barred { refused: first.iter().cloned().collect(), ..Barred::default() };
    let second = switches(&due(&layout, &seen, &barred));
    assert!(second.len() == 1 && second != first, "{first:?}, then {second:?}");
}

#[test]
fn an_instance_on_its_way_up_is_waited_for_before_zones_are_switched_and_a_stuck_one_is_not() {
    let (layout, mut seen) = crowded();
    let patience = |seen: &Seen| due(&layout, seen, &Barred::default()).iter().map(Step::patience_ms).max();
    assert_eq!(patience(&seen), Some(1_000));
    let bystander = (0..6).map(name).find(|who| {
        let mut without = seen.clone();
        cannot_start(&mut without, who);
        switches(&due(&layout, &without, &Barred::default())).len() == 1
    });
    let bystander = bystander.expect("one that no switch needs");
    cannot_start(&mut seen, &bystander);
    let meets = |steps: Vec<Step>| steps.into_iter().find(|step| matches!(step, Step::SwitchForZones { .. }));
    let switch = |seen: &Seen| meets(due(&layout, seen, &Barred::default())).map(|step| step.patience_ms());
    assert_eq!(switch(&seen), Some(1_000));
    seen.get_mut(&bystander).expect("an instance").waiting = None;
    assert_eq!(switch(&seen), Some(10_000));
}

#[test]
fn slots_that_nobody_owns_go_back_to_their_primary_and_to_nobody_else() {
    let (layout, mut seen) = whole();
    let shard = shard_of(&layout, &name(0));
    let (primary, replica) = (layout.instances[&name(0)].node_id, layout.instances[&name(3)].node_id);
    let slots = layout.shards[&shard].slots.clone();
    everybody_believes(&mut seen, |topology| {
        topology.get_mut(&primary).expect("a primary").slots = SlotSet::empty();
    });
    let taken = |seen: &Seen| {
        let steps = due(&layout, seen, &Barred::default());
        steps.into_iter().find(|step| matches!(step, Step::TakeSlots { .. }))
    };
    let wanted = Step::TakeSlots {
        shard: shard.clone(),
        instance: name(0),
        incarnation: Incarnation(1),
        slots: slots.clone(),
    };
    assert_eq!(taken(&seen), Some(wanted));
    assert!(
        waits(&layout, &seen).contains(&Waiting::SlotsUnowned { shard: shard.clone(), slots: slots.clone() })
    );
    // One server still believes them to be another's, who may be right.
    let mut disputed = seen.clone();
    let other = layout.instances[&name(1)].node_id;
    let topology = Arc::make_mut(&mut view(&mut disputed, &name(5)).topology);
    topology.get_mut(&other).expect("a primary").slots = SlotSet::all();
    assert_eq!(taken(&disputed), None);
    // Two of the shard are primaries, or nothing is known of one: nobody knows whose they are.
    let mut two = seen.clone();
    let topology = Arc::make_mut(&mut view(&mut two, &name(3)).topology);
    topology.get_mut(&replica).expect("a replica").role = Role::Primary;
    view(&mut two, &name(3)).replication.part = Part::Primary { replicas: Vec::new() };
    assert_eq!(taken(&two), None);
    seen.get_mut(&name(3)).expect("an instance").server = Observed::Unknown(Unseen::Timeout);
    assert_eq!(taken(&seen), None);
}

/// L17: a replica of `c-1`'s shard was made to follow `c-0` by hand, and was elected in its place.
#[test]
fn a_shard_that_anothers_member_serves_is_taken_back_by_its_own_replica() {
    let (layout, mut seen) = whole();
    let (owner, stray) = (layout.instances[&name(0)].node_id, layout.instances[&name(4)].node_id);
    assert_eq!(
        (shard_of(&layout, &name(0)), layout.instances[&name(4)].shard == shard_of(&layout, &name(0))),
        (shard_of(&layout, &name(3)), false)
    );
    everybody_believes(&mut seen, |topology| {
        let slots = std::mem::take(&mut topology.get_mut(&owner).expect("a primary").slots);
        let moved = topology.get_mut(&stray).expect("a replica");
        (moved.role, moved.primary, moved.slots) = (Role::Primary, None, slots);
        for own in [owner, layout.instances[&name(3)].node_id] {
            let own = topology.get_mut(&own).expect("a member");
            (own.role, own.primary) = (Role::Replica, Some(stray));
        }
    });
    let replication = view(&mut seen, &name(0)).replication.clone();
    view(&mut seen, &name(4)).replication = replication.clone();
    for own in [0, 3] {
        let part = Part::Replica { link: valkeeper_model::Link::Up };
        view(&mut seen, &name(own)).replication =
            valkeeper_model::Replication { part, ..replication.clone() };
    }
    let homes = |seen: &Seen| {
        let steps = due(&layout, seen, &Barred::default());
        steps.into_iter().filter(|step| matches!(step, Step::BringHome { .. })).collect::<Vec<_>>()
    };
    let found = homes(&seen);
    assert!(
        matches!(&found[..], [Step::BringHome { from, to, .. }] if *from == name(4) && [name(0), name(3)].contains(to)),
        "{found:?}"
    );
    for own in [0, 3] {
        let part = Part::Replica { link: valkeeper_model::Link::Lost };
        view(&mut seen, &name(own)).replication.part = part;
    }
    assert_eq!(homes(&seen), [], "nobody is in sync");
}

#[test]
fn a_node_that_is_no_member_is_told_with_its_address_and_its_claim() {
    let (layout, mut seen) = whole();
    let foreign = NodeId::from_bytes([0xfe; 20]);
    let shard = shard_of(&layout, &name(0));
    let primary = layout.instances[&name(0)].node_id;
    let part = SlotSet::part(0, 100);
    everybody_believes(&mut seen, |topology| {
        let owner = topology.get_mut(&primary).expect("a primary");
        owner.slots = owner.slots.minus(&part);
        let mut node = owner.clone();
        (node.slots, node.address) = (part.clone(), Some(crate::ordered::address(200)));
        topology.insert(foreign, node);
    });
    let told = waits(&layout, &seen);
    let address = Some(crate::ordered::address(200));
    assert!(told.contains(&Waiting::ForeignNode { node: foreign, address: address.clone(), known_by: 6 }));
    let taken = Waiting::SlotsTaken { shard, slots: part, node: foreign, address };
    assert!(told.contains(&taken), "{told:?}");
    assert!(!told.iter().any(|one| matches!(one, Waiting::SlotsUnowned { .. })), "{told:?}");
    let steps = due(&layout, &seen, &Barred::default());
    assert!(!steps.iter().any(|step| matches!(step, Step::TakeSlots { .. })), "{steps:?}");
}

#[test]
fn who_is_not_known_is_told_by_name_and_met() {
    let (layout, mut seen) = whole();
    let forgotten = layout.instances[&name(4)].node_id;
    Arc::make_mut(&mut view(&mut seen, &name(2)).topology).remove(&forgotten);
    let unknown = Waiting::MembersUnknown { instance: name(2), members: vec![name(4)], count: 1 };
    assert!(waits(&layout, &seen).contains(&unknown));
    let met = due(&layout, &seen, &Barred::default());
    assert_eq!(
        met.iter().map(Step::key).collect::<Vec<_>>(),
        [StepKey::Meet { instance: name(2), whom: name(4) }]
    );
}
