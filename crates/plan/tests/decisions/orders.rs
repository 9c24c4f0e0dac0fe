//! Who is told what again, and how often is looked.

use crate::ordered::{address, name, obeys, ordered, orders, own_address, runs, spec, started};
use std::collections::BTreeMap;
use std::sync::Arc;
use valkeeper_model::{
    AgentOrder, AgentReport, Ask, FencedBy, Generation, Happened, InstanceName, LayoutVersion, Millis,
    Observation, Observed, Process, ProvisionError, Refusal, Request, StopsWith, StorageFault, StoreError,
    Unseen, Waiting,
};
use valkeeper_plan::agent::Token;
use valkeeper_plan::controller::{Command, CommitError, Controller, Event, Pace};
use valkeeper_plan::mode::cluster::nodes_conf;

fn look(
    controller: &mut Controller,
    seen: BTreeMap<InstanceName, Observed<AgentReport>>,
) -> Vec<InstanceName> {
    let observation = Observation { at: Millis(1), instances: seen, ..Observation::default() };
    orders(controller.handle(Millis(1), Event::Observed(observation))).into_keys().collect()
}

#[test]
fn who_obeys_is_not_told_again() {
    let (mut controller, given) = ordered(3, |_| ());
    assert_eq!(given.len(), 6);
    let seen = given.iter().map(|(name, order)| (name.clone(), obeys(order))).collect();
    assert_eq!(look(&mut controller, seen), Vec::<InstanceName>::new());
}

/// A primary that goes down last of its shard has nobody to hand over to.
#[test]
fn a_primary_that_is_fenced_with_its_replicas_is_told_so() {
    let (founder, given) = ordered(3, |_| ());
    let told = |fenced: &[u32]| {
        let mut layout = founder.layout().expect("a layout").clone().founded();
        for n in fenced {
            let one = Arc::make_mut(&mut layout.instances).get_mut(&name(*n)).expect("it");
            one.fences.set(FencedBy::Hibernation);
        }
        started(spec(3), layout, &given).1[&name(0)].stops_with
    };
    assert_eq!(told(&[0, 3]), StopsWith::Shard);
    assert_eq!(told(&[0, 4]), StopsWith::Itself);
    assert_eq!(told(&[3]), StopsWith::Itself);
}

/// Who starts without a founder's address could not be found by it; whose replicas have none yet are found by those.
#[test]
fn founders_are_ordered_up_before_replicas_have_a_place() {
    let (_, given) = ordered(3, |places| drop(places.pop_last()));
    let placeless: Vec<_> = given[&name(0)].members.values().filter(|one| one.address.is_none()).collect();
    assert_eq!(placeless.len(), 1);
    let conf = nodes_conf::founding(&given[&name(0)]);
    let line = conf.node(placeless[0].node_id).expect("a member");
    assert!(line.address.is_none() && line.flags.noaddr && line.is_replica());
    let (_, given) = ordered(3, |places| drop(places.pop_first()));
    assert!(given.is_empty(), "{given:?}");
}

/// The engine mends it alone when one of two knows where the other is. When none does, it never would.
#[test]
fn two_that_do_not_know_where_the_other_is_are_introduced_at_once() {
    let met = |unknown: &[(u32, u32)]| {
        let (mut controller, given) = ordered(3, |_| ());
        let sees = |me: u32, order: &AgentOrder| {
            let hidden = unknown.iter().filter(|(who, _)| *who == me).map(|(_, whom)| name(*whom));
            let hidden: Vec<_> = hidden.map(|whom| order.members[&whom].node_id).collect();
            runs(order, |id| !hidden.contains(&id))
        };
        let instances =
            (0..).zip(&given).map(|(me, (name, order))| (name.clone(), sees(me, order))).collect();
        let observation = Observation { at: Millis(1), instances, ..Observation::default() };
        let commands = controller.handle(Millis(1), Event::Observed(observation));
        let meets = commands.into_iter().filter_map(|command| match command {
            Command::Tell { to, ask: Ask::Meet { .. }, .. } => Some(to),
            _ => None,
        });
        meets.collect::<Vec<_>>()
    };
    assert_eq!(met(&[(3, 4)]), []);
    assert_eq!(met(&[(3, 4), (4, 3)]), [name(3), name(4)]);
}

/// An operator that slept through the move of a pod gives orders of the same generation with the address it had.
#[test]
fn who_was_told_other_addresses_within_a_generation_is_told_again() {
    let (mut controller, given) = ordered(3, |_| ());
    let (_, older) = ordered(3, |places| {
        let moved = places.values_mut().next().expect("six");
        *moved = address(99);
    });
    let stale = given.keys().nth(3).expect("six").clone();
    assert_eq!(given[&stale].generation, older[&stale].generation);
    let told = |name: &InstanceName| if *name == stale { &older[name] } else { &given[name] };
    let seen = given.keys().map(|name| (name.clone(), obeys(told(name)))).collect();
    assert_eq!(look(&mut controller, seen), [stale]);
}

/// Orders of older controllers have no mark, and who obeys one is not told the same at each look.
#[test]
fn who_was_told_by_an_older_version_is_left_alone() {
    let (mut controller, given) = ordered(3, |_| ());
    let seen = given.iter().map(|(name, order)| {
        let unmarked = AgentOrder { addresses_hash: None, ..order.clone() };
        (name.clone(), obeys(&unmarked))
    });
    assert_eq!(look(&mut controller, seen.collect()), Vec::<InstanceName>::new());
}

#[test]
fn who_has_no_order_is_told_and_where_nobody_is_nobody_is_told() {
    let (mut controller, given) = ordered(3, |_| ());
    let unseen = [Unseen::NotAsked, Unseen::Unreachable, Unseen::Timeout];
    let seen = given.iter().enumerate().map(|(n, (name, order))| {
        (name.clone(), unseen.get(n).map_or_else(|| obeys(order), |unseen| Observed::Unknown(*unseen)))
    });
    let names: Vec<_> = given.keys().cloned().collect();
    assert_eq!(look(&mut controller, seen.collect()), [names[0].clone(), names[2].clone()]);
}

/// Objects that are made again, and reviews in turn, are no news of a cluster that nobody can reach; another address is.
#[test]
fn a_stuck_cluster_is_looked_at_more_often_when_somebody_has_moved_and_not_otherwise() {
    let (controller, given) = ordered(3, |_| ());
    let mut controller = controller.at_pace(Pace { at_rest_ms: 60_000, unsettled_ms: 50, stuck_ms: 120_000 });
    let unseen = || Observation {
        at: Millis(0),
        instances: given.keys().map(|name| (name.clone(), Observed::Unknown(Unseen::Unreachable))).collect(),
        ..Observation::default()
    };
    let mut places: BTreeMap<_, _> =
        given.iter().map(|(name, order)| (name.clone(), own_address(order))).collect();
    controller.handle(Millis(0), Event::Observed(unseen()));
    let hour = Millis(3_600_000);
    controller.handle(hour, Event::Tick);
    controller.handle(hour, Event::Observed(unseen()));
    assert_eq!(controller.wake_at(), Some(hour.plus(120_000)));
    let mut provisioned = |places: &BTreeMap<_, _>| {
        let commands = controller.handle(hour, Event::Reprovision);
        assert!(commands.iter().any(|command| matches!(command, Command::Provision(_))));
        controller.handle(hour, Event::Provisioned(Ok(places.clone())));
        controller.handle(hour, Event::Observed(unseen()));
        controller.wake_at()
    };
    assert_eq!(provisioned(&places), Some(hour.plus(120_000)));
    *places.values_mut().next().expect("six") = address(77);
    assert_eq!(provisioned(&places), Some(hour.plus(50)));
}

fn committed(commands: &[Command]) -> Vec<(Generation, Option<LayoutVersion>)> {
    let commits = commands.iter().filter_map(|command| match command {
        Command::Commit { layout, after } => Some((layout.generation, *after)),
        _ => None,
    });
    commits.collect()
}

/// The store was lost and its layout put together again with an older generation: agents would refuse all its orders.
#[test]
fn a_layout_that_agents_are_beyond_gets_the_next_generation() {
    let (mut controller, given) = ordered(3, |_| ());
    let layout = controller.layout().expect("a layout").clone();
    let obeyed = Generation(layout.generation.0 + 4);
    let newer = |order: &AgentOrder| obeys(&AgentOrder { generation: obeyed, ..order.clone() });
    let instances: BTreeMap<_, _> = given.iter().map(|(name, order)| (name.clone(), newer(order))).collect();
    let seen = || Observation { at: Millis(1), instances: instances.clone(), ..Observation::default() };
    assert_eq!(controller.handle(Millis(1), Event::Observed(seen())), [Command::Load]);
    let commands = controller.handle(Millis(2), Event::Loaded(Ok(Some(Box::new(layout.clone())))));
    assert_eq!(committed(&commands), [(obeyed.next(), Some(layout.version()))]);
    // Another one has just done the same: what it stored counts.
    assert_eq!(controller.handle(Millis(3), Event::Committed(Err(CommitError::Conflict))), [Command::Load]);
    let theirs = valkeeper_model::Layout { generation: obeyed.next(), ..layout };
    let commands = controller.handle(Millis(4), Event::Loaded(Ok(Some(Box::new(theirs)))));
    assert!(matches!(&commands[..], [Command::Provision(layout)] if layout.generation == obeyed.next()));
}

/// A store that has lost everything does not found a second cluster in the place of the first.
#[test]
fn a_cluster_whose_layout_vanished_is_not_founded_again() {
    let (mut controller, given) = ordered(3, |_| ());
    let layout = controller.layout().expect("a layout").clone();
    let obeyed = layout.generation.next();
    let newer = |order: &AgentOrder| obeys(&AgentOrder { generation: obeyed, ..order.clone() });
    let instances = given.iter().map(|(name, order)| (name.clone(), newer(order))).collect();
    let seen = Observation { at: Millis(1), instances, ..Observation::default() };
    controller.handle(Millis(1), Event::Observed(seen));
    let commands = controller.handle(Millis(2), Event::Loaded(Ok(None)));
    assert_eq!(committed(&commands), [(obeyed.next(), None)]);
    let stored = commands.iter().find_map(|command| match command {
        Command::Commit { layout, .. } => Some(layout),
        _ => None,
    });
    assert_eq!(stored.expect("a commit").instances, layout.instances);
}

fn no_room() -> ProvisionError {
    ProvisionError::NoFreePort { why: "no room".to_owned() }
}

/// A place that cannot be given keeps nobody from looking: primaries die meanwhile, and users ask.
#[test]
fn a_platform_that_fails_keeps_nobody_from_looking() {
    let (mut controller, given) = ordered(3, |_| ());
    let seen = || Observation {
        at: Millis(1),
        instances: given.iter().map(|(name, order)| (name.clone(), obeys(order))).collect(),
        ..Observation::default()
    };
    controller.handle(Millis(1), Event::Observed(seen()));
    let looks = |commands: &[Command]| commands.iter().any(|one| matches!(one, Command::Observe { .. }));
    let told = |commands: &[Command]| {
        let reports = commands.iter().filter_map(|one| match one {
            Command::Publish(report) => Some(report),
            _ => None,
        });
        let lacking = Waiting::NotProvisioned { error: no_room() };
        reports.flat_map(|report| &report.waiting).any(|one| *one == lacking)
    };
    controller.handle(Millis(2), Event::Reprovision);
    for round in 0..3 {
        let now = Millis(10_000 * (round + 1));
        let failed = controller.handle(now, Event::Provisioned(Err(no_room())));
        assert!(looks(&failed), "{failed:?}");
        let request = Request::Restart { instance: name(3) };
        controller.handle(now, Event::Asked { token: Token(round), request });
        let mut commands = controller.handle(now, Event::Observed(seen()));
        assert_eq!(told(&commands), round == 0, "{commands:?}");
        // It was asked after that look had begun, and is answered after the next.
        let again = controller.wake_at().expect("it goes on");
        assert!(again > now, "not without a pause");
        commands = controller.handle(again, Event::Tick);
        assert!(commands.iter().any(|one| matches!(one, Command::Provision(_))), "{commands:?}");
    }
    let now = Millis(50_000);
    controller.handle(now, Event::Provisioned(Err(no_room())));
    let commands = controller.handle(now, Event::Observed(seen()));
    assert!(
        commands.iter().any(|one| matches!(one, Command::Answer { .. } | Command::Tell { .. })),
        "{commands:?}"
    );
}

/// A request is judged by the look that was begun after it came, also where the next one comes before that look is over.
#[test]
fn who_asks_all_the_time_keeps_nobody_from_being_answered() {
    let (mut controller, given) = ordered(3, |_| ());
    let seen = |at| Observation {
        at: Millis(at),
        instances: given.iter().map(|(name, order)| (name.clone(), obeys(order))).collect(),
        ..Observation::default()
    };
    controller.handle(Millis(0), Event::Observed(seen(0)));
    let restart = || Request::Restart { instance: name(3) };
    controller.handle(Millis(50), Event::Asked { token: Token(0), request: restart() });
    let mut judged = 0;
    for round in 1..=4 {
        // While the look is under way that was begun for the one before.
        controller.handle(Millis(100 * round), Event::Asked { token: Token(round), request: restart() });
        let now = 100 * round + 50;
        let commands = controller.handle(Millis(now), Event::Observed(seen(now)));
        judged += commands
            .iter()
            .filter(|one| matches!(one, Command::Answer { .. } | Command::Tell { .. }))
            .count();
    }
    assert_eq!(judged, 4);
}

type Reports = BTreeMap<InstanceName, Observed<AgentReport>>;

fn seen_at(controller: &mut Controller, at: u64, instances: Reports) -> Vec<Command> {
    let observation = Observation { at: Millis(at), instances, ..Observation::default() };
    controller.handle(Millis(at), Event::Observed(observation))
}

/// Health as the events tell it.
fn told(commands: &[Command]) -> Vec<&'static str> {
    let told = commands.iter().filter_map(|command| match command {
        Command::Record(Happened::BecameHealthy) => Some("healthy"),
        Command::Record(Happened::BecameUnhealthy { .. }) => Some("unhealthy"),
        _ => None,
    });
    told.collect()
}

/// A cluster that is whole, whose controller has just stored that, and its agents' reports from before that order.
fn whole(shards: u32) -> (Controller, Reports) {
    let (mut controller, given) = ordered(shards, |_| ());
    let places: BTreeMap<_, _> =
        given.iter().map(|(name, order)| (name.clone(), own_address(order))).collect();
    let running: BTreeMap<_, _> =
        given.iter().map(|(name, order)| (name.clone(), runs(order, |_| true))).collect();
    let commands = seen_at(&mut controller, 1, running.clone());
    assert_eq!(told(&commands), ["healthy"]);
    assert!(commands.iter().any(|command| matches!(command, Command::Commit { .. })), "it is founded");
    controller.handle(Millis(2), Event::Committed(Ok(())));
    controller.handle(Millis(2), Event::Provisioned(Ok(places)));
    (controller, running)
}

/// Alerts hang on these events: an order that is on its way is no trouble, one that is not obeyed is.
#[test]
fn a_cluster_is_not_unwell_for_an_order_that_is_on_its_way() {
    let (mut controller, running) = whole(3);
    assert_eq!(told(&seen_at(&mut controller, 3, running.clone())), [""; 0]);
    controller.handle(Millis(5_004), Event::Tick);
    assert_eq!(told(&seen_at(&mut controller, 5_004, running)), ["unhealthy"]);
}

#[test]
fn a_fence_is_done_when_its_server_is_down() {
    let (mut controller, running) = whole(3);
    let fenced = name(3);
    let ask =
        Event::Asked { token: Token(7), request: Request::Fence { instance: fenced.clone(), force: false } };
    controller.handle(Millis(3), ask);
    let commands = seen_at(&mut controller, 4, running.clone());
    let commands = [commands, seen_at(&mut controller, 5, running.clone())].concat();
    assert!(commands.iter().any(|command| matches!(command, Command::Commit { .. })), "{commands:?}");
    let answered = |commands: &[Command]| {
        commands.iter().any(|command| matches!(command, Command::Answer { token: Token(7), .. }))
    };
    assert!(!answered(&commands));
    controller.handle(Millis(6), Event::Committed(Ok(())));
    controller.handle(Millis(6), Event::Provisioned(Ok(BTreeMap::new())));
    assert!(!answered(&seen_at(&mut controller, 7, running.clone())), "its server still runs");
    let mut down = running;
    if let Some(Observed::Known(report)) = down.get_mut(&fenced) {
        report.process = Process::Down;
        report.server = Observed::Unknown(Unseen::NotRunning);
    }
    controller.handle(Millis(5_000), Event::Tick);
    assert!(answered(&seen_at(&mut controller, 5_000, down)));
}

/// The same reports by agents that obey that generation.
fn obeying(reports: &Reports, generation: Generation) -> Reports {
    let mut reports = reports.clone();
    for report in reports.values_mut() {
        if let Observed::Known(report) = report {
            report.generation = generation;
        }
    }
    reports
}

/// A cluster that is whole and at rest, one instance of which has just been fenced: its controller, what its agents reported before, and
/// the orders that go out for the fence.
fn fenced(shards: u32, instance: &InstanceName) -> (Controller, Reports, BTreeMap<InstanceName, AgentOrder>) {
    let (mut controller, running) = whole(shards);
    let reports = obeying(&running, controller.generation().expect("a layout"));
    let request = Request::Fence { instance: instance.clone(), force: false };
    controller.handle(Millis(3), Event::Asked { token: Token(7), request });
    let mut commands = seen_at(&mut controller, 4, reports.clone());
    controller.handle(Millis(5_004), Event::Tick);
    commands.extend(seen_at(&mut controller, 5_005, reports.clone()));
    assert!(commands.iter().any(|command| matches!(command, Command::Commit { .. })), "it is not fenced");
    controller.handle(Millis(5_006), Event::Committed(Ok(())));
    let told = orders(controller.handle(Millis(5_006), Event::Provisioned(Ok(BTreeMap::new()))));
    (controller, reports, told)
}

#[test]
fn a_commit_that_concerns_one_instance_is_told_to_that_one() {
    let mut costs = Vec::new();
    for shards in [50, 500] {
        let instance = name(shards + 1);
        let (mut controller, mut reports, told) = fenced(shards, &instance);
        assert_eq!(told.keys().collect::<Vec<_>>(), [&instance]);
        let order = &told[&instance];
        costs.push(serde_json::to_vec(order).expect("json").len());
        // All others go on by the orders that they have, and nothing is amiss with that.
        reports.insert(instance, obeys(order));
        let commands = seen_at(&mut controller, 5_007, reports);
        let report = commands.iter().find_map(|command| match command {
            Command::Publish(report) => Some(report),
            _ => None,
        });
        let waiting = &report.expect("a report").waiting;
        assert!(!waiting.iter().any(|one| matches!(one, Waiting::OldOrder { .. })), "{waiting:?}");
        assert_eq!(orders(commands), BTreeMap::new());
    }
    let [small, large] = costs[..] else { panic!("two sizes") };
    assert!(large < small * 11, "{small} bytes for 100 instances, {large} for 1,000");
}

#[test]
fn an_agent_that_is_behind_is_told_again_alone() {
    let (mut controller, reports, _) = fenced(3, &name(4));
    let told = orders(seen_at(&mut controller, 5_007, reports));
    assert_eq!(told.keys().collect::<Vec<_>>(), [&name(4)]);
}

/// What a store says reaches who asked and the status as it was said, so that a hint is about that.
#[test]
fn what_keeps_a_layout_from_being_stored_is_told() {
    let full = || StoreError::NotWritten { fault: StorageFault::DiskFull, why: "no space".to_owned() };
    let fails: [(CommitError, Refusal); 2] = [
        (full().into(), Refusal::NotStored { error: full() }),
        (CommitError::Conflict, Refusal::ChangedMeanwhile),
    ];
    for (error, refusal) in fails {
        let (mut controller, given) = ordered(3, |_| ());
        let seen = || Observation {
            at: Millis(1),
            instances: given.iter().map(|(name, order)| (name.clone(), obeys(order))).collect(),
            ..Observation::default()
        };
        controller.handle(Millis(1), Event::Observed(seen()));
        let request = Request::Fence { instance: name(3), force: true };
        controller.handle(Millis(2), Event::Asked { token: Token(7), request });
        let commands = controller.handle(Millis(3), Event::Observed(seen()));
        assert_eq!(committed(&commands).len(), 1, "{commands:?}");
        let is_conflict = error == CommitError::Conflict;
        let commands = controller.handle(Millis(4), Event::Committed(Err(error)));
        let answer = Command::Answer { token: Token(7), result: Err(refusal) };
        assert!(commands.contains(&answer), "{commands:?}");
        let reason = Waiting::StoreFailed { error: full() };
        let told = commands.iter().any(
            |one| matches!(one, Command::Publish(report) if !report.healthy && report.waiting.contains(&reason)),
        );
        assert_eq!((told, commands.contains(&Command::Load)), (!is_conflict, is_conflict), "{commands:?}");
    }
}
