//! The own server, a primary, is demoted for the source that its cluster goes over to following: [`crate::replica_mode`].
//!
//! The order says what of the own data is given up. Writes are held before the last look at it, so that no write is taken between that look and
//! the moment in which the server is a replica. Then its mandate goes to the source, on the disk first, and the others hear of that term.

use super::machine::{Agent, Phase};
use super::{Reply, ServerCommand, ServerError, Token};
use crate::mode::standalone::Terms;
use crate::replica_mode;
use valkeeper_model::{Demotion, DemotionHold, Millis, Role};

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
pub(super) enum WritesHeld {
    /// It was asked for.
    Asked { at: Millis, by: Token },
    /// Since then; looks with a higher token were begun later.
    Since { at: Millis, before: Token },
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
        match self.writes_held {
            Some(WritesHeld::Since { at, before })
                if now.since(at) < DECIDE_WITHIN_MS && self.newest_look.is_some_and(|look| look > before) =>
            {
                let source = ordered.node_id;
                self.with_terms(now, |terms: &mut Terms, situation, out| {
                    terms.give_to_source(source, situation, out);
                });
            }
            Some(WritesHeld::Since { at, .. } | WritesHeld::Asked { at, .. })
                if now.since(at) < DECIDE_WITHIN_MS => {}
            _ => self.hold_writes(now),
        }
    }

    /// What keeps the own server a primary. While its copy is about to be promoted, writes are held all the same.
    fn hold_up_demotion(&mut self, now: Millis, hold: DemotionHold) {
        let awaits = matches!(hold, DemotionHold::AwaitsPromotion { .. });
        if !awaits {
            self.source.demotion_hold = Some(hold);
            self.writes_held = None;
            return;
        }
        let since = *self.handover_since.get_or_insert(now);
        if now.since(since) >= HANDOVER_MS {
            self.source.demotion_hold = Some(DemotionHold::NotPromotedInTime);
            if self.writes_held.take().is_some() {
                self.out.serve(ServerCommand::UnpauseWrites, PAUSE_WITHIN_MS);
            }
            return;
        }
        match self.writes_held {
            Some(WritesHeld::Since { at, before }) => {
                // Told only once a look that was begun with the writes held has shown where the stream has come to.
                if self.newest_look.is_some_and(|look| look > before) {
                    self.source.demotion_hold = Some(hold);
                }
                if now.since(at) >= DECIDE_WITHIN_MS {
                    self.hold_writes(now);
                }
            }
            Some(WritesHeld::Asked { at, .. }) if now.since(at) < DECIDE_WITHIN_MS => {}
            _ => self.hold_writes(now),
        }
    }

    fn hold_writes(&mut self, now: Millis) {
        let by = self.out.serve(ServerCommand::PauseWrites(HOLD_MS), PAUSE_WITHIN_MS);
        self.writes_held = Some(WritesHeld::Asked { at: now, by });
    }

    /// The server has answered: if writes are held by now, it is looked at once more.
    pub(super) fn writes_held_for_demotion(
        &mut self,
        now: Millis,
        token: Token,
        result: &Result<Reply, ServerError>,
    ) {
        let Some(WritesHeld::Asked { by, .. }) = self.writes_held else { return };
        if by != token {
            return;
        }
        self.writes_held = result.is_ok().then(|| WritesHeld::Since { at: now, before: self.out.token() });
        if let Phase::Watching(watch) = &mut self.phase {
            watch.look_now(now);
        }
    }
}
