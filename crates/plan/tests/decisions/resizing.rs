//! Instances come to a cluster that serves and go from it: where they are placed, and when one that leaves is stopped, gone and forgotten.

use crate::ordered::{Counted, name, ordered, orders, runs, spec};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use valkeeper_model::{
    Activity, AgentOrder, AgentReport, HostFate, Impossible, InstanceLife, Layout, LeavingStage, Millis,
    MoveCause, Observation, Observed, Process, Refusal, ResizeWaiting, Unseen, Waiting, ZoneName, ZonePolicy,
};
use valkeeper_plan::controller::change;
use valkeeper_plan::lint;
use valkeeper_plan::operations::{self, Acquaintance, Barred, Step, leave};
use valkeeper_plan::placement::{Placing, found, resize};
use valkeeper_plan::view::cluster_view::ClusterView;
use valkeeper_plan::view::health;

fn zones(names: &[&str]) -> Vec<ZoneName> {
    names.iter().map(|zone| zone.parse().expect("a zone")).collect()
}

/// A founded cluster of three shards with a replica each.
fn founded() -> Layout {
    found(&spec(3), &zones(&["a", "b", "c"]), &mut Counted(0)).expect("it has room").founded()
}

fn placed<T>(names: &[&str], place: impl FnOnce(&mut Placing<'_>) -> T) -> T {
    place(&mut Placing { zones: &zones(names), ids: &mut Counted(500) })
}

fn with_replicas(layout: &Layout, replicas: u32) -> Layout {
    placed(&["a", "b", "c"], |placing| resize::with_replicas(layout, replicas, None, placing))
        .expect("it has room")
}

fn lives(layout: &Layout, life: &InstanceLife) -> Vec<String> {
    layout.instances.iter().filter(|(_, one)| one.life == *life).map(|(name, _)| name.to_string()).collect()
}

#[test]
fn new_replicas_are_in_the_zones_that_their_shard_is_not_in_and_have_names_of_their_own() {
    let grown = with_replicas(&founded(), 2);
    assert_eq!(lives(&grown, &InstanceLife::Joining), ["c-6", "c-7", "c-8"]);
    for shard in grown.shards.keys() {
        let zones: BTreeSet<_> = grown.instances_of(shard).map(|(_, one)| &one.zone).collect();
        assert_eq!(zones.len(), 3, "{shard}");
    }
    assert_eq!(lint::layout(&grown), vec![]);
    // The last ones of each shard are too many again. None of them was seen in sync, so that others would come if they were wanted again.
    let shrunk = with_replicas(&grown, 1);
    assert_eq!(lives(&shrunk, &InstanceLife::Leaving), ["c-6", "c-7", "c-8"]);
    assert_eq!(lives(&with_replicas(&shrunk, 2), &InstanceLife::Joining), ["c-10", "c-11", "c-9"]);
    // Nothing is to be done twice.
    assert_eq!(with_replicas(&shrunk, 1), shrunk);
}

#[test]
fn a_name_of_one_that_was_removed_is_given_to_nobody() {
    let mut layout = founded();
    let last = Arc::make_mut(&mut layout.instances).remove(&name(5)).expect("the last");
    let gone = valkeeper_model::RetiredInstance {
        shard: last.shard,
        zone: last.zone,
        node_id: last.node_id,
        newer: valkeeper_model::NewerFields::default(),
    };
    Arc::make_mut(&mut layout.retired).insert(name(5), gone);
    assert_eq!(lives(&with_replicas(&layout, 1), &InstanceLife::Joining), ["c-6"]);
}

#[test]
fn a_zone_is_not_drained_if_the_others_cannot_hold_a_majority_each() {
    let layout = founded();
    let drained = |names: &[&str], layout: &Layout| {
        placed(names, |placing| resize::drain(layout, &"a".parse().expect("a zone"), None, placing))
    };
    let two = drained(&["a", "b", "c"], &layout);
    let refused = Impossible::MajorityInOneZone { zones: 2, shards: 3, worst: 2, cordoned: BTreeSet::new() };
    assert_eq!(two, Err(refused));
    // Another zone that is cordoned is named: it may be the way out. It is told in the status.
    let cordoned = resize::cordon(&layout, &"d".parse().expect("a zone"));
    let refused = drained(&["a", "b", "c", "d"], &cordoned).expect_err("it has too few zones left");
    assert!(refused.to_string().contains("zone d is cordoned"), "{refused}");
    let seen = Observation { at: Millis(1), instances: BTreeMap::new(), ..Observation::default() };
    let report = health::judge(&ClusterView::new(&cordoned, &seen));
    assert_eq!(report.cordoned_zones.iter().map(ZoneName::as_str).collect::<Vec<_>>(), ["d"]);
    let four = drained(&["a", "b", "c", "d"], &layout).expect("there is another zone");
    assert!(four.instances.values().all(|one| one.life.leaves() == (one.zone.as_str() == "a")));
    assert_eq!(lives(&four, &InstanceLife::Joining).len(), lives(&four, &InstanceLife::Leaving).len());
    assert!(drained(&["a", "b"], &Layout { zones: ZonePolicy::BestEffort, ..layout }).is_ok());
}

#[test]
fn nothing_comes_or_goes_while_a_cluster_is_founded() {
    let layout = found(&spec(3), &zones(&["a", "b", "c"]), &mut Counted(0)).expect("it has room");
    let mut wanted = spec(3);
    wanted.replicas_per_shard = 2;
    let followed = placed(&["a", "b", "c"], |placing| change::follow(&layout, &wanted, None, placing));
    assert!(matches!(followed, Err(Refusal::Resize(_))), "{followed:?}");
}

/// A founded cluster all of whose servers run, with the reports of its agents.
struct Case {
    layout: Layout,
    seen: BTreeMap<valkeeper_model::InstanceName, Observed<AgentReport>>,
}

impl Case {
    fn new(edit: impl FnOnce(&mut Layout)) -> Self {
        let (controller, given) = ordered(3, |_| ());
        let mut layout = controller.layout().expect("a layout").clone().founded();
        edit(&mut layout);
        let runs = |(name, order): (_, &AgentOrder)| (name, runs(order, |_| true));
        let seen = given.iter().map(|(name, order)| runs((name.clone(), order))).collect();
        Self { layout, seen }
    }

    fn report(&mut self, n: u32) -> &mut AgentReport {
        match self.seen.get_mut(&name(n)) {
            Some(Observed::Known(report)) => report,
            _ => panic!("a report"),
        }
    }

    fn look<T>(&self, at: impl FnOnce(&ClusterView<'_>) -> T) -> T {
        let instances = self.seen.clone();
        let seen = Observation { at: Millis(10), instances, ..Observation::default() };
        at(&ClusterView::new(&self.layout, &seen))
    }

    fn next(&self) -> Option<Layout> {
        self.look(leave::next)
    }

    fn steps(&self) -> Vec<Step> {
        self.look(|view| operations::due(view, &health::judge(view), &Barred::default()))
    }

    fn stage(&self) -> Option<LeavingStage> {
        let report = self.look(health::judge);
        report.waiting.into_iter().find_map(|waiting| match waiting {
            Waiting::Resize(ResizeWaiting::InstanceLeaves { stage, .. }) => Some(stage),
            _ => None,
        })
    }

    fn goes_down(&mut self, n: u32) {
        let generation = self.layout.generation;
        let report = self.report(n);
        (report.process, report.activity) = (Process::Down, Activity::Resting);
        (report.server, report.generation) = (Observed::Unknown(Unseen::NotRunning), generation);
    }
}

/// c-3, the replica of c-0, is to leave, and its shard may do without.
fn superfluous() -> Case {
    Case::new(|layout| {
        layout.replicas_per_shard = 0;
        resize::retire(layout, &name(3));
    })
}

#[test]
fn a_replica_that_its_shard_needs_is_not_stopped() {
    let case = Case::new(|layout| resize::retire(layout, &name(3)));
    assert_eq!(case.next(), None);
    let shard = case.layout.instances[&name(3)].shard.clone();
    assert_eq!(case.stage(), Some(LeavingStage::CopiesMissing { shard, there: 1, wanted: 2 }));
}

#[test]
fn one_that_leaves_is_stopped_then_gone_and_then_forgotten_by_all() {
    let mut case = superfluous();
    let told = case.next().expect("it may be stopped");
    assert_eq!(told.instances[&name(3)].life, InstanceLife::Retired);
    assert!(told.generation > case.layout.generation);
    case.layout = told;
    assert_eq!((case.next(), case.stage()), (None, Some(LeavingStage::Stops)));
    // Down by an older order may be a restart.
    case.goes_down(3);
    case.report(3).generation = valkeeper_model::Generation(0);
    assert_eq!(case.next(), None);
    case.goes_down(3);
    let gone = case.next().expect("it is gone");
    assert!(!gone.instances.contains_key(&name(3)) && gone.retired.contains_key(&name(3)));
    case.layout = gone;
    case.seen.remove(&name(3));
    let forgets = case.steps().into_iter().filter(|step| matches!(step, Step::ForgetRetired { .. })).count();
    assert_eq!(forgets, 5, "every server knows it");
    let waiting = case.look(health::judge).waiting;
    assert!(!waiting.iter().any(|reason| matches!(reason, Waiting::ForeignNode { .. })), "{waiting:?}");
}

#[test]
fn a_primary_that_leaves_hands_over_to_one_that_stays_and_its_shard_has_another_founder() {
    let mut case = Case::new(|layout| {
        layout.replicas_per_shard = 0;
        resize::retire(layout, &name(0));
    });
    assert_eq!((case.next(), case.stage()), (None, Some(LeavingStage::HandsOver)));
    let switches = |case: &Case| {
        case.steps().into_iter().find_map(|step| match step {
            Step::SwitchToLeave { from, to, .. } => Some((from, to)),
            _ => None,
        })
    };
    assert_eq!(switches(&case), Some((name(0), name(3))));
    // Not to one that leaves too, and not to one that nobody can vote for.
    let both = Case {
        seen: case.seen.clone(),
        layout: {
            let mut layout = case.layout.clone();
            resize::retire(&mut layout, &name(3));
            layout
        },
    };
    assert_eq!(switches(&both), None);
    let id = case.layout.instances[&name(3)].node_id;
    let mut unknown = Case { seen: case.seen.clone(), layout: case.layout.clone() };
    let Observed::Known(view) = &mut unknown.report(1).server else { panic!("a view") };
    Arc::make_mut(&mut view.topology).remove(&id);
    assert_eq!(switches(&unknown), None);
    // A voter that has heard of it by gossip knows of no primary that it follows.
    let mut by_gossip = Case { seen: case.seen.clone(), layout: case.layout.clone() };
    let Observed::Known(view) = &mut by_gossip.report(1).server else { panic!("a view") };
    Arc::make_mut(&mut view.topology).get_mut(&id).expect("it").primary = None;
    assert_eq!(switches(&by_gossip), None);
    // Somebody has taken over.
    let Observed::Known(before) = case.report(0).server.clone() else { panic!("a view") };
    let Observed::Known(after) = case.report(3).server.clone() else { panic!("a view") };
    let mut topology = (*before.topology).clone();
    let (old, new) = (before.node_id, after.node_id);
    let slots = topology[&old].slots.clone();
    let old_node = topology.get_mut(&old).expect("it");
    (old_node.slots, old_node.role, old_node.primary) =
        (valkeeper_model::SlotSet::empty(), valkeeper_model::Role::Replica, Some(new));
    let new_node = topology.get_mut(&new).expect("it");
    (new_node.slots, new_node.role, new_node.primary) = (slots, valkeeper_model::Role::Primary, None);
    let topology = Arc::new(topology);
    for voter in [1, 2] {
        let Observed::Known(view) = &mut case.report(voter).server else { panic!("a view") };
        view.topology = Arc::clone(&topology);
    }
    case.report(0).server = Observed::Known(valkeeper_model::ServerView {
        topology: Arc::clone(&topology),
        replication: after.replication.clone(),
        ..before.clone()
    });
    case.report(3).server =
        Observed::Known(valkeeper_model::ServerView { topology, replication: before.replication, ..after });
    case.layout = case.next().expect("it may be stopped");
    case.goes_down(0);
    let gone = case.next().expect("it is gone");
    let shard = &gone.retired[&name(0)].shard;
    assert_eq!(gone.shards[shard].founder, name(3));
}

#[test]
fn a_replica_that_joins_makes_itself_known_to_who_has_only_heard_of_it() {
    let mut case = Case::new(|layout| {
        let joining = Arc::make_mut(&mut layout.instances).get_mut(&name(3)).expect("it");
        joining.life = InstanceLife::Joining;
    });
    let meets = |case: &Case| {
        let steps = case.steps().into_iter().filter_map(|step| match step {
            Step::Meet { instance, whom, acquaintance: Acquaintance::ByGossip, .. } => Some((instance, whom)),
            _ => None,
        });
        steps.collect::<Vec<_>>()
    };
    assert_eq!(meets(&case), []);
    let id = case.layout.instances[&name(3)].node_id;
    let Observed::Known(view) = &mut case.report(1).server else { panic!("a view") };
    Arc::make_mut(&mut view.topology).get_mut(&id).expect("it").primary = None;
    assert_eq!(meets(&case), [(name(3), name(1))]);
    // Members were known once: their own pings tell the rest.
    case.layout = case.layout.clone().with_lives(|_| Some(InstanceLife::Member));
    assert_eq!(meets(&case), []);
}

#[test]
fn nobody_who_does_not_answer_is_removed_unless_a_user_says_that_its_host_is_gone() {
    let mut case = superfluous();
    case.seen.insert(name(3), Observed::Unknown(Unseen::Unreachable));
    assert_eq!((case.next(), case.stage()), (None, Some(LeavingStage::Unheard)));
    let said = |host| {
        let why = MoveCause::Replace { instance: name(3), host };
        let layout = Case::new(|layout| layout.replicas_per_shard = 1).layout;
        placed(&["a", "b", "c"], |placing| resize::replace(&layout, &name(3), why, None, placing))
    };
    for (host, goes) in [(HostFate::Answers, false), (HostFate::GoneForGood, true)] {
        let replaced = said(host).expect("it has room");
        let layout = Layout { replicas_per_shard: 0, ..replaced };
        let case = Case { layout, seen: case.seen.clone() };
        assert_eq!(case.next().is_some_and(|next| next.retired.contains_key(&name(3))), goes, "{host:?}");
    }
}

/// Its agent is ordered to keep it down, and its siblings know of it still.
#[test]
fn the_order_of_one_that_is_retired_is_to_stay_down() {
    use valkeeper_model::{Run, StopsWith};
    use valkeeper_plan::controller::Event;
    let (mut controller, given) = ordered(3, |_| ());
    let case = superfluous();
    let told = case.next().expect("it may be stopped");
    let newer = AgentOrder { generation: told.generation, ..given[&name(0)].clone() };
    let seen = [(name(0), crate::ordered::obeys(&newer))].into();
    let seen = Observation { at: Millis(10), instances: seen, ..Observation::default() };
    controller.handle(Millis(10), Event::Observed(seen));
    let places =
        given.iter().map(|(name, order)| (name.clone(), crate::ordered::own_address(order))).collect();
    controller.handle(Millis(11), Event::Loaded(Ok(Some(Box::new(told)))));
    let told = orders(controller.handle(Millis(11), Event::Provisioned(Ok(places))));
    let run = |n: u32| told.get(&name(n)).map(|order| order.run);
    assert_eq!((run(3), run(0)), (Some(Run::Fenced), Some(Run::Up)));
    assert_eq!(told[&name(0)].stops_with, StopsWith::Itself);
    assert!(told[&name(0)].members.contains_key(&name(3)));
}

/// What was asked before its host was lost would wait for that host for ever.
#[test]
fn one_that_is_being_removed_may_be_said_to_be_gone_for_good() {
    use crate::ordered::own_address;
    use valkeeper_model::{Operation, Request, ResizeRefusal, ResizeRequest};
    use valkeeper_plan::agent::Token;
    use valkeeper_plan::controller::{Command, Controller, Event};
    let (_, given) = ordered(3, |_| ());
    let replaced = |layout: &mut Layout| {
        let cause = MoveCause::Replace { instance: name(3), host: HostFate::Answers };
        *layout = placed(&["a", "b", "c"], |placing| resize::replace(layout, &name(3), cause, None, placing))
            .expect("it has room");
    };
    let asked = |case: &Case, host: HostFate| {
        let zones = zones(&["a", "b", "c"]);
        let mut controller = Controller::new(spec(3), zones, Box::new(Counted(0)));
        controller.handle(Millis(0), Event::Tick);
        controller.handle(Millis(0), Event::Loaded(Ok(Some(Box::new(case.layout.clone())))));
        let mut places: BTreeMap<_, _> =
            given.iter().map(|(name, order)| (name.clone(), own_address(order))).collect();
        places.insert(name(6), crate::ordered::address(66));
        controller.handle(Millis(0), Event::Provisioned(Ok(places)));
        let request = Request::Resize(ResizeRequest::Replace { instance: name(3), host });
        controller.handle(Millis(1), Event::Asked { token: Token(1), request });
        let mut said = Vec::new();
        for at in [2, 3] {
            let instances = case.seen.clone();
            let seen = Observation { at: Millis(at), instances, ..Observation::default() };
            said.extend(controller.handle(Millis(at), Event::Tick));
            said.extend(controller.handle(Millis(at), Event::Observed(seen)));
        }
        said.into_iter().find_map(|command| match command {
            Command::Commit { layout, .. } => Some(Ok(*layout)),
            Command::Answer { result: Err(refusal), .. } => Some(Err(refusal)),
            _ => None,
        })
    };
    let lost = Observed::Unknown(Unseen::Unreachable);
    // By a replacement, and as one of a zone or of replicas that are too many.
    for leaves in [replaced, |layout: &mut Layout| resize::retire(layout, &name(3))] {
        let mut case = Case::new(leaves);
        let refused = asked(&case, HostFate::GoneForGood);
        let answers = ResizeRefusal::HostAnswers { instance: name(3) };
        assert_eq!(refused, Some(Err(Refusal::Resize(answers))));
        case.seen.insert(name(3), lost.clone());
        let told = asked(&case, HostFate::GoneForGood).expect("an answer").expect("it is noted");
        assert_eq!(told.instances, case.layout.instances, "nobody else comes for it");
        let gone: Vec<_> = told.operations.values().filter_map(Operation::moves).collect();
        let is_noted = |moves: &&valkeeper_model::InstanceMoves| {
            moves.cause.gone_for_good() == Some(&name(3)) && moves.leaving.contains(&name(3))
        };
        assert!(gone.iter().any(is_noted), "{gone:?}");
        let case = Case { layout: Layout { replicas_per_shard: 0, ..told }, seen: case.seen };
        assert!(case.next().expect("it is gone").retired.contains_key(&name(3)));
    }
    let mut case = Case::new(replaced);
    case.seen.insert(name(3), lost);
    let already = ResizeRefusal::LeavesAlready { instance: name(3) };
    assert_eq!(asked(&case, HostFate::Answers), Some(Err(Refusal::Resize(already))));
}
