//! The register: one more seat where the number of agents is even, so that two instances survive the loss of one with its disk. It has no
//! server, so that it never stands in anybody's way; it is asked by candidates and by nobody else, and tells whom it knows.
//!
//! A pure function of what is stored and asked. Whoever keeps the register (`agent::Register`: a file of the supervisor's, or an object that is replaced
//! by compare-and-set) stores what this function says before anybody is answered.

use super::terms::vote_refused;
use crate::placement::zones::quorum;
use std::collections::{BTreeMap, BTreeSet};
use valkeeper_model::{
    AgentOrder, ClusterId, Epoch, KnownVotes, NodeId, PrimaryTerm, RegisterLife, RegisterStage,
    RegisterVotes, Renewals, VoteRefusal,
};

/// Is the register a seat among that many agents?
pub fn has_register(agents: usize) -> bool {
    agents > 0 && agents.is_multiple_of(2)
}

/// Is the register a seat among the agents of that order?
pub(crate) fn is_seat(order: &AgentOrder) -> bool {
    has_register(order.siblings().count() + 1)
}

/// The votes that elect, of that many agents and their register.
pub(super) fn majority(agents: usize) -> usize {
    quorum(agents + usize::from(has_register(agents)))
}

/// What an agent asks the register.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RegisterAsk {
    /// Of which cluster.
    pub cluster: ClusterId,
    /// Whose agent asks.
    pub from: NodeId,
    /// All instances with an agent.
    pub agents: BTreeSet<NodeId>,
    /// What is on the asking agent's disk.
    pub votes: KnownVotes,
    /// The new register that this is told.
    pub life: Option<RegisterLife>,
    /// What for.
    pub wish: RegisterWish,
}

/// What an agent wants of the register.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RegisterWish {
    /// Its vote.
    Vote {
        /// With this term.
        term: Epoch,
        /// What the agent has seen to stay the same for so long that the leases have ended which rest on the register.
        unchanged: Option<Renewals>,
    },
    /// To renew the lease of its server, the primary of that term, on a host of its own.
    Renew(Epoch),
    /// To know whom it knows, and to be known.
    Exchange,
}

/// The register's answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RegisterAnswer {
    /// It is new, and votes when all agents have told it, with this number, what is on their disks.
    Gathering(RegisterLife),
    /// Its vote, or why it does not give it.
    Vote {
        /// `None`: it is given.
        refused: Option<VoteRefusal>,
        /// The primary that it knows.
        known: Option<PrimaryTerm>,
        /// Who may be a primary as far as it knows.
        may_be_primary: BTreeSet<NodeId>,
        /// Of these, the ones whose leases do not rest on it, and will not any more.
        silent: BTreeSet<NodeId>,
        /// What it has renewed.
        renewals: Option<Renewals>,
    },
    /// What it knows.
    Known {
        /// The primary.
        known: Option<PrimaryTerm>,
        /// What it has renewed.
        renewals: Option<Renewals>,
    },
    /// The answer to [`RegisterWish::Renew`].
    Renewed {
        /// Does it hold that mandate for the newest, as far as its votes go?
        counts: bool,
        /// The term in which it has voted last.
        voted: Epoch,
        /// The primary that it knows.
        known: Option<PrimaryTerm>,
        /// What it has renewed.
        renewals: Option<Renewals>,
    },
}

impl RegisterAnswer {
    /// What the register has renewed, if it votes.
    pub fn renewals(&self) -> Option<&Renewals> {
        match self {
            Self::Gathering(_) => None,
            Self::Vote { renewals, .. } | Self::Known { renewals, .. } | Self::Renewed { renewals, .. } => {
                renewals.as_ref()
            }
        }
    }

    /// The primary that the register knows, if it votes.
    pub fn known(&self) -> Option<PrimaryTerm> {
        match self {
            Self::Gathering(_) => None,
            Self::Vote { known, .. } | Self::Known { known, .. } | Self::Renewed { known, .. } => *known,
        }
    }
}

/// What is to be stored before that answer is given, if anything. `fresh`: the number of the register that is made if none is stored.
pub fn asked(
    stored: Option<&RegisterStage>,
    fresh: RegisterLife,
    ask: &RegisterAsk,
) -> (Option<RegisterStage>, RegisterAnswer) {
    let voting = match stored {
        Some(RegisterStage::Voting(voting)) => voting.clone(),
        Some(RegisterStage::Gathering { life, told }) => {
            if ask.life != Some(*life) {
                return (None, RegisterAnswer::Gathering(*life));
            }
            let mut told = told.clone();
            told.insert(ask.from, ask.votes.clone());
            if !ask.agents.iter().all(|agent| told.contains_key(agent)) {
                return (
                    Some(RegisterStage::Gathering { life: *life, told }),
                    RegisterAnswer::Gathering(*life),
                );
            }
            let votes = told.values().fold(KnownVotes::default(), |mut all, one| {
                all.merge(one);
                all
            });
            RegisterVotes { votes, renewals: None }
        }
        None => {
            let gathering = RegisterStage::Gathering { life: fresh, told: BTreeMap::new() };
            return (Some(gathering), RegisterAnswer::Gathering(fresh));
        }
    };
    let (next, answer) = answered(voting, fresh, ask);
    let next = RegisterStage::Voting(next);
    ((stored != Some(&next)).then_some(next), answer)
}

fn answered(
    mut voting: RegisterVotes,
    fresh: RegisterLife,
    ask: &RegisterAsk,
) -> (RegisterVotes, RegisterAnswer) {
    if let Some(known) = ask.votes.known {
        voting.votes.learn(known);
    }
    let answer = match &ask.wish {
        RegisterWish::Exchange => {
            RegisterAnswer::Known { known: voting.votes.known, renewals: voting.renewals.clone() }
        }
        RegisterWish::Renew(term) => renewed(&mut voting, fresh, ask.from, *term),
        RegisterWish::Vote { term, unchanged } => {
            voted(&mut voting, fresh, ask.from, *term, unchanged.as_ref())
        }
    };
    (voting, answer)
}

/// As agents renew each other's leases: a vote in a newer term ends that for good.
fn renewed(voting: &mut RegisterVotes, fresh: RegisterLife, from: NodeId, term: Epoch) -> RegisterAnswer {
    let KnownVotes { known, last_vote, .. } = voting.votes;
    let counts = known == Some(PrimaryTerm { term, primary: from }) && last_vote <= term;
    if counts {
        count(&mut voting.renewals, fresh, from);
    }
    RegisterAnswer::Renewed { counts, voted: last_vote, known, renewals: voting.renewals.clone() }
}

fn voted(
    voting: &mut RegisterVotes,
    fresh: RegisterLife,
    from: NodeId,
    term: Epoch,
    unchanged: Option<&Renewals>,
) -> RegisterAnswer {
    let RegisterVotes { votes, renewals } = voting;
    let again = votes.last_vote == term && votes.voted.get(&from) == Some(&term);
    let refused = if again { None } else { vote_refused(votes.last_vote, votes.known, term) };
    let known = votes.known;
    if refused.is_some() {
        let (may_be_primary, silent) = (BTreeSet::new(), BTreeSet::new());
        return RegisterAnswer::Vote { refused, known, may_be_primary, silent, renewals: renewals.clone() };
    }
    votes.last_vote = term;
    votes.voted.insert(from, term);
    let may_be_primary = votes.may_be_primary();
    let ended = |node: &&NodeId| has_stayed_the_same(renewals.as_ref(), unchanged, **node);
    let silent = may_be_primary.iter().filter(ended).copied().collect();
    // Who is voted for may take writes for the time of a lease: as if it was renewed.
    count(renewals, fresh, from);
    RegisterAnswer::Vote { refused, known, may_be_primary, silent, renewals: renewals.clone() }
}

/// One whose lease was never renewed here may need none: an agent of an older version, or one that finds no register.
fn has_stayed_the_same(now: Option<&Renewals>, before: Option<&Renewals>, node: NodeId) -> bool {
    let (Some(now), Some(before)) = (now, before) else { return false };
    let (number, seen) = (now.counts.get(&node), before.counts.get(&node));
    now.life == before.life && number.is_some() && number == seen
}

fn count(renewals: &mut Option<Renewals>, fresh: RegisterLife, of: NodeId) {
    let renewals = renewals.get_or_insert_with(|| Renewals { life: fresh, counts: BTreeMap::new() });
    *renewals.counts.entry(of).or_default() += 1;
}
