//! Terms: who may be the primary in mode `standalone`.
//!
//! *Seats* are the agents of the shard and, where their number is even, the register (`register.rs`). Each keeps on its disk, before it answers anybody: the newest term that it has seen, the term of its
//! last vote, and the primary that it knows. A candidate takes the term after the newest that it knows, votes for itself and asks the other
//! seats. With a majority of the votes, and those of all that may be primaries by what these voters know, it keeps on its disk that it is
//! the primary with that term, and only then its server is told `REPLICAOF NO ONE`. Then it tells the others, which keep it and follow.
//!
//! - *One primary a term:* two majorities share a seat, and a seat votes once in a term.
//! - *One primary at a time.* Who may be a primary, for a seat: the primary that it knows, and every candidate that it has voted for in a
//!   newer term. Each vote names them, and the candidate needs the votes of all that were named. The seat that the majorities of the
//!   present primary and of the candidate share names the present primary. That one's agent votes only while its server is down or
//!   no primary any more; and an agent that has voted does not start its server as the primary of an older term
//!   ([`Terms::has_promised`]).
//! - *A vote for another ends one's own candidature:* a claim to an older term than that of the last vote is void.
//! - *A vote that cannot be kept is not given.* The seat of a primary whose server is down, and whose disk is lost or hangs, still says that it
//!   does not stand in the way ([`VoteRefusal::NotKept`]): it keeps that in mind as long as it runs. That counts for itself, and
//!   not for the majority. An agent that is started anew asks the others who serves before it starts its server
//!   ([`crate::failover::restart_decision`]), and waits for those that do not answer.
//!
//! - *The register names like an agent, and never stands in the way:* it has no server. So of two instances one is elected without the vote of the
//!   other, whose agent says that it does not stand in the way and cannot keep a vote.
//!
//! Checked exhaustively with this very code: `model.rs`.

mod election;
mod exchange;

use super::roles_file::{Change, apply, carry_votes, voted_in};
use crate::hostwatch::VoteKept;
use crate::protocol::{Command, Outbox, Token};
use election::{ELECTION_MS, Election};
use std::collections::{BTreeSet, VecDeque};
use valkeeper_model::nodes_conf::{NodesConf, Vars};
use valkeeper_model::{
    AgentOrder, Answer, Epoch, InstanceName, Millis, NodeId, PrimaryTerm, RegisterLife, Renewals, VoteRefusal,
};

/// A voter writes its vote to its disk before it answers.
const VOTE_WITHIN_MS: u64 = 500;
/// A disk that takes longer than this for a vote does not take it: see [`VoteRefusal::NotKept`].
const KEPT_WITHIN_MS: u64 = 250;

/// What the agent knows at the moment.
#[derive(Debug, Clone, Copy)]
pub struct Situation<'a> {
    /// Now.
    pub now: Millis,
    /// The agent's instance.
    pub name: &'a InstanceName,
    /// The order that it obeys.
    pub order: &'a AgentOrder,
    /// May its own server be another's predecessor?
    pub vote: Vote,
    /// The members whose leases have ended, as far as they rest on this agent's answers; none where agents share a host.
    pub missed: &'a BTreeSet<NodeId>,
    /// The same of the leases that rest on the register: what it has renewed, and not lately.
    pub unchanged: Option<&'a Renewals>,
}

/// Whether the agent's own server stands in the way of another primary.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Vote {
    /// It does not run, or is a replica by its own words.
    Free,
    /// It is the primary, or may be, and takes writes.
    Serves,
}

/// What another agent asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// A vote.
    Vote {
        /// Who stands.
        candidate: InstanceName,
        /// For which term.
        term: Epoch,
    },
    /// Which primary is known, and that this one is.
    Term(PrimaryTerm),
}

/// What has become of a change that was kept on the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Elected {
    /// The agent's own server is the primary from now on.
    Own,
    /// Another one is.
    Another,
    /// The primary is the one that it was.
    Unchanged,
}

/// The last vote for another.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Voted {
    term: Epoch,
    candidate: InstanceName,
    /// Who was named with it.
    named: BTreeSet<NodeId>,
}

/// One seat, and the candidate on it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Terms {
    /// What is on the disk.
    roles: Option<NodesConf>,
    /// What is being written, and for what.
    saving: Option<(u64, NodesConf, Change)>,
    saving_since: Millis,
    queue: VecDeque<Change>,
    last_save: u64,
    /// The last vote given, and to whom: a question that comes twice gets the same answer.
    voted: Option<Voted>,
    /// When a vote was given to another last, kept or not.
    promised_at: Option<Millis>,
    /// The newest term in which another was promised that it is not stood in the way of, kept on the disk or not.
    promised: Epoch,
    election: Option<Election>,
    /// When it stood for the mandate that it has got last.
    elected_at: Option<Millis>,
    /// The newest term of a vote that others have told of.
    told_vote: Epoch,
    exchanged_at: Option<Millis>,
    exchanges: BTreeSet<Token>,
    register_asked_at: Option<Millis>,
    /// The new register that is to be told what is on the disk.
    register_life: Option<RegisterLife>,
}

/// Is that term over for a seat that has voted and knows of primaries so?
pub(super) fn vote_refused(last_vote: Epoch, known: Option<PrimaryTerm>, term: Epoch) -> Option<VoteRefusal> {
    let over = last_vote >= term || known.is_some_and(|known| known.term >= term);
    over.then_some(VoteRefusal::Voted { term: last_vote })
}

impl Terms {
    /// What is on the disk, as far as it is known.
    pub fn roles(&self) -> Option<&NodesConf> {
        self.roles.as_ref()
    }

    /// The file was read. What is known already is newer: a file that was read while it was being replaced may be the former one.
    pub fn found(&mut self, roles: &NodesConf) {
        self.roles.get_or_insert_with(|| roles.clone());
    }

    /// Gives what has been voted to a file that a start is about to write.
    pub fn carry_votes(&self, to: &mut NodesConf) {
        if let Some(from) = &self.roles {
            carry_votes(from, to);
        }
    }

    /// The file was written with a start.
    pub fn written(&mut self, roles: NodesConf) {
        self.roles = Some(roles);
    }

    /// Is the file being written? A start would write another one.
    pub fn is_saving(&self) -> bool {
        self.saving.is_some()
    }

    #[cfg(test)]
    pub(super) fn awaits(&self, token: Token) -> bool {
        self.exchanges.contains(&token)
            || self.election.as_ref().is_some_and(|election| election.awaits(token))
    }

    /// What its vote says.
    pub(crate) fn kept(&self) -> VoteKept {
        VoteKept { known: self.known(), voted: self.last_vote() }
    }

    /// When it stood for the mandate that it has got last.
    pub fn elected_at(&self) -> Option<Millis> {
        self.elected_at
    }

    /// Another agent has voted in that term: a candidate needs a newer one.
    pub fn heard_of_vote(&mut self, term: Epoch) {
        self.told_vote = self.told_vote.max(term);
    }

    /// The primary that it knows.
    pub fn known(&self) -> Option<PrimaryTerm> {
        let line = self.roles.as_ref()?.nodes.iter().find(|line| !line.slots.is_empty())?;
        Some(PrimaryTerm { term: line.config_epoch, primary: line.id })
    }

    fn vars(&self) -> Vars {
        self.roles.as_ref().and_then(|roles| roles.vars).unwrap_or_default()
    }

    /// The newest term that it has voted in, kept or not yet.
    fn last_vote(&self) -> Epoch {
        let voting = self.pending().filter_map(|change| match change {
            Change::OwnVote { term } | Change::Vote { term, .. } => Some(*term),
            Change::Claim { .. } | Change::Learn(_) => None,
        });
        voting.fold(self.vars().last_vote_epoch.max(self.promised), Epoch::max)
    }

    /// Has it voted in a newer term than the one of the primary that it knows? That one may have been succeeded then.
    pub fn has_promised(&self) -> bool {
        self.known().is_none_or(|known| self.last_vote() > known.term)
    }

    /// Has it heard of a newer primary, or given a vote, so lately that this one may be about to say so?
    pub fn awaits_news(&self, now: Millis) -> bool {
        self.saving.is_some()
            || !self.queue.is_empty()
            || self.promised_at.is_some_and(|at| now.since(at) < ELECTION_MS)
    }

    /// Another agent asks.
    pub fn requested(&mut self, situation: &Situation<'_>, token: Token, request: Request, out: &mut Outbox) {
        match request {
            Request::Term(known) => {
                self.heard(known, situation, out);
                out.push(Command::Answer { token, result: Ok(Answer::Term { known: self.known() }) });
            }
            Request::Vote { candidate, term } => {
                let refused = if self
                    .voted
                    .as_ref()
                    .is_some_and(|voted| voted.term == term && voted.candidate == candidate)
                {
                    let named = self.voted.as_ref().map(|voted| voted.named.clone()).unwrap_or_default();
                    return self.answer(situation, token, None, named, out);
                } else if let Some(refusal) = vote_refused(self.last_vote(), self.known(), term) {
                    Some(refusal)
                } else if situation.vote == Vote::Serves || self.is_claiming() {
                    Some(VoteRefusal::Serves)
                } else {
                    self.promised_at = Some(situation.now);
                    self.promised = term;
                    if self.roles.is_none() {
                        let refused = Some(VoteRefusal::NotKept);
                        return self.answer(situation, token, refused, BTreeSet::new(), out);
                    }
                    let asked = Some(token);
                    self.queue.push_back(Change::Vote { term, candidate, asked });
                    self.save(situation, out);
                    return;
                };
                self.answer(situation, token, refused, BTreeSet::new(), out);
            }
        }
    }

    /// Who may be a primary as far as this seat knows: the one that it knows, and the candidates that it has voted for since.
    fn may_be_primary(&self) -> BTreeSet<NodeId> {
        let known = self.known();
        let since = known.map(|known| known.term).unwrap_or_default();
        let lines = self.roles.iter().flat_map(|roles| &roles.nodes);
        let voted = lines.filter(|line| voted_in(line).is_some_and(|term| term > since)).map(|line| line.id);
        known.map(|known| known.primary).into_iter().chain(voted).collect()
    }

    /// Is its own mandate on its way to the disk?
    fn is_claiming(&self) -> bool {
        self.pending().any(|change| matches!(change, Change::Claim { .. }))
    }

    /// What is on its way to the disk, and what comes after it.
    fn pending(&self) -> impl Iterator<Item = &Change> {
        self.saving.iter().map(|(_, _, change)| change).chain(&self.queue)
    }

    fn answer(
        &self,
        situation: &Situation<'_>,
        token: Token,
        refused: Option<VoteRefusal>,
        named: BTreeSet<NodeId>,
        out: &mut Outbox,
    ) {
        let silent = named.intersection(situation.missed).copied().collect();
        let answer = Answer::Vote { refused, known: self.known(), may_be_primary: named, silent };
        out.push(Command::Answer { token, result: Ok(answer) });
    }

    /// Hears of a primary.
    fn heard(&mut self, news: PrimaryTerm, situation: &Situation<'_>, out: &mut Outbox) {
        let is_news = self.roles.is_some() && self.known().is_none_or(|known| known.term < news.term);
        let queued = self.pending().any(|change| *change == Change::Learn(news));
        let may_be =
            situation.order.member_with(news.primary).is_some() || situation.order.is_source(news.primary);
        if is_news && !queued && may_be {
            self.queue.push_back(Change::Learn(news));
            self.save(situation, out);
        }
    }

    /// Writes what is next in the queue, one change at a time.
    fn save(&mut self, situation: &Situation<'_>, out: &mut Outbox) {
        let Situation { now, order, .. } = *situation;
        if self.saving.is_some() {
            return;
        }
        let Some(roles) = &self.roles else {
            self.queue.clear();
            return;
        };
        self.saving_since = now;
        while let Some(change) = self.queue.pop_front() {
            // Who has promised another a later term meanwhile has not won.
            let is_void = matches!(change, Change::Claim { term } if term != self.last_vote());
            let Some(next) = apply(roles, &change, order).filter(|_| !is_void) else {
                if matches!(change, Change::Claim { .. }) {
                    self.election = None;
                }
                continue;
            };
            self.last_save += 1;
            out.push(Command::KeepRoles { number: self.last_save, roles: Box::new(next.clone()) });
            self.saving = Some((self.last_save, next, change));
            return;
        }
    }

    /// The file was written, or could not be.
    pub fn saved(
        &mut self,
        situation: &Situation<'_>,
        number: u64,
        written: Result<(), ()>,
        out: &mut Outbox,
    ) -> Elected {
        let Some((_, roles, change)) = self.saving.take_if(|(saving, ..)| *saving == number) else {
            return Elected::Unchanged;
        };
        let before = self.may_be_primary();
        if written.is_ok() {
            self.roles = Some(roles);
        }
        let elected = match (change, written) {
            (Change::OwnVote { term }, Ok(())) => {
                // Not when it stood: a vote for another may have been on its way to the disk then.
                if let Some(election) = self.election.as_mut().filter(|election| election.term == term) {
                    election.named.extend(before);
                }
                self.ask_for_votes(situation, term, out);
                Elected::Unchanged
            }
            (Change::Vote { term, candidate, asked }, Ok(())) => {
                self.voted = Some(Voted { term, candidate, named: before.clone() });
                if let Some(token) = asked {
                    self.answer(situation, token, None, before, out);
                }
                Elected::Unchanged
            }
            (Change::Vote { asked, .. }, Err(())) => {
                if let Some(token) = asked {
                    self.answer(situation, token, Some(VoteRefusal::NotKept), BTreeSet::new(), out);
                }
                Elected::Unchanged
            }
            (Change::Claim { .. }, Ok(())) => {
                self.elected_at = self.election.take().map(|election| election.began);
                Elected::Own
            }
            (Change::Learn(_), Ok(())) => {
                self.promised_at = None;
                Elected::Another
            }
            (Change::OwnVote { .. } | Change::Claim { .. }, Err(())) => {
                self.election = None;
                Elected::Unchanged
            }
            (Change::Learn(_), Err(())) => Elected::Unchanged,
        };
        self.save(situation, out);
        elected
    }

    /// Time has passed: who waits for a vote that the disk does not take is told that it is not kept.
    pub fn tick(&mut self, situation: &Situation<'_>, out: &mut Outbox) {
        if situation.now.since(self.saving_since) < KEPT_WITHIN_MS {
            return;
        }
        let late = self.saving.iter_mut().map(|(_, _, change)| change).chain(&mut self.queue);
        let late = late.filter_map(|change| match change {
            Change::Vote { asked, .. } => asked.take(),
            _ => None,
        });
        for token in late.collect::<Vec<_>>() {
            self.answer(situation, token, Some(VoteRefusal::NotKept), BTreeSet::new(), out);
        }
    }

    /// When [`Terms::tick`] is due.
    pub fn wake_at(&self) -> Option<Millis> {
        let waits = |change: &Change| matches!(change, Change::Vote { asked: Some(_), .. });
        self.pending().any(waits).then(|| self.saving_since.plus(KEPT_WITHIN_MS))
    }

    /// Gives its own mandate to the source of a cluster that goes over to following: the source is the primary of the next term. It
    /// has no seat, and takes no write of this cluster, so that nobody's vote is needed.
    pub fn give_to_source(&mut self, source: NodeId, situation: &Situation<'_>, out: &mut Outbox) {
        if self.pending().any(|change| matches!(change, Change::Learn(known) if known.primary == source)) {
            return;
        }
        let term = self.vars().current_epoch.max(self.last_vote()).max(self.told_vote).next();
        self.election = None;
        self.queue.push_back(Change::Learn(PrimaryTerm { term, primary: source }));
        self.save(situation, out);
    }

    /// The server has ended: what it was a candidate with is gone.
    pub fn gives_up(&mut self) {
        self.election = None;
        self.queue.retain(|change| !matches!(change, Change::OwnVote { .. } | Change::Claim { .. }));
    }
}
