//! What seats send each other in the model.

use super::setup::node;
use crate::mode::standalone::register::RegisterAsk;
use crate::protocol::Token;
use std::collections::BTreeSet;
use valkeeper_model::{Epoch, NodeId, PrimaryTerm, RegisterLife};

/// Stands for the register where messages come from and go to.
pub(super) const REGISTER: usize = 9;

#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Message {
    pub(super) from: usize,
    pub(super) to: usize,
    pub(super) token: u64,
    pub(super) what: What,
}

impl Message {
    pub(super) fn is_between(&self, one: usize, other: usize) -> bool {
        (self.from, self.to) == (one, other) || (self.from, self.to) == (other, one)
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum What {
    Vote(Epoch),
    Term(Epoch, NodeId),
    Voted {
        answer: Given,
        known: Known,
        named: BTreeSet<NodeId>,
    },
    Known(Known),
    /// To the register.
    Ask(Box<RegisterAsk>),
    /// From it.
    Gathering(RegisterLife),
}

/// A primary and its term.
pub(super) type Known = Option<(Epoch, NodeId)>;

/// What becomes of a request for a vote.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Given {
    Yes,
    NotKept,
    No,
}

/// Stands for a question at the seat that is asked: who asked, and with which token.
pub(super) fn question(message: &Message) -> Token {
    Token(message.token * 10 + u64::try_from(message.from).unwrap())
}

pub(super) fn asker(token: Token) -> (usize, u64) {
    (usize::try_from(token.0 % 10).unwrap(), token.0 / 10)
}

pub(super) fn pair(known: Option<PrimaryTerm>) -> Known {
    known.map(|known| (known.term, known.primary))
}

pub(super) fn knows_itself(seat: &super::Seat, of: usize) -> bool {
    seat.terms.known().is_some_and(|known| known.primary == node(of))
}
