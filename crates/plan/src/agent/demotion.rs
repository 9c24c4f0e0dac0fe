//! The own server, a primary, is demoted for the source that its cluster goes over to following: [`crate::replica_mode`].
//!
//! The order says what of the own data is given up. Writes are held before the last look at it, so that no write is taken between that look and
//! the moment in which the server is a replica. Then its mandate goes to the source, on the disk first, and the others hear of that term.

use super::machine::{Agent, Phase};
use super::{Reply, ServerCommand, ServerError, Token};
use crate::mode::standalone::Terms;
use crate::replica_mode;
use valkeeper_model::{Demotion, DemotionHold, Millis, Offset, Role};

/// Writes are held for so long. It ends by itself, whatever becomes of this agent.
const HOLD_MS: u64 = 2_000;
/// A look that is younger than this still decides: the disk and `REPLICAOF` take their time after it.
const DECIDE_WITHIN_MS: u64 = 500;
/// The server takes this long for `CLIENT PAUSE` at most.
const PAUSE_WITHIN_MS: u64 = 500;

/// A copy that is not promoted by then takes nobody's place: writes go on. Twice what its promotion may take, and `switch-region` begins none
/// when half of it is over.
const HANDOVER_MS: u64 = 30_000;

/// Writes are held for a demotion.
#[derive(Debug, Clone, Copy)]
pub(super) struct WritesHeld {
    pause: Pause,
    stream_end: Option<StreamEnd>,
}

#[derive(Debug, Clone, Copy)]
enum Pause {
    /// It was asked for.
    Asked { at: Millis, by: Token },
    /// Since then; looks with a higher token were begun later.
    Since { at: Millis, before: Token },
}

/// Where a look has shown that the stream ends. It is true while the pause of that look lasts, also while a further pause is asked for: a
/// report of that moment would otherwise say that nothing is held, and `switch-region --cancel` would be refused.
#[derive(Debug, Clone, Copy)]
struct StreamEnd {
    at: Offset,
    until: Millis,
}

impl Agent {
    /// Demotes the own server if it is a primary, and its cluster goes over to following.
    pub(super) fn demote_for_source(&mut self, now: Millis) {
        self.source.demotion_hold = None;
        let Some(order) = self.order.clone() else { return };
        let Some(ordered) = order.source.as_ref().filter(|source| source.promote.is_none()) else {
            self.handover_since = None;
            if self.writes_held.take().is_some() {
                self.out.serve(ServerCommand::UnpauseWrites, PAUSE_WITHIN_MS);
            }
            return;
        };
        let is_primary = self.terms.known().map(|known| known.primary) == self.node_id();
        let (Some(demotion), true, Phase::Watching(_)) = (&ordered.demotion, is_primary, &self.phase) else {
            let is_replica = self.server.known().is_some_and(|view| view.replication.role() == Role::Replica);
            // Clients that are held stay held on a replica too, and are to learn that it is one.
            if is_replica && self.writes_held.take().is_some() {
                self.out.serve(ServerCommand::UnpauseWrites, PAUSE_WITHIN_MS);
            }
            return;
        };
        let view = self.server.known().filter(|view| view.replication.role() == Role::Primary);
        let source = self.source.view().filter(|_| self.source.fault().is_none());
        let Some(view) = view else { return };
        let hold = match source {
            Some(source) => replica_mode::hold(demotion, source, view, self.last_write.position()),
            // A copy that is out of sight may be about to be promoted: what was taken meanwhile, it would not have.
            None if *demotion == Demotion::Handover => {
                Some(DemotionHold::AwaitsPromotion { at: view.replication.offset })
            }
            None => return,
        };
        if let Some(hold) = hold {
            self.hold_up_demotion(now, hold);
            return;
        }
        match self.writes_held.map(|held| held.pause) {
            Some(Pause::Since { at, before })
                if now.since(at) < DECIDE_WITHIN_MS && self.newest_look.is_some_and(|look| look > before) =>
            {
                let source = ordered.node_id;
                self.with_terms(now, |terms: &mut Terms, situation, out| {
                    terms.give_to_source(source, situation, out);
                });
            }
            Some(Pause::Since { at, .. } | Pause::Asked { at, .. }) if now.since(at) < DECIDE_WITHIN_MS => {}
            _ => self.hold_writes(now),
        }
    }

    /// What keeps the own server a primary. While its copy is about to be promoted, writes are held all the same.
    fn hold_up_demotion(&mut self, now: Millis, hold: DemotionHold) {
        let DemotionHold::AwaitsPromotion { at: stream_end } = hold else {
            self.source.demotion_hold = Some(hold);
            self.writes_held = None;
            return;
        };
        let since = *self.handover_since.get_or_insert(now);
        if now.since(since) >= HANDOVER_MS {
            self.source.demotion_hold = Some(DemotionHold::NotPromotedInTime);
            if self.writes_held.take().is_some() {
                self.out.serve(ServerCommand::UnpauseWrites, PAUSE_WITHIN_MS);
            }
            return;
        }
        let known_end = self.writes_held.and_then(|held| held.stream_end).filter(|end| now < end.until);
        self.source.demotion_hold = known_end.map(|end| DemotionHold::AwaitsPromotion { at: end.at });
        match &mut self.writes_held {
            Some(WritesHeld { pause: Pause::Since { at, before }, stream_end: end }) => {
                // Told only once a look that was begun with the writes held has shown where the stream has come to.
                if self.newest_look.is_some_and(|look| look > *before) {
                    let until = Millis((at.0 + HOLD_MS).saturating_sub(PAUSE_WITHIN_MS));
                    *end = Some(StreamEnd { at: stream_end, until });
                    self.source.demotion_hold = Some(hold);
                }
                if now.since(*at) >= DECIDE_WITHIN_MS {
                    self.hold_writes(now);
                }
            }
            Some(WritesHeld { pause: Pause::Asked { at, .. }, .. }) if now.since(*at) < DECIDE_WITHIN_MS => {}
            _ => self.hold_writes(now),
        }
    }

    fn hold_writes(&mut self, now: Millis) {
        let by = self.out.serve(ServerCommand::PauseWrites(HOLD_MS), PAUSE_WITHIN_MS);
        let stream_end = self.writes_held.and_then(|held| held.stream_end);
        self.writes_held = Some(WritesHeld { pause: Pause::Asked { at: now, by }, stream_end });
    }

    /// The server has answered: if writes are held by now, it is looked at once more.
    pub(super) fn writes_held_for_demotion(
        &mut self,
        now: Millis,
        token: Token,
        result: &Result<Reply, ServerError>,
    ) {
        let Some(WritesHeld { pause: Pause::Asked { by, .. }, stream_end }) = self.writes_held else {
            return;
        };
        if by != token {
            return;
        }
        let pause = Pause::Since { at: now, before: self.out.token() };
        self.writes_held = result.is_ok().then_some(WritesHeld { pause, stream_end });
        if let Phase::Watching(watch) = &mut self.phase {
            watch.look_now(now);
        }
    }
}
