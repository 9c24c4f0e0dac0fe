//! What others hold, asked before a server starts that may have been its shard's primary.

use super::Token;
use super::machine::Agent;
use crate::failover::restart_decision::Sibling;
use std::collections::BTreeMap;
use valkeeper_model::{
    AgentOrder, AgentReport, Answer, AskFailed, Generation, InstanceName, Millis, NodeId, Position,
    ServerView, Unseen,
};

/// How long others are asked for.
pub(super) const CONSULT_MS: u64 = 500;

/// Asking others what they hold.
#[derive(Debug)]
pub(super) struct Consultation {
    pending: BTreeMap<Token, InstanceName>,
    answers: BTreeMap<InstanceName, Result<AgentReport, AskFailed>>,
    until: Millis,
}

impl Consultation {
    pub(super) fn begin(now: Millis, pending: BTreeMap<Token, InstanceName>) -> Self {
        Self { pending, answers: BTreeMap::new(), until: now.plus(CONSULT_MS + 50) }
    }
    pub(super) fn told(&mut self, token: Token, result: Result<Answer, AskFailed>) -> bool {
        let Some(name) = self.pending.remove(&token) else { return false };
        let answer = result.and_then(|answer| match answer {
            Answer::Report(report) => Ok(*report),
            Answer::Done
            | Answer::Replication { .. }
            | Answer::Tried(_)
            | Answer::Heartbeat { .. }
            | Answer::Renewed { .. }
            | Answer::Vote { .. }
            | Answer::Term { .. }
            | Answer::ConfirmDown { .. } => Err(AskFailed::Unseen(Unseen::Garbled)),
        });
        self.answers.insert(name, answer);
        self.pending.is_empty()
    }
    pub(super) fn expired(&self, now: Millis) -> bool {
        self.until <= now
    }
    pub(super) fn wake_at(&self) -> Millis {
        self.until
    }
    pub(super) fn answer(&self, name: &InstanceName) -> Result<AgentReport, AskFailed> {
        self.answers.get(name).cloned().unwrap_or(Err(AskFailed::Unseen(Unseen::Timeout)))
    }
    /// Has anybody who answers an order that is newer than this one?
    pub(super) fn knows_newer(&self, than: Generation) -> bool {
        self.answers.values().flatten().any(|report| report.generation > than)
    }

    /// Has the server of anybody who answers keys?
    pub(super) fn anybody_holds_keys(&self) -> bool {
        self.answers.values().flatten().filter_map(AgentReport::view).any(|view| view.keys > 0)
    }

    /// What the servers of the siblings who answer have shown.
    fn sibling_views<'v>(&'v self, order: &'v AgentOrder) -> impl Iterator<Item = &'v ServerView> {
        order.siblings().filter_map(|(name, _)| self.answers.get(name)?.as_ref().ok()?.view())
    }

    /// The sibling that is a primary and owns no slots.
    pub(super) fn primary_without_slots(&self, order: &AgentOrder) -> Option<ServerView> {
        self.sibling_views(order).find(|view| view.is_primary_without_slots()).cloned()
    }

    /// Has the server of a sibling who answers keys?
    pub(super) fn anybody_of_shard_holds_keys(&self, order: &AgentOrder) -> bool {
        self.sibling_views(order).any(|view| view.keys > 0)
    }

    /// The highest sequence that anybody who answers has seen of this instance's record.
    pub(super) fn sequence_seen(&self, of: &InstanceName) -> Option<u64> {
        let copies = self.answers.values().filter_map(|answer| answer.as_ref().ok()?.copy.as_deref());
        copies.filter_map(|copy| copy.seen.get(of)).max().copied()
    }

    /// The histories of that member's data, empty if they are not known.
    pub(super) fn histories_of(&self, order: &AgentOrder, id: NodeId) -> Vec<Position> {
        let answer = order.member_with(id).and_then(|(name, _)| self.answers.get(name)?.as_ref().ok());
        answer.and_then(|report| report.copy.as_ref()).map(|copy| copy.histories.clone()).unwrap_or_default()
    }

    /// What a member that answers believes; the newest of them, as far as our shard goes: one that has just come back may know the
    /// newest epoch and not who owns our slots since.
    pub(super) fn newest_view(&self, order: &AgentOrder) -> Option<&ServerView> {
        let shard: Vec<_> = order.ids_of_shard().collect();
        let claim = |view: &ServerView| {
            let known = shard.iter().filter_map(|id| view.topology.get(id));
            known.filter(|node| !node.slots.is_empty()).map(|node| node.config_epoch).max()
        };
        let views = self.answers.values().filter_map(|answer| answer.as_ref().ok()?.view());
        views.max_by_key(|view| (claim(view), view.cluster_ok, view.current_epoch))
    }
}

impl Agent {
    /// The sibling that serves our shard, by the newest claim if two do.
    pub(super) fn serving_sibling(&self, consultation: &Consultation) -> Option<Box<ServerView>> {
        let serving =
            self.judge_siblings(consultation).into_iter().filter_map(|(_, sibling)| match sibling {
                Sibling::Primary(view) => Some(view),
                _ => None,
            });
        serving.max_by_key(|view| view.myself().map(|node| node.config_epoch))
    }
}
