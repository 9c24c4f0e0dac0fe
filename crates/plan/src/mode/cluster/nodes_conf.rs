//! The nodes.conf a server starts with. Writing it ourselves gives every server its identity, its slots and its peers from
//! its first millisecond: nothing has to be met, assigned or forgotten afterwards, so that a founding or a rebuild that is
//! cut short anywhere is simply done again.

use crate::replica_mode::roles;
use std::collections::BTreeMap;
use valkeeper_model::nodes_conf::{NodeLine, NodesConf, Vars};
use valkeeper_model::{AgentOrder, Epoch, Member, NodeId, Role, SlotSet, Topology, TopologyNode};

const SHARD_ID: &str = "shard-id";

/// For a server that never ran: founding primaries with their slots, each with an epoch of its own, and their replicas.
pub fn founding(order: &AgentOrder) -> NodesConf {
    let mut epochs: BTreeMap<NodeId, Epoch> = BTreeMap::new();
    let mut last = Epoch(0);
    for member in order.members.values() {
        if !member.founding_slots.is_empty() {
            last = last.next();
            epochs.insert(member.node_id, last);
        }
    }
    let nodes = order.members.iter().map(|(name, member)| {
        let founder = member.founder == member.node_id;
        let mut line = blank_line(member, if founder { Role::Primary } else { Role::Replica });
        line.flags.myself = *name == order.instance;
        line.primary = (!founder).then_some(member.founder);
        line.config_epoch = epochs.get(&member.founder).copied().unwrap_or_default();
        line.slots = member.founding_slots.clone();
        line
    });
    NodesConf { nodes: nodes.collect(), vars: Some(Vars { current_epoch: last, last_vote_epoch: Epoch(0) }) }
}

/// What a server that gets a rebuilt nodes.conf is to be in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// A replica of that node.
    ReplicaOf(NodeId),
    /// What the topology says it is.
    AsKnown,
}

/// From what another member believes, for a server whose own nodes.conf is out of date or lost.
///
/// `own` is what is left of the server's own file. Without it nobody knows in which epochs it voted: it must not vote again
/// in any epoch that may have existed, so that its last vote is set to the newest one.
pub fn rebuilt(
    order: &AgentOrder,
    topology: &Topology,
    seen: Epoch,
    own: Option<Vars>,
    part: Part,
) -> NodesConf {
    let mut current_epoch = topology.values().map(|node| node.config_epoch).fold(seen, Epoch::max);
    let mut last_vote_epoch = current_epoch;
    if let Some(own) = own {
        current_epoch = current_epoch.max(own.current_epoch);
        last_vote_epoch = own.last_vote_epoch;
    }
    // Who is to be followed is a primary, whatever the topology has not heard of yet.
    let own_slots = order.myself().and_then(|me| topology.get(&me.node_id)).map(|node| node.slots.clone());
    let nodes = order.members.iter().map(|(name, member)| {
        let known = topology.get(&member.node_id);
        // Nobody knows a shard that is being built: it has the primary that it began with.
        let unknown = if member.founder == member.node_id { Role::Primary } else { Role::Replica };
        let mut line = blank_line(member, known.map_or(unknown, |node| node.role));
        if let Some(node) = known {
            line.primary = node.primary;
            line.slots = node.slots.clone();
            line.config_epoch = node.config_epoch;
        } else {
            line.primary = Some(member.founder).filter(|founder| *founder != member.node_id);
        }
        if part == Part::ReplicaOf(member.node_id) {
            line.flags.role = Some(Role::Primary);
            line.primary = None;
            if line.slots.is_empty() {
                line.slots = own_slots.clone().unwrap_or_else(SlotSet::empty);
            }
        }
        if *name == order.instance {
            line.flags.myself = true;
            if let Part::ReplicaOf(primary) = part {
                line.flags.role = Some(Role::Replica);
                line.primary = Some(primary);
                line.slots = SlotSet::empty();
                line.config_epoch =
                    topology.get(&primary).map_or(line.config_epoch, |node| node.config_epoch);
            }
        }
        line
    });
    let vars = Some(Vars { current_epoch, last_vote_epoch });
    let mut roles = NodesConf { nodes: nodes.collect(), vars };
    roles::add_known(&mut roles, order, topology);
    roles
}

/// What a nodes.conf says, as a topology.
pub fn topology(conf: &NodesConf) -> Topology {
    let node = |line: &NodeLine| TopologyNode {
        role: line.flags.role.unwrap_or(Role::Replica),
        primary: line.primary,
        slots: line.slots.clone(),
        config_epoch: line.config_epoch,
        address: line.address.clone(),
    };
    conf.nodes.iter().map(|line| (line.id, node(line))).collect()
}

/// The same file with the members' addresses of today and without what its server believed of their health; `None` if that is so already.
/// Servers that all come back at new addresses never find each other otherwise. Who was held for failed, or suspected, was so in the last run:
/// the engine would take a flag that it reads for one of now, clears that of a primary only after twice `cluster-node-timeout`, and has a
/// replica elected meanwhile beside the primary that serves (docs/engine-facts.md).
pub fn readdressed(current: &NodesConf, order: &AgentOrder) -> Option<NodesConf> {
    let today: BTreeMap<NodeId, &Member> =
        order.members.values().map(|member| (member.node_id, member)).collect();
    let mut changed = current.clone();
    for line in &mut changed.nodes {
        let Some(member) = today.get(&line.id) else { continue };
        (line.flags.fail, line.flags.pfail) = (false, false);
        if member.address.is_some() && line.address != member.address {
            line.address.clone_from(&member.address);
            line.flags.noaddr = false;
        }
    }
    (changed != *current).then_some(changed)
}

fn blank_line(member: &Member, role: Role) -> NodeLine {
    let mut line = NodeLine::new(member.node_id, member.address.clone(), role);
    line.aux.insert(SHARD_ID.to_owned(), member.shard_id.to_string());
    line
}
