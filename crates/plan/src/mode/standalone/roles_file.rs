//! The file in which an agent keeps who is the primary of which term, and its votes: of the form of the engine's nodes.conf.

use crate::protocol::Token;
use crate::replica_mode::roles::line;
use valkeeper_model::nodes_conf::{NodeLine, NodesConf, Vars};
use valkeeper_model::{AgentOrder, Epoch, InstanceName, NodeId, PrimaryTerm, Role, SlotSet};

/// In the line of a candidate: the term in which the file's owner has voted for it last.
pub const VOTED: &str = "voted";

/// A change to the file.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Change {
    /// A vote for itself.
    OwnVote { term: Epoch },
    /// A vote for another.
    Vote { term: Epoch, candidate: InstanceName, asked: Option<Token> },
    /// It has won.
    Claim { term: Epoch },
    /// It has heard of another that won.
    Learn(PrimaryTerm),
}

/// The file after that change; `None` if the change is out of date.
pub(super) fn apply(roles: &NodesConf, change: &Change, order: &AgentOrder) -> Option<NodesConf> {
    let vars = roles.vars.unwrap_or_default();
    match change {
        Change::OwnVote { term } | Change::Vote { term, .. } => {
            let candidate = match change {
                Change::Vote { candidate, .. } => order.members.get(candidate)?.node_id,
                _ => order.myself()?.node_id,
            };
            let mut next = roles.clone();
            for line in next.nodes.iter_mut().filter(|line| line.id == candidate) {
                line.aux.insert(VOTED.to_owned(), term.to_string());
            }
            let current_epoch = vars.current_epoch.max(*term);
            next.vars = Some(Vars { current_epoch, last_vote_epoch: vars.last_vote_epoch.max(*term) });
            Some(next)
        }
        Change::Claim { term } => {
            let me = order.myself()?.node_id;
            Some(with_primary(roles, PrimaryTerm { term: *term, primary: me }, order))
        }
        Change::Learn(news) => {
            let known = roles.nodes.iter().find(|line| !line.slots.is_empty());
            known.is_none_or(|line| line.config_epoch < news.term).then(|| with_primary(roles, *news, order))
        }
    }
}

/// The file that names this primary, and everybody else as its replica.
fn with_primary(roles: &NodesConf, primary: PrimaryTerm, order: &AgentOrder) -> NodesConf {
    let mut next = roles.clone();
    // A source that is the primary no more is nobody's replica.
    next.nodes.retain(|line| line.id == primary.primary || order.member_with(line.id).is_some());
    if next.node(primary.primary).is_none() && order.is_source(primary.primary) {
        next.nodes.push(line(primary.primary, primary.term));
    }
    for line in &mut next.nodes {
        let is_primary = line.id == primary.primary;
        line.flags.role = Some(if is_primary { Role::Primary } else { Role::Replica });
        line.primary = (!is_primary).then_some(primary.primary);
        line.slots = if is_primary { SlotSet::all() } else { SlotSet::empty() };
        line.config_epoch = primary.term;
        if voted_in(line).is_some_and(|term| term <= primary.term) {
            line.aux.remove(VOTED);
        }
    }
    let vars = roles.vars.unwrap_or_default();
    next.vars = Some(Vars { current_epoch: vars.current_epoch.max(primary.term), ..vars });
    next
}

pub(super) fn voted_in(line: &NodeLine) -> Option<Epoch> {
    line.aux.get(VOTED)?.parse().ok().map(Epoch)
}

/// Gives the votes in one file to another that takes its place: without them its owner would not name those that may be primaries.
pub(super) fn carry_votes(from: &NodesConf, to: &mut NodesConf) {
    for line in &mut to.nodes {
        let voted = from.node(line.id).and_then(|former| former.aux.get(VOTED));
        if let Some(voted) = voted {
            line.aux.insert(VOTED.to_owned(), voted.clone());
        }
    }
}

/// The primary in such a file.
pub(super) fn primary(roles: &NodesConf) -> Option<NodeId> {
    roles.nodes.iter().find(|line| !line.slots.is_empty()).map(|line| line.id)
}
