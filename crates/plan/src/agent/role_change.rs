//! The end of a promotion or a handover: what is told, and what the server does next.

use super::machine::{Agent, Phase, Then};
use super::{Command, handover, promotion};
use crate::safety::succession::has_online_replica;
use valkeeper_model::{Answer, AskFailed, CopyState, Happened, Millis};

/// How long a server that has handed over goes on answering before it is stopped. Clients learn of the successor from the
/// redirects it sends: commands in flight and those of connections that are seldom used would otherwise meet a closed
/// connection, which an application sees (node-redis: an error for each of them; docs/clients.md).
const PARTING_MS: u64 = 2_000;

impl Agent {
    pub(super) fn promotion_went(&mut self, now: Millis, progress: promotion::Progress) {
        match progress {
            promotion::Progress::Going => {}
            promotion::Progress::Promoted { to, view } => {
                if let (Phase::Promoting(promotion), Some(shard)) = (&self.phase, self.shard()) {
                    let took_ms = now.since(promotion.died_at);
                    let (from, to) = (self.name.clone(), to);
                    self.out.record(if promotion.for_its_copy() {
                        let state = self.keeper.held().map_or(CopyState::Nothing, |held| held.state);
                        Happened::BetterCopyPromoted { shard, from, to, state }
                    } else {
                        Happened::FailedOver { shard, from, to, took_ms }
                    });
                }
                self.last_view = None;
                self.was_succeeded(now);
                self.start_as_replica_of(now, &view, &[]);
            }
            promotion::Progress::Nobody => {
                self.last_view = None;
                self.inspect();
            }
        }
    }

    pub(super) fn handover_went(&mut self, now: Millis, progress: handover::Progress) {
        let Phase::HandingOver(..) = &self.phase else { return };
        let happened = match progress {
            handover::Progress::Going => return,
            handover::Progress::Done { to, paused_ms } => {
                self.attend_all_unless_restarting(&Ok(Answer::Done));
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
        self.told_to_rise = None;
        self.phase = match then {
            Then::Watch => Phase::Watching(watch),
            Then::Restart | Then::Rest => Phase::Parting(watch, now.plus(PARTING_MS), then),
        };
    }

    /// Clients have been sent on; now it may stop. Should it have been made primary again meanwhile, it hands over again.
    pub(super) fn part(&mut self, now: Millis) {
        match self.stay() {
            Some(Then::Restart) => self.restart(now),
            // Unless its fence was lifted while it handed over.
            Some(_) if !self.wanted_up() => self.come_down(now),
            _ => {}
        }
    }

    /// It is not only to restart but to stay down.
    pub(super) fn part_for_good(&mut self) {
        if let Phase::Parting(_, _, then) = &mut self.phase {
            *then = Then::Rest;
        }
    }

    /// Goes on running; answers what it was about to do.
    pub(super) fn stay(&mut self) -> Option<Then> {
        match std::mem::replace(&mut self.phase, Phase::Idle) {
            Phase::Parting(watch, _, then) => {
                self.phase = Phase::Watching(watch);
                Some(then)
            }
            other => {
                self.phase = other;
                None
            }
        }
    }

    pub(super) fn abandoned(&mut self, now: Millis, why: String) {
        if let Some(shard) = self.shard() {
            self.out.record(Happened::SwitchoverAbandoned { shard, why: why.clone() });
        }
        let Phase::HandingOver(watch, _, then) = std::mem::replace(&mut self.phase, Phase::Idle) else {
            return;
        };
        self.phase = Phase::Watching(watch);
        self.attend_all(&Err(AskFailed::Refused(why)));
        // The planner allowed a fence although nobody can follow only if the user forced it. While somebody could, the fence
        // has to wait (law 2): it is tried again at the next look at the disk.
        let view = self.server.known().or(self.last_view.as_ref());
        if then == Then::Rest
            && !self.wanted_up()
            && !self.may_rise(now)
            && !view.is_some_and(|view| has_online_replica(&view.replication))
        {
            self.terminate(now, Then::Rest);
        }
    }

    pub(super) fn attend_all_unless_restarting(&mut self, result: &Result<Answer, AskFailed>) {
        if !matches!(self.phase, Phase::HandingOver(_, _, Then::Restart)) {
            self.attend_all(result);
        }
    }

    /// Answers everybody who waits for a handover or a restart to end.
    pub(super) fn attend_all(&mut self, result: &Result<Answer, AskFailed>) {
        for token in std::mem::take(&mut self.attending) {
            self.out.push(Command::Answer { token, result: result.clone() });
        }
    }
}
