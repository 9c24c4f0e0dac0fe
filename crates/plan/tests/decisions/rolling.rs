//! Servers are restarted one after the other: whose turn it is, what the canary decides, and the way back.

use crate::ordered::{Counted, name, ordered, own_address, runs, spec, started};
use std::collections::{BTreeMap, BTreeSet};
use valkeeper_model::{
    AgentOrder, AgentReport, Ask, ClusterSpec, EngineKind, ImageVersion, Incarnation, InstanceName, Layout,
    Millis, Observation, Observed, Operation, OperationName, PodTemplate, PrimaryUpdate, Process, Refusal,
    RestartPolicy, Roll, RollCheckpoint, RollFault, RollRefusal, RollWaiting, ServerVersion, StartFailure,
    TemplateHash, Unseen, Waiting,
};
use valkeeper_plan::controller::{Command, Event, change};
use valkeeper_plan::operations::roll::{self, Next, Unwell, Watched};
use valkeeper_plan::placement::Placing;
use valkeeper_plan::view::cluster_view::ClusterView;
use valkeeper_plan::view::health;

/// A cluster that runs as it was founded, and what is done to it.
struct World {
    layout: Layout,
    seen: Observation,
}

fn wanted(shards: u32) -> ClusterSpec {
    let mut wanted = spec(shards);
    wanted.directives.insert("databases".to_owned(), "4".to_owned());
    wanted
}

fn follow(layout: &Layout, spec: &ClusterSpec) -> Result<Layout, Refusal> {
    change::follow(layout, spec, None, &mut Placing { zones: &[], ids: &mut Counted(1_000) })
}

fn valkey(version: &str) -> ServerVersion {
    ServerVersion { engine: EngineKind::Valkey, version: version.to_owned() }
}

impl World {
    fn founded(shards: u32) -> (Self, BTreeMap<InstanceName, AgentOrder>) {
        let (founder, given) = ordered(shards, |_| ());
        let layout = founder.layout().expect("a layout").clone().founded();
        let instances = given.iter().map(|(name, order)| (name.clone(), runs(order, |_| true))).collect();
        let seen = Observation { at: Millis(1), instances, ..Observation::default() };
        (Self { layout, seen }, given)
    }

    /// Its manifest says something else, which all agents obey; each server needs a restart for it.
    fn changed(shards: u32, wanted: &ClusterSpec) -> Self {
        let (mut world, _) = Self::founded(shards);
        world.layout = follow(&world.layout, wanted).expect("it is followed");
        world.all_obey();
        world.each(|report| view(report).config_refused = vec!["databases".to_owned()]);
        world
    }

    fn all_obey(&mut self) {
        let generation = self.layout.generation;
        self.each(|report| report.generation = generation);
    }

    fn each(&mut self, change: impl Fn(&mut AgentReport)) {
        for report in self.seen.instances.values_mut() {
            if let Observed::Known(report) = report {
                change(report);
            }
        }
    }

    fn report(&mut self, of: &InstanceName) -> &mut AgentReport {
        let Some(Observed::Known(report)) = self.seen.instances.get_mut(of) else { panic!("a report") };
        report
    }

    fn roll(&mut self) -> &mut Roll {
        let Some(Operation::Roll(roll)) = self.layout.operations.get_mut(&OperationName::roll()) else {
            panic!("a roll")
        };
        roll
    }

    fn next(&self, watched: &Watched) -> Next {
        let cluster_view = ClusterView::new(&self.layout, &self.seen);
        roll::next(&cluster_view, self.layout.roll().expect("a roll"), watched)
    }

    /// Their turn has come, and they are restarted.
    fn restart(&mut self, instances: &[InstanceName]) {
        for instance in instances {
            self.roll().turned.insert(instance.clone());
            self.roll().kept.remove(instance);
            let report = self.report(instance);
            view(report).config_refused.clear();
            report.process = Process::Running { incarnation: Incarnation(2), pid: Some(2) };
        }
    }

    /// Goes on until nothing more is due; whose turns came.
    fn turns(&mut self, watched: &Watched) -> (Vec<Vec<InstanceName>>, Next) {
        let mut turns = Vec::new();
        loop {
            match self.next(watched) {
                Next::Turn(instances) => {
                    self.restart(&instances);
                    turns.push(instances);
                }
                Next::GoOn(checkpoint) => self.roll().checkpoint = checkpoint,
                other => return (turns, other),
            }
        }
    }
}

fn view(report: &mut AgentReport) -> &mut valkeeper_model::ServerView {
    let Observed::Known(view) = &mut report.server else { panic!("a view") };
    view
}

fn watched_for(canary_well_ms: u64) -> Watched {
    Watched { canary_well_ms, ..Watched::default() }
}

fn not_started() -> StartFailure {
    StartFailure::Exited { detail: "no".to_owned() }
}

/// That instance cannot be started, for so long.
fn fails(world: &mut World, instance: &InstanceName, for_ms: u64) -> Watched {
    let failed = Waiting::StartFailed { instance: instance.clone(), failure: not_started() };
    let report = world.report(instance);
    report.process = Process::Down;
    report.server = Observed::Unknown(Unseen::NotRunning);
    report.waiting = Some(failed);
    let unwell = BTreeMap::from([(instance.clone(), Unwell { for_ms, runs: 1 })]);
    Watched { unwell, ..Watched::default() }
}

#[test]
fn the_canary_shard_goes_first_its_replicas_before_its_primary_and_is_watched() {
    let mut world = World::changed(3, &wanted(3));
    let (turns, then) = world.turns(&watched_for(29_999));
    assert_eq!(turns, [vec![name(3)], vec![name(0)]]);
    assert!(matches!(then, Next::Wait(Some(Refusal::Roll(RollRefusal::CanaryWatched { .. })))), "{then:?}");
    // Each of the others is one disruption, and two primaries of three are left alone (law 6).
    let (turns, then) = world.turns(&watched_for(30_000));
    assert_eq!(turns, [vec![name(4)], vec![name(1)], vec![name(5)], vec![name(2)]]);
    assert_eq!(then, Next::Done);
}

#[test]
fn many_shards_go_at_a_time_as_far_as_a_majority_is_left_alone() {
    let mut world = World::changed(9, &wanted(9));
    let (turns, then) = world.turns(&watched_for(30_000));
    assert_eq!(then, Next::Done);
    assert_eq!(turns.iter().flatten().collect::<BTreeSet<_>>().len(), 18, "each once: {turns:?}");
    assert_eq!(turns.iter().map(Vec::len).max(), Some(4), "{turns:?}");
    assert!(turns[..2].iter().all(|turn| turn.len() == 1), "{turns:?}");
    // What the ledger counts already is left alone too.
    let mut world = World::changed(9, &wanted(9));
    world.roll().checkpoint = RollCheckpoint::Rest;
    let Next::Turn(first) = world.next(&Watched::default()) else { panic!("their turn") };
    let shard = world.layout.instances[&first[0]].shard.clone();
    let entry = valkeeper_model::Disturbance {
        shard,
        by: valkeeper_model::DisturbedBy::Operation(OperationName::roll()),
        incarnation: Some(Incarnation(1)),
        since: world.layout.version(),
        newer: valkeeper_model::NewerFields::default(),
    };
    world.layout.ledger.insert(first[0].clone(), entry);
    let Next::Turn(second) = world.next(&Watched::default()) else { panic!("their turn") };
    assert!(second.len() == 3 && !second.contains(&first[0]), "{first:?} {second:?}");
}

#[test]
fn what_servers_take_while_they_run_restarts_nobody() {
    let mut world = World::changed(3, &wanted(3));
    world.each(|report| view(report).config_refused.clear());
    assert_eq!(world.next(&Watched::default()), Next::Done);
    // Not before all have compared it, nor while something is being set.
    view(world.report(&name(4))).config_drift = vec!["databases".to_owned()];
    assert!(matches!(world.next(&Watched::default()), Next::Wait(Some(_))));
    view(world.report(&name(4))).config_drift.clear();
    world.report(&name(5)).generation.0 -= 1;
    assert!(matches!(world.next(&Watched::default()), Next::Wait(Some(_))));
}

#[test]
fn nobody_is_disturbed_beside_one_that_is_not_seen() {
    let mut world = World::changed(3, &wanted(3));
    world.seen.instances.insert(name(5), Observed::Unknown(Unseen::Timeout));
    let next = world.next(&Watched::default());
    assert!(matches!(next, Next::Wait(Some(Refusal::Roll(RollRefusal::NotSeen { .. })))), "{next:?}");
}

#[test]
fn a_canary_that_does_not_start_goes_back_and_is_not_tried_again() {
    let wanted = wanted(3);
    let mut world = World::changed(3, &wanted);
    let before = world.roll().from.clone();
    world.restart(&[name(3)]);
    let short = fails(&mut world, &name(3), 1_000);
    assert!(!matches!(world.next(&short), Next::Return(_) | Next::Turn(_)), "it is given time");
    let long = fails(&mut world, &name(3), 10_000);
    let Next::Return(why) = world.next(&long) else { panic!("{:?}", world.next(&long)) };
    assert_eq!(why, RollFault::StartFailed { instance: name(3), failure: not_started() });
    let rolled = world.roll().clone();
    world.layout = roll::returned(&world.layout, &rolled, why, &BTreeSet::from([name(3)]));
    assert_eq!(world.layout.setup(), before);
    assert_eq!(world.roll().checkpoint, RollCheckpoint::Returning);
    // The same manifest leaves it as it is, by whomever it is read; another one is tried.
    assert_eq!(follow(&world.layout, &wanted).expect("followed"), world.layout);
    let mut other = wanted;
    other.directives.insert("databases".to_owned(), "5".to_owned());
    let next = follow(&world.layout, &other).expect("followed");
    assert!(next.given_up.is_none() && next.roll().is_some_and(|roll| roll.from == before));
    // None was restarted but the one that comes up by itself.
    world.all_obey();
    let (_, given) = World::founded(3);
    world.seen.instances.insert(name(3), runs(&given[&name(3)], |_| true));
    world.each(|report| view(report).config_refused.clear());
    world.all_obey();
    assert_eq!(world.next(&Watched::default()), Next::Done);
}

#[test]
fn other_ways_not_to_get_well() {
    let unwell = |for_ms, runs| Watched {
        unwell: BTreeMap::from([(name(3), Unwell { for_ms, runs })]),
        ..Watched::default()
    };
    let lost = |world: &mut World| {
        world.restart(&[name(3)]);
        let part = valkeeper_model::Part::Replica { link: valkeeper_model::Link::Lost };
        view(world.report(&name(3))).replication.part = part;
    };
    let mut world = World::changed(3, &wanted(3));
    lost(&mut world);
    assert!(!matches!(world.next(&unwell(30_000, 1)), Next::Return(_)));
    assert_eq!(world.next(&unwell(60_000, 1)), Next::Return(RollFault::NotWell { instance: name(3) }));
    assert_eq!(world.next(&unwell(5_000, 5)), Next::Return(RollFault::CrashLoop { instance: name(3) }));
    // A copy takes as long as it takes.
    let part = valkeeper_model::Part::Replica { link: valkeeper_model::Link::Syncing };
    view(world.report(&name(3))).replication.part = part;
    assert!(!matches!(world.next(&unwell(600_000, 1)), Next::Return(_)));
    // It was restarted, and still needs it.
    let mut world = World::changed(3, &wanted(3));
    world.roll().turned.insert(name(3));
    assert_eq!(world.next(&unwell(10_000, 1)), Next::Return(RollFault::NotTaken { instance: name(3) }));
}

#[test]
fn a_version_is_kept_until_the_turn_comes_and_the_way_back_turns_those_alone() {
    let mut running = spec(3);
    running.version = Some(valkey("9.0.0"));
    let mut wanted = running.clone();
    wanted.version = Some(valkey("9.1.2"));
    let (mut world, _) = World::founded(3);
    world.layout.version.clone_from(&running.version);
    world.each(|report| view(report).version = "9.0.0".to_owned());
    world.layout = follow(&world.layout, &wanted).expect("followed");
    world.all_obey();
    assert!((0..6).all(|n| world.layout.version_of(&name(n)) == running.version.as_ref()));
    world.restart(&[name(3)]);
    view(world.report(&name(3))).version = "9.1.2".to_owned();
    assert_eq!(world.layout.version_of(&name(3)), wanted.version.as_ref());
    // The old manifest, in the middle.
    world.layout = follow(&world.layout, &running).expect("followed");
    world.all_obey();
    let kept = world.roll().kept.iter().filter(|(_, kept)| kept.version.is_some());
    assert_eq!(kept.map(|(name, _)| name.clone()).collect::<Vec<_>>(), [name(3)]);
    assert_eq!(world.next(&Watched::default()), Next::Turn(vec![name(3)]));
    // By hand: nothing is kept, and nobody's turn comes.
    wanted.update.restart = RestartPolicy::Manual;
    let manual = follow(&world.layout, &wanted).expect("followed");
    assert!(manual.roll().is_none() && manual.version_of(&name(0)) == wanted.version.as_ref());
}

#[test]
fn what_cannot_be_read_is_refused_and_not_gone_back_to() {
    let mut wanted = spec(3);
    let (mut world, _) = World::founded(3);
    world.layout.version = Some(valkey("9.1.2"));
    wanted.version = Some(valkey("8.1.0"));
    let refused = follow(&world.layout, &wanted);
    assert!(matches!(refused, Err(Refusal::Roll(RollRefusal::CannotRead { .. }))), "{refused:?}");
    // The other way is followed. Once a primary writes what the former does not read there is no way back.
    world.layout.version = Some(valkey("8.1.0"));
    wanted.version = Some(valkey("9.1.2"));
    world.each(|report| view(report).version = "8.1.0".to_owned());
    world.layout = follow(&world.layout, &wanted).expect("followed");
    world.all_obey();
    world.restart(&[name(3)]);
    let failed = fails(&mut world, &name(3), 10_000);
    assert!(matches!(world.next(&failed), Next::Return(_)));
    view(world.report(&name(0))).version = "9.1.2".to_owned();
    assert!(matches!(world.next(&failed), Next::Wait(Some(Refusal::Roll(RollRefusal::NotWell { .. })))));
}

/// Of pods it is known by the names of their images, and by what their servers say.
#[test]
fn an_image_whose_server_cannot_read_the_data_is_refused() {
    let with = |image: &str| {
        let body = serde_json::json!({ "image": image });
        let serves = ImageVersion::of(image).server();
        let template = PodTemplate { hash: TemplateHash::new(image), body, serves };
        ClusterSpec { pod_template: Some(template), ..spec(3) }
    };
    let refused = |result: &Result<Layout, Refusal>| {
        matches!(result, Err(Refusal::Roll(RollRefusal::CannotRead { .. })))
    };
    let (mut world, _) = World::founded(3);
    world.layout = follow(&world.layout, &with("valkey/valkey:9.1.2")).expect("it is followed");
    // Also before anybody has looked: an operator that was refused it and starts again must not begin it.
    assert!(refused(&follow(&world.layout, &with("valkey/valkey:8.1.0"))));
    for image in ["valkey/valkey:9.0", "valkey/valkey:latest", "own/server:1"] {
        assert!(follow(&world.layout, &with(image)).is_ok(), "{image}");
    }
    // An image that does not tell: its servers do.
    world.layout = follow(&world.layout, &with("own/server:1")).expect("it is followed");
    world.all_obey();
    world.each(|report| view(report).engine = Some(EngineKind::Valkey));
    let report = health::judge(&ClusterView::new(&world.layout, &world.seen));
    let mut placing = Placing { zones: &[], ids: &mut Counted(1_000) };
    let by_report = change::follow(&world.layout, &with("redis:7.0.15"), Some(&report), &mut placing);
    assert!(refused(&by_report), "{by_report:?}");
}

#[test]
fn a_restart_is_told_after_the_ledger_counts_it_and_by_the_next_controller_too() {
    let world = World::changed(3, &wanted(3));
    let (_, given) = World::founded(3);
    let places = || given.iter().map(|(name, order)| (name.clone(), own_address(order))).collect();
    let start = |layout: &Layout| started(wanted(3), layout.clone(), &given).0;
    let told = |commands: &[Command]| -> Vec<InstanceName> {
        let restarts = commands.iter().filter_map(|command| match command {
            Command::Tell { to, ask: Ask::Restart, .. } => Some(to.clone()),
            _ => None,
        });
        restarts.collect()
    };
    let mut controller = start(&world.layout);
    let said = controller.handle(Millis(1), Event::Observed(world.seen.clone()));
    assert_eq!(told(&said), [], "told before it is counted");
    let committed = said.iter().find_map(|command| match command {
        Command::Commit { layout, .. } => Some(Layout::clone(layout)),
        _ => None,
    });
    let committed = committed.expect("its turn is stored");
    assert!(
        committed.ledger.contains_key(&name(3))
            && committed.roll().is_some_and(|roll| roll.turned.len() == 1)
    );
    controller.handle(Millis(2), Event::Committed(Ok(())));
    controller.handle(Millis(2), Event::Provisioned(Ok(places())));
    let said = controller.handle(Millis(3), Event::Observed(world.seen.clone()));
    assert_eq!(told(&said), [], "its agent would start it as it was");
    let mut world = World { layout: committed.clone(), seen: world.seen };
    world.all_obey();
    controller.handle(Millis(5_000), Event::Tick);
    let said = controller.handle(Millis(5_001), Event::Observed(world.seen.clone()));
    assert_eq!(told(&said), [name(3)]);
    controller.handle(Millis(10_000), Event::Tick);
    let mut after = start(&committed);
    let said = after.handle(Millis(3), Event::Observed(world.seen.clone()));
    assert_eq!(told(&said), [name(3)]);
}

#[test]
fn primaries_wait_for_an_approval_and_all_replicas_come_first() {
    let mut wanted = wanted(3);
    wanted.update.primaries = PrimaryUpdate::Supervised;
    let mut world = World::changed(3, &wanted);
    let (turns, end) = world.turns(&watched_for(60_000));
    let mut turned: Vec<_> = turns.concat();
    turned.sort();
    assert_eq!(turned, [name(3), name(4), name(5)]);
    assert_eq!(end, Next::Wait(Some(RollRefusal::AwaitsApproval.into())));
    // The same manifest again approves of nothing; one that asks nobody does, and so does the command.
    let same = follow(&world.layout, &wanted).expect("followed");
    assert_eq!(same.roll().map(|roll| roll.target.primaries), Some(PrimaryUpdate::Supervised));
    wanted.update.primaries = PrimaryUpdate::Unsupervised;
    let free = follow(&world.layout, &wanted).expect("followed");
    assert_eq!(free.roll().map(|roll| roll.target.primaries), Some(PrimaryUpdate::Unsupervised));
    assert!(roll::approve(&mut world.layout) && !roll::approve(&mut world.layout));
    let (turns, end) = world.turns(&watched_for(60_000));
    assert_eq!((turns.concat().len(), end), (3, Next::Done));
}

/// Pods are replaced as servers are restarted: the former template stays until their turn, and comes back with the canary.
#[test]
fn pods_of_another_template_are_replaced_in_their_turn() {
    let hash = |text: &str| TemplateHash::new(text);
    let with = |text: &str| {
        let body = serde_json::json!({ "image": text });
        let template = PodTemplate { hash: hash(text), body, serves: None };
        ClusterSpec { pod_template: Some(template), ..spec(3) }
    };
    let (mut world, _) = World::founded(3);
    // Of pods that an older version has made nobody knows how: they are as they should be.
    world.layout = follow(&world.layout, &with("old")).expect("it is followed");
    assert!(world.layout.roll().is_none());
    world.all_obey();
    world.each(|report| report.pod_template = Some(TemplateHash::new("old")));
    // A server that has never run keeps nothing.
    world.seen.instances.insert(name(5), Observed::Unknown(Unseen::Timeout));
    let report = health::judge(&ClusterView::new(&world.layout, &world.seen));
    let mut placing = Placing { zones: &[], ids: &mut Counted(1_000) };
    world.layout =
        change::follow(&world.layout, &with("new"), Some(&report), &mut placing).expect("it is followed");
    let made_by = |world: &World, nth: u32| world.layout.pod_template_of(&name(nth)).cloned();
    assert_eq!([0, 3, 5].map(|nth| made_by(&world, nth)), [hash("old"), hash("old"), hash("new")].map(Some));
    assert_eq!(world.layout.pod_templates.len(), 2);
    world.seen.instances.insert(name(5), world.seen.instances[&name(4)].clone());
    world.report(&name(5)).pod_template = Some(hash("new"));
    world.all_obey();
    assert_eq!(world.next(&Watched::default()), Next::Turn(vec![name(3)]));
    // Its pod is on its way: the image may have to be pulled.
    world.roll().turned.insert(name(3));
    world.roll().kept.remove(&name(3));
    assert_eq!(made_by(&world, 3), Some(hash("new")));
    world.seen.instances.insert(name(3), Observed::Unknown(Unseen::Timeout));
    let unseen = |for_ms| {
        let unwell = BTreeMap::from([(name(3), Unwell { for_ms, runs: 0 })]);
        Watched { unwell, ..Watched::default() }
    };
    assert!(matches!(world.next(&unseen(179_999)), Next::Wait(_)));
    // Kubernetes says that its image cannot be had: it is asked for some more times, and no longer.
    world.seen.not_starting.insert(name(3), not_started());
    assert!(matches!(world.next(&unseen(19_999)), Next::Wait(_)));
    let fault = RollFault::StartFailed { instance: name(3), failure: not_started() };
    assert_eq!(world.next(&unseen(20_000)), Next::Return(fault));
    world.seen.not_starting.clear();
    let Next::Return(why) = world.next(&unseen(180_000)) else { panic!("it returns") };
    let roll = world.roll().clone();
    let back = roll::returned(&world.layout, &roll, why, &BTreeSet::from([name(3)]));
    assert_eq!(back.pod_template_of(&name(3)), Some(&hash("old")));
    assert_eq!(back.pod_template, Some(hash("old")));
    // A person replaces them where the manifest says so: each that is to be replaced is told.
    let told = |world: &World| {
        let report = health::judge(&ClusterView::new(&world.layout, &world.seen));
        let due = |waiting: &Waiting| matches!(waiting, Waiting::Roll(RollWaiting::ReplacementDue { .. }));
        let needed =
            |waiting: &Waiting| matches!(waiting, Waiting::Roll(RollWaiting::ReplacementNeeded { .. }));
        let count = |of: &dyn Fn(&Waiting) -> bool| report.waiting.iter().filter(|one| of(one)).count();
        [count(&due), count(&needed)]
    };
    assert_eq!(told(&world), [4, 0]);
    world.layout.operations.remove(&OperationName::roll());
    assert_eq!(told(&world), [0, 4]);
}
