//! Law 3, in action: our server was its shard's primary and is dead for certain, which is the fence. Look at the replicas,
//! let them read out what the dead one still sent, promote the best by vote, and see that it was promoted.

use crate::failover::succession::{
    Candidate, Eligible, best_after_death, is_primary, may_follow_dead, may_replace,
};
use crate::protocol::{Outbox, Token};
use std::collections::{BTreeMap, BTreeSet};
use valkeeper_model::{
    Activity, Answer, Ask, AskFailed, Death, Epoch, Incarnation, InstanceName, Link, Millis, NodeId,
    ReplicationId, ServerView, SlotSet, Waiting,
};

/// A look at a replica must not take longer. Loopback needs under a millisecond.
const LOOK_MS: u64 = 100;
/// How long the replicas get to read what the dead primary sent before it died. They are done when their link is lost. Waiting
/// longer was measured to save nothing (docs/engine-facts.md): what is lost then had not left the dead process.
const DRAIN_MS: u64 = 20;
/// A server that was told to ask for votes may win them until so long after: the engine gives it up after 5 s.
pub(crate) const FORCED_MS: u64 = 5_500;
/// How long one vote may take before FORCE is sent again: each one bumps the epoch and restarts the voting, so not sooner.
const VOTE_MS: u64 = 400;
/// How long a replica that cannot be seen is waited for when another could be promoted.
const UNSEEN_MS: u64 = 300;
/// Between rounds after a vote that was not won, or with nobody to see.
const AGAIN_MS: u64 = 250;

/// Who was told to ask for votes and has not been seen for so long since has not won, unless a sibling has a primary again: votes are
/// counted for twice `cluster-node-timeout`, and the others hear of it at once.
const WON_MS: u64 = 60_000;
/// Each agent has looked at its server once in this time: a replica that is still said to follow another node does.
const LOOKED_MS: u64 = 1_500;
/// So often the best replica may refuse before the next best is told: what it refuses for may be over in a moment, and it has most.
const REFUSALS: u32 = 4;

/// A primary with an older claim than the lost one's hears of that within seconds. One that does not is right: the lost one may
/// have raised its epoch last without telling anybody.
const STALE_MS: u64 = 10_000;

/// The primary that is to be replaced, as far as anything is known of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplacedPrimary {
    /// Which node.
    pub node_id: Option<NodeId>,
    /// Its history.
    pub history: Option<ReplicationId>,
    /// The epoch of its claim.
    pub claim: Option<Epoch>,
    /// The slots that somebody else is to serve.
    pub slots: SlotSet,
}

/// A promotion under way.
#[derive(Debug)]
pub struct Promotion {
    siblings: Vec<InstanceName>,
    lost: ReplacedPrimary,
    eligible: Eligible,
    /// When the primary died.
    pub died_at: Millis,
    began: Millis,
    /// The replica that asked for votes and got none, if so.
    pub without_votes: Option<(InstanceName, Incarnation)>,
    /// Told to ask for votes, now or before: it may be primary by now although nobody can see it.
    /// With the time of the last.
    asked: BTreeMap<InstanceName, Millis>,
    /// Who has refused, how often in a row, and why.
    refusals: BTreeMap<InstanceName, Refused>,
    /// Siblings that serve another shard: they were moved there by hand.
    elsewhere: BTreeSet<InstanceName>,
    /// Who may have won and cannot be seen.
    may_have_won: Option<InstanceName>,
    /// How the primary ended.
    after: Death,
    /// FORCE may be sent until then only; `None`: the death is certain, for ever.
    permit: Option<Millis>,
    stage: Stage,
}

/// A replica's refusals.
#[derive(Debug, Default)]
struct Refused {
    in_a_row: u32,
    why: String,
}

#[derive(Debug)]
enum Stage {
    Look {
        pending: BTreeMap<Token, InstanceName>,
        seen: BTreeMap<InstanceName, Result<Candidate, AskFailed>>,
    },
    Rest {
        until: Millis,
    },
    Force {
        to: Candidate,
        token: Token,
    },
    Confirm {
        to: Candidate,
        since: Millis,
        poll: Poll,
    },
    Fetch {
        to: InstanceName,
        token: Token,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Poll {
    At(Millis),
    Asked(Token),
}

/// Where a promotion is.
#[derive(Debug)]
pub enum Progress {
    /// Not finished.
    Going,
    /// That one is primary, and this is what it sees.
    Promoted {
        /// Who.
        to: InstanceName,
        /// Its view, with the new topology.
        view: Box<ServerView>,
    },
    /// Nobody can be promoted.
    Nobody,
}

impl Promotion {
    /// Begins one in the place of `lost`.
    pub fn begin(
        siblings: Vec<InstanceName>,
        lost: ReplacedPrimary,
        eligible: Eligible,
        died_at: Millis,
        now: Millis,
        out: &mut Outbox,
    ) -> Self {
        let stage = Self::look(&siblings, out);
        Self {
            siblings,
            lost,
            eligible,
            died_at,
            began: now,
            without_votes: None,
            asked: BTreeMap::new(),
            refusals: BTreeMap::new(),
            elsewhere: BTreeSet::new(),
            may_have_won: None,
            after: Death::Ended,
            permit: None,
            stage,
        }
    }

    /// Somebody may be promoted until then, and after that only with another permit: the primary is not dead for certain, but
    /// takes no writes for a while (see [`crate::hostwatch`]).
    pub fn permit(&mut self, until: Millis) {
        self.permit = Some(until);
    }

    /// The same, of a primary that ended in this way.
    #[must_use]
    pub fn after(self, after: Death) -> Self {
        Self { after, ..self }
    }

    /// The same, where the lost primary had told `successor` to take over: it may have won.
    #[must_use]
    pub fn after_asking(mut self, successor: Option<InstanceName>) -> Self {
        self.asked.extend(successor.map(|instance| (instance, self.began)));
        self
    }

    /// Has the permit run out?
    pub fn lacks_permit(&self, now: Millis) -> bool {
        self.permit.is_some_and(|until| until < now)
    }

    /// Is it because the replica's copy is the best?
    pub fn for_its_copy(&self) -> bool {
        matches!(self.eligible, Eligible::Only { .. })
    }

    /// Was somebody told to ask for votes?
    pub fn has_asked(&self) -> bool {
        !self.asked.is_empty()
    }

    /// Was this one told to?
    pub fn was_asked(&self, instance: &InstanceName) -> bool {
        self.asked.contains_key(instance)
    }

    /// What stands in the way.
    pub fn waiting(&self) -> Option<Waiting> {
        if let Some(instance) = &self.may_have_won {
            return Some(Waiting::MayHaveWon { instance: instance.clone() });
        }
        let (instance, refused) = self.refusals.iter().max_by_key(|(_, refused)| refused.in_a_row)?;
        Some(Waiting::PromotionRefused { instance: instance.clone(), why: refused.why.clone() })
    }

    /// As what it shows in a report.
    pub fn activity(&self) -> Activity {
        match &self.without_votes {
            Some((successor, incarnation)) => {
                Activity::WithoutVotes { successor: successor.clone(), incarnation: *incarnation }
            }
            None => Activity::FailingOver,
        }
    }

    fn look(siblings: &[InstanceName], out: &mut Outbox) -> Stage {
        let pending =
            siblings.iter().map(|name| (out.tell(name, Ask::Replication, LOOK_MS), name.clone())).collect();
        Stage::Look { pending, seen: BTreeMap::new() }
    }

    /// An answer came.
    pub fn told(
        &mut self,
        now: Millis,
        token: Token,
        result: Result<Answer, AskFailed>,
        out: &mut Outbox,
    ) -> Progress {
        match &mut self.stage {
            Stage::Look { pending, seen } => {
                if let Some(name) = pending.remove(&token) {
                    let seen_now = candidate(name.clone(), result);
                    seen.insert(name, seen_now);
                    if pending.is_empty() {
                        return self.choose(now, out);
                    }
                }
            }
            Stage::Force { to, token: sent } if *sent == token => match result {
                Ok(_) => self.stage = Stage::Confirm { to: to.clone(), since: now, poll: Poll::At(now) },
                Err(error) => {
                    // The votes that were not given were another's to get, or another run's: no takeover hangs on them any more.
                    self.without_votes = None;
                    if let AskFailed::Refused(why) = error {
                        let refused = self.refusals.entry(to.instance.clone()).or_default();
                        refused.in_a_row += 1;
                        refused.why = why;
                    }
                    self.stage = Stage::Rest { until: now.plus(AGAIN_MS) };
                }
            },
            Stage::Confirm { to, since, poll } if *poll == Poll::Asked(token) => {
                match candidate(to.instance.clone(), result) {
                    Ok(seen) if seen.incarnation == to.incarnation && is_primary(&seen.replication) => {
                        let name = to.instance.clone();
                        self.arrive(name, out);
                    }
                    Ok(seen) if seen.incarnation != to.incarnation => {
                        self.without_votes = None;
                        self.stage = Stage::Rest { until: now };
                    }
                    _ if now.since(*since) >= VOTE_MS => {
                        self.without_votes = Some((to.instance.clone(), to.incarnation));
                        self.stage = Stage::Rest { until: now.plus(AGAIN_MS) };
                    }
                    // Every millisecond at first, since a vote takes ten; then seldom.
                    _ => *poll = Poll::At(now.plus(1 + now.since(*since) / 16)),
                }
            }
            Stage::Fetch { to, token: sent } if *sent == token => {
                if let Ok(Answer::Report(report)) = result
                    && let Some(view) = report.view()
                    && view.is_shard_primary()
                {
                    if !view.serves(&self.lost.slots) {
                        self.elsewhere.insert(to.clone());
                        self.stage = Stage::Rest { until: now };
                        return self.tick(now, out);
                    }
                    // One that was replaced long before and has not heard of it is about to.
                    let newer = view.myself().map(|node| node.config_epoch) > self.lost.claim;
                    if newer || now.since(self.began) >= STALE_MS {
                        return Progress::Promoted { to: to.clone(), view: Box::new(view.clone()) };
                    }
                    self.stage = Stage::Rest { until: now.plus(AGAIN_MS) };
                    return Progress::Going;
                }
                self.stage = Stage::Rest { until: now.plus(20) };
            }
            _ => {}
        }
        self.tick(now, out)
    }

    /// Time has passed.
    pub fn tick(&mut self, now: Millis, out: &mut Outbox) -> Progress {
        match &mut self.stage {
            Stage::Rest { until } if *until <= now => self.stage = Self::look(&self.siblings, out),
            Stage::Confirm { to, poll, .. } => {
                if let Poll::At(at) = *poll
                    && at <= now
                {
                    *poll = Poll::Asked(out.tell(&to.instance, Ask::Replication, LOOK_MS));
                }
            }
            _ => {}
        }
        Progress::Going
    }

    /// When to tick next.
    pub fn wake_at(&self) -> Option<Millis> {
        match &self.stage {
            Stage::Rest { until } => Some(*until),
            Stage::Confirm { poll: Poll::At(at), .. } => Some(*at),
            _ => None,
        }
    }

    fn choose(&mut self, now: Millis, out: &mut Outbox) -> Progress {
        let Stage::Look { seen, .. } = &self.stage else { return Progress::Going };
        let known = seen.values().filter_map(|seen| seen.as_ref().ok());
        let known: Vec<&Candidate> = known.filter(|one| !self.elsewhere.contains(&one.instance)).collect();
        if let Some(primary) = known.iter().find(|candidate| is_primary(&candidate.replication)) {
            // Somebody was faster: the engine's own election, or an earlier FORCE of ours whose answer was lost.
            let name = primary.instance.clone();
            self.arrive(name, out);
            return Progress::Going;
        }
        let unseen =
            seen.values().any(|seen| matches!(seen, Err(AskFailed::Unseen(_) | AskFailed::Refused(_))));
        // A sibling that has a primary again may have the one that won.
        let followed = known.iter().any(|candidate| candidate.replication.link() == Some(Link::Up));
        // Law 1: who was told before and cannot be seen now may have won. Another one would take its writes away.
        let may_have_won = |(name, seen): (&InstanceName, &Result<Candidate, AskFailed>)| {
            let recently = |at: &Millis| now.since(*at) < WON_MS;
            let asked = self.asked.get(name).is_some_and(|at| recently(at) || followed);
            asked && matches!(seen, Err(AskFailed::Unseen(_)))
        };
        if let Some((name, _)) = seen.iter().find(|one| may_have_won(*one)) {
            self.may_have_won = Some(name.clone());
            self.stage = Stage::Rest { until: now.plus(10) };
            return Progress::Going;
        }
        self.may_have_won = None;
        let refuses = |candidate: &Candidate| {
            self.refusals.get(&candidate.instance).is_some_and(|refused| refused.in_a_row >= REFUSALS)
        };
        // Moved by hand, it holds another shard's data and would refuse.
        let (known, astray): (Vec<&Candidate>, Vec<&Candidate>) =
            known.into_iter().partition(|one| follows(one, self.lost.node_id));
        let willing: Vec<&Candidate> = known.iter().copied().filter(|one| !refuses(one)).collect();
        let draining = known.iter().any(|candidate| candidate.replication.link() == Some(Link::Up));
        let of = |candidates: &[&Candidate]| {
            best_after_death(candidates.iter().copied(), self.lost.history, &self.eligible).cloned()
        };
        // Another agent has told one to ask for votes: it may win yet, and a second that wins beside it takes away what the first was given.
        let underway = known
            .iter()
            .copied()
            .find(|one| may_follow_dead(one, &self.eligible).is_ok() && self.is_asked_by_another(one));
        let best = underway.cloned().or_else(|| of(&willing)).or_else(|| of(&known));
        let waited = now.since(self.began);
        match best {
            Some(_) if draining && waited < DRAIN_MS => self.stage = Stage::Rest { until: now.plus(1) },
            _ if unseen && waited < UNSEEN_MS => self.stage = Stage::Rest { until: now.plus(10) },
            None if !astray.is_empty() && waited < LOOKED_MS => {
                self.stage = Stage::Rest { until: now.plus(20) };
            }
            Some(to) if underway.is_some() && asked_ms(&to) < Some(VOTE_MS) => {
                self.stage = Stage::Rest { until: now.plus(10) };
            }
            Some(_) if self.lacks_permit(now) => self.stage = Stage::Rest { until: now.plus(10) },
            Some(to) => {
                self.asked.insert(to.instance.clone(), now);
                let ask = Ask::Force {
                    incarnation: to.incarnation,
                    replaces: self.lost.node_id,
                    after: self.after,
                    // A death that is certain is so for ever.
                    looked_at: self.permit.and(to.standing).and_then(|standing| standing.looked_at),
                };
                let token = out.tell(&to.instance, ask, LOOK_MS);
                self.stage = Stage::Force { to, token };
            }
            None => return Progress::Nobody,
        }
        Progress::Going
    }

    fn is_asked_by_another(&self, candidate: &Candidate) -> bool {
        !self.was_asked(&candidate.instance) && asked_ms(candidate).is_some()
    }

    fn arrive(&mut self, to: InstanceName, out: &mut Outbox) {
        // The announcement is pushed out first: clients of the other primaries wait for it.
        out.tell(&to, Ask::Flush, LOOK_MS);
        let token = out.tell(&to, Ask::Report { fresh: true }, LOOK_MS * 5);
        self.without_votes = None;
        self.stage = Stage::Fetch { to, token };
    }
}

/// How long ago it was told to become primary, milliseconds, if that may still lead to something.
fn asked_ms(candidate: &Candidate) -> Option<u64> {
    candidate.standing?.promotion_asked_ms
}

/// Does it follow the lost primary, as far as anybody knows?
fn follows(candidate: &Candidate, lost: Option<NodeId>) -> bool {
    let followed = candidate.standing.and_then(|standing| standing.follows);
    followed.is_none_or(|followed| may_replace(Some(followed), lost))
}

/// An answer to [`Ask::Replication`] as a candidate.
pub(super) fn candidate(
    instance: InstanceName,
    result: Result<Answer, AskFailed>,
) -> Result<Candidate, AskFailed> {
    match result? {
        Answer::Replication { incarnation, replication, standing } => {
            Ok(Candidate { instance, incarnation, replication, standing })
        }
        Answer::Done
        | Answer::Report(_)
        | Answer::Tried(_)
        | Answer::Heartbeat { .. }
        | Answer::Renewed { .. }
        | Answer::Vote { .. }
        | Answer::Term { .. }
        | Answer::ConfirmDown { .. } => Err(AskFailed::Unseen(valkeeper_model::Unseen::Garbled)),
    }
}
