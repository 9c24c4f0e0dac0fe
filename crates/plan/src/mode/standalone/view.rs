//! What a server without cluster mode says of itself, beside what its agent's file says it is.

use super::roles_file::primary;
use crate::mode::cluster::nodes_conf::topology;
use std::sync::Arc;
use valkeeper_model::nodes_conf::NodesConf;
use valkeeper_model::{Address, AgentOrder, NodeId, Role, ServerView, SlotSet};

/// Completes a view by what such a server does not know: the other members, and the term of the primary. The server's own role, and whom it
/// follows, are as it says: it owns the slots if it is a primary and the file says that it is the one of the newest term.
pub fn complete(view: &mut ServerView, roles: &NodesConf, order: &AgentOrder) {
    let mut topology = topology(roles);
    let followed = view.follows.as_ref().and_then(|followed| {
        let mut members = order.members.values();
        let at = |address: &Address| followed.is_at(address);
        members.find(|member| member.address.as_ref().is_some_and(at)).map(|member| member.node_id)
    });
    for member in order.members.values() {
        if let Some(node) = topology.get_mut(&member.node_id) {
            node.address.clone_from(&member.address);
        }
    }
    if let Some(me) = topology.get_mut(&view.node_id) {
        me.role = view.replication.role();
        match me.role {
            Role::Primary => me.primary = None,
            Role::Replica => {
                me.primary = followed;
                me.slots = SlotSet::empty();
            }
        }
    }
    view.topology = Arc::new(topology);
    view.current_epoch = roles.vars.unwrap_or_default().current_epoch;
}

/// What a server is to be told that is not what its agent's file says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mend {
    /// To become a primary.
    Promote,
    /// To follow the one at this address.
    Follow(Address),
}

/// What differs. `None` also where the address to follow is not known.
pub fn mend(view: &ServerView, roles: &NodesConf, order: &AgentOrder) -> Option<Mend> {
    let primary: NodeId = primary(roles)?;
    if primary == view.node_id {
        return (view.replication.role() == Role::Replica).then_some(Mend::Promote);
    }
    let address = order.member_with(primary)?.1.address.as_ref()?;
    let follows = view.follows.as_ref().is_some_and(|followed| followed.is_at(address));
    let is_replica = view.replication.role() == Role::Replica;
    (!is_replica || !follows).then(|| Mend::Follow(address.clone()))
}
