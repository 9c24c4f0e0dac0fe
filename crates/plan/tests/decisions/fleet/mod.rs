//! The cluster of tests about agents: three shards with a replica each.

use std::collections::BTreeMap;
use std::sync::Arc;
use valkeeper_model::{
    Address, AgentOrder, ClusterId, Epoch, Generation, InstanceName, Link, Member, NodeId, Offset, Part,
    Persistence, Replication, ReplicationId, Role, Run, ServerConfig, ServerView, ShardId, ShardName,
    SlotRange, SlotSet, TopologyNode,
};

pub(crate) fn name(n: u8) -> InstanceName {
    format!("c-{n}").parse().expect("a name")
}

pub(crate) fn id(n: u8) -> NodeId {
    NodeId::from_bytes([n + 1; 20])
}

pub(crate) fn address(n: u8) -> Address {
    let port = 7_000 + u16::from(n);
    Address { ip: [127, 0, 0, 1].into(), port, bus_port: port + 10_000 }
}

pub(crate) fn slots(shard: u8) -> SlotSet {
    let first = u16::from(shard) * 10;
    format!("{first}-{}", first + 9).parse::<SlotRange>().into_iter().collect()
}

/// c-0, c-1 and c-2 are primaries, c-3, c-4 and c-5 their replicas.
pub(crate) fn order(to: u8) -> AgentOrder {
    let member = |n: u8| Member {
        shard: ShardName::nth(u32::from(n % 3)),
        shard_id: ShardId::from_bytes([n % 3 + 1; 20]),
        node_id: id(n),
        address: Some(address(n)),
        founding_slots: if n < 3 { slots(n) } else { SlotSet::empty() },
        founder: id(n % 3),
        seat: valkeeper_model::ShardSeat::Held,
    };
    AgentOrder {
        version: None,
        turn: valkeeper_model::RestartTurn::Come,
        shard_life: valkeeper_model::ShardLife::Member,
        source: None,
        sentinels: None,
        format: valkeeper_model::Format,
        generation: Generation(2),
        cluster: ClusterId::from_bytes([7; 20]),
        instance: name(to),
        run: Run::Up,
        stops_with: valkeeper_model::StopsWith::Itself,
        life: valkeeper_model::InstanceLife::Member,
        config: ServerConfig {
            mode: valkeeper_model::Mode::Cluster,
            node_timeout_ms: 15_000,
            unresponsive_after_ms: 5_000,
            persistence: Persistence::Aof,
            max_memory: None,
            max_memory_policy: None,
            min_sync_replicas: 0,
            max_sync_replicas: 0,
            directives: BTreeMap::new(),
            drift: valkeeper_model::DriftPolicy::default(),
            newer: valkeeper_model::NewerFields::default(),
        },
        members: Arc::new((0..6).map(|n| (name(n), member(n))).collect()),
        addresses_hash: None,
    }
}

pub(crate) fn view(of: u8) -> ServerView {
    let node = |n: u8| TopologyNode {
        role: if n < 3 { Role::Primary } else { Role::Replica },
        primary: (n >= 3).then(|| id(n - 3)),
        slots: if n < 3 { slots(n) } else { SlotSet::empty() },
        config_epoch: Epoch(u64::from(n % 3) + 1),
        address: Some(address(n)),
    };
    let part = if of < 3 { Part::Primary { replicas: Vec::new() } } else { Part::Replica { link: Link::Up } };
    let replication = Replication { part, replid: ReplicationId::from_bytes([9; 20]), offset: Offset(1) };
    let topology = Arc::new((0..6).map(|n| (id(n), node(n))).collect());
    ServerView { keys: 1, memory_bytes: 1, ..ServerView::well(id(of), "9.1.2", replication, topology) }
}
