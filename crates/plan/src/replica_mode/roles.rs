//! The source in the file of roles: a node that is the primary, and that no member is.

use valkeeper_model::nodes_conf::{NodeLine, NodesConf, Vars};
use valkeeper_model::{Address, AgentOrder, Epoch, NodeId, Role, SlotSet, Topology};

/// Makes the source the primary of a file for a cluster that begins by following it.
pub fn founding(mut roles: NodesConf, order: &AgentOrder) -> NodesConf {
    let Some(source) = &order.source else { return roles };
    let term = Epoch(1);
    for line in &mut roles.nodes {
        line.flags.role = Some(Role::Replica);
        line.primary = Some(source.node_id);
        line.slots = SlotSet::empty();
        line.config_epoch = term;
    }
    roles.nodes.push(line(source.node_id, term));
    let vars = roles.vars.unwrap_or_default();
    roles.vars = Some(Vars { current_epoch: vars.current_epoch.max(term), ..vars });
    roles
}

/// The source as the primary of that term; where it is, is not known.
pub fn line(source: NodeId, term: Epoch) -> NodeLine {
    let mut line = NodeLine::new(source, None, Role::Primary);
    line.slots = SlotSet::all();
    line.config_epoch = term;
    line
}

/// Adds the source to a file that was put together from what another member knows, if that one follows it.
pub fn add_known(roles: &mut NodesConf, order: &AgentOrder, topology: &Topology) {
    let Some(source) = &order.source else { return };
    let Some(known) = topology.get(&source.node_id).filter(|known| !known.slots.is_empty()) else { return };
    let mut added = line(source.node_id, known.config_epoch);
    added.address.clone_from(&known.address);
    added.flags.noaddr = added.address.is_none();
    roles.nodes.push(added);
}

/// Is the source the primary in this file?
pub fn follow_source(roles: &NodesConf, order: &AgentOrder) -> bool {
    let source = order.source.as_ref().and_then(|source| roles.node(source.node_id));
    source.is_some_and(|line| !line.slots.is_empty())
}

/// The file with the source at that address; `None` if it is there, or not followed.
pub fn at_address(roles: &NodesConf, order: &AgentOrder, address: &Address) -> Option<NodesConf> {
    let source = order.source.as_ref()?.node_id;
    let known = roles.node(source).filter(|line| !line.slots.is_empty())?;
    if known.address.as_ref() == Some(address) {
        return None;
    }
    let mut moved = roles.clone();
    for line in moved.nodes.iter_mut().filter(|line| line.id == source) {
        line.address = Some(address.clone());
        line.flags.noaddr = false;
    }
    Some(moved)
}
