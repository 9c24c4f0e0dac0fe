//! Heartbeats: to whom they go, and what the answers are worth.

use super::lease::HeartbeatAnswer;
use super::machine::{HostWatch, Run, ShardRole, Situation};
use super::{Effect, HEARTBEAT_MS};
use crate::protocol::{Outbox, Token};
use valkeeper_model::{
    Answer, Ask, AskFailed, Epoch, InstanceName, LeaseSeats, Millis, SeenPosition, Unseen,
};

/// An answer to a heartbeat that takes longer is of no use: the next heartbeat is under way.
const ANSWER_WITHIN_MS: u64 = 400;
/// Between heartbeats while there is no lease: writes wait for it.
const EAGER_HEARTBEAT_MS: u64 = 100;

/// A word of where a server's stream is.
#[derive(Debug)]
pub(super) struct ToldPosition {
    by: InstanceName,
    told: SeenPosition,
    /// When it came.
    at: Millis,
}

impl HostWatch {
    pub(super) fn sends_heartbeats(&self, situation: &Situation<'_>) -> bool {
        !situation.stays_down
            && situation.order.is_some()
            && self.role == ShardRole::Primary
            && self.seats > 0
            && (situation.vote.is_none() || situation.mandate().is_some())
    }

    pub(super) fn send_heartbeats(&mut self, situation: &Situation<'_>, out: &mut Outbox) {
        let now = situation.now;
        if !self.sends_heartbeats(situation) || now < self.next_heartbeat {
            return;
        }
        let down = situation.run == Run::Down;
        let pause = if down || self.is_given(now) { HEARTBEAT_MS } else { EAGER_HEARTBEAT_MS };
        self.next_heartbeat = now.plus(pause);
        let (from, position) = (|| situation.name.clone(), situation.position());
        let seats = self.lease_seats(situation);
        let heartbeat = || match situation.mandate() {
            None => Ask::Heartbeat { from: from(), position },
            Some(term) => Ask::Renew { from: from(), term, position, seats },
        };
        for (seat, name) in &self.others {
            let token = out.tell(name, heartbeat(), ANSWER_WITHIN_MS);
            self.heartbeats.insert(token, (seat.clone(), now));
        }
        // A primary that may not take writes does not keep its replicas from looking for another. One that is down has its replicas promoted by
        // its own agent.
        if situation.vote.is_none() && (down || self.holds(now)) {
            for sibling in situation.siblings() {
                out.tell(&sibling, heartbeat(), ANSWER_WITHIN_MS);
            }
        }
    }

    /// An answer came. True if it was to a heartbeat.
    pub(super) fn heartbeat_answered(
        &mut self,
        now: Millis,
        token: Token,
        result: &Result<Answer, AskFailed>,
    ) -> bool {
        let Some((seat, sent_at)) = self.heartbeats.remove(&token) else { return false };
        let answer = match result {
            Ok(Answer::Heartbeat { counts, has_quorum, past_promise_window }) => HeartbeatAnswer {
                counts: *counts,
                has_quorum: *has_quorum,
                past_promise_window: *past_promise_window,
            },
            Ok(Answer::Renewed { counts, voted }) => {
                self.outvoted = self.outvoted.max(*voted);
                HeartbeatAnswer { counts: *counts, has_quorum: true, past_promise_window: true }
            }
            // An older agent is there and does not know of heartbeats: it can never confirm that a primary is down either.
            Err(AskFailed::Refused(_) | AskFailed::Unseen(Unseen::Garbled)) => {
                HeartbeatAnswer { counts: true, has_quorum: true, past_promise_window: true }
            }
            _ => return true,
        };
        let held = self.holds(now);
        self.lease.answered(&seat, sent_at, answer, held);
        true
    }

    /// A heartbeat tells where the sender's stream is. Those of other shards' primaries are no concern of the own server's.
    pub(crate) fn position_came(
        &mut self,
        situation: &Situation<'_>,
        from: &InstanceName,
        told: Option<SeenPosition>,
    ) {
        if let Some(told) = told.filter(|_| situation.siblings().contains(from)) {
            self.told_position = Some(ToldPosition { by: from.clone(), told, at: situation.now });
        }
    }

    /// Where the stream of the primary that the own server follows was when that primary's agent told it last.
    pub(crate) fn primary_position(&self, situation: &Situation<'_>) -> Option<SeenPosition> {
        let followed = situation.followed()?;
        let heard = self.told_position.as_ref().filter(|heard| heard.by == followed)?;
        let seen_ms_ago = heard.told.seen_ms_ago.saturating_add(situation.now.since(heard.at));
        Some(SeenPosition { seen_ms_ago, ..heard.told })
    }

    /// Another agent asks to renew the lease of its server, the primary of that term. A vote in a newer one ends that for good: so nothing
    /// has to be promised for a time.
    pub(crate) fn renew(
        &mut self,
        situation: &Situation<'_>,
        from: &InstanceName,
        term: Epoch,
        seats: LeaseSeats,
    ) -> Option<Answer> {
        self.rests_on(from, seats);
        let vote = situation.vote?;
        let member = situation.order?.members.get(from)?;
        let newest = vote.known.is_some_and(|known| {
            known.term < term || (known.term == term && known.primary == member.node_id)
        });
        let counts = newest && vote.voted <= term;
        if counts {
            self.voter.heard(from, situation.now);
        }
        Some(Answer::Renewed { counts, voted: vote.voted })
    }

    /// Another agent sends a heartbeat.
    pub(crate) fn heartbeat_came(&mut self, situation: &Situation<'_>, from: &InstanceName) -> Answer {
        let now = situation.now;
        if !situation.order.is_some_and(|order| order.members.contains_key(from)) {
            return Answer::Heartbeat { counts: false, has_quorum: false, past_promise_window: false };
        }
        self.voter.heard(from, now);
        // It may be primary again, and the own server was not looked at since.
        if self.voter.knows_a_successor(from) {
            self.effects.push(Effect::LookNow);
        }
        Answer::Heartbeat {
            counts: self.voter.counts(from, now),
            has_quorum: self.has_quorum(now),
            past_promise_window: self.voter.is_past_promise_window(now),
        }
    }
}
