//! A replica's primary is not heard any more: the replica's agent asks the voters whether they hear it. If a majority confirms that it is
//! down, the best replica is promoted as after a death. The rule is in [`crate::hostwatch`].

use super::machine::{Effect, HostWatch, Run, ShardRole, Situation};
use super::voter::may_force;
use super::{DOWN_AFTER_MS, FENCE_AFTER_MS, PERMIT_MS};
use crate::failover::promotion::{FORCED_MS, Progress, Promotion, ReplacedPrimary};
use crate::failover::succession::{Eligible, LeftOnDisk};
use crate::protocol::{Outbox, Token, sooner};
use std::collections::{BTreeMap, BTreeSet};
use valkeeper_model::{
    AgentOrder, Answer, Ask, AskFailed, Epoch, Happened, InstanceName, Millis, Run as Ordered, ServerView,
    SlotSet, Unseen,
};

/// How long the voters may take to answer.
const VOTE_WITHIN_MS: u64 = 300;
/// How long the suspected primary's own agent may take to say that its server is well.
const DEFEND_MS: u64 = 100;
/// Before the voters are asked again.
const AGAIN_MS: u64 = 250;
/// The second replica, by name, waits so much longer than the first: mostly that one has done it by then.
const STAGGER_MS: u64 = 400;

/// A primary that is not heard, from the first question to its successor.
#[derive(Debug)]
pub(super) struct Suspicion {
    primary: InstanceName,
    /// When it was last heard.
    heard: Millis,
    round: Option<Round>,
    next_round: Millis,
    pub(super) promotion: Option<Promotion>,
    /// When a majority last confirmed.
    confirmed: Option<Millis>,
    /// The voters that did not answer in the last round.
    pub(super) missing: Vec<InstanceName>,
}

/// One round of questions.
#[derive(Debug)]
struct Round {
    began: Millis,
    /// The question to the suspected primary's own agent; `None` once it is known that its answer does not clear it.
    suspected: Option<Token>,
    pending: BTreeMap<Token, InstanceName>,
    silences: Vec<u64>,
    missing: BTreeSet<InstanceName>,
}

/// What a round came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    /// Answers are still to come.
    Open,
    /// A majority confirms that the primary is down.
    Down,
    /// Not this time.
    NotYet,
}

impl Round {
    /// `known` is how long this agent has not heard it, and how long the register has not renewed its lease, as far as they have seats.
    fn begin(
        primary: &InstanceName,
        voters: Vec<InstanceName>,
        known: Vec<u64>,
        now: Millis,
        out: &mut Outbox,
    ) -> Self {
        let ask = || Ask::ConfirmDown { primary: primary.clone() };
        let suspected = Some(out.tell(primary, ask(), DEFEND_MS));
        let pending: BTreeMap<_, _> =
            voters.into_iter().map(|name| (out.tell(&name, ask(), VOTE_WITHIN_MS), name)).collect();
        let missing = pending.values().cloned().collect();
        Self { began: now, suspected, pending, silences: known, missing }
    }

    /// An answer came; `None` if it was not to this.
    fn answered(
        &mut self,
        token: Token,
        result: &Result<Answer, AskFailed>,
        seats: usize,
    ) -> Option<Verdict> {
        if self.suspected == Some(token) {
            self.suspected = None;
            if clears_itself(result) {
                // The voters were not waited for: that they have said nothing is not missed.
                self.missing.clear();
                return Some(Verdict::NotYet);
            }
        } else {
            let name = self.pending.remove(&token)?;
            if let Ok(Answer::ConfirmDown { silent_ms }) = result {
                self.silences.push(*silent_ms);
                self.missing.remove(&name);
            }
        }
        let enough = may_force(self.silences.iter().copied(), seats);
        Some(match (enough, self.suspected.is_none(), self.pending.is_empty()) {
            (true, true, _) => Verdict::Down,
            (false, true, true) => Verdict::NotYet,
            _ => Verdict::Open,
        })
    }
}

/// Does the suspected primary's own agent say that its server is well?
fn clears_itself(result: &Result<Answer, AskFailed>) -> bool {
    match result {
        // It knows that it has no lease: what the voters say counts.
        Ok(Answer::ConfirmDown { silent_ms }) => *silent_ms < DOWN_AFTER_MS - FENCE_AFTER_MS,
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
    }
}

impl HostWatch {
    /// Another agent asks how long this primary has not been heard.
    pub(crate) fn confirm_down(
        &mut self,
        situation: &Situation<'_>,
        primary: &InstanceName,
    ) -> Result<Answer, AskFailed> {
        let now = situation.now;
        let silent_ms = if primary == situation.name {
            // Of its own server: since when has it no lease?
            let unheld = self.unheld_since.filter(|_| self.role == ShardRole::Primary);
            unheld.map_or(0, |since| now.since(since))
        } else {
            let no_seat = || AskFailed::Refused("it is no primary, or cut off itself".to_owned());
            self.voter.confirm_down(primary, now).ok_or_else(no_seat)?
        };
        Ok(Answer::ConfirmDown { silent_ms })
    }

    /// Begins, goes on with or ends a suspicion, as what is heard wants it.
    pub(super) fn detect(&mut self, situation: &Situation<'_>, out: &mut Outbox) {
        if !may_replace(situation) {
            self.suspicion = None;
            return;
        }
        let now = situation.now;
        let silent = self.silent_too_long(situation);
        if self.suspicion.is_none() {
            let Some((primary, heard)) = silent.clone() else { return };
            self.suspicion = Some(Suspicion {
                primary,
                heard,
                round: None,
                next_round: now,
                promotion: None,
                confirmed: None,
                missing: Vec::new(),
            });
        }
        let Some(suspicion) = &mut self.suspicion else { return };
        let holds = silent.is_some_and(|(primary, _)| primary == suspicion.primary);
        if let Some(promotion) = &mut suspicion.promotion {
            // The server follows another node by now, or none: that is found by looking on, but no promotion is begun any more.
            if situation.followed().as_ref() != Some(&suspicion.primary) {
                promotion.permit(Millis(0));
            }
            let progress = promotion.tick(now, out);
            self.replacement_went(situation, progress, out);
        }
        self.ask_again(situation, holds, out);
    }

    fn ask_again(&mut self, situation: &Situation<'_>, holds: bool, out: &mut Outbox) {
        let now = situation.now;
        let suspected = self.suspicion.as_ref().map(|suspicion| suspicion.primary.clone());
        let at_register = suspected.and_then(|primary| self.silent_at_register(situation, &primary));
        let Some(suspicion) = &mut self.suspicion else { return };
        let open = match &suspicion.promotion {
            None => false,
            Some(promotion) if !promotion.lacks_permit(now) => {
                suspicion.next_round = suspicion.next_round.max(now.plus(1));
                return;
            }
            Some(promotion) => {
                promotion.has_asked() && suspicion.confirmed.is_some_and(|at| now.since(at) < FORCED_MS)
            }
        };
        if !holds && !open {
            self.suspicion = None;
        } else if holds && suspicion.round.is_none() && suspicion.next_round <= now {
            let mut voters: Vec<_> = self.others.values().cloned().collect();
            voters.retain(|name| *name != suspicion.primary);
            let own = situation.vote.map(|_| now.since(suspicion.heard));
            let known = own.into_iter().chain(at_register).collect();
            suspicion.round = Some(Round::begin(&suspicion.primary, voters, known, now, out));
        } else if suspicion.next_round <= now {
            suspicion.next_round = now.plus(AGAIN_MS);
        }
    }

    /// The primary that the own server follows, if it has not been heard for too long, and when it was heard last.
    fn silent_too_long(&self, situation: &Situation<'_>) -> Option<(InstanceName, Millis)> {
        let primary = situation.followed()?;
        let since = self.voter.silent_since(&primary)?;
        (since.plus(patience_ms(situation, &primary)) <= situation.now).then_some((primary, since))
    }

    /// An answer came. True if it was about the suspected primary.
    pub(super) fn suspicion_answered(
        &mut self,
        situation: &Situation<'_>,
        token: Token,
        result: &Result<Answer, AskFailed>,
        out: &mut Outbox,
    ) -> bool {
        let (now, seats) = (situation.now, self.seats);
        let Some(suspicion) = &mut self.suspicion else { return false };
        let verdict = suspicion.round.as_mut().and_then(|round| round.answered(token, result, seats));
        match verdict {
            None => {
                let Some(promotion) = &mut suspicion.promotion else { return false };
                let progress = promotion.told(now, token, result.clone(), out);
                self.replacement_went(situation, progress, out);
            }
            Some(Verdict::Open) => {}
            Some(Verdict::NotYet) => {
                let round = suspicion.round.take();
                suspicion.missing =
                    round.map(|round| round.missing.into_iter().collect()).unwrap_or_default();
                suspicion.next_round = now.plus(AGAIN_MS);
            }
            Some(Verdict::Down) => {
                suspicion.missing.clear();
                let began = suspicion.round.take().map_or(now, |round| round.began);
                suspicion.replace(situation, began, out);
            }
        }
        // What the agent's phase waits for has other tokens.
        true
    }

    fn replacement_went(&mut self, situation: &Situation<'_>, progress: Progress, out: &mut Outbox) {
        let Some(suspicion) = &mut self.suspicion else { return };
        match progress {
            Progress::Going => {}
            Progress::Nobody => {
                suspicion.promotion = None;
                suspicion.next_round = situation.now.plus(AGAIN_MS);
            }
            Progress::Promoted { to, .. } => {
                let done = self.suspicion.take();
                let forced = done.filter(|done| done.promotion.as_ref().is_some_and(Promotion::has_asked));
                if let (Some(done), Some(shard)) = (forced, situation.shard()) {
                    let took_ms = Some(situation.now.since(done.heard));
                    out.record(Happened::FailedOver { shard, from: done.primary, to, took_ms });
                }
                if situation.run == Run::Watched {
                    self.effects.push(Effect::LookNow);
                }
            }
        }
    }

    /// When something of a suspicion is due.
    pub(super) fn suspicion_wakes_at(&self, situation: &Situation<'_>) -> Option<Millis> {
        if !may_replace(situation) {
            return None;
        }
        let Some(suspicion) = &self.suspicion else {
            let primary = situation.followed()?;
            let since = self.voter.silent_since(&primary)?;
            return Some(since.plus(patience_ms(situation, &primary)));
        };
        let round = suspicion.round.is_none().then_some(suspicion.next_round);
        match &suspicion.promotion {
            Some(promotion) => sooner(promotion.wake_at(), round),
            None => round,
        }
    }
}

impl Suspicion {
    /// A majority has confirmed, asked at `began`, that the primary is down.
    fn replace(&mut self, situation: &Situation<'_>, began: Millis, out: &mut Outbox) {
        let now = situation.now;
        self.confirmed = Some(now);
        self.next_round = now.plus(AGAIN_MS);
        let mut candidates = situation.siblings();
        candidates.retain(|name| *name != self.primary);
        candidates.push(situation.name.clone());
        let lost = lost(situation, &self.primary);
        let heard = self.heard;
        let promotion = self.promotion.get_or_insert_with(|| {
            let eligible = Eligible::InSync { attached: None, left_on_disk: LeftOnDisk::OutOfReach };
            Promotion::begin(candidates, lost, eligible, heard, now, out)
        });
        promotion.permit(began.plus(PERMIT_MS));
    }
}

/// What the own server knows of the primary that it follows.
fn lost(situation: &Situation<'_>, primary: &InstanceName) -> ReplacedPrimary {
    let view = situation.last_view;
    let claim = |view: &ServerView| -> Option<Epoch> {
        view.topology.get(&view.primary()?).map(|node| node.config_epoch)
    };
    let founding = situation.order.and_then(AgentOrder::founding_slots).cloned();
    let seen = view.and_then(ServerView::slots).cloned();
    let slots = [founding, seen].into_iter().flatten().fold(SlotSet::empty(), |all, one| all.union(&one));
    ReplacedPrimary {
        node_id: situation.order.and_then(|order| Some(order.members.get(primary)?.node_id)),
        history: view.map(|view| view.replication.replid),
        claim: view.and_then(claim),
        slots,
    }
}

/// May this agent promote a server in place of a primary that is not heard?
fn may_replace(situation: &Situation<'_>) -> bool {
    let up = situation.order.is_some_and(|order| order.run == Ordered::Up);
    situation.run == Run::Watched && !situation.stays_down && up
}

fn patience_ms(situation: &Situation<'_>, primary: &InstanceName) -> u64 {
    let siblings = situation.siblings();
    let before = siblings.iter().filter(|name| *name != primary && *name < situation.name).count();
    DOWN_AFTER_MS + STAGGER_MS * u64::try_from(before).unwrap_or(u64::MAX / STAGGER_MS / 2)
}
