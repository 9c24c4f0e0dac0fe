//! Whether a running server is well: looks at it, and notices when it has been silent for too long.

use super::{Outbox, ServerCommand, Token};
use valkeeper_model::Millis;

/// Between looks at a server that is well.
const AT_REST_MS: u64 = 1_000;
/// Between looks at one that is not there yet.
const UNSETTLED_MS: u64 = 25;
/// Between looks at one that refuses them.
const REFUSED_MS: u64 = 250;
/// Looks that must stay unanswered before silence counts: one lost reply is no death.
const SILENT_LOOKS: u32 = 3;
/// A server that has just been started may take this long until it listens.
const BOOT_MS: u64 = 10_000;
/// A gap in our own time longer than this means that we, not the server, were away (laptop asleep, supervisor stopped).
const AWAY_MS: u64 = 1_000;

/// What came of a look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Looked {
    /// The server is as it should be, so that it need not be looked at often.
    Settled,
    /// It is not yet.
    Unsettled,
    /// It lives and refuses to be looked at.
    Refused,
    /// It did not answer.
    Silent,
}

/// The watch over one run of a server.
#[derive(Debug)]
pub(super) struct Watch {
    answered_at: Millis,
    answered_once: bool,
    unanswered: u32,
    looking: Option<(Token, u32)>,
    next_look: Millis,
    ticked_at: Millis,
    /// Changes of the wanted configuration in this run, and how many of them the last look had in it.
    changes: u32,
    compared: u32,
    /// The data directory was found empty: to be acted on with the next reply.
    emptied: bool,
}

impl Watch {
    pub(super) fn begin(now: Millis) -> Self {
        Self {
            answered_at: now,
            answered_once: false,
            unanswered: 0,
            looking: None,
            next_look: now,
            ticked_at: now,
            changes: 0,
            compared: 0,
            emptied: false,
        }
    }

    /// Of a run that an earlier supervisor began: it has had its time to boot.
    pub(super) fn adopt(now: Millis) -> Self {
        Self { answered_once: true, ..Self::begin(now) }
    }

    /// The data directory was wiped. What the server is by now is looked up first: what was known may be a second old, and a replica
    /// that has been promoted meanwhile holds writes that nobody else has.
    pub(super) fn found_empty(&mut self, now: Millis) {
        self.emptied = true;
        self.look_now(now);
    }

    /// Was it found empty before this reply?
    pub(super) fn take_emptied(&mut self) -> bool {
        std::mem::take(&mut self.emptied)
    }

    /// We could not look until now: what was not seen meanwhile is no silence of the server.
    pub(super) fn was_away(&mut self, now: Millis) {
        self.answered_at = now;
        self.unanswered = 0;
    }

    /// Time has passed. Returns how long the server has been silent if that is too long.
    pub(super) fn tick(
        &mut self,
        now: Millis,
        unresponsive_after_ms: u64,
        look: ServerCommand,
        out: &mut Outbox,
    ) -> Option<u64> {
        if now.since(self.ticked_at) > AWAY_MS + AT_REST_MS {
            self.was_away(now);
        }
        self.ticked_at = now;
        let limit =
            if self.answered_once { unresponsive_after_ms } else { unresponsive_after_ms.max(BOOT_MS) };
        let silent = now.since(self.answered_at);
        let too_long = silent >= limit && self.unanswered >= SILENT_LOOKS;
        // Looked at all the same: it may be spared for a while, and answer.
        if self.looking.is_none() && self.next_look <= now {
            let within = (unresponsive_after_ms / 4).clamp(100, 1_000);
            self.looking = Some((out.serve(look, within), self.changes));
        }
        too_long.then_some(silent)
    }

    /// Is this one of the looks that are out?
    pub(super) fn is_looking(&self, token: Token) -> bool {
        self.looking.is_some_and(|(sent, _)| sent == token)
    }

    /// A reply to a look, or not.
    pub(super) fn looked(&mut self, now: Millis, token: Token, looked: Looked) -> bool {
        let Some((_, changes)) = self.looking.take_if(|(sent, _)| *sent == token) else { return false };
        if looked == Looked::Silent {
            self.unanswered += 1;
        } else {
            self.alive(now);
            self.compared = changes;
        }
        self.next_look = match looked {
            Looked::Refused => now.plus(REFUSED_MS),
            _ if !self.is_current() => now,
            Looked::Settled => now.plus(AT_REST_MS),
            // Silence is looked into at once: the looks that must stay unanswered would take seconds beyond the limit otherwise.
            Looked::Unsettled | Looked::Silent => now.plus(UNSETTLED_MS),
        };
        true
    }

    /// Any sign of life.
    pub(super) fn alive(&mut self, now: Millis) {
        self.answered_at = now;
        self.answered_once = true;
        self.unanswered = 0;
    }

    pub(super) fn silent_for(&self, now: Millis) -> u64 {
        now.since(self.answered_at)
    }

    /// Something has changed: look now.
    pub(super) fn look_now(&mut self, now: Millis) {
        self.next_look = now;
    }

    /// Something may be about to change: look within that time.
    pub(super) fn look_within(&mut self, now: Millis, ms: u64) {
        self.next_look = self.next_look.min(now.plus(ms));
    }

    /// Another configuration is wanted from now on: the server has to be compared with that one.
    pub(super) fn wanted_changed(&mut self, now: Millis) {
        self.changes += 1;
        self.next_look = now;
    }

    /// Has the server been compared with the configuration that is wanted now?
    pub(super) fn is_current(&self) -> bool {
        self.compared == self.changes
    }

    pub(super) fn wake_at(&self) -> Millis {
        // While a look is out its reply wakes us; the tick a second later only tells us that we are not away.
        if self.looking.is_some() { self.ticked_at.plus(AT_REST_MS) } else { self.next_look }
    }
}
