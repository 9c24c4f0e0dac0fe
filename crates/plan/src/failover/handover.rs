//! Law 2, in action: our server is a primary that is well, and hands over to a replica without losing a write.
//!
//! Plain `CLUSTER FAILOVER` pauses writes first and lets the replica catch up afterwards, so that clients wait as long as the
//! stream is behind: 0.6 to 4 s under saturation (docs/engine-facts.md). Here the moment is chosen: wait until the replica is
//! near, pause writes, see it arrive within milliseconds (or let the writes go on and try again later), and only then start
//! the engine's own handover, which then finds nothing left to wait for.

use super::promotion::candidate;
use crate::failover::succession::{Candidate, best_for_switchover, is_primary, lag, may_take_over};
use crate::protocol::{Login, Outbox, Reply, ServerCommand, ServerError, Token};
use std::collections::BTreeMap;
use valkeeper_model::{Address, Answer, Ask, AskFailed, InstanceName, Millis, Replication, Unfit};

/// A look must not take longer; a saturated server answers after the commands queued before ours.
const LOOK_MS: u64 = 400;
/// Near enough to pause, bytes: a replica reads this within a few milliseconds.
const NEAR_BYTES: u64 = 512 * 1024;
/// How long the writes may be held while the replica arrives.
const DRAIN_MS: u64 = 25;
/// How long to wait for a near moment before a pause is tried at any distance.
const NEAR_WAIT_MS: u64 = 1_000;
/// How long to wait for a replica that may take over in a moment, before the switchover is given up. A switchover was refused although
/// every replica was in sync (3 of 9, load 13 on 2 cores), and so was a second one right after the first.
const UNFIT_MS: u64 = 3_000;
/// Before the next look then.
const LOOK_AGAIN_MS: u64 = 20;
/// Between two pauses, so that clients get through.
const BREATH_MS: u64 = 60;
/// Longest life of one pause, should everything of ours die meanwhile: clients held by `CLIENT PAUSE` stay held to its end,
/// also when the server is a replica by then. The engine's own pause takes over once its handover runs.
const PAUSE_MS: u64 = 200;
/// Pauses tried before giving up.
const PAUSES: u32 = 60;
/// How long the engine may take from `CLUSTER FAILOVER` to the new primary; its own limit is 5 s.
const SWITCH_MS: u64 = 6_000;
/// So long the engine's own pause holds writes for certain; it ends 5 s after the handover began.
const ENGINE_HOLDS_MS: u64 = 4_500;
/// What the engine says when a replica has no link to its primary over the cluster bus. The link is made anew by itself, within
/// seconds (docs/engine-facts.md).
const NO_BUS_LINK: &str = "is down or failed";
/// How long that is waited for, without holding writes.
const BUS_LINK_MS: u64 = 12_000;
/// Between two tries then.
const BUS_AGAIN_MS: u64 = 500;

/// A handover under way.
#[derive(Debug)]
pub struct Handover {
    siblings: Vec<InstanceName>,
    wanted: Option<InstanceName>,
    began: Millis,
    pauses: u32,
    paused_at: Option<Millis>,
    /// How long writes were held by pauses that are over, milliseconds.
    held_ms: u64,
    /// Since when the chosen one has no link to us over the bus.
    unlinked_since: Option<Millis>,
    /// Where the others listen, if our server has to become a replica before its successor becomes the primary; see [`Handover::demoting`].
    addresses: Option<BTreeMap<InstanceName, Address>>,
    demoted: Demoted,
    stage: Stage,
}

/// Was our server made a replica of its successor?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Demoted {
    No,
    Yes,
}

#[derive(Debug)]
enum Stage {
    /// Look at ourselves and at all replicas.
    Look {
        own: Token,
        ours: Option<Replication>,
        pending: BTreeMap<Token, InstanceName>,
        seen: Vec<Candidate>,
    },
    /// Look again at that time.
    Rest { until: Millis },
    /// Writes are being paused.
    Pause { to: Candidate, token: Token },
    /// Writes are paused; this is where the stream ends.
    Aim { to: Candidate, token: Token },
    /// The replica has to get there.
    Drain { to: Candidate, target: Replication, poll: Token },
    /// Our server is being made a replica of its successor, which has everything.
    Demote { to: Candidate, token: Token },
    /// The engine's handover was started.
    Switch { to: Candidate, since: Millis, wait: Wait, held: Held },
    /// The successor says that it is the primary; our server has to obey that, or what it takes from here on would be lost.
    Confirm { to: InstanceName, since: Millis, look: Look },
    /// Let the clients go, to be redirected or to go on.
    Release { token: Token, outcome: Box<Progress> },
}

/// Our own pause is lifted as soon as the engine's holds the writes, so that nobody is held longer than the engine needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Held {
    ByUs,
    Asked(Token),
    ByEngine,
}

/// A look at our own server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Look {
    Asked(Token),
    At(Millis),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wait {
    Ordered(Token),
    At(Millis),
    Asked(Token),
}

/// The replica that was told to take over.
#[derive(Debug, Clone)]
pub struct Successor {
    /// Its name.
    pub instance: InstanceName,
    /// What it said since.
    pub word: Word,
}

/// What a successor said of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Word {
    /// Nothing yet.
    Asked,
    /// It is the primary.
    Rose,
}

/// Where a handover is.
#[derive(Debug, Clone)]
pub enum Progress {
    /// Not finished.
    Going,
    /// That one is primary now, and our server follows it.
    Done {
        /// Who.
        to: InstanceName,
        /// How long writes were held, milliseconds.
        paused_ms: u64,
    },
    /// Nothing changed.
    Abandoned {
        /// Why.
        why: String,
    },
}

impl Handover {
    /// Begins one, to `wanted` or to the best.
    pub fn begin(
        siblings: Vec<InstanceName>,
        wanted: Option<InstanceName>,
        now: Millis,
        out: &mut Outbox,
    ) -> Self {
        let stage = Self::look(&siblings, out);
        Self {
            siblings,
            wanted,
            began: now,
            pauses: 0,
            paused_at: None,
            held_ms: 0,
            unlinked_since: None,
            addresses: None,
            demoted: Demoted::No,
            stage,
        }
    }

    /// The same in mode `standalone`, where the engine has no part in it: once the successor has everything, our server becomes its
    /// replica, and only then the successor becomes the primary. So there is no moment in which both take writes, whatever dies in
    /// between; and our server, which has what its successor has, follows by a partial resynchronisation.
    #[must_use]
    pub fn demoting(self, addresses: BTreeMap<InstanceName, Address>) -> Self {
        Self { addresses: Some(addresses), ..self }
    }

    /// Was our server told to be a replica?
    pub fn has_demoted(&self) -> bool {
        self.demoted == Demoted::Yes
    }

    /// For how long it has held writes by now, milliseconds, at most: a pause ends by itself where nobody ends it.
    pub fn held_ms(&self, now: Millis) -> u64 {
        self.held_ms + self.paused_at.map_or(0, |at| now.since(at))
    }

    /// The replica that was told to take over, if one was.
    pub fn successor(&self) -> Option<Successor> {
        match &self.stage {
            Stage::Switch { to, .. } => Some(Successor { instance: to.instance.clone(), word: Word::Asked }),
            Stage::Confirm { to, .. } => Some(Successor { instance: to.clone(), word: Word::Rose }),
            _ => None,
        }
    }

    fn pause_ends(&mut self, now: Millis) {
        (self.held_ms, self.paused_at) = (self.held_ms(now), None);
    }

    fn look(siblings: &[InstanceName], out: &mut Outbox) -> Stage {
        let own = out.serve(ServerCommand::Replication, LOOK_MS);
        let pending =
            siblings.iter().map(|name| (out.tell(name, Ask::Replication, LOOK_MS), name.clone())).collect();
        Stage::Look { own, ours: None, pending, seen: Vec::new() }
    }

    /// Our server replied.
    pub fn served(
        &mut self,
        now: Millis,
        token: Token,
        result: Result<Reply, ServerError>,
        out: &mut Outbox,
    ) -> Progress {
        match &mut self.stage {
            Stage::Look { own, ours, pending, .. } if *own == token => match result {
                Ok(Reply::Replication(replication)) => {
                    *ours = Some(replication);
                    if pending.is_empty() {
                        return self.choose(now, out);
                    }
                }
                Ok(_) => return self.abandon("the primary's answer could not be understood", out),
                Err(ServerError::Silent(_)) if now.since(self.began) < UNFIT_MS => {
                    self.stage = Stage::Rest { until: now.plus(LOOK_AGAIN_MS) };
                }
                Err(error) => return self.abandon(&format!("the primary {error}"), out),
            },
            Stage::Pause { to, token: sent } if *sent == token => match result {
                Ok(_) => {
                    let to = to.clone();
                    let token = out.serve(ServerCommand::Replication, LOOK_MS);
                    self.stage = Stage::Aim { to, token };
                }
                Err(error) => return self.abandon(&format!("writes could not be paused: {error}"), out),
            },
            Stage::Aim { to, token: sent } if *sent == token => match result {
                Ok(Reply::Replication(target)) => {
                    let to = to.clone();
                    let poll = out.tell(&to.instance, Ask::Replication, LOOK_MS);
                    self.stage = Stage::Drain { to, target, poll };
                }
                _ => return self.breathe(now, out),
            },
            Stage::Demote { to, token: sent } if *sent == token => match result {
                Ok(_) => {
                    self.demoted = Demoted::Yes;
                    let to = to.clone();
                    self.switch_to(to, now, out);
                }
                Err(error) => {
                    let why = format!("the primary could not be made a replica: {error}");
                    return self.abandon(&why, out);
                }
            },
            Stage::Switch { held, .. } if *held == Held::Asked(token) => match result {
                Ok(Reply::HoldsWrites(true)) => {
                    *held = Held::ByEngine;
                    out.serve(ServerCommand::UnpauseWrites, LOOK_MS);
                }
                Ok(_) => *held = Held::ByUs,
                Err(_) => {}
            },
            Stage::Confirm { to, since, look } if *look == Look::Asked(token) => {
                let obeys = matches!(&result, Ok(Reply::Replication(ours)) if !is_primary(ours));
                if obeys {
                    let done = Progress::Done { to: to.clone(), paused_ms: self.held_ms(now) };
                    return self.release(done, out);
                }
                if now.since(*since) >= SWITCH_MS {
                    let why =
                        format!("{to} says that it is the primary, and the former one does not follow it");
                    return self.release(Progress::Abandoned { why }, out);
                }
                // Sooner, this pause would hold clients beyond the moment at which the engine lets them go.
                if now.since(*since) >= ENGINE_HOLDS_MS {
                    out.serve(ServerCommand::PauseWrites(PAUSE_MS), LOOK_MS);
                }
                *look = Look::At(now.plus((1 + now.since(*since) / 16).min(PAUSE_MS / 4)));
            }
            Stage::Release { token: sent, outcome } if *sent == token => return (**outcome).clone(),
            _ => {}
        }
        Progress::Going
    }

    /// A replica's agent answered.
    pub fn told(
        &mut self,
        now: Millis,
        token: Token,
        result: Result<Answer, AskFailed>,
        out: &mut Outbox,
    ) -> Progress {
        match &mut self.stage {
            Stage::Look { ours, pending, seen, .. } => {
                if let Some(name) = pending.remove(&token) {
                    seen.extend(candidate(name, result));
                    if pending.is_empty() && ours.is_some() {
                        return self.choose(now, out);
                    }
                }
            }
            Stage::Drain { to, target, poll } if *poll == token => {
                let arrived = candidate(to.instance.clone(), result).is_ok_and(|seen| {
                    seen.incarnation == to.incarnation && lag(target, &seen.replication) == Some(0)
                });
                let to = to.clone();
                if arrived {
                    match &self.addresses {
                        None => self.switch_to(to, now, out),
                        Some(addresses) => {
                            let Some(address) = addresses.get(&to.instance).cloned() else {
                                let why = format!("nobody knows where {} listens", to.instance);
                                return self.abandon(&why, out);
                            };
                            let token = out.serve(ServerCommand::FollowAt(address, Login::Cluster), LOOK_MS);
                            self.stage = Stage::Demote { to, token };
                        }
                    }
                } else if self.paused_at.is_some_and(|at| now.since(at) >= DRAIN_MS) {
                    return self.breathe(now, out);
                } else {
                    *poll = out.tell(&to.instance, Ask::Replication, LOOK_MS);
                }
            }
            Stage::Switch { to, wait, .. } if *wait == Wait::Ordered(token) => match result {
                Ok(_) => *wait = Wait::Asked(out.tell(&to.instance, Ask::Replication, LOOK_MS)),
                Err(AskFailed::Unseen(_)) => *wait = Wait::At(now.plus(2)),
                Err(AskFailed::Refused(said)) if said.contains(NO_BUS_LINK) => {
                    let since = *self.unlinked_since.get_or_insert(now);
                    if now.since(since) < BUS_LINK_MS {
                        self.pause_ends(now);
                        out.serve(ServerCommand::UnpauseWrites, LOOK_MS);
                        self.began = now;
                        self.stage = Stage::Rest { until: now.plus(BUS_AGAIN_MS) };
                        return Progress::Going;
                    }
                    let why =
                        format!("{} has no link to the primary over the cluster bus: {said}", to.instance);
                    return self.release(Progress::Abandoned { why }, out);
                }
                Err(error) => {
                    let why = format!("{} {error}", to.instance);
                    return self.release(Progress::Abandoned { why }, out);
                }
            },
            Stage::Switch { to, since, wait, held } if *wait == Wait::Asked(token) => {
                let seen = candidate(to.instance.clone(), result);
                if seen.is_ok_and(|seen| is_primary(&seen.replication)) {
                    out.tell(&to.instance, Ask::Flush, LOOK_MS);
                    let (to, since) = (to.instance.clone(), *since);
                    if self.demoted == Demoted::Yes {
                        let done = Progress::Done { to, paused_ms: self.held_ms(now) };
                        return self.release(done, out);
                    }
                    let look = Look::Asked(out.serve(ServerCommand::Replication, LOOK_MS));
                    self.stage = Stage::Confirm { to, since, look };
                    return Progress::Going;
                }
                if now.since(*since) >= SWITCH_MS {
                    let why = format!("{} did not win the vote in time", to.instance);
                    return self.release(Progress::Abandoned { why }, out);
                }
                *wait = Wait::At(now.plus(1 + now.since(*since) / 16));
                if *held == Held::ByUs && self.addresses.is_none() {
                    *held = Held::Asked(out.serve(ServerCommand::HoldsWrites, LOOK_MS));
                }
            }
            _ => {}
        }
        Progress::Going
    }

    /// Time has passed.
    pub fn tick(&mut self, now: Millis, out: &mut Outbox) {
        match &mut self.stage {
            Stage::Rest { until } if *until <= now => self.stage = Self::look(&self.siblings, out),
            Stage::Switch { to, wait, .. } => {
                if let Wait::At(at) = *wait
                    && at <= now
                {
                    *wait = Wait::Asked(out.tell(&to.instance, Ask::Replication, LOOK_MS));
                }
            }
            Stage::Confirm { look, .. } => {
                if let Look::At(at) = *look
                    && at <= now
                {
                    *look = Look::Asked(out.serve(ServerCommand::Replication, LOOK_MS));
                }
            }
            _ => {}
        }
    }

    /// When to tick next.
    pub fn wake_at(&self) -> Option<Millis> {
        match &self.stage {
            Stage::Rest { until }
            | Stage::Switch { wait: Wait::At(until), .. }
            | Stage::Confirm { look: Look::At(until), .. } => Some(*until),
            _ => None,
        }
    }

    fn choose(&mut self, now: Millis, out: &mut Outbox) -> Progress {
        let Stage::Look { ours: Some(ours), seen, .. } = &self.stage else { return Progress::Going };
        if is_primary(ours) {
            let considered = self.wanted.as_ref().map_or(&self.siblings[..], std::slice::from_ref);
            let fit = seen.iter().filter(|candidate| considered.contains(&candidate.instance));
            let Some(to) = best_for_switchover(fit, ours).cloned() else {
                let unfit = |name: &InstanceName| {
                    seen.iter()
                        .find(|c| c.instance == *name)
                        .map_or(Unfit::NotSeen, |c| may_take_over(c, ours).err().unwrap_or(Unfit::NotSeen))
                };
                if now.since(self.began) < UNFIT_MS
                    && considered.iter().any(|name| unfit(name).may_pass_soon())
                {
                    self.stage = Stage::Rest { until: now.plus(LOOK_AGAIN_MS) };
                    return Progress::Going;
                }
                let why = match &self.wanted {
                    Some(name) => format!("{name} cannot take over: {}", unfit(name)),
                    None => "no replica is in sync".to_owned(),
                };
                return self.abandon(&why, out);
            };
            let distance = lag(ours, &to.replication).unwrap_or(u64::MAX);
            if distance <= NEAR_BYTES || now.since(self.began) >= NEAR_WAIT_MS {
                let token = out.serve(ServerCommand::PauseWrites(PAUSE_MS), LOOK_MS);
                self.pauses += 1;
                self.paused_at = Some(now);
                self.stage = Stage::Pause { to, token };
            } else {
                self.stage = Stage::Rest { until: now.plus(2) };
            }
            Progress::Going
        } else {
            self.abandon("it is not the primary any more", out)
        }
    }

    fn breathe(&mut self, now: Millis, out: &mut Outbox) -> Progress {
        if self.pauses >= PAUSES {
            let why =
                format!("the replica did not catch up within {DRAIN_MS} ms in {PAUSES} pauses of the writes");
            return self.release(Progress::Abandoned { why }, out);
        }
        out.serve(ServerCommand::UnpauseWrites, LOOK_MS);
        self.pause_ends(now);
        self.began = now;
        self.stage = Stage::Rest { until: now.plus(BREATH_MS) };
        Progress::Going
    }

    fn switch_to(&mut self, to: Candidate, now: Millis, out: &mut Outbox) {
        let ask = Ask::Succeed { incarnation: to.incarnation };
        let wait = Wait::Ordered(out.tell(&to.instance, ask, LOOK_MS));
        self.stage = Stage::Switch { to, since: now, wait, held: Held::ByUs };
    }

    fn abandon(&mut self, why: &str, out: &mut Outbox) -> Progress {
        let outcome = Progress::Abandoned { why: why.to_owned() };
        if self.paused_at.is_some() { self.release(outcome, out) } else { outcome }
    }

    fn release(&mut self, outcome: Progress, out: &mut Outbox) -> Progress {
        let token = out.serve(ServerCommand::UnpauseWrites, LOOK_MS);
        self.stage = Stage::Release { token, outcome: Box::new(outcome) };
        Progress::Going
    }
}

#[cfg(test)]
mod tests;
