//! What agents are told: rendered from the layout only (law 5).

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Arc;
use valkeeper_model::{
    Address, AddressesHash, AgentOrder, Instance, InstanceLife, InstanceName, Layout, Member,
    ReplicaModeStage, Run, SentinelsOrder, ShardSeat, SlotSet, SourceOrder, StopsWith,
};

/// Has every founder a place? Who starts without knowing one would not know that others do not know it either. Replicas find who
/// knows nothing of them, and may come later.
pub fn founders_are_placed(layout: &Layout, addresses: &BTreeMap<InstanceName, Address>) -> bool {
    layout.shards.values().all(|shard| addresses.contains_key(&shard.founder))
}

/// All members with the addresses they have; `None` while [founders](founders_are_placed) have none.
pub fn members(
    layout: &Layout,
    addresses: &BTreeMap<InstanceName, Address>,
) -> Option<Arc<BTreeMap<InstanceName, Member>>> {
    if !founders_are_placed(layout, addresses) {
        return None;
    }
    let mut members = BTreeMap::new();
    for (name, instance) in layout.instances.iter() {
        let shard = layout.shards.get(&instance.shard)?;
        // Slots that come and those that went too: a file of an instance may hold keys of them.
        let slots = || shard.slots.union(&shard.gave).union(&layout.incoming(&instance.shard));
        let founding_slots = if shard.founder == *name { slots() } else { SlotSet::empty() };
        let member = Member {
            shard: instance.shard.clone(),
            shard_id: shard.id,
            node_id: instance.node_id,
            address: addresses.get(name).cloned(),
            founding_slots,
            founder: layout.instances.get(&shard.founder)?.node_id,
            seat: if shard.slots.is_empty() { ShardSeat::NotHeld } else { ShardSeat::Held },
        };
        members.insert(name.clone(), member);
    }
    Some(Arc::new(members))
}

/// What the addresses of all members come to.
pub fn addresses_hash(layout: &Layout, addresses: &BTreeMap<InstanceName, Address>) -> AddressesHash {
    let mut hasher = DefaultHasher::new();
    for name in layout.placed() {
        (name, addresses.get(name)).hash(&mut hasher);
    }
    AddressesHash(hasher.finish())
}

/// One agent's order.
pub fn order(
    layout: &Layout,
    members: &Arc<BTreeMap<InstanceName, Member>>,
    sentinels: Option<&Arc<SentinelsOrder>>,
    addresses_hash: AddressesHash,
    name: &InstanceName,
) -> Option<AgentOrder> {
    let instance = layout.instances.get(name)?;
    Some(AgentOrder {
        format: valkeeper_model::Format,
        generation: layout.generation,
        cluster: layout.id,
        instance: name.clone(),
        run: if instance.is_fenced() || instance.life == InstanceLife::Retired {
            Run::Fenced
        } else {
            Run::Up
        },
        stops_with: stops_with(layout, name, instance),
        life: instance.life.clone(),
        config: layout.config.clone(),
        version: layout.version_of(name).cloned(),
        turn: layout.turn_of(name),
        shard_life: layout.shards.get(&instance.shard)?.life.clone(),
        members: Arc::clone(members),
        sentinels: sentinels.cloned(),
        source: source(layout),
        addresses_hash: Some(addresses_hash),
    })
}

/// Primaries are fenced last of all: hibernation and `fencedInstances` see to that.
fn stops_with(layout: &Layout, name: &InstanceName, instance: &Instance) -> StopsWith {
    let mut others = layout.instances_of(&instance.shard).filter(|(other, _)| *other != name);
    // The others of a shard are looked for among all instances: only for those few that are fenced.
    if instance.is_fenced() && others.all(|(_, other)| other.is_fenced()) {
        StopsWith::Shard
    } else {
        StopsWith::Itself
    }
}

/// What agents are told of the source, while it is followed. Who is to be promoted is told to all: each votes for a new primary only in the
/// place of one that it knows.
fn source(layout: &Layout) -> Option<SourceOrder> {
    let followed = layout.replica_mode.as_deref().filter(|mode| mode.follows())?;
    let promote = match &followed.stage {
        ReplicaModeStage::Promoting { designated } => designated.clone(),
        ReplicaModeStage::Following | ReplicaModeStage::Promoted { .. } | ReplicaModeStage::Newer(_) => None,
    };
    Some(SourceOrder {
        source: followed.source.clone(),
        node_id: followed.node_id,
        promote,
        // The first is the designated one: the last keeps the copy.
        reserve: layout.instances.keys().next_back().cloned(),
        held_back: followed.held_back.as_ref().map(|held| held.why.clone()),
        accepted: followed.accepted,
        demotion: followed.demotion,
    })
}
