//! The seats at the beginning.

use crate::placement;
use std::collections::BTreeMap;
use std::sync::Arc;
use valkeeper_model::{
    AgentOrder, ClusterId, ClusterSpec, Format, Generation, InstanceName, Member, Mode, NodeId, Run,
    ServerConfig, ShardId, ShardName, SlotSet,
};

pub(super) fn name(seat: usize) -> InstanceName {
    format!("c-{seat}").parse().unwrap()
}

pub(super) fn node(seat: usize) -> NodeId {
    NodeId::from_bytes([u8::try_from(seat).unwrap() + 1; 20])
}

pub(super) fn orders(agents: usize) -> Vec<AgentOrder> {
    let shard: ShardName = "s0".parse().unwrap();
    let member = |seat| Member {
        shard: shard.clone(),
        shard_id: ShardId::from_bytes([9; 20]),
        node_id: node(seat),
        address: None,
        founding_slots: if seat == 0 { SlotSet::all() } else { SlotSet::empty() },
        founder: node(0),
        seat: valkeeper_model::ShardSeat::Held,
    };
    let members: Arc<BTreeMap<_, _>> = Arc::new((0..agents).map(|seat| (name(seat), member(seat))).collect());
    let spec = ClusterSpec { mode: Mode::Standalone, ..ClusterSpec::new("c".parse().unwrap()) };
    let config: ServerConfig = placement::server_config(&spec);
    let order = |seat| AgentOrder {
        sentinels: None,
        source: None,
        format: Format,
        generation: Generation(1),
        cluster: ClusterId::from_bytes([1; 20]),
        instance: name(seat),
        run: Run::Up,
        stops_with: valkeeper_model::StopsWith::Itself,
        life: valkeeper_model::InstanceLife::Member,
        config: config.clone(),
        version: None,
        turn: valkeeper_model::RestartTurn::Come,
        shard_life: valkeeper_model::ShardLife::Member,
        members: Arc::clone(&members),
        addresses_hash: None,
    };
    (0..agents).map(order).collect()
}
