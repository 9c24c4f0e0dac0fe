//! A large cluster, seen whole or troubled, and one round of what the controller thinks about it.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use valkeeper_model::{
    Activity, Address, AgentReport, ClusterSpec, DiskRole, Epoch, Incarnation, InstanceName, Layout, Link,
    Millis, NodeId, Observation, Observed, Offset, Part, Process, Replication, ReplicationId, ServerView,
    SlotSet, Topology, TopologyNode, ZoneName,
};
use valkeeper_plan::controller::{change, orders};
use valkeeper_plan::operations;
use valkeeper_plan::placement::{self, Ids, Placing};
use valkeeper_plan::view::cluster_view::ClusterView;
use valkeeper_plan::view::health;

/// Ids one after another.
#[derive(Debug, Default)]
struct Counted(u64);

impl Ids for Counted {
    fn draw(&mut self) -> [u8; 20] {
        self.0 += 1;
        let mut bytes = [0; 20];
        bytes[..8].copy_from_slice(&self.0.to_be_bytes());
        bytes
    }
}

/// Everything one round starts from.
#[derive(Debug)]
pub struct World {
    spec: ClusterSpec,
    layout: Layout,
    observation: Observation,
    addresses: BTreeMap<InstanceName, Address>,
}

/// What one round comes to.
#[derive(Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Is all well?
    pub healthy: bool,
    /// Reasons to wait.
    pub waiting: usize,
    /// Steps to take.
    pub steps: usize,
    /// Orders rendered.
    pub orders: usize,
}

impl World {
    /// All is well: every server sees the same.
    ///
    /// # Panics
    /// If the cluster cannot be laid out.
    #[allow(clippy::expect_used, reason = "a bench without its cluster has nothing to measure")]
    pub fn healthy(shards: u32, replicas: u32) -> Self {
        // The manifest allows for fewer servers than this: set afterwards.
        let text = "apiVersion: redis.io/v1\nkind: RedisCluster\nmetadata:\n  name: large\nspec:\n  mode: cluster\n  shards: 3\n";
        let spec = valkeeper_model::manifest::parse("large.yaml", text).expect("a valid manifest").spec;
        let spec = ClusterSpec { shards, replicas_per_shard: replicas, ..spec };
        let zones: Vec<ZoneName> = ["a", "b", "c"].iter().filter_map(|zone| zone.parse().ok()).collect();
        let layout = placement::found(&spec, &zones, &mut Counted::default()).expect("a layout");
        let layout = layout.founded();
        let addresses: BTreeMap<_, _> = (0_u16..)
            .zip(layout.instances.keys())
            .map(|(n, name)| {
                let ip =
                    IpAddr::V4(Ipv4Addr::new(10, 0, u8::try_from(n >> 8).unwrap_or(0), (n & 0xff) as u8));
                (name.clone(), Address { ip, port: 6379, bus_port: 16379 })
            })
            .collect();
        let topology = Arc::new(topology(&layout, &addresses));
        let instances = layout.instances.keys().map(|name| {
            let report = report(&layout, name, &addresses[name], Arc::clone(&topology));
            (name.clone(), Observed::Known(report))
        });
        let observation =
            Observation { at: Millis(1_000), instances: instances.collect(), ..Observation::default() };
        Self { spec, layout, observation, addresses }
    }

    /// Some servers are behind: seven views, one server gone, another without an answer.
    pub fn troubled(shards: u32, replicas: u32) -> Self {
        let mut world = Self::healthy(shards, replicas);
        let names: Vec<InstanceName> = world.layout.instances.keys().cloned().collect();
        for (index, name) in names.iter().enumerate() {
            let Some(seen) = world.observation.instances.get_mut(name) else { continue };
            if index == 5 {
                *seen = Observed::Unknown(valkeeper_model::Unseen::Timeout);
            } else if let Observed::Known(report) = seen
                && let Observed::Known(view) = &mut report.server
                && index % 500 == 7
            {
                let mut older = (*view.topology).clone();
                older.pop_last();
                view.topology = Arc::new(older);
            }
        }
        world
    }

    /// One round: does the layout follow the spec, what is wrong, what is due, what are agents told.
    pub fn plan(&self) -> Outcome {
        let mut placing = Placing { zones: &[], ids: &mut Counted(0) };
        let follows = change::follow(&self.layout, &self.spec, None, &mut placing);
        let follows = follows.is_ok_and(|next| next == self.layout);
        let cluster_view = ClusterView::new(&self.layout, &self.observation);
        let report = health::judge(&cluster_view);
        let due = operations::due(&cluster_view, &report, &operations::Barred::default());
        let members = orders::members(&self.layout, &self.addresses);
        let addresses_hash = orders::addresses_hash(&self.layout, &self.addresses);
        let rendered = members.iter().flat_map(|members| {
            let names = self.layout.instances.keys();
            names.filter_map(move |name| orders::order(&self.layout, members, None, addresses_hash, name))
        });
        Outcome {
            healthy: report.healthy && follows,
            waiting: report.waiting.len(),
            steps: due.len(),
            orders: rendered.count(),
        }
    }
}

fn topology(layout: &Layout, addresses: &BTreeMap<InstanceName, Address>) -> Topology {
    let node = |(name, instance): (&InstanceName, &valkeeper_model::Instance)| {
        let shard = layout.shards.get(&instance.shard)?;
        let founder = layout.instances.get(&shard.founder)?;
        let primary = (shard.founder != *name).then_some(founder.node_id);
        let node = TopologyNode {
            role: if primary.is_some() {
                valkeeper_model::Role::Replica
            } else {
                valkeeper_model::Role::Primary
            },
            primary,
            slots: if primary.is_some() { SlotSet::empty() } else { shard.slots.clone() },
            config_epoch: Epoch(1),
            address: addresses.get(name).cloned(),
        };
        Some((instance.node_id, node))
    };
    layout.instances.iter().filter_map(node).collect()
}

fn report(layout: &Layout, name: &InstanceName, address: &Address, topology: Arc<Topology>) -> AgentReport {
    let node_id = layout.instances.get(name).map_or(NodeId::from_bytes([0; 20]), |instance| instance.node_id);
    let primary = topology.get(&node_id).and_then(|node| node.primary);
    // One history a shard, named after its primary.
    let replid = primary.unwrap_or(node_id).to_string().parse().unwrap_or(ReplicationId::from_bytes([0; 20]));
    let part = match primary {
        Some(_) => Part::Replica { link: Link::Up },
        None => Part::Primary { replicas: Vec::new() },
    };
    let replication = Replication { part, replid, offset: Offset(1_000) };
    let well = ServerView::well(node_id, "9.1.2", replication, topology);
    let view = ServerView { keys: 1_000, memory_bytes: 1 << 20, ..well };
    AgentReport {
        format: valkeeper_model::Format,
        generation: layout.generation,
        addresses_hash: None,
        address: address.clone(),
        process: Process::Running { incarnation: Incarnation(1), pid: Some(1) },
        disk_role: primary.map_or(DiskRole::Lost, |of| DiskRole::Replica { of }),
        has_data: true,
        copy: None,
        disk: valkeeper_model::DiskAccess::default(),
        password: None,
        look_refused: None,
        source: None,
        last_write: None,
        sentinels: BTreeMap::new(),
        seen_ms_ago: None,
        pod_template: None,
        primary_position: None,
        register: None,
        server: Observed::Known(view),
        activity: Activity::Watching,
        waiting: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cluster_is_as_it_is_said_to_be() {
        let whole = World::healthy(12, 2).plan();
        assert_eq!(whole, Outcome { healthy: true, waiting: 0, steps: 0, orders: 36 });
        let troubled = World::troubled(12, 2).plan();
        assert!(!troubled.healthy && troubled.waiting >= 2, "{troubled:?}");
    }
}
