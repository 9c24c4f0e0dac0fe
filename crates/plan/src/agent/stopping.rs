//! The end of a run on purpose. The engine may forget a SIGTERM (it does while it writes its first AOF), so that it is told again
//! until it is gone; and it is ended by force only when it has written nothing for a while: what is in the middle of saving its data
//! is left to finish.

use super::machine::{Agent, Phase, Then};
use super::{Command, Outbox};
use valkeeper_model::{Incarnation, Millis};

/// Between two tellings.
const AGAIN_MS: u64 = 1_000;
/// A stop in which nothing was written for so long is ended by force. The engine itself waits up to 10 s for its replicas.
const IDLE_MS: u64 = 15_000;
/// The same of a replica that has nowhere to save.
const LOST_IDLE_MS: u64 = 2_000;
/// Less than this in [`IDLE_MS`] is no saving: each telling is a few lines in the server's log.
const SAVES_BYTES: u64 = 12 << 10;
/// A server that has said so often, at one telling after the other, that it cannot save its data is ended without: what it writes meanwhile is the
/// snapshot that does not fit. What is in its append-only file is there all the same.
const SAVES_REFUSED: u32 = 4;
/// And one that takes longer than this in any case: a server that refuses to end because it cannot save, but serves and so writes
/// its log of writes, would never end.
const LONGEST_MS: u64 = 3_600_000;

/// A run that is being ended.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stop {
    pub(super) incarnation: Incarnation,
    pub(super) then: Then,
    killed: bool,
    /// Ended by force after so long without a byte written.
    idle_ms: u64,
    begun: Millis,
    told_at: Millis,
    wrote_at: Millis,
    written: Option<u64>,
    refused: u32,
}

impl Stop {
    fn new(now: Millis, incarnation: Incarnation, then: Then, killed: bool) -> Self {
        Self {
            incarnation,
            then,
            killed,
            idle_ms: IDLE_MS,
            begun: now,
            told_at: now,
            wrote_at: now,
            written: None,
            refused: 0,
        }
    }

    /// In an orderly way.
    pub(super) fn begin(now: Millis, incarnation: Incarnation, then: Then, out: &mut Outbox) -> Self {
        out.push(Command::Terminate(incarnation));
        Self::new(now, incarnation, then, false)
    }

    /// By force, at once.
    pub(super) fn by_force(now: Millis, incarnation: Incarnation, then: Then, out: &mut Outbox) -> Self {
        out.push(Command::Kill(incarnation));
        Self::new(now, incarnation, then, true)
    }

    pub(super) fn wake_at(&self) -> Millis {
        self.told_at.plus(AGAIN_MS)
    }

    /// Time has passed: it is told again.
    pub(super) fn tick(&mut self, now: Millis, out: &mut Outbox) {
        if now < self.wake_at() {
            return;
        }
        self.told_at = now;
        self.killed |= now.since(self.wrote_at) >= self.idle_ms || now.since(self.begun) >= LONGEST_MS;
        out.push(if self.killed {
            Command::Kill(self.incarnation)
        } else {
            Command::Terminate(self.incarnation)
        });
    }

    /// The run says that it cannot save its data. Is it ended for that from now on?
    pub(super) fn save_refused(&mut self, incarnation: Incarnation) -> bool {
        if incarnation != self.incarnation || self.killed {
            return false;
        }
        self.refused += 1;
        self.killed = self.refused >= SAVES_REFUSED;
        self.killed
    }

    /// So many bytes have been written by the run so far.
    pub(super) fn wrote(&mut self, now: Millis, incarnation: Incarnation, bytes: u64) {
        // A child that has finished does not count any more, and is progress too.
        let saves = self.written.is_none_or(|before| bytes < before || bytes - before >= SAVES_BYTES);
        if incarnation == self.incarnation && saves {
            self.written = Some(bytes);
            self.wrote_at = now;
        }
    }
}

impl Agent {
    pub(super) fn terminate(&mut self, now: Millis, then: Then) {
        let Some(incarnation) = self.incarnation() else { return };
        let mut stop = Stop::begin(now, incarnation, then, &mut self.out);
        // A server cannot save into a directory that is gone, and refuses to end for that. A replica has nothing that is needed.
        if self.has_unmarked_directory() && then == Then::Restart && !self.is_shard_primary() {
            stop.idle_ms = LOST_IDLE_MS;
        }
        self.phase = Phase::Stopping(stop);
    }

    /// Ends the run by force and starts it again. What follows is its death like any other.
    pub(super) fn kill(&mut self, now: Millis) {
        let Some(incarnation) = self.incarnation() else { return };
        self.phase = Phase::Stopping(Stop::by_force(now, incarnation, Then::Restart, &mut self.out));
    }
}
