//! Law 6 across controllers: what is disturbed on purpose is stored before it is begun, and ends by what is seen.

use crate::ordered::{name, ordered, orders, runs, spec, started};
use std::collections::BTreeMap;
use std::sync::Arc;
use valkeeper_model::{
    Activity, AgentOrder, AgentReport, Answer, Ask, AskFailed, DisturbanceEnd, DisturbedBy,
    DisturbingRequest, Epoch, Happened, Incarnation, InstanceName, Layout, Link, Millis, Observation,
    Observed, Operation, OperationName, Part, Refusal, Replication, Request, Role, RoleSwitch, ShardName,
    SlotSet, SwitchCheckpoint, SwitchTarget, Topology, Unseen, Waiting,
};
use valkeeper_plan::agent::Token;
use valkeeper_plan::controller::{Command, Controller, Event};
use valkeeper_plan::operations::stored::{self, Next};
use valkeeper_plan::view::cluster_view::ClusterView;

type Orders = BTreeMap<InstanceName, AgentOrder>;
type Reports = BTreeMap<InstanceName, Observed<AgentReport>>;

fn shard(n: u32) -> ShardName {
    ShardName::nth(n)
}

/// A founded cluster of three shards whose controller has been started on that layout, and the orders.
fn controls(change: impl FnOnce(&mut Layout, &Orders)) -> (Controller, Orders) {
    let (founder, given) = ordered(3, |_| ());
    let mut layout = founder.layout().expect("a layout").clone().founded();
    change(&mut layout, &given);
    started(spec(3), layout, &given)
}

fn report(reports: &mut Reports, of: u32) -> &mut AgentReport {
    let Some(Observed::Known(report)) = reports.get_mut(&name(of)) else { panic!("a report") };
    report
}

/// All run as they were founded.
fn at_rest(told: &Orders) -> Reports {
    let known = |report: AgentReport| AgentReport { activity: Activity::Watching, ..report };
    let runs = |(name, order): (&InstanceName, &AgentOrder)| {
        let Observed::Known(report) = runs(order, |_| true) else { panic!("a report") };
        (name.clone(), Observed::Known(known(report)))
    };
    told.iter().map(runs).collect()
}

/// The roles of the first shard are swapped, and everybody knows.
fn handed_over(told: &Orders) -> Reports {
    let mut reports = at_rest(told);
    let (old, new) = (told[&name(0)].members[&name(0)].node_id, told[&name(0)].members[&name(3)].node_id);
    for of in 0..6 {
        let Observed::Known(view) = &mut report(&mut reports, of).server else { panic!("a view") };
        let mut topology = Topology::clone(&view.topology);
        let slots = std::mem::replace(&mut topology.get_mut(&old).expect("it").slots, SlotSet::empty());
        let (was, is) = (Role::Replica, Role::Primary);
        let line = topology.get_mut(&old).expect("it");
        (line.role, line.primary) = (was, Some(new));
        let line = topology.get_mut(&new).expect("it");
        (line.role, line.primary, line.slots, line.config_epoch) = (is, None, slots, Epoch(9));
        view.topology = Arc::new(topology);
        let part = match of {
            0 => Some(Part::Replica { link: Link::Up }),
            3 => Some(Part::Primary { replicas: Vec::new() }),
            _ => None,
        };
        if let Some(part) = part {
            view.replication = Replication { part, ..view.replication.clone() };
        }
    }
    reports
}

fn look(controller: &mut Controller, at: u64, reports: &Reports) -> Vec<Command> {
    let mut commands = controller.handle(Millis(at), Event::Tick);
    let seen = Observation { at: Millis(at), instances: reports.clone(), ..Observation::default() };
    commands.extend(controller.handle(Millis(at), Event::Observed(seen)));
    commands
}

fn ask(
    controller: &mut Controller,
    at: u64,
    reports: &Reports,
    token: u64,
    request: Request,
) -> Vec<Command> {
    controller.handle(Millis(at), Event::Asked { token: Token(token), request });
    [look(controller, at, reports), look(controller, at, reports)].concat()
}

fn switchover(n: u32) -> Request {
    Request::Switchover { shard: Some(shard(n)), to: None }
}

fn committed(commands: &[Command]) -> Option<Layout> {
    commands.iter().find_map(|command| match command {
        Command::Commit { layout, .. } => Some((**layout).clone()),
        _ => None,
    })
}

/// Who is told to hand over.
fn told_to_hand_over(commands: &[Command]) -> Vec<(Token, InstanceName)> {
    let told = commands.iter().filter_map(|command| match command {
        Command::Tell { token, to, ask: Ask::HandOver { .. }, .. } => Some((*token, to.clone())),
        _ => None,
    });
    told.collect()
}

fn refusals(commands: &[Command]) -> Vec<Refusal> {
    let refused = commands.iter().filter_map(|command| match command {
        Command::Answer { result: Err(refusal), .. } => Some(refusal.clone()),
        _ => None,
    });
    refused.collect()
}

#[test]
fn a_switchover_is_counted_before_it_is_told_and_until_another_is_seen() {
    let (mut controller, told) = controls(|_, _| ());
    let reports = at_rest(&told);
    look(&mut controller, 10, &reports);
    let commands = ask(&mut controller, 2_000, &reports, 7, switchover(0));
    let stored = committed(&commands).expect("a commit");
    assert_eq!(told_to_hand_over(&commands), [], "before it is stored");
    let before = controller.layout().expect("a layout").clone();
    let entry = &stored.ledger[&name(0)];
    assert_eq!(entry.by, DisturbedBy::Request(DisturbingRequest::Switchover));
    assert_eq!((entry.incarnation, entry.since), (Some(Incarnation(1)), stored.version()));
    assert_eq!((stored.generation, stored.revision), (before.generation, before.revision + 1));
    let commands = controller.handle(Millis(2_001), Event::Committed(Ok(())));
    let sent = told_to_hand_over(&commands);
    assert!(matches!(&sent[..], [(_, to)] if *to == name(0)), "{commands:?}");
    // No agent is told anything else of it, and nobody needs another place.
    assert!(!commands.iter().any(|one| matches!(one, Command::Order(_) | Command::Provision(_))));

    // Another shard is refused, whatever is seen: the order may be on its way.
    let refused = refusals(&ask(&mut controller, 2_100, &reports, 8, switchover(1)));
    assert_eq!(refused, [Refusal::MajorityAtRisk { alive: 1, of: 3 }]);
    let refused = refusals(&ask(&mut controller, 2_200, &reports, 9, Request::Restart { instance: name(3) }));
    assert!(
        matches!(&refused[..], [Refusal::Disrupted { shard: which, .. }] if *which == shard(0)),
        "{refused:?}"
    );

    // The answer alone ends nothing.
    let result = Ok(Answer::Done);
    controller.handle(Millis(2_300), Event::Told { token: sent[0].0, result });
    assert_eq!(committed(&look(&mut controller, 2_400, &reports)), None);
    let commands = look(&mut controller, 4_000, &handed_over(&told));
    let over = committed(&commands).expect("a commit");
    assert!(over.ledger.is_empty() && over.generation == before.generation);
}

#[test]
fn a_refusal_ends_it_at_the_next_look() {
    let (mut controller, told) = controls(|_, _| ());
    let reports = at_rest(&told);
    look(&mut controller, 10, &reports);
    ask(&mut controller, 2_000, &reports, 7, switchover(0));
    let commands = controller.handle(Millis(2_001), Event::Committed(Ok(())));
    let sent = told_to_hand_over(&commands);
    let result = Err(AskFailed::Refused("no".to_owned()));
    controller.handle(Millis(2_010), Event::Told { token: sent[0].0, result });
    // This look was begun before the refusal came.
    let seen = Observation { at: Millis(2_011), instances: reports.clone(), ..Observation::default() };
    assert_eq!(committed(&controller.handle(Millis(2_011), Event::Observed(seen))), None);
    let over = committed(&look(&mut controller, 3_500, &reports)).expect("a commit");
    assert!(over.ledger.is_empty());
    let commands = controller.handle(Millis(3_501), Event::Committed(Ok(())));
    let why = commands.into_iter().find_map(|command| match command {
        Command::Record(Happened::DisturbanceEnded { instance, why, .. }) => Some((instance, why)),
        _ => None,
    });
    assert_eq!(why, Some((name(0), DisturbanceEnd::NotBegun)));
}

/// The layout of a controller that has died after it has stored what it disturbs.
fn left_behind() -> (Layout, Orders) {
    let (mut controller, told) = controls(|_, _| ());
    let reports = at_rest(&told);
    look(&mut controller, 10, &reports);
    let commands = ask(&mut controller, 2_000, &reports, 7, switchover(0));
    (committed(&commands).expect("a commit"), told)
}

#[test]
fn a_controller_that_starts_in_the_middle_counts_what_another_has_begun() {
    let (layout, given) = left_behind();
    let (mut controller, told) = started(spec(3), layout, &given);
    let reports = at_rest(&told);
    look(&mut controller, 10, &reports);
    let refused = refusals(&ask(&mut controller, 1_100, &reports, 8, switchover(1)));
    assert_eq!(refused, [Refusal::MajorityAtRisk { alive: 1, of: 3 }]);
    // Nobody knows whether the primary was told: that it rests is believed after a while.
    assert_eq!(committed(&look(&mut controller, 9_000, &reports)), None);
    let over = committed(&look(&mut controller, 11_200, &reports)).expect("a commit");
    assert!(over.ledger.is_empty());
}

#[test]
fn what_is_seen_to_go_on_is_not_over_and_the_unknown_is_not_at_rest() {
    let (layout, given) = left_behind();
    let (mut controller, told) = started(spec(3), layout, &given);
    let mut reports = at_rest(&told);
    report(&mut reports, 0).activity = Activity::HandingOver;
    for at in [10, 20_000, 40_000] {
        assert_eq!(committed(&look(&mut controller, at, &reports)), None, "{at}");
    }
    reports.insert(name(0), Observed::Unknown(Unseen::Timeout));
    for at in [60_000, 80_000] {
        assert_eq!(committed(&look(&mut controller, at, &reports)), None, "{at}");
    }
}

#[test]
fn stale_entries_end_with_a_reason() {
    let ends = |change: &dyn Fn(&mut Layout), see: &dyn Fn(&mut Reports)| {
        let (mut layout, given) = left_behind();
        change(&mut layout);
        let (mut controller, told) = started(spec(3), layout, &given);
        let mut reports = at_rest(&told);
        see(&mut reports);
        let mut commands = Vec::new();
        for at in [10, 20_000] {
            commands.extend(look(&mut controller, at, &reports));
            if committed(&commands).is_some() {
                commands.extend(controller.handle(Millis(at), Event::Committed(Ok(()))));
            }
        }
        commands.into_iter().find_map(|command| match command {
            Command::Record(Happened::DisturbanceEnded { why, .. }) => Some(why),
            _ => None,
        })
    };
    let gone = |layout: &mut Layout| {
        let entry = layout.ledger.remove(&name(0)).expect("an entry");
        layout.ledger.insert("c-99".parse().expect("a name"), entry);
    };
    assert_eq!(ends(&gone, &|_| ()), Some(DisturbanceEnd::InstanceGone));
    let restarted = |reports: &mut Reports| {
        let (incarnation, pid) = (Incarnation(2), Some(2));
        report(reports, 0).process = valkeeper_model::Process::Running { incarnation, pid };
    };
    assert_eq!(ends(&|_| (), &restarted), Some(DisturbanceEnd::RunEnded));
    assert_eq!(ends(&|_| (), &|_| ()), Some(DisturbanceEnd::NotBegun));
}

#[test]
fn a_fence_of_a_primary_counts_it_in_the_same_commit() {
    let (mut controller, told) = controls(|_, _| ());
    let reports = at_rest(&told);
    look(&mut controller, 10, &reports);
    let fence = Request::Fence { instance: name(0), force: false };
    let stored = committed(&ask(&mut controller, 2_000, &reports, 7, fence)).expect("a commit");
    assert!(stored.instances[&name(0)].is_fenced() && stored.ledger.contains_key(&name(0)));
    // It hands over when it can, however long that takes.
    let (mut controller, _) = started(spec(3), stored, &told);
    for at in [10, 60_000] {
        assert_eq!(committed(&look(&mut controller, at, &reports)), None, "{at}");
    }
    let refused = refusals(&ask(&mut controller, 61_100, &reports, 8, switchover(1)));
    assert_eq!(refused, [Refusal::MajorityAtRisk { alive: 1, of: 3 }]);
}

fn rezone() -> (OperationName, Operation) {
    let target = SwitchTarget { shard: shard(0), from: name(0), to: name(3) };
    let (checkpoint, newer) = (SwitchCheckpoint::Begun, valkeeper_model::NewerFields::default());
    let name = OperationName::in_shard("rezone", &shard(0));
    (name, Operation::Rezone(RoleSwitch { target, checkpoint, newer }))
}

/// As the one before has left it: stored, and told or not.
fn begun(layout: &mut Layout) {
    let (operation_name, operation) = rezone();
    let entry = valkeeper_model::Disturbance {
        shard: shard(0),
        by: DisturbedBy::Operation(operation_name.clone()),
        incarnation: Some(Incarnation(1)),
        since: layout.version(),
        newer: valkeeper_model::NewerFields::default(),
    };
    layout.operations.insert(operation_name, operation);
    layout.ledger.insert(name(0), entry);
}

#[test]
fn an_operation_is_gone_on_with_by_whoever_comes_next() {
    let (mut controller, told) = controls(|layout, _| begun(layout));
    let reports = at_rest(&told);
    let commands = look(&mut controller, 10, &reports);
    let sent = told_to_hand_over(&commands);
    assert!(matches!(&sent[..], [(_, to)] if *to == name(0)), "{commands:?}");
    assert_eq!(told_to_hand_over(&look(&mut controller, 2_000, &reports)), [], "once");
    let refused = refusals(&ask(&mut controller, 3_100, &reports, 8, switchover(1)));
    assert_eq!(refused, [Refusal::MajorityAtRisk { alive: 1, of: 3 }]);
    let over = committed(&look(&mut controller, 5_000, &handed_over(&told))).expect("a commit");
    assert!(over.operations.is_empty() && over.ledger.is_empty());
}

/// Pure: what is due follows from what was stored and seen.
#[test]
fn what_is_due_for_an_operation() {
    let next = |change: &dyn Fn(&mut Layout), see: &dyn Fn(&Orders) -> Reports| {
        let (controller, told) = controls(|layout, _| {
            begun(layout);
            change(layout);
        });
        let layout = controller.layout().expect("a layout");
        let seen = Observation { at: Millis(0), instances: see(&told), ..Observation::default() };
        let (name, operation) = rezone();
        stored::next(&ClusterView::new(layout, &seen), &name, &operation)
    };
    let step = next(&|_| (), &|told| at_rest(told));
    assert!(matches!(step, Some(Next::Step(_))), "{step:?}");
    assert_eq!(next(&|_| (), &|told| handed_over(told)), Some(Next::Done));
    let uncounted = |layout: &mut Layout| layout.ledger.clear();
    assert_eq!(next(&uncounted, &|told| at_rest(told)), Some(Next::Done));
    let fenced = |layout: &mut Layout| {
        Arc::make_mut(&mut layout.instances).get_mut(&name(3)).expect("it").fences =
            valkeeper_model::Fences::by_request();
    };
    assert_eq!(next(&fenced, &|told| at_rest(told)), Some(Next::Done), "its successor is to stay down");
    let goes_on = next(&|_| (), &|told| {
        let mut reports = at_rest(told);
        report(&mut reports, 0).activity = Activity::HandingOver;
        reports
    });
    let switching = Waiting::SwitchingOver { shard: shard(0) };
    let waits = Refusal::Disrupted { shard: shard(0), waiting: Box::new(switching) };
    assert_eq!(goes_on, Some(Next::Wait(waits)));
    let without_majority = next(&|_| (), &|told| {
        let mut reports = at_rest(told);
        report(&mut reports, 1).activity = Activity::HandingOver;
        reports
    });
    assert_eq!(without_majority, Some(Next::Wait(Refusal::MajorityAtRisk { alive: 1, of: 3 })));
}

#[test]
fn operations_that_only_a_newer_version_knows_are_kept_and_left_alone() {
    let stranger: Operation = serde_json::from_str(r#"{"kind":"eclipse","target":7}"#).expect("an operation");
    assert!(matches!(stranger, Operation::Newer(_)));
    let scale = OperationName::in_shard("eclipse", &shard(1));
    let (mut controller, told) = controls(|layout, _| {
        begun(layout);
        layout.operations.insert(scale.clone(), stranger.clone());
    });
    look(&mut controller, 10, &at_rest(&told));
    let over = committed(&look(&mut controller, 2_000, &handed_over(&told))).expect("a commit");
    assert_eq!(over.operations, BTreeMap::from([(scale, stranger)]));
}

#[test]
fn an_operation_of_a_newer_version_is_not_begun_anew_under_its_name() {
    let begun = |stored: Option<Operation>| {
        let name_of_it = OperationName::in_shard("leave-full-disk", &shard(0));
        let (mut controller, told) = controls(|layout, _| {
            layout.operations.extend(stored.map(|stored| (name_of_it.clone(), stored)));
        });
        let mut reports = at_rest(&told);
        let Observed::Known(view) = &mut report(&mut reports, 0).server else { panic!("a view") };
        view.persistence_failing = true;
        look(&mut controller, 10, &reports);
        let commands = look(&mut controller, 10_000, &reports);
        committed(&commands).map(|next| next.operations[&name_of_it].clone())
    };
    assert!(matches!(begun(None), Some(Operation::LeaveFullDisk(_))));
    let newer = r#"{"kind":"leaveFullDisk","target":{"shard":"s0"},"checkpoint":"halfway"}"#;
    assert_eq!(begun(Some(serde_json::from_str(newer).expect("an operation"))), None);
}

fn told_reasons(commands: &[Command]) -> Vec<Waiting> {
    let mut reports = commands.iter().filter_map(|command| match command {
        Command::Publish(report) => Some(report.waiting.clone()),
        _ => None,
    });
    reports.next_back().expect("a report")
}

/// Law 12.
#[test]
fn what_is_counted_and_what_waits_is_told_with_its_reason() {
    let stranger: Operation = serde_json::from_str(r#"{"kind":"eclipse","target":7}"#).expect("an operation");
    let Operation::Newer(what) = stranger.clone() else { panic!("known") };
    let (eclipse, (operation, _)) = (OperationName::in_shard("eclipse", &shard(1)), rezone());
    let (mut controller, told) = controls(|layout, _| {
        begun(layout);
        layout.operations.insert(eclipse.clone(), stranger);
    });
    let mut reports = at_rest(&told);
    // Another primary is about to go: two of three would be disturbed.
    report(&mut reports, 1).activity = Activity::HandingOver;
    let told = told_reasons(&look(&mut controller, 10, &reports));
    let by = DisturbedBy::Operation(operation.clone());
    let counted = Waiting::Disturbed { shard: shard(0), instance: name(0), by };
    let why = Box::new(Refusal::MajorityAtRisk { alive: 1, of: 3 });
    for reason in [
        counted,
        Waiting::OperationWaits { operation, why },
        Waiting::OperationUnknown { operation: eclipse, what },
    ] {
        assert!(told.contains(&reason) && !reason.is_flaw(), "{reason} in {told:?}");
        let read: Waiting =
            serde_json::from_str(&serde_json::to_string(&reason).expect("JSON")).expect("a reason");
        assert_eq!(read, reason);
    }
}

/// However many instances there are, what is counted costs one commit, and is told to nobody.
#[test]
fn counting_costs_no_orders() {
    let (founder, given) = ordered(50, |_| ());
    let layout = founder.layout().expect("a layout").clone().founded();
    let (mut controller, told) = started(spec(50), layout, &given);
    let reports = at_rest(&told);
    look(&mut controller, 10, &reports);
    let commands = ask(&mut controller, 2_000, &reports, 7, switchover(0));
    assert!(committed(&commands).is_some());
    let commands = controller.handle(Millis(2_001), Event::Committed(Ok(())));
    assert_eq!(told_to_hand_over(&commands).len(), 1);
    assert_eq!(orders(commands).len(), 0);
}
