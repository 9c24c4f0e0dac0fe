//! Which instances there are.

use super::Fleet;
use crate::atoms::Atoms;
use crate::fleet::agents::AgentHost;
use crate::random::Random;
use crate::server::{Members, Server};
use crate::setup::Setup;
use std::sync::Arc;
use valkeeper_model::{
    Instance, InstanceLife, InstanceName, Layout, NodeId, ReplicationId, ShardId, SlotSet,
};

impl Fleet {
    /// The layout is drawn from the same source as the controller's, so that both know the same ids.
    pub(super) fn members(setup: &Setup, mut random: Random) -> Members {
        let layout = valkeeper_plan::placement::found(&setup.spec(), &setup.zones(), &mut random);
        let (mut ids, mut names, mut shard_of) = (Vec::new(), Vec::new(), Vec::new());
        let (mut slots, mut shard_ids): (Vec<SlotSet>, Vec<ShardId>) = (Vec::new(), Vec::new());
        let layout = layout.unwrap_or_else(|impossible| panic!("the setup is no cluster: {impossible}"));
        let shard_names: Vec<_> = layout.shards.keys().cloned().collect();
        for shard in layout.shards.values() {
            slots.push(shard.slots.clone());
            shard_ids.push(shard.id);
        }
        for (name, instance) in layout.instances.iter() {
            names.push(name.clone());
            ids.push(instance.node_id);
            shard_of.push(shard_names.iter().position(|shard| *shard == instance.shard).unwrap_or_default());
        }
        let node_timeout_ms = layout.config.node_timeout_ms;
        Members { ids, names, shard_of, atoms: Atoms::of(&slots), shard_names, shard_ids, node_timeout_ms }
    }

    /// Lays a new replica of that shard out beside one that it has, as an operation that adds one would.
    pub(crate) fn join(&mut self, shard: usize) {
        let Some(mut layout) = self.store.layout.clone() else { return };
        let shard = self.members.shard_names[shard].clone();
        let founder = layout.shards.get(&shard).map(|shard| shard.founder.clone());
        let replica = layout.instances_of(&shard).find(|(name, _)| Some(*name) != founder.as_ref());
        let Some(beside) = replica.map(|(_, replica)| replica.clone()) else { return };
        let name =
            InstanceName::nth(&self.setup.cluster(), u32::try_from(self.servers.len()).unwrap_or_default());
        let (node_id, life) = (NodeId::from_bytes(self.random.id()), InstanceLife::Joining);
        let joiner = Instance { node_id, life, fences: valkeeper_model::Fences::default(), ..beside };
        Arc::make_mut(&mut layout.instances).insert(name, joiner);
        layout.generation = layout.generation.next();
        layout.revision += 1;
        self.law_of_layouts(&layout);
        self.store.layout = Some(layout);
        // Who has changed the layout is another controller: this one reads it when it starts.
        for controller in 0..self.controllers.len() {
            self.controller_dies(controller);
        }
    }

    /// Instances that a layout has and that were not there yet. No server knows of them, and they have no process.
    pub(crate) fn add_instances(&mut self, layout: &Layout) {
        let there = |name: &InstanceName| self.members.names.contains(name);
        let new: Vec<_> = layout.instances.keys().filter(|name| !there(name)).cloned().collect();
        for name in new {
            let instance = &layout.instances[&name];
            let members = Arc::make_mut(&mut self.members);
            let known = members.shard_names.iter().position(|shard| *shard == instance.shard);
            let shard = known.unwrap_or_else(|| {
                members.shard_names.push(instance.shard.clone());
                members.shard_ids.push(layout.shards[&instance.shard].id);
                members.shards() - 1
            });
            members.names.push(name.clone());
            members.ids.push(instance.node_id);
            members.shard_of.push(shard);
            let me = members.ids.len() - 1;
            let replid = ReplicationId::from_bytes(self.random.id());
            let address = Self::address(me, self.laws.moved_by);
            self.servers.push(Server::new(me, Arc::clone(&self.members), address, replid));
            self.servers.iter_mut().for_each(|server| server.members = Arc::clone(&self.members));
            self.waiting.push(Vec::new());
            self.agents.push(AgentHost::default());
            self.network.grow(me + 1);
            self.laws.grow(self.members.shards(), me + 1);
            self.note(|| format!("{name} is new"));
        }
    }
}
