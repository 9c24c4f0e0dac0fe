//! An instance that was added to a shard begins as a replica of the one that serves there, and is a member when it has caught up.

use crate::ordered::{address, name, obeys, ordered, orders, own_address, runs};
use std::collections::BTreeMap;
use std::sync::Arc;
use valkeeper_model::{
    AgentOrder, AgentReport, Answer, Ask, AskFailed, Happened, Instance, InstanceLife, InstanceName, Layout,
    Member, Millis, NodeId, Observation, Observed, Role, ServerView, ShardLife, SlotSet, Topology,
    TopologyNode, Unseen, Waiting,
};
use valkeeper_plan::agent::{Agent, Command as Act, Event as Happening, StartPlan};
use valkeeper_plan::controller::{Command, Controller, Event};
use valkeeper_plan::failover::copy::DataFiles;
use valkeeper_plan::failover::restart_decision::{Disk, NodesFile, Owner};

/// The one that joins the first shard, of c-0 and c-3.
const JOINER: u32 = 6;

fn joiner_id() -> NodeId {
    NodeId::from_bytes([250; 20])
}

/// The joiner's order, and those of the others.
fn joins(life: InstanceLife) -> (AgentOrder, BTreeMap<InstanceName, AgentOrder>) {
    let (_, mut given) = ordered(3, |_| ());
    let of = given[&name(3)].members[&name(3)].clone();
    let joiner =
        Member { node_id: joiner_id(), address: Some(address(66)), founding_slots: SlotSet::empty(), ..of };
    for order in given.values_mut() {
        order.life = InstanceLife::Member;
        order.shard_life = ShardLife::Member;
        Arc::make_mut(&mut order.members).insert(name(JOINER), joiner.clone());
    }
    let order = AgentOrder { instance: name(JOINER), life, ..given[&name(3)].clone() };
    (order, given)
}

/// The servers of an older order know nobody of the new one.
fn before(order: &AgentOrder) -> AgentOrder {
    let mut order = order.clone();
    Arc::make_mut(&mut order.members).remove(&name(JOINER));
    order
}

/// What comes of an empty directory when the others answer that.
fn begins(
    life: InstanceLife,
    answers: impl Fn(&InstanceName, &AgentOrder) -> Result<AgentReport, AskFailed>,
) -> Result<Box<StartPlan>, Option<Waiting>> {
    let (order, others) = joins(life);
    let mut agent = Agent::new(order.instance.clone(), None, Millis(0));
    agent.handle(Millis(0), Happening::Order(Box::new(order)));
    let (owner, nodes_conf) = (Owner::Nobody, NodesFile::Missing);
    let disk = Disk { owner, nodes_conf, files: DataFiles::default(), record: None, beside: None };
    let asked = agent.handle(Millis(1), Happening::Inspected(Ok(Box::new(disk))));
    let mut said = Vec::new();
    for command in asked {
        let Act::Tell { token, to, ask: Ask::Report { .. }, .. } = command else { continue };
        let result = answers(&to, &others[&to]).map(|report| Answer::Report(Box::new(report)));
        said.extend(agent.handle(Millis(2), Happening::Told { token, result }));
    }
    let started = said.into_iter().find_map(|command| match command {
        Act::Start(plan) => Some(plan),
        _ => None,
    });
    started.ok_or_else(|| agent.report().and_then(|report| report.waiting))
}

fn known(seen: Observed<AgentReport>) -> AgentReport {
    let Observed::Known(report) = seen else { panic!("a report") };
    report
}

fn serving(order: &AgentOrder) -> AgentReport {
    known(runs(&before(order), |_| true))
}

#[test]
fn an_empty_directory_of_one_that_joins_begins_as_a_replica() {
    let plan = begins(InstanceLife::Joining, |_, order| Ok(serving(order))).expect("it starts");
    let conf = plan.nodes_conf.expect("a nodes.conf");
    let (_, others) = joins(InstanceLife::Joining);
    let primary = others[&name(0)].members[&name(0)].node_id;
    let me = conf.myself().expect("its own line");
    assert_eq!((me.id, me.flags.role, me.primary), (joiner_id(), Some(Role::Replica), Some(primary)));
    assert!(me.slots.is_empty());
    assert_eq!(conf.nodes.len(), 7);
    let served = conf.nodes.iter().fold(SlotSet::empty(), |all, node| all.union(&node.slots));
    assert_eq!(served, SlotSet::all());
    // It does not know in which epochs it may have voted.
    let vars = conf.vars.expect("vars");
    assert_eq!(vars.last_vote_epoch, vars.current_epoch);
}

#[test]
fn nothing_begins_while_nobody_of_its_shard_serves() {
    let unreachable = |to: &InstanceName, order: &AgentOrder| match to {
        to if *to == name(0) => Err(AskFailed::Unseen(Unseen::Unreachable)),
        _ => Ok(serving(order)),
    };
    let waits = || {
        let shard = joins(InstanceLife::Joining).0.members[&name(JOINER)].shard.clone();
        Waiting::NobodyToJoin { instance: name(JOINER), shard }
    };
    assert_eq!(begins(InstanceLife::Joining, unreachable).err(), Some(Some(waits())));
    assert_eq!(begins(InstanceLife::Joining, |_, order| Ok(known(obeys(order)))).err(), Some(Some(waits())));
}

/// An empty directory of a member is a lost one: nobody knows what it held, or that it was there.
#[test]
fn an_empty_directory_of_a_member_is_a_lost_one() {
    let unknown = Waiting::TopologyUnknown { instance: name(JOINER) };
    assert_eq!(begins(InstanceLife::Member, |_, order| Ok(serving(order))).err(), Some(Some(unknown)));
    let newer: InstanceLife = serde_json::from_str("\"cloned\"").expect("a life of the future");
    assert!(begins(newer, |_, order| Ok(serving(order))).is_err());
}

/// It was promoted before the controller saw it in sync, and has lost its directory since: its replica has the copy.
#[test]
fn one_that_others_know_as_primary_does_not_wait_for_one() {
    let succeeded = |to: &InstanceName, order: &AgentOrder| {
        let mut report = serving(order);
        if *to == name(0) {
            return Err(AskFailed::Unseen(Unseen::Unreachable));
        }
        let Observed::Known(view) = &mut report.server else { panic!("a view") };
        let founder = order.members[&name(0)].node_id;
        let mut topology = Topology::clone(&view.topology);
        let slots =
            std::mem::replace(&mut topology.get_mut(&founder).expect("the founder").slots, SlotSet::empty());
        let epoch = valkeeper_model::Epoch(9);
        let joiner =
            TopologyNode { role: Role::Primary, primary: None, slots, config_epoch: epoch, address: None };
        topology.insert(joiner_id(), joiner);
        view.topology = Arc::new(topology);
        Ok(report)
    };
    // Law 1: the sibling of which nothing is known may serve.
    let waits = begins(InstanceLife::Joining, succeeded).err();
    assert!(!matches!(waits, Some(Some(Waiting::NobodyToJoin { .. }))), "{waits:?}");
}

/// A controller with a founded cluster to which the joiner was added, and the others' orders.
fn controls() -> (Controller, BTreeMap<InstanceName, AgentOrder>) {
    let (mut controller, given) = ordered(3, |_| ());
    let mut layout = controller.layout().expect("a layout").clone().founded();
    let beside = layout.instances[&name(3)].clone();
    let joiner = Instance { node_id: joiner_id(), life: InstanceLife::Joining, ..beside };
    Arc::make_mut(&mut layout.instances).insert(name(JOINER), joiner);
    layout.generation = layout.generation.next();
    let mut places: BTreeMap<_, _> =
        given.iter().map(|(name, order)| (name.clone(), own_address(order))).collect();
    places.insert(name(JOINER), address(66));
    // What another controller has stored is loaded when an agent obeys it.
    let newer = AgentOrder { generation: layout.generation, ..given[&name(0)].clone() };
    let seen = |instances| Observation { at: Millis(10), instances, ..Observation::default() };
    let loads = controller.handle(Millis(10), Event::Observed(seen([(name(0), obeys(&newer))].into())));
    assert_eq!(loads, [Command::Load]);
    controller.handle(Millis(11), Event::Loaded(Ok(Some(Box::new(layout)))));
    let told = orders(controller.handle(Millis(11), Event::Provisioned(Ok(places))));
    assert_eq!(told.len(), 7);
    (controller, told)
}

/// All run, and the joiner is in the stream of that primary.
fn all_run(told: &BTreeMap<InstanceName, AgentOrder>, follows: u32) -> Observation {
    let of = told[&name(0)].members[&name(follows)].node_id;
    let instances = told.iter().map(|(name, order)| {
        let mut report = known(runs(order, |_| true));
        let Observed::Known(view) = &mut report.server else { panic!("a view") };
        let mut topology = Topology::clone(&view.topology);
        topology.get_mut(&joiner_id()).expect("the joiner").primary = Some(of);
        view.topology = Arc::new(topology);
        (name.clone(), Observed::Known(report))
    });
    Observation { at: Millis(12), instances: instances.collect(), ..Observation::default() }
}

fn committed(commands: &[Command]) -> Option<Layout> {
    commands.iter().find_map(|command| match command {
        Command::Commit { layout, .. } => Some((**layout).clone()),
        _ => None,
    })
}

#[test]
fn it_is_a_member_when_it_is_seen_in_sync_and_only_it_is_told() {
    let (mut controller, told) = controls();
    assert_eq!(told[&name(JOINER)].life, InstanceLife::Joining);
    assert!(told.values().filter(|order| order.life == InstanceLife::Member).count() == 6);
    let elsewhere = controller.handle(Millis(12), Event::Observed(all_run(&told, 1)));
    assert_eq!(committed(&elsewhere), None, "it follows another shard");
    controller.handle(Millis(2_000), Event::Tick);
    let commands = controller.handle(Millis(2_000), Event::Observed(all_run(&told, 0)));
    let stored = committed(&commands).expect("a commit");
    assert!(stored.instances.values().all(|one| one.life == InstanceLife::Member));
    let commands = controller.handle(Millis(2_001), Event::Committed(Ok(())));
    let joined = |command: &Command| matches!(command, Command::Record(Happened::Joined { instance, .. }) if *instance == name(JOINER));
    assert!(commands.iter().any(joined), "{commands:?}");
    let told = orders(controller.handle(Millis(2_001), Event::Provisioned(Ok(BTreeMap::new()))));
    assert_eq!(told.keys().collect::<Vec<_>>(), [&name(JOINER)]);
    assert_eq!(told[&name(JOINER)].life, InstanceLife::Member);
}

/// Who is not known to a primary gets no vote from it, and could not succeed its own.
#[test]
fn it_has_not_joined_before_all_primaries_know_it() {
    let (mut controller, told) = controls();
    let mut seen = all_run(&told, 0);
    let Some(Observed::Known(report)) = seen.instances.get_mut(&name(1)) else { panic!("a report") };
    let Observed::Known(view) = &mut report.server else { panic!("a view") };
    Arc::make_mut(&mut view.topology).remove(&joiner_id());
    assert_eq!(committed(&controller.handle(Millis(12), Event::Observed(seen))), None);
    controller.handle(Millis(2_000), Event::Tick);
    // Nor before it is known that they do.
    let mut seen = all_run(&told, 0);
    for unseen in [1, 2] {
        seen.instances.insert(name(unseen), Observed::Unknown(Unseen::Timeout));
    }
    assert_eq!(committed(&controller.handle(Millis(2_000), Event::Observed(seen))), None);
    controller.handle(Millis(4_000), Event::Tick);
    let commands = controller.handle(Millis(4_000), Event::Observed(all_run(&told, 0)));
    assert!(committed(&commands).is_some());
}

/// Elections count who owns slots: a shard that has given its slots away has no vote any more, and one that has still some has.
#[test]
fn a_shard_that_leaves_votes_as_long_as_it_has_slots() {
    use valkeeper_plan::failover::takeover::votes;
    use valkeeper_plan::view::cluster_view::ClusterView;
    let (controller, given) = ordered(3, |_| ());
    let mut layout = controller.layout().expect("a layout").clone().founded();
    let last = layout.shards.keys().next_back().expect("three").clone();
    let shards = Arc::make_mut(&mut layout.shards);
    let slots = std::mem::replace(&mut shards.get_mut(&last).expect("it").slots, SlotSet::empty());
    let leaves = shards.get_mut(&last).expect("it");
    leaves.life = valkeeper_model::ShardLife::Leaving;
    let empties = |report: &mut AgentReport| {
        let Observed::Known(view) = &mut report.server else { panic!("a view") };
        let mut topology = Topology::clone(&view.topology);
        topology
            .values_mut()
            .filter(|node| node.slots == slots)
            .for_each(|node| node.slots = SlotSet::empty());
        *view = ServerView { topology: Arc::new(topology), ..view.clone() };
    };
    let needed = |drained: bool| {
        let instances = given.iter().map(|(name, order)| {
            let mut report = known(runs(order, |_| true));
            if drained {
                empties(&mut report);
            }
            (name.clone(), Observed::Known(report))
        });
        let seen = Observation { at: Millis(0), instances: instances.collect(), ..Observation::default() };
        let votes = votes(&ClusterView::new(&layout, &seen));
        (votes.alive, votes.needed)
    };
    assert_eq!((needed(false), needed(true)), ((3, 2), (2, 2)));
}
