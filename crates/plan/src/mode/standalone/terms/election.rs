//! An election in which the agent stands: whom it asks, and when it has won.

use super::{Situation, Terms, VOTE_WITHIN_MS};
use crate::mode::standalone::register::{RegisterAnswer, RegisterWish, has_register, majority};
use crate::mode::standalone::roles_file::Change;
use crate::protocol::{Outbox, Token};
use std::collections::{BTreeMap, BTreeSet};
use valkeeper_model::{
    AgentOrder, Answer, Ask, AskFailed, Epoch, InstanceName, Millis, NodeId, PrimaryTerm, RegisterFault,
    VoteRefusal,
};

/// An election that has not ended by then is over: the candidate's votes are void for it.
pub(super) const ELECTION_MS: u64 = 5_000;

/// An election in which the agent stands.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Election {
    pub(super) term: Epoch,
    pub(super) began: Millis,
    asked: BTreeMap<Token, InstanceName>,
    votes: BTreeSet<InstanceName>,
    /// Who does not stand in the way and cannot keep a vote.
    released: BTreeSet<InstanceName>,
    register: RegisterVote,
    /// Who may be a primary by what the voters know.
    pub(super) named: BTreeSet<NodeId>,
    /// Of whom which voters say that its lease has ended, and is not renewed.
    silent: BTreeMap<NodeId, BTreeSet<InstanceName>>,
    /// Of whom the register says that.
    silent_by_register: BTreeSet<NodeId>,
}

/// What has become of the register's vote.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum RegisterVote {
    /// It is not asked, or has not given it.
    Missing,
    /// It is asked.
    Asked(Token),
    /// It is given.
    Given,
}

impl Election {
    fn new(term: Epoch, began: Millis) -> Self {
        Self {
            term,
            began,
            asked: BTreeMap::new(),
            votes: BTreeSet::new(),
            released: BTreeSet::new(),
            register: RegisterVote::Missing,
            named: BTreeSet::new(),
            silent: BTreeMap::new(),
            silent_by_register: BTreeSet::new(),
        }
    }

    /// Has it a majority of the votes, and the consent of all that may be primaries, or the word of a majority of the seats that their
    /// leases have ended?
    fn is_won(&self, order: &AgentOrder) -> bool {
        let agents = order.siblings().count() + 1;
        let agrees = |node: &NodeId| {
            let member = order.member_with(*node);
            // A source has no seat: that it is followed no more was stored before anybody stands.
            let is_left = || order.promotes() && order.is_source(*node);
            let agrees = |name: &InstanceName| self.votes.contains(name) || self.released.contains(name);
            let by_register = has_register(agents) && self.silent_by_register.contains(node);
            let silent = self.silent.get(node).map_or(0, BTreeSet::len) + usize::from(by_register);
            member.map_or_else(is_left, |(name, _)| agrees(name)) || silent >= majority(agents)
        };
        let register = has_register(agents) && self.register == RegisterVote::Given;
        let votes = self.votes.len() + usize::from(register);
        votes >= majority(agents) && self.named.iter().all(agrees)
    }

    #[cfg(test)]
    pub(super) fn awaits(&self, token: Token) -> bool {
        self.asked.contains_key(&token) || self.register == RegisterVote::Asked(token)
    }
}

impl Terms {
    /// Is an election of its own on?
    pub fn stands(&self) -> bool {
        self.election.is_some()
    }

    /// Stands for the term after the newest that it knows, unless it does already.
    pub fn stand(&mut self, situation: &Situation<'_>, out: &mut Outbox) {
        let now = situation.now;
        if self.election.as_ref().is_some_and(|election| now.since(election.began) < ELECTION_MS) {
            return;
        }
        let term = self.vars().current_epoch.max(self.last_vote()).max(self.told_vote).next();
        self.election = Some(Election::new(term, now));
        self.queue.push_back(Change::OwnVote { term });
        self.save(situation, out);
    }

    /// Its own vote is on the disk: it asks all other seats for theirs.
    pub(super) fn ask_for_votes(&mut self, situation: &Situation<'_>, term: Epoch, out: &mut Outbox) {
        let Some(election) = self.election.as_mut().filter(|election| election.term == term) else { return };
        election.votes.insert(situation.name.clone());
        for node in situation.missed {
            election.silent.entry(*node).or_default().insert(situation.name.clone());
        }
        for name in situation.order.sibling_names() {
            let ask = Ask::Vote { candidate: situation.name.clone(), term };
            election.asked.insert(out.tell(&name, ask, VOTE_WITHIN_MS), name);
        }
        let unchanged = situation.unchanged.cloned();
        if let Some(token) = self.ask_register(situation, RegisterWish::Vote { term, unchanged }, out)
            && let Some(election) = &mut self.election
        {
            election.register = RegisterVote::Asked(token);
        }
        self.count(situation, out);
    }

    /// Another agent answered. True if this machine had asked.
    pub fn answered(
        &mut self,
        situation: &Situation<'_>,
        token: Token,
        result: &Result<Answer, AskFailed>,
        out: &mut Outbox,
    ) -> bool {
        if self.exchanges.remove(&token) {
            if let Ok(Answer::Term { known: Some(known) }) = result {
                self.heard(*known, situation, out);
            }
            return true;
        }
        let Some(election) = &mut self.election else { return false };
        let Some(voter) = election.asked.remove(&token) else { return false };
        if let Ok(Answer::Vote { refused, known, may_be_primary, silent }) = result {
            match refused {
                None => {
                    for node in silent {
                        election.silent.entry(*node).or_default().insert(voter.clone());
                    }
                    election.votes.insert(voter);
                    election.named.extend(may_be_primary);
                }
                Some(VoteRefusal::Voted { term }) => self.told_vote = self.told_vote.max(*term),
                Some(VoteRefusal::NotKept) => _ = election.released.insert(voter),
                Some(_) => {}
            }
            self.heard_if_any(*known, situation, out);
        }
        self.count(situation, out);
        true
    }

    /// The register answered.
    pub fn register_answered(
        &mut self,
        situation: &Situation<'_>,
        token: Token,
        result: &Result<RegisterAnswer, RegisterFault>,
        out: &mut Outbox,
    ) {
        let was_asked = RegisterVote::Asked(token);
        let voting = self.election.as_mut().filter(|election| election.register == was_asked);
        match (result, voting) {
            (Ok(RegisterAnswer::Vote { refused: None, may_be_primary, silent, .. }), Some(election)) => {
                election.register = RegisterVote::Given;
                election.named.extend(may_be_primary);
                election.silent_by_register.extend(silent);
            }
            (_, Some(election)) => election.register = RegisterVote::Missing,
            (_, None) => {}
        }
        match result {
            // One that this agent has not told yet is told at once.
            Ok(RegisterAnswer::Gathering(life)) => {
                if self.register_life.replace(*life) != Some(*life) {
                    self.ask_register(situation, RegisterWish::Exchange, out);
                }
            }
            Ok(answer) => self.heard_if_any(answer.known(), situation, out),
            Err(_) => {}
        }
        self.count(situation, out);
    }

    fn heard_if_any(&mut self, news: Option<PrimaryTerm>, situation: &Situation<'_>, out: &mut Outbox) {
        if let Some(news) = news {
            self.heard(news, situation, out);
        }
    }

    fn count(&mut self, situation: &Situation<'_>, out: &mut Outbox) {
        let Some(election) = &self.election else { return };
        if election.is_won(situation.order) && !self.is_claiming() {
            self.queue.push_back(Change::Claim { term: election.term });
            self.save(situation, out);
        }
    }
}
