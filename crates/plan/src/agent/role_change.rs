//! The end of a promotion or a handover: what is told, and what the server does next.

use super::machine::{Agent, Phase, Then};
use super::{Command, ServerCommand};
use crate::failover::handover::{self, Handover, Word};
use crate::failover::promotion;
use crate::failover::succession::has_online_replica;
use std::collections::{BTreeMap, BTreeSet};
use valkeeper_model::{
    Address, AgentOrder, Answer, AskFailed, CopyState, Happened, InstanceName, Member, Millis, NodeId, Role,
    ServerView,
};

/// How long a server that has handed over goes on answering before it is stopped. Clients learn of the successor from the
/// redirects it sends: commands in flight and those of connections that are seldom used would otherwise meet a closed
/// connection, which an application sees (node-redis: an error for each of them; docs/clients.md).
const DRAINING_MS: u64 = 2_000;
/// Our server may take this long to follow another primary.
const FOLLOW_MS: u64 = 500;

/// Whom a replica is to follow that follows a node without slots although it knows that another node of its shard owns them.
///
/// The engine leaves it so when a third node tells it of an elected primary before that one's last message as a replica has come, and it
/// never mends it. The elected one could have no successor: a replica that follows the one before asks for votes with the claim of that
/// one, and is not promoted (`may_replace`).
fn astray(view: &ServerView, shard: &BTreeSet<NodeId>) -> Option<NodeId> {
    let followed = view.primary()?;
    let owns = |node: &NodeId| view.topology.get(node).is_some_and(|node| !node.slots.is_empty());
    let is_primary = |node: &NodeId| view.topology.get(node).is_some_and(|node| node.role == Role::Primary);
    if owns(&followed) {
        return None;
    }
    shard.iter().find(|node| **node != view.node_id && is_primary(node) && owns(node)).copied()
}

/// Where the servers of the siblings listen.
fn sibling_addresses(order: &AgentOrder) -> BTreeMap<InstanceName, Address> {
    let placed = |(name, member): (&InstanceName, &Member)| Some((name.clone(), member.address.clone()?));
    order.siblings().filter_map(placed).collect()
}

impl Agent {
    pub(super) fn hand_over(&mut self, now: Millis, to: Option<InstanceName>, then: Then) {
        let Phase::Watching(_) = &self.phase else { return };
        let handover = Handover::begin(self.siblings(), to, now, &mut self.out);
        let handover = match self.order.as_ref().filter(|_| self.votes_by_itself()) {
            Some(order) => handover.demoting(sibling_addresses(order)),
            None => handover,
        };
        let Phase::Watching(watch) = std::mem::replace(&mut self.phase, Phase::Idle) else { return };
        self.phase = Phase::HandingOver(watch, Box::new(handover), then);
    }

    pub(super) fn promotion_went(&mut self, now: Millis, progress: promotion::Progress) {
        match progress {
            promotion::Progress::Going => {}
            promotion::Progress::Promoted { to, view } => {
                self.tell_promotion(now, &to);
                self.last_view = None;
                self.with_host_watch(now, |watch, _, _| watch.was_succeeded(now));
                if self.disk.is_some() {
                    self.start_as_replica_of(now, &view, &[]);
                } else {
                    self.inspect();
                }
            }
            promotion::Progress::Nobody => {
                self.last_view = None;
                self.inspect();
            }
        }
    }

    fn tell_promotion(&mut self, now: Millis, to: &InstanceName) {
        let (Phase::Promoting(promotion), Some(shard)) = (&self.phase, self.shard()) else { return };
        // The handover was over before our server died, and is told.
        if self.successor.as_ref().is_some_and(|one| one.word == Word::Rose && one.instance == *to) {
            return;
        }
        // A death that nobody watched was at a time that nobody knows.
        let took_ms = self.died_at.map(|at| now.since(at));
        let (from, to) = (self.name.clone(), to.clone());
        if !promotion.was_asked(&to) {
            // If somebody watched, its own agent saw it rise, and has told of it.
            if took_ms.is_none() {
                self.out.record(Happened::RoseByItself { shard, instance: to, from: Some(from) });
            }
        } else if promotion.for_its_copy() {
            let state = self.copy_record.held().map_or(CopyState::Nothing, |held| held.state);
            self.out.record(Happened::BetterCopyPromoted { shard, from, to, state });
        } else {
            self.out.record(Happened::FailedOver { shard, from, to, took_ms });
        }
    }

    pub(super) fn handover_went(&mut self, now: Millis, progress: handover::Progress) {
        let Phase::HandingOver(..) = &self.phase else { return };
        let happened = match progress {
            handover::Progress::Going => return,
            handover::Progress::Done { to, paused_ms } => {
                self.complete_all_unless_restarting(&Ok(Answer::Done));
                self.shard().map(|shard| Happened::SwitchedOver {
                    shard,
                    from: self.name.clone(),
                    to,
                    paused_ms,
                })
            }
            handover::Progress::Abandoned { why } => {
                self.abandoned(now, why);
                return;
            }
        };
        self.out.push(Command::Record(happened.unwrap_or(Happened::Stopped)));
        let Phase::HandingOver(mut watch, _, then) = std::mem::replace(&mut self.phase, Phase::Idle) else {
            return;
        };
        watch.look_now(now);
        // It has been seen to be a replica since.
        self.promotion_requested_at = None;
        self.phase = match then {
            Then::Watch => Phase::Watching(watch),
            Then::Restart | Then::StayDown => Phase::Draining(watch, now.plus(DRAINING_MS), then),
        };
    }

    /// Has our server follow the owner of its shard's slots, if it does not by itself.
    pub(super) fn follow_the_owner(&mut self, view: &ServerView) {
        let Some(order) = self.order.as_ref().filter(|_| !self.votes_by_itself()) else { return };
        let shard = order.siblings().map(|(_, member)| member.node_id).collect();
        if let (Phase::Watching(_), Some(owner)) = (&self.phase, astray(view, &shard)) {
            self.out.serve(ServerCommand::Follow(owner), FOLLOW_MS);
        }
    }

    /// Clients have been sent on; now it may stop. Should it have been made primary again meanwhile, it hands over again.
    pub(super) fn end_draining(&mut self, now: Millis) {
        match self.stay() {
            Some(Then::Restart) => self.restart(now),
            // Unless its fence was lifted while it handed over.
            Some(_) if !self.wanted_up() => self.come_down(now),
            _ => {}
        }
    }

    /// It is not only to restart but to stay down.
    pub(super) fn drain_then_stay_down(&mut self) {
        if let Phase::Draining(_, _, then) = &mut self.phase {
            *then = Then::StayDown;
        }
    }

    /// Goes on running; answers what it was about to do.
    pub(super) fn stay(&mut self) -> Option<Then> {
        match std::mem::replace(&mut self.phase, Phase::Idle) {
            Phase::Draining(watch, _, then) => {
                self.phase = Phase::Watching(watch);
                Some(then)
            }
            other => {
                self.phase = other;
                None
            }
        }
    }

    pub(super) fn abandoned(&mut self, now: Millis, mut why: String) {
        // What clients have felt of it.
        if let Phase::HandingOver(_, handover, _) = &self.phase
            && handover.held_ms(now) > 0
        {
            why = format!("{why}; writes were held for up to {} ms", handover.held_ms(now));
        }
        if let Some(shard) = self.shard() {
            self.out.record(Happened::SwitchoverAbandoned { shard, why: why.clone() });
        }
        let Phase::HandingOver(mut watch, handover, then) = std::mem::replace(&mut self.phase, Phase::Idle)
        else {
            return;
        };
        // It was made a replica for the handover, and is to be made a primary again.
        if handover.has_demoted() {
            watch.look_now(now);
        }
        self.phase = Phase::Watching(watch);
        self.complete_all(&Err(AskFailed::Refused(why)));
        // The planner allowed a fence although nobody can follow only if the user forced it. While somebody could, the fence
        // has to wait (law 2): it is tried again at the next look at the disk.
        let view = self.server.known().or(self.last_view.as_ref());
        if then == Then::StayDown
            && !self.wanted_up()
            && !self.promotion_is_recent(now)
            && !view.is_some_and(|view| has_online_replica(&view.replication))
        {
            self.terminate(now, Then::StayDown);
        }
    }

    pub(super) fn complete_all_unless_restarting(&mut self, result: &Result<Answer, AskFailed>) {
        if !matches!(self.phase, Phase::HandingOver(_, _, Then::Restart)) {
            self.complete_all(result);
        }
    }

    /// Answers everybody who waits for a handover or a restart to end.
    pub(super) fn complete_all(&mut self, result: &Result<Answer, AskFailed>) {
        for token in std::mem::take(&mut self.awaiting_completion) {
            self.out.push(Command::Answer { token, result: result.clone() });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use valkeeper_model::{
        Epoch, Link, Offset, Part, Replication, ReplicationId, SlotSet, Topology, TopologyNode,
    };

    /// Nodes 1, 2 and 3 are a shard; 3 is a replica and tells this.
    fn view(follows: u8, owner: Option<u8>) -> ServerView {
        let id = |n: u8| NodeId::from_bytes([n; 20]);
        let node = |n: u8| TopologyNode {
            role: if n == 3 { Role::Replica } else { Role::Primary },
            primary: (n == 3).then(|| id(follows)),
            slots: if owner == Some(n) { SlotSet::all() } else { SlotSet::empty() },
            config_epoch: Epoch(u64::from(n)),
            address: None,
        };
        let topology: Topology = (1..=3).map(|n| (id(n), node(n))).collect();
        let part = Part::Replica { link: Link::Lost };
        let replication = Replication { part, replid: ReplicationId::from_bytes([9; 20]), offset: Offset(1) };
        ServerView::well(id(3), "9.1.2", replication, Arc::new(topology))
    }

    #[test]
    fn a_replica_of_a_node_without_slots_follows_their_owner() {
        let shard = (1..=3).map(|n| NodeId::from_bytes([n; 20])).collect();
        assert_eq!(astray(&view(1, Some(2)), &shard), Some(NodeId::from_bytes([2; 20])));
        assert_eq!(astray(&view(2, Some(2)), &shard), None);
        assert_eq!(astray(&view(1, None), &shard), None, "nobody is known to own them");
        assert_eq!(astray(&view(1, Some(3)), &shard), None, "it is about to be a primary itself");
    }
}
