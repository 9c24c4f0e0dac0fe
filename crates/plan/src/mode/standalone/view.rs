//! What a server without cluster mode says of itself, beside what its agent's file says it is.

use super::roles_file::primary;
use crate::mode::cluster::nodes_conf::topology;
use crate::replica_mode::roles::follow_source;
use std::sync::Arc;
use valkeeper_model::nodes_conf::NodesConf;
use valkeeper_model::{Address, AgentOrder, NodeId, Role, ServerView, SlotSet};

/// Completes a view by what such a server does not know: the other members, and the term of the primary. The server's own role, and whom it
/// follows, are as it says: it owns the slots if it is a primary and the file says that it is the one of the newest term. `source` is where the
/// primary of a followed cluster was seen last.
pub fn complete(view: &mut ServerView, roles: &NodesConf, order: &AgentOrder, source: Option<&Address>) {
    let mut topology = topology(roles);
    let followed = view.follows.as_ref().and_then(|followed| {
        let mut members = order.members.values();
        let at = |address: &Address| followed.is_at(address);
        let member = members.find(|member| member.address.as_ref().is_some_and(at));
        member.map(|member| member.node_id).or_else(|| {
            let line = roles.node(order.source.as_ref()?.node_id)?;
            (source.is_some_and(at) || line.address.as_ref().is_some_and(at)).then_some(line.id)
        })
    });
    for member in order.members.values() {
        if let Some(node) = topology.get_mut(&member.node_id) {
            node.address.clone_from(&member.address);
        }
    }
    // A file that learned of the source while its server ran does not know where that is.
    if let (Some(followed), Some(address)) = (&order.source, source)
        && let Some(node) = topology.get_mut(&followed.node_id)
    {
        node.address.get_or_insert_with(|| address.clone());
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

/// What differs. `None` also where the address to follow is not known: a source is followed only where it was seen.
pub fn mend(
    view: &ServerView,
    roles: &NodesConf,
    order: &AgentOrder,
    source: Option<&Address>,
) -> Option<Mend> {
    let primary: NodeId = primary(roles)?;
    if primary == view.node_id {
        return (view.replication.role() == Role::Replica).then_some(Mend::Promote);
    }
    let address = match order.member_with(primary) {
        Some((_, member)) => member.address.as_ref()?,
        None => source.filter(|_| follow_source(roles, order))?,
    };
    let follows = view.follows.as_ref().is_some_and(|followed| followed.is_at(address));
    let is_replica = view.replication.role() == Role::Replica;
    (!is_replica || !follows).then(|| Mend::Follow(address.clone()))
}
