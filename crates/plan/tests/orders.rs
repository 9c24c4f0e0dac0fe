//! Who is told what again, and how often is looked.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use valkeeper_model::nodes_conf::NodeLine;
use valkeeper_model::{
    Activity, Address, AgentOrder, AgentReport, Ask, ClusterSpec, DiskRole, Incarnation, InstanceName, Link,
    Millis, NodeId, Observation, Observed, Offset, Part, Process, Replication, ReplicationId, ServerView,
    TopologyNode, Unseen, ZoneName, manifest,
};
use valkeeper_plan::controller::{Command, Controller, Event, Pace};
use valkeeper_plan::nodes_conf;
use valkeeper_plan::placement::Ids;

struct Counted(u8);

impl Ids for Counted {
    fn draw(&mut self) -> [u8; 20] {
        self.0 += 1;
        [self.0; 20]
    }
}

fn spec() -> ClusterSpec {
    let text = "apiVersion: redis.io/v1\nkind: RedisCluster\nmetadata:\n  name: c\nspec:\n  mode: cluster\n  shards: 3\n  replicasPerShard: 1\n";
    manifest::parse("c.yaml", text).expect("valid").spec
}

fn name(n: u32) -> InstanceName {
    InstanceName::nth(&"c".parse().expect("a name"), n)
}

fn address(last: u8) -> Address {
    Address { ip: [10, 0, 0, last].into(), port: 6379, bus_port: 16379 }
}

fn own_address(order: &AgentOrder) -> Address {
    order.myself().and_then(|me| me.address.clone()).expect("a member with an address")
}

/// What the agent that obeys this order reports before its server has started.
fn obeys(order: &AgentOrder) -> Observed<AgentReport> {
    Observed::Known(AgentReport {
        generation: order.generation,
        whereabouts: order.whereabouts,
        address: own_address(order),
        process: Process::Down,
        disk_role: DiskRole::Lost,
        has_data: false,
        copy: None,
        server: Observed::Unknown(Unseen::NotRunning),
        activity: Activity::Starting,
        waiting: None,
    })
}

/// The same once its server runs, of which it knows only some places.
fn runs(order: &AgentOrder, knows: impl Fn(NodeId) -> bool) -> Observed<AgentReport> {
    let conf = nodes_conf::founding(order);
    let node = |line: &NodeLine| TopologyNode {
        role: line.flags.role.expect("a role"),
        primary: line.primary,
        slots: line.slots.clone(),
        config_epoch: line.config_epoch,
        address: line.address.clone().filter(|_| knows(line.id)),
    };
    let me = conf.myself().expect("its own line");
    let part = if me.is_replica() {
        Part::Replica { link: Link::Up }
    } else {
        Part::Primary { replicas: Vec::new() }
    };
    let replication = Replication { part, replid: ReplicationId::from_bytes([9; 20]), offset: Offset(1) };
    let topology = Arc::new(conf.nodes.iter().map(|line| (line.id, node(line))).collect());
    let view = ServerView::well(me.id, "9.1.2", replication, topology);
    let Observed::Known(report) = obeys(order) else { panic!("it does not obey") };
    let process = Process::Running { incarnation: Incarnation(1), pid: Some(1) };
    Observed::Known(AgentReport {
        process,
        server: Observed::Known(view),
        activity: Activity::Watching,
        ..report
    })
}

fn orders(commands: Vec<Command>) -> BTreeMap<InstanceName, AgentOrder> {
    let orders = commands.into_iter().filter_map(|command| match command {
        Command::Order(order) => Some((order.instance.clone(), *order)),
        _ => None,
    });
    orders.collect()
}

/// A controller that has given its orders, and these.
fn ordered(
    addresses: impl FnOnce(&mut BTreeMap<InstanceName, Address>),
) -> (Controller, BTreeMap<InstanceName, AgentOrder>) {
    let zones: Vec<ZoneName> = ["a", "b", "c"].iter().map(|zone| zone.parse().expect("a name")).collect();
    let mut controller = Controller::new(spec(), zones, Box::new(Counted(0)));
    controller.handle(Millis(0), Event::Tick);
    controller.handle(Millis(0), Event::Loaded(Ok(None)));
    let committed = controller.handle(Millis(0), Event::Committed(Ok(())));
    let layout = committed.into_iter().find_map(|command| match command {
        Command::Provision(layout) => Some(layout),
        _ => None,
    });
    let names = layout.expect("a layout to provision").instances.keys().cloned().collect::<Vec<_>>();
    let mut places: BTreeMap<_, _> = names.into_iter().zip((1..).map(address)).collect();
    addresses(&mut places);
    let given = orders(controller.handle(Millis(0), Event::Provisioned(Ok(places))));
    (controller, given)
}

fn look(
    controller: &mut Controller,
    seen: BTreeMap<InstanceName, Observed<AgentReport>>,
) -> Vec<InstanceName> {
    let observation = Observation { at: Millis(1), instances: seen, names_elsewhere: BTreeSet::new() };
    orders(controller.handle(Millis(1), Event::Observed(observation))).into_keys().collect()
}

#[test]
fn who_obeys_is_not_told_again() {
    let (mut controller, given) = ordered(|_| ());
    assert_eq!(given.len(), 6);
    let seen = given.iter().map(|(name, order)| (name.clone(), obeys(order))).collect();
    assert_eq!(look(&mut controller, seen), Vec::<InstanceName>::new());
}

/// Who starts without a founder's address could not be found by it; whose replicas have none yet are found by those.
#[test]
fn founders_are_ordered_up_before_replicas_have_a_place() {
    let (_, given) = ordered(|places| drop(places.pop_last()));
    let placeless: Vec<_> = given[&name(0)].members.values().filter(|one| one.address.is_none()).collect();
    assert_eq!(placeless.len(), 1);
    let conf = nodes_conf::founding(&given[&name(0)]);
    let line = conf.node(placeless[0].node_id).expect("a member");
    assert!(line.address.is_none() && line.flags.noaddr && line.is_replica());
    let (_, given) = ordered(|places| drop(places.pop_first()));
    assert!(given.is_empty(), "{given:?}");
}

/// The engine mends it alone when one of two knows where the other is. When none does, it never would.
#[test]
fn two_that_do_not_know_where_the_other_is_are_introduced_at_once() {
    let met = |unknown: &[(u32, u32)]| {
        let (mut controller, given) = ordered(|_| ());
        let sees = |me: u32, order: &AgentOrder| {
            let hidden = unknown.iter().filter(|(who, _)| *who == me).map(|(_, whom)| name(*whom));
            let hidden: Vec<_> = hidden.map(|whom| order.members[&whom].node_id).collect();
            runs(order, |id| !hidden.contains(&id))
        };
        let instances =
            (0..).zip(&given).map(|(me, (name, order))| (name.clone(), sees(me, order))).collect();
        let observation = Observation { at: Millis(1), instances, names_elsewhere: BTreeSet::new() };
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
    let (mut controller, given) = ordered(|_| ());
    let (_, older) = ordered(|places| {
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
    let (mut controller, given) = ordered(|_| ());
    let seen = given.iter().map(|(name, order)| {
        let unmarked = AgentOrder { whereabouts: None, ..order.clone() };
        (name.clone(), obeys(&unmarked))
    });
    assert_eq!(look(&mut controller, seen.collect()), Vec::<InstanceName>::new());
}

#[test]
fn who_has_no_order_is_told_and_where_nobody_is_nobody_is_told() {
    let (mut controller, given) = ordered(|_| ());
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
    let (controller, given) = ordered(|_| ());
    let mut controller = controller.at_pace(Pace { at_rest_ms: 60_000, unsettled_ms: 50, stuck_ms: 120_000 });
    let unseen = || Observation {
        at: Millis(0),
        instances: given.keys().map(|name| (name.clone(), Observed::Unknown(Unseen::Unreachable))).collect(),
        names_elsewhere: BTreeSet::new(),
    };
    let mut places: BTreeMap<_, _> =
        given.iter().map(|(name, order)| (name.clone(), own_address(order))).collect();
    controller.handle(Millis(0), Event::Observed(unseen()));
    let hour = Millis(3_600_000);
    controller.handle(hour, Event::Tick);
    controller.handle(hour, Event::Observed(unseen()));
    assert_eq!(controller.wake_at(), Some(hour.plus(120_000)));
    let mut provisioned = |places: &BTreeMap<_, _>| {
        let commands = controller.handle(hour, Event::Moved);
        assert!(commands.iter().any(|command| matches!(command, Command::Provision(_))));
        controller.handle(hour, Event::Provisioned(Ok(places.clone())));
        controller.handle(hour, Event::Observed(unseen()));
        controller.wake_at()
    };
    assert_eq!(provisioned(&places), Some(hour.plus(120_000)));
    *places.values_mut().next().expect("six") = address(77);
    assert_eq!(provisioned(&places), Some(hour.plus(50)));
}
