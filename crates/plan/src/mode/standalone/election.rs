//! An election in which an agent stands, and when it is won.

use crate::placement::zones::quorum;
use crate::protocol::Token;
use std::collections::{BTreeMap, BTreeSet};
use valkeeper_model::{AgentOrder, Epoch, InstanceName, Millis, NodeId};

/// An election in which the agent stands.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Election {
    pub(super) term: Epoch,
    pub(super) began: Millis,
    pub(super) asked: BTreeMap<Token, InstanceName>,
    pub(super) votes: BTreeSet<InstanceName>,
    /// Who does not stand in the way and cannot keep a vote.
    pub(super) released: BTreeSet<InstanceName>,
    /// Who may be a primary by what the voters know.
    pub(super) named: BTreeSet<NodeId>,
    /// Of whom which voters say that its lease has ended, and is not renewed.
    pub(super) silent: BTreeMap<NodeId, BTreeSet<InstanceName>>,
}

impl Election {
    /// Has it a majority of the votes, and the consent of all that may be primaries, or the word of a majority that their leases have ended?
    pub(super) fn is_won(&self, order: &AgentOrder) -> bool {
        let seats = order.siblings().count() + 1;
        let agrees = |node: &NodeId| {
            let member = order.member_with(*node);
            // A source has no seat: that it is followed no more was stored before anybody stands.
            let is_left = || order.promotes() && order.is_source(*node);
            let agrees = |name: &InstanceName| self.votes.contains(name) || self.released.contains(name);
            let silent = |voters: &BTreeSet<InstanceName>| voters.len() >= quorum(seats);
            member.map_or_else(is_left, |(name, _)| agrees(name)) || self.silent.get(node).is_some_and(silent)
        };
        let all_agree = self.named.iter().all(agrees);
        self.votes.len() >= quorum(seats) && all_agree
    }
}
