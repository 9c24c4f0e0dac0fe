//! Nodes that are no members, and slots that are not where the layout says: told with ids and addresses, since no command of ours says
//! whose they are.

use crate::view::cluster_view::{ClusterView, InstanceView};
use crate::view::topology_views::TopologyViews;
use std::collections::BTreeMap;
use valkeeper_model::{Address, NodeId, ShardName, SlotSet, Topology, Waiting};

/// What one topology holds that the layout does not know.
struct Finding<'a> {
    foreign: Vec<(NodeId, Option<&'a Address>)>,
    taken: Vec<(&'a ShardName, NodeId, SlotSet, Option<&'a Address>)>,
    owned: SlotSet,
    /// How many servers believe it.
    held_by: usize,
}

fn examine<'a>(cluster_view: &ClusterView<'a>, topology: &'a Topology) -> Finding<'a> {
    let mut finding = Finding { foreign: Vec::new(), taken: Vec::new(), owned: SlotSet::empty(), held_by: 0 };
    for (id, node) in topology {
        let home = cluster_view.members.get(id).and_then(|name| cluster_view.layout.instances.get(*name));
        if home.is_none() {
            finding.foreign.push((*id, node.address.as_ref()));
        }
        if node.slots.is_empty() {
            continue;
        }
        finding.owned = finding.owned.union(&node.slots);
        let own = home.and_then(|home| cluster_view.layout.shards.get(&home.shard));
        let beyond = own.map_or_else(|| node.slots.clone(), |shard| node.slots.minus(&shard.slots));
        let beyond =
            home.map_or(beyond.clone(), |home| beyond.minus(&cluster_view.layout.disputed(&home.shard)));
        if beyond.is_empty() {
            continue;
        }
        for (name, shard) in
            cluster_view.layout.shards.iter().filter(|(_, shard)| shard.slots.intersects(&beyond))
        {
            let slots = beyond.minus(&SlotSet::all().minus(&shard.slots));
            finding.taken.push((name, *id, slots, node.address.as_ref()));
        }
    }
    finding
}

/// Tells of them.
pub fn judge(cluster_view: &ClusterView<'_>, beliefs: &TopologyViews<'_>, waiting: &mut Vec<Waiting>) {
    let mut found = beliefs.each(|topology| examine(cluster_view, topology));
    let views =
        cluster_view.shards.values().flat_map(|shard| &shard.instances).filter_map(InstanceView::view);
    for view in views {
        if let Some(finding) = found.of_mut(view) {
            finding.held_by += 1;
        }
    }
    let mut foreign: BTreeMap<NodeId, (Option<&Address>, usize)> = BTreeMap::new();
    let mut taken: BTreeMap<(&ShardName, NodeId), (SlotSet, Option<&Address>)> = BTreeMap::new();
    let mut owned = SlotSet::empty();
    for finding in found.all() {
        for (id, address) in &finding.foreign {
            let known = foreign.entry(*id).or_default();
            *known = (known.0.or(*address), known.1 + finding.held_by);
        }
        for (shard, id, slots, address) in &finding.taken {
            let known = taken.entry((*shard, *id)).or_default();
            *known = (known.0.union(slots), known.1.or(*address));
        }
        owned = owned.union(&finding.owned);
    }
    for (node, (address, known_by)) in foreign {
        waiting.push(Waiting::ForeignNode { node, address: address.cloned(), known_by });
    }
    // Before all founders have begun, and while nobody can be seen, nothing is known of who owns what.
    if cluster_view.layout.is_founding() || owned.is_empty() && !any_view(cluster_view) {
        return;
    }
    for shard in cluster_view.shards.values() {
        let primary = shard.primary();
        let own = primary.as_ref().and_then(|primary| primary.view()?.slots());
        let others = taken.iter().filter(|((of, _), _)| *of == shard.name);
        let theirs = others.fold(SlotSet::empty(), |all, (_, (slots, _))| all.union(slots));
        let given = cluster_view.layout.outgoing(shard.name).common(&owned);
        let unowned = shard.shard.slots.minus(own.unwrap_or(&owned)).minus(&theirs).minus(&given);
        if !unowned.is_empty() {
            waiting.push(Waiting::SlotsUnowned { shard: shard.name.clone(), slots: unowned });
        }
    }
    for ((shard, node), (slots, address)) in taken {
        waiting.push(Waiting::SlotsTaken { shard: shard.clone(), slots, node, address: address.cloned() });
    }
}

fn any_view(cluster_view: &ClusterView<'_>) -> bool {
    cluster_view.shards.values().flat_map(|shard| &shard.instances).any(|instance| instance.view().is_some())
}
