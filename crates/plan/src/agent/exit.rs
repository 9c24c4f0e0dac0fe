//! Our server's process has ended: what is told of it, and what follows.

use super::machine::{Agent, Phase, Then};
use super::{Command, ExitCause};
use crate::failover::handover::{Handover, Successor, Word};
use valkeeper_model::{
    Answer, AskFailed, Happened, Incarnation, Millis, Observed, Process, ServerView, StartFailure, Unseen,
    Waiting,
};

impl Agent {
    pub(super) fn exited(&mut self, now: Millis, incarnation: Incarnation, how: String, cause: ExitCause) {
        if self.incarnation() != Some(incarnation) {
            return;
        }
        let view = self.last_view.as_ref().filter(|view| view.is_shard_primary());
        self.attached_at_death = view.and_then(|view| self.attached(view));
        if self.last_view.is_none() && cause == ExitCause::DataUnreadable {
            self.copy_record.load_refused();
        }
        // A fenced primary that died all the same still leaves a shard that needs its successor.
        let orphaned = self.last_view.as_ref().is_some_and(ServerView::is_shard_primary) && !self.stays_down;
        if !orphaned {
            self.keep_last(now, incarnation);
        }
        self.copy_record.ended();
        self.terms.gives_up();
        self.process = Process::Down;
        self.pid = None;
        self.server = Observed::Unknown(Unseen::NotRunning);
        self.look_refused = None;
        self.forwarded_in_vain();
        self.with_host_watch(now, |watch, _, _| watch.server_ended());
        self.died_at = Some(now);
        let unasked = !matches!(self.phase, Phase::Stopping(_));
        let then = match std::mem::replace(&mut self.phase, Phase::Idle) {
            Phase::Stopping(stop) => stop.then,
            phase @ (Phase::HandingOver(_, _, then) | Phase::Draining(_, _, then)) => {
                self.died(how.clone(), cause);
                if let Phase::HandingOver(_, handover, _) = &phase {
                    self.died_handing_over(now, handover);
                }
                if then == Then::StayDown { Then::StayDown } else { Then::Restart }
            }
            _ => {
                self.died(how.clone(), cause);
                Then::Restart
            }
        };
        // It may have been unfenced while it was being stopped: what is wanted by now counts, not what was when the stop began.
        if self.wanted_up() || orphaned && !self.siblings().is_empty() {
            // A shard that needs a successor does not wait.
            let later = if unasked && !orphaned { self.crash_loop.ended(now) } else { None };
            match later {
                Some(delay) => {
                    // It answered in between, so that nothing else says why it is down most of the time.
                    let (instance, failure) = (self.name.clone(), StartFailure::Exited { detail: how });
                    self.waiting = Some(Waiting::StartFailed { instance, failure });
                    self.phase = Phase::RetryAt { until: now.plus(delay) };
                }
                None if self.failures.in_a_row > 0 => self.try_later(now),
                None => self.inspect(),
            }
        }
        // Its siblings ask what it has left, also while it stays down.
        if matches!(self.phase, Phase::Idle | Phase::RetryAt { .. }) {
            self.out.push(Command::Inspect);
        }
        // A shard without a primary waits for the look at its disk: four syncs of a disk later the record is written all the same.
        if orphaned {
            self.keep_last(now, incarnation);
        }
        // Who asked for a restart waits until the server is back; who asked for anything else has lost it.
        if then == Then::StayDown {
            self.complete_all(&if self.stays_down { Err(AskFailed::NotRunning) } else { Ok(Answer::Done) });
        } else if unasked {
            self.complete_all(&Err(AskFailed::NotRunning));
        }
    }

    /// A dead server takes no write that its successor does not have: a successor that rose has taken over. One that was asked and has not
    /// said so yet may rise still.
    fn died_handing_over(&mut self, now: Millis, handover: &Handover) {
        self.successor = handover.successor();
        if let (Some(Successor { instance, word: Word::Rose }), Some(shard)) = (&self.successor, self.shard())
        {
            let (from, to, paused_ms) = (self.name.clone(), instance.clone(), handover.held_ms(now));
            self.out.record(Happened::SwitchedOver { shard, from, to, paused_ms });
        }
    }

    fn died(&mut self, how: String, cause: ExitCause) {
        let role = self.last_view.as_ref().map(|view| view.replication.role());
        if role.is_none() {
            // It never answered: a failed start, told with its own reason.
            self.failures.in_a_row += 1;
            self.tell_failure(match cause {
                ExitCause::DataUnreadable => StartFailure::DataDamaged { detail: how },
                ExitCause::Other => StartFailure::Exited { detail: how },
            });
            self.doubt_config();
            return;
        }
        self.out.record(Happened::Died { instance: self.name.clone(), how, role });
    }
}
