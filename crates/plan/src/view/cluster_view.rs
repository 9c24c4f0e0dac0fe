//! Layout and observation laid side by side, by shard, once per decision.

use std::collections::BTreeMap;
use valkeeper_model::{
    AgentReport, Instance, InstanceName, Layout, NodeId, Observation, ServerView, Shard, ShardName,
    StartFailure, ZoneName,
};

/// All shards.
#[derive(Debug)]
pub struct ClusterView<'a> {
    /// What was chosen.
    pub layout: &'a Layout,
    /// What was seen.
    pub observation: &'a Observation,
    /// By shard.
    pub shards: BTreeMap<&'a ShardName, ShardView<'a>>,
    /// Members by node id.
    pub members: BTreeMap<NodeId, &'a InstanceName>,
}

/// One shard.
#[derive(Debug)]
pub struct ShardView<'a> {
    /// Its name.
    pub name: &'a ShardName,
    /// What was chosen for it.
    pub shard: &'a Shard,
    /// Its instances.
    pub instances: Vec<InstanceView<'a>>,
    primary: Option<usize>,
}

/// One instance. `report` is `None` when its agent did not answer: unknown, not gone.
#[derive(Debug, Clone, Copy)]
pub struct InstanceView<'a> {
    /// Its name.
    pub name: &'a InstanceName,
    /// What was chosen for it.
    pub instance: &'a Instance,
    /// What its agent said.
    pub report: Option<&'a AgentReport>,
    /// Clients that go by its name are led elsewhere.
    pub name_leads_elsewhere: bool,
    /// Why the platform cannot start its agent.
    pub not_starting: Option<&'a StartFailure>,
}

impl<'a> InstanceView<'a> {
    /// The server's own words.
    pub fn view(&self) -> Option<&'a ServerView> {
        self.report.and_then(AgentReport::view)
    }

    /// Was its pod made by another template than the wanted one? Of a pod that does not say by which, it is not known.
    pub fn is_of_other_template(&self, layout: &Layout) -> bool {
        let made_by = self.report.and_then(|report| report.pod_template.as_ref());
        made_by.zip(layout.pod_template.as_ref()).is_some_and(|(made_by, wanted)| made_by != wanted)
    }
}

impl<'a> ShardView<'a> {
    /// The instance that serves the slots by its own words; with the highest epoch if two say so.
    pub fn primary(&self) -> Option<InstanceView<'a>> {
        self.primary.and_then(|index| self.instances.get(index)).copied()
    }
    /// One of its instances.
    pub fn get(&self, name: &InstanceName) -> Option<InstanceView<'a>> {
        self.instances.iter().find(|cluster_view| cluster_view.name == name).copied()
    }
}

impl<'a> ClusterView<'a> {
    /// Lays them side by side.
    pub fn new(layout: &'a Layout, observation: &'a Observation) -> Self {
        let mut shards: BTreeMap<_, _> = layout
            .shards
            .iter()
            .map(|(name, shard)| (name, ShardView { name, shard, instances: Vec::new(), primary: None }))
            .collect();
        for (name, instance) in layout.instances.iter() {
            if let Some(shard) = shards.get_mut(&instance.shard) {
                shard.instances.push(InstanceView {
                    name,
                    instance,
                    report: observation.report(name),
                    name_leads_elsewhere: observation.names_elsewhere.contains(name),
                    not_starting: observation.not_starting.get(name),
                });
            }
        }
        for shard in shards.values_mut() {
            let slots = &shard.shard.slots;
            // The primary of a shard without slots claims none. It is the one that the shard began with, unless that one has handed over, or
            // another has got slots since. One that has given its last slot away has none before the layout says so.
            let none_to_keep = slots.minus(&layout.outgoing(shard.name)).is_empty();
            let waits = |view: &ServerView| none_to_keep && view.is_primary_without_slots();
            let claim = |one: &InstanceView<'_>| {
                let view = one.view().filter(|view| view.serves(slots) || waits(view))?;
                let owns = view.slots().is_some();
                // Of two that own slots the newer claim counts, whoever the founder is.
                let first = !owns && *one.name == shard.shard.founder;
                view.myself().map(|node| (owns, first, node.config_epoch))
            };
            let claims = shard
                .instances
                .iter()
                .enumerate()
                .filter_map(|(index, cluster_view)| Some((claim(cluster_view)?, index)));
            shard.primary = claims.max().map(|(_, index)| index);
        }
        let members = layout.instances.iter().map(|(name, instance)| (instance.node_id, name)).collect();
        Self { layout, observation, shards, members }
    }
    /// The shards whose primaries elections count: those that own slots. One that leaves counts as long as it has slots, and one that has
    /// not got any yet does not.
    pub fn voters(&self) -> impl Iterator<Item = &ShardView<'a>> {
        self.shards.values().filter(|shard| {
            !shard.shard.slots.is_empty()
                || shard.instances.iter().any(|one| one.view().is_some_and(ServerView::is_shard_primary))
        })
    }

    /// The zone of each voter; `None` where none is seen.
    pub fn primary_zones(&self) -> impl Iterator<Item = Option<&'a ZoneName>> {
        self.voters().map(|shard| shard.primary().map(|primary| &primary.instance.zone))
    }

    /// The shard of an instance.
    pub fn shard_of(&self, instance: &InstanceName) -> Option<&ShardView<'a>> {
        self.layout.instances.get(instance).and_then(|chosen| self.shards.get(&chosen.shard))
    }
}
