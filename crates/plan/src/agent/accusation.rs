//! A replica's primary is not heard any more: ask the others whether they hear it, and if a majority does not, promote the best
//! replica as after a death. The rule is [`crate::hostwatch::rule`].

use super::machine::{Agent, Phase};
use super::{Outbox, Token, sooner};
use crate::failover::promotion::{Lost, Progress, Promotion};
use crate::failover::succession::{Heirs, Legacy};
use crate::hostwatch::rule::{FENCE_AFTER_MS, FORCE_AFTER_MS, PERMIT_MS, may_force};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use valkeeper_model::{Answer, Ask, AskFailed, Epoch, Happened, InstanceName, Millis, Unseen};

/// How long the others may take to testify.
const TESTIFY_MS: u64 = 300;
/// How long the accused may take to say that it is well.
const DEFEND_MS: u64 = 100;
/// Before the others are asked again.
const AGAIN_MS: u64 = 250;
/// The second replica, by name, waits so much longer than the first: mostly that one has done it by then.
const STAGGER_MS: u64 = 400;
/// A promotion that was begun may succeed until so long after the last FORCE: the engine gives it up after 5 s.
const FORCED_MS: u64 = 5_500;

/// An accusation, from the first question to the new primary.
#[derive(Debug)]
pub(super) struct Accusation {
    against: InstanceName,
    /// When it was last heard.
    heard: Millis,
    round: Option<Round>,
    next_round: Millis,
    promotion: Option<Promotion>,
    /// When a majority last testified.
    granted: Option<Millis>,
    /// Who did not testify in the last round.
    pub(super) missing: Vec<InstanceName>,
}

/// One round of questions.
#[derive(Debug)]
struct Round {
    began: Millis,
    /// The question to the accused itself; `None` once it is known that it says nothing against it.
    accused: Option<Token>,
    pending: BTreeMap<Token, InstanceName>,
    silent: Vec<u64>,
    missing: BTreeSet<InstanceName>,
}

/// What a round came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Open,
    Granted,
    /// Not this time.
    NotYet,
}

impl Round {
    fn begin(against: &InstanceName, others: Vec<InstanceName>, now: Millis, out: &mut Outbox) -> Self {
        let ask = || Ask::Testify { against: against.clone() };
        let accused = Some(out.tell(against, ask(), DEFEND_MS));
        let pending: BTreeMap<_, _> =
            others.into_iter().map(|name| (out.tell(&name, ask(), TESTIFY_MS), name)).collect();
        let missing = pending.values().cloned().collect();
        Self { began: now, accused, pending, silent: Vec::new(), missing }
    }

    /// An answer came; `None` if it was not to this.
    fn told(&mut self, token: Token, result: &Result<Answer, AskFailed>, seats: usize) -> Option<Verdict> {
        if self.accused == Some(token) {
            self.accused = None;
            let well = match result {
                // It knows that it has no lease: what the others say counts.
                Ok(Answer::Testimony { silent_ms }) => *silent_ms < FORCE_AFTER_MS - FENCE_AFTER_MS,
                // It does not know of leases, being older, or whatever it says: it is there.
                Ok(_)
                | Err(
                    AskFailed::Refused(_)
                    | AskFailed::ConfigInvalid { .. }
                    | AskFailed::PasswordUnusable(_)
                    | AskFailed::NotRunning
                    | AskFailed::Outdated,
                ) => true,
                Err(AskFailed::Unseen(unseen)) => *unseen == Unseen::Garbled,
            };
            if well {
                // The others were not waited for: that they have said nothing is not missed.
                self.missing.clear();
                return Some(Verdict::NotYet);
            }
        } else {
            let name = self.pending.remove(&token)?;
            if let Ok(Answer::Testimony { silent_ms }) = result {
                self.silent.push(*silent_ms);
                self.missing.remove(&name);
            }
        }
        let enough = may_force(self.silent.iter().copied(), seats);
        Some(match (enough, self.accused.is_none(), self.pending.is_empty()) {
            (true, true, _) => Verdict::Granted,
            (false, true, true) => Verdict::NotYet,
            _ => Verdict::Open,
        })
    }
}

impl Agent {
    /// The promotion under way instead of a primary that is not heard.
    pub(super) fn replacing(&self) -> Option<&Promotion> {
        self.neighbours.as_ref()?.accusation.as_ref()?.promotion.as_ref()
    }

    /// Begins, goes on with or ends an accusation, as what is heard wants it.
    pub(super) fn accuse(&mut self, now: Millis) {
        let accused = self.accused(now);
        let followed = self.followed();
        let watching = matches!(self.phase, Phase::Watching(_)) && self.wanted_up();
        let Some(neighbours) = &mut self.neighbours else { return };
        if !watching {
            neighbours.accusation = None;
            return;
        }
        let Some(accusation) = &mut neighbours.accusation else {
            let Some((against, heard)) = accused else { return };
            let accusation = Accusation {
                against,
                heard,
                round: None,
                next_round: now,
                promotion: None,
                granted: None,
                missing: Vec::new(),
            };
            neighbours.accusation = Some(accusation);
            return self.accuse(now);
        };
        let holds = accused.is_some_and(|(against, _)| against == accusation.against);
        if let Some(promotion) = &mut accusation.promotion {
            // Somebody else is followed by now, or nobody is: found by looking on, but nobody is promoted any more.
            if followed.as_ref() != Some(&accusation.against) {
                promotion.permit(Millis(0));
            }
            let progress = promotion.tick(now, &mut self.out);
            self.replacement_went(now, progress);
        }
        self.go_on_accusing(now, holds);
    }

    fn go_on_accusing(&mut self, now: Millis, holds: bool) {
        let Some(neighbours) = &mut self.neighbours else { return };
        let others: Vec<_> = neighbours.others.values().cloned().collect();
        let Some(accusation) = &mut neighbours.accusation else { return };
        let open = match &accusation.promotion {
            None => false,
            Some(promotion) if !promotion.lacks_permit(now) => {
                accusation.next_round = accusation.next_round.max(now.plus(1));
                return;
            }
            Some(promotion) => {
                promotion.has_asked() && accusation.granted.is_some_and(|at| now.since(at) < FORCED_MS)
            }
        };
        if !holds && !open {
            neighbours.accusation = None;
        } else if holds && accusation.round.is_none() && accusation.next_round <= now {
            accusation.round = Some(Round::begin(&accusation.against, others, now, &mut self.out));
        } else if accusation.next_round <= now {
            accusation.next_round = now.plus(AGAIN_MS);
        }
    }

    /// The primary that our server follows, if it has not been heard for too long, and when it was heard last.
    fn accused(&self, now: Millis) -> Option<(InstanceName, Millis)> {
        let primary = self.followed()?;
        let since = self.neighbours.as_ref()?.witness.silent_since(&primary)?;
        (since.plus(self.patience(&primary)) <= now).then_some((primary, since))
    }

    fn claim_of_followed(&self) -> Option<Epoch> {
        let view = self.last_view.as_ref()?;
        view.topology.get(&view.primary()?).map(|node| node.config_epoch)
    }

    fn patience(&self, primary: &InstanceName) -> u64 {
        let before = self.siblings().iter().filter(|name| *name != primary && **name < self.name).count();
        FORCE_AFTER_MS + STAGGER_MS * u64::try_from(before).unwrap_or(u64::MAX / STAGGER_MS / 2)
    }

    /// An answer came. True if it was about the accused.
    pub(super) fn accusation_told(
        &mut self,
        now: Millis,
        token: Token,
        result: &Result<Answer, AskFailed>,
    ) -> bool {
        let Some(neighbours) = &mut self.neighbours else { return false };
        let seats = neighbours.seats;
        let Some(accusation) = &mut neighbours.accusation else { return false };
        let verdict = accusation.round.as_mut().and_then(|round| round.told(token, result, seats));
        match verdict {
            None => {
                let Some(promotion) = &mut accusation.promotion else { return false };
                let progress = promotion.told(now, token, result.clone(), &mut self.out);
                self.replacement_went(now, progress);
            }
            Some(Verdict::Open) => {}
            Some(Verdict::NotYet) => {
                let round = accusation.round.take();
                accusation.missing =
                    round.map(|round| round.missing.into_iter().collect()).unwrap_or_default();
                accusation.next_round = now.plus(AGAIN_MS);
            }
            Some(Verdict::Granted) => {
                accusation.missing.clear();
                let began = accusation.round.take().map_or(now, |round| round.began);
                self.granted(now, began);
            }
        }
        // What the phase waits for has other tokens.
        true
    }

    /// A majority testified to questions that were put then.
    fn granted(&mut self, now: Millis, began: Millis) {
        let history = self.last_view.as_ref().map(|view| view.replication.replid);
        let (claim, slots) = (self.claim_of_followed(), self.shard_slots());
        let members = self.order.as_ref().map(|order| Arc::clone(&order.members));
        let (mut candidates, own) = (self.siblings(), self.name.clone());
        let Some(accusation) = self.neighbours.as_mut().and_then(|n| n.accusation.as_mut()) else { return };
        accusation.granted = Some(now);
        accusation.next_round = now.plus(AGAIN_MS);
        candidates.retain(|name| *name != accusation.against);
        let accused = members.and_then(|members| Some(members.get(&accusation.against)?.node_id));
        let lost = Lost { node_id: accused, history, claim, slots };
        candidates.push(own);
        let (heard, out) = (accusation.heard, &mut self.out);
        let promotion = accusation.promotion.get_or_insert_with(|| {
            let heirs = Heirs::InSync { attached: None, legacy: Legacy::OutOfReach };
            Promotion::begin(candidates, lost, heirs, heard, now, out)
        });
        promotion.permit(began.plus(PERMIT_MS));
    }

    fn replacement_went(&mut self, now: Millis, progress: Progress) {
        let shard = self.shard();
        let Some(neighbours) = &mut self.neighbours else { return };
        let Some(accusation) = &mut neighbours.accusation else { return };
        match progress {
            Progress::Going => {}
            Progress::Nobody => {
                accusation.promotion = None;
                accusation.next_round = now.plus(AGAIN_MS);
            }
            Progress::Promoted { to, .. } => {
                let done = neighbours.accusation.take();
                let forced = done.filter(|done| done.promotion.as_ref().is_some_and(Promotion::has_asked));
                if let (Some(done), Some(shard)) = (forced, shard) {
                    let took_ms = Some(now.since(done.heard));
                    self.out.record(Happened::FailedOver { shard, from: done.against, to, took_ms });
                }
                if let Phase::Watching(watch) = &mut self.phase {
                    watch.look_now(now);
                }
            }
        }
    }

    /// When something of an accusation is due.
    pub(super) fn accusation_wakes_at(&self) -> Option<Millis> {
        if !matches!(self.phase, Phase::Watching(_)) || !self.wanted_up() {
            return None;
        }
        let neighbours = self.neighbours.as_ref()?;
        let Some(accusation) = &neighbours.accusation else {
            let primary = self.followed()?;
            let since = neighbours.witness.silent_since(&primary)?;
            return Some(since.plus(self.patience(&primary)));
        };
        let round = accusation.round.is_none().then_some(accusation.next_round);
        match &accusation.promotion {
            Some(promotion) => sooner(promotion.wake_at(), round),
            None => round,
        }
    }
}
