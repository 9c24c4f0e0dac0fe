//! A controller whose cluster is ordered, and what its agents report.

use std::collections::BTreeMap;
use std::sync::Arc;
use valkeeper_model::nodes_conf::NodeLine;
use valkeeper_model::{
    Activity, Address, AgentOrder, AgentReport, ClusterSpec, DiskRole, Incarnation, InstanceName, Layout,
    Link, Millis, NodeId, Observed, Offset, Part, Process, Replication, ReplicationId, ServerView,
    TopologyNode, Unseen, ZoneName, manifest,
};
use valkeeper_plan::controller::{Command, Controller, Event};
use valkeeper_plan::mode::cluster::nodes_conf;
use valkeeper_plan::placement::Ids;

/// Draws one number after the other.
pub(crate) struct Counted(pub(crate) u64);

impl Ids for Counted {
    fn draw(&mut self) -> [u8; 20] {
        self.0 += 1;
        let mut id = [0; 20];
        id[..8].copy_from_slice(&self.0.to_be_bytes());
        id
    }
}

/// Shards with a replica each.
pub(crate) fn spec(shards: u32) -> ClusterSpec {
    let text = format!(
        "apiVersion: redis.io/v1\nkind: RedisCluster\nmetadata:\n  name: c\nspec:\n  mode: cluster\n  shards: {shards}\n  replicasPerShard: 1\n"
    );
    manifest::parse("c.yaml", &text).expect("valid").spec
}

/// An instance.
pub(crate) fn name(n: u32) -> InstanceName {
    InstanceName::nth(&"c".parse().expect("a name"), n)
}

/// An address.
pub(crate) fn address(last: u8) -> Address {
    Address { ip: [10, 0, 0, last].into(), port: 6379, bus_port: 16379 }
}

/// Where the agent of this order is.
pub(crate) fn own_address(order: &AgentOrder) -> Address {
    order.myself().and_then(|me| me.address.clone()).expect("a member with an address")
}

/// What the agent that obeys this order reports before its server has started.
pub(crate) fn obeys(order: &AgentOrder) -> Observed<AgentReport> {
    Observed::Known(AgentReport {
        source: None,
        last_write: None,
        format: valkeeper_model::Format,
        generation: order.generation,
        addresses_hash: order.addresses_hash,
        address: own_address(order),
        process: Process::Down,
        disk_role: DiskRole::Lost,
        has_data: false,
        disk: valkeeper_model::DiskAccess::Answers,
        copy: None,
        server: Observed::Unknown(Unseen::NotRunning),
        activity: Activity::Starting,
        waiting: None,
        password: None,
        look_refused: None,
        sentinels: BTreeMap::new(),
        seen_ms_ago: None,
        pod_template: None,
        primary_position: None,
        register: None,
    })
}

/// The same once its server runs, of which it knows only some places.
pub(crate) fn runs(order: &AgentOrder, knows: impl Fn(NodeId) -> bool) -> Observed<AgentReport> {
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

/// The orders among these.
pub(crate) fn orders(commands: Vec<Command>) -> BTreeMap<InstanceName, AgentOrder> {
    let orders = commands.into_iter().filter_map(|command| match command {
        Command::Order(order) => Some((order.instance.clone(), *order)),
        _ => None,
    });
    orders.collect()
}

/// A controller that is started on a stored layout, and the orders that it gives.
pub(crate) fn started(
    spec: ClusterSpec,
    layout: Layout,
    given: &BTreeMap<InstanceName, AgentOrder>,
) -> (Controller, BTreeMap<InstanceName, AgentOrder>) {
    let mut controller = Controller::new(spec, zones(), Box::new(Counted(0)));
    controller.handle(Millis(0), Event::Tick);
    controller.handle(Millis(0), Event::Loaded(Ok(Some(Box::new(layout)))));
    let places = given.iter().map(|(name, order)| (name.clone(), own_address(order))).collect();
    let told = orders(controller.handle(Millis(0), Event::Provisioned(Ok(places))));
    (controller, told)
}

fn zones() -> Vec<ZoneName> {
    ["a", "b", "c"].iter().map(|zone| zone.parse().expect("a name")).collect()
}

/// A controller that has given its orders, and these.
pub(crate) fn ordered(
    shards: u32,
    addresses: impl FnOnce(&mut BTreeMap<InstanceName, Address>),
) -> (Controller, BTreeMap<InstanceName, AgentOrder>) {
    let mut controller = Controller::new(spec(shards), zones(), Box::new(Counted(0)));
    controller.handle(Millis(0), Event::Tick);
    controller.handle(Millis(0), Event::Loaded(Ok(None)));
    let committed = controller.handle(Millis(0), Event::Committed(Ok(())));
    let layout = committed.into_iter().find_map(|command| match command {
        Command::Provision(layout) => Some(layout),
        _ => None,
    });
    let names = layout.expect("a layout to provision").instances.keys().cloned().collect::<Vec<_>>();
    let mut places: BTreeMap<_, _> =
        names.into_iter().zip((1..).map(|n: u32| address(u8::try_from(n % 256).expect("small")))).collect();
    addresses(&mut places);
    let given = orders(controller.handle(Millis(0), Event::Provisioned(Ok(places))));
    (controller, given)
}
