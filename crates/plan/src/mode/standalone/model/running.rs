//! An event reaches a seat or the register, and what they want done is done.

use super::messages::{Given, Known, Message, REGISTER, What, asker, knows_itself, pair, question};
use super::setup::{name, node};
use super::{Election, Server, State, Writes};
use crate::mode::standalone::register::{self, RegisterAnswer, RegisterAsk, RegisterWish};
use crate::mode::standalone::terms::{Elected, Request, Situation, Terms, Vote};
use crate::protocol::{Command, Outbox, Token};
use std::collections::BTreeSet;
use valkeeper_model::{Answer, Ask, Millis, PrimaryTerm, RegisterLife, RegisterStage, VoteRefusal};

impl Election {
    /// Runs the machine of a seat, and has its commands carried out.
    pub(super) fn run(
        &self,
        state: &mut State,
        of: usize,
        event: impl FnOnce(&mut Terms, &Situation<'_>, &mut Outbox) -> Elected,
    ) {
        let own = name(of);
        let seat = &mut state.seats[of];
        let stands_in_the_way = knows_itself(seat, of) && seat.server != Server::Down && !seat.handed_over;
        let vote = if stands_in_the_way { Vote::Serves } else { Vote::Free };
        let order = &self.order[of];
        // Leases are the simulator's: all clocks stand here.
        let missed = BTreeSet::new();
        let situation =
            Situation { now: Millis(0), name: &own, order, vote, missed: &missed, unchanged: None };
        let mut out = Outbox::after(seat.last_token);
        let _ = event(&mut seat.terms, &situation, &mut out);
        seat.last_token = out.last_token();
        for command in out.take() {
            match command {
                Command::KeepRoles { number, roles } => seat.writing = Some((number, *roles)),
                Command::Tell { token, to, ask, .. } => {
                    let to = (0..self.order.len()).find(|other| name(*other) == to).unwrap();
                    let what = match ask {
                        Ask::Vote { term, .. } => What::Vote(term),
                        Ask::Term { known } => What::Term(known.term, known.primary),
                        _ => continue,
                    };
                    state.messages.insert(Message { from: of, to, token: token.0, what });
                }
                Command::Answer { token, result } => {
                    let (to, asked) = asker(token);
                    let what = match result.unwrap() {
                        Answer::Vote { refused, known, may_be_primary, .. } => What::Voted {
                            answer: match refused {
                                None => Given::Yes,
                                Some(VoteRefusal::NotKept) => Given::NotKept,
                                Some(_) => Given::No,
                            },
                            known: pair(known),
                            named: may_be_primary,
                        },
                        Answer::Term { known } => What::Known(pair(known)),
                        _ => continue,
                    };
                    state.messages.insert(Message { from: of, to, token: asked, what });
                }
                Command::AskRegister { token, ask, .. } => {
                    let what = What::Ask(ask);
                    state.messages.insert(Message { from: of, to: REGISTER, token: token.0, what });
                }
                _ => {}
            }
        }
    }

    /// The register stores what it is to store, and answers.
    fn ask_register(state: &mut State, from: usize, token: u64, ask: &RegisterAsk) {
        let fresh = RegisterLife(state.registers_made + 1);
        let (next, answer) = register::asked(state.register.as_ref(), fresh, ask);
        if next.is_some() {
            state.registers_made += u64::from(state.register.is_none());
            state.register = next;
        }
        let what = match answer {
            RegisterAnswer::Gathering(life) => What::Gathering(life),
            RegisterAnswer::Known { known, .. } | RegisterAnswer::Renewed { known, .. } => {
                What::Known(pair(known))
            }
            RegisterAnswer::Vote { refused, known, may_be_primary, .. } => {
                let answer = if refused.is_none() { Given::Yes } else { Given::No };
                What::Voted { answer, known: pair(known), named: may_be_primary }
            }
        };
        state.messages.insert(Message { from: REGISTER, to: from, token, what });
    }

    /// Without the messages that change nothing when they arrive: one that never arrives is among the orders explored.
    fn prune(state: &mut State) {
        let (seats, register) = (&state.seats, &state.register);
        state.messages.retain(|message| {
            if let What::Ask(ask) = &message.what {
                return asks_for_something(register.as_ref(), ask);
            }
            let seat = &seats[message.to];
            let last_vote = seat.disk.vars.map(|vars| vars.last_vote_epoch).unwrap_or_default();
            let mut durable = Terms::default();
            durable.found(&seat.disk);
            let known = durable.known().map(|known| known.term).unwrap_or_default();
            match &message.what {
                What::Vote(term) => *term > last_vote,
                What::Term(term, _) => *term > known,
                What::Voted { answer, .. } => *answer != Given::No && seat.terms.awaits(Token(message.token)),
                What::Known(known_there) => known_there.is_some_and(|(term, _)| term > known),
                What::Gathering(life) => is_gathering(register.as_ref(), *life, message.to),
                What::Ask(_) => true,
            }
        });
    }

    /// Writes at once where nothing can come between.
    pub(super) fn settle(&self, state: &mut State) {
        while self.writes == Writes::AtOnce
            && let Some(of) = (0..self.order.len()).find(|of| state.seats[*of].writing.is_some())
        {
            self.written(state, of, Ok(()));
        }
        Self::prune(state);
    }

    pub(super) fn written(&self, state: &mut State, of: usize, written: Result<(), ()>) {
        let Some((number, roles)) = state.seats[of].writing.take() else { return };
        if written.is_ok() {
            state.seats[of].disk = roles;
        }
        self.run(state, of, |terms, situation, out| terms.saved(situation, number, written, out));
    }

    pub(super) fn deliver(&self, state: &mut State, message: &Message) {
        let known = |pair: &Known| pair.map(|(term, primary)| PrimaryTerm { term, primary });
        match &message.what {
            What::Ask(ask) => Self::ask_register(state, message.from, message.token, ask),
            What::Gathering(life) => {
                self.register_answered(state, message, RegisterAnswer::Gathering(*life));
            }
            What::Known(pair) if message.from == REGISTER => {
                let answer = RegisterAnswer::Known { known: known(pair), renewals: None };
                self.register_answered(state, message, answer);
            }
            What::Voted { answer, known: pair, named } if message.from == REGISTER => {
                let refused = (*answer != Given::Yes).then_some(VoteRefusal::Serves);
                let (known, may_be_primary) = (known(pair), named.clone());
                let silent = BTreeSet::new();
                let answer = RegisterAnswer::Vote { refused, known, may_be_primary, silent, renewals: None };
                self.register_answered(state, message, answer);
            }
            What::Vote(_) | What::Term(..) => {
                let token = question(message);
                let request = match &message.what {
                    What::Vote(term) => Request::Vote { candidate: name(message.from), term: *term },
                    What::Term(term, primary) => {
                        Request::Term(PrimaryTerm { term: *term, primary: *primary })
                    }
                    _ => return,
                };
                self.run(state, message.to, |terms, situation, out| {
                    terms.requested(situation, token, request, out);
                    Elected::Unchanged
                });
            }
            What::Voted { answer, known: pair, named } => {
                let refused = match answer {
                    Given::Yes => None,
                    Given::NotKept => Some(VoteRefusal::NotKept),
                    Given::No => Some(VoteRefusal::Serves),
                };
                let answer = Answer::Vote {
                    refused,
                    known: known(pair),
                    may_be_primary: named.clone(),
                    silent: BTreeSet::new(),
                };
                self.answered(state, message, answer);
            }
            What::Known(pair) => self.answered(state, message, Answer::Term { known: known(pair) }),
        }
    }

    fn register_answered(&self, state: &mut State, message: &Message, answer: RegisterAnswer) {
        let token = Token(message.token);
        self.run(state, message.to, |terms, situation, out| {
            terms.register_answered(situation, token, &Ok(answer), out);
            Elected::Unchanged
        });
    }

    fn answered(&self, state: &mut State, message: &Message, answer: Answer) {
        let token = Token(message.token);
        self.run(state, message.to, |terms, situation, out| {
            terms.answered(situation, token, &Ok(answer), out);
            Elected::Unchanged
        });
    }
}

/// Does the register change by that, or is its answer worth something to who asks?
fn asks_for_something(register: Option<&RegisterStage>, ask: &RegisterAsk) -> bool {
    match (register::asked(register, RegisterLife(u64::MAX), ask), &ask.wish) {
        ((Some(_), _), _) => true,
        ((None, RegisterAnswer::Gathering(life)), _) => ask.life != Some(life),
        ((None, RegisterAnswer::Vote { refused, .. }), RegisterWish::Vote { .. }) => refused.is_none(),
        ((None, RegisterAnswer::Known { known, .. } | RegisterAnswer::Renewed { known, .. }), _) => {
            let term = |known: Option<PrimaryTerm>| known.map(|known| known.term).unwrap_or_default();
            term(known) > term(ask.votes.known)
        }
        ((None, RegisterAnswer::Vote { .. }), RegisterWish::Exchange | RegisterWish::Renew(_)) => false,
    }
}

/// Is that register still to be told by this seat?
pub(super) fn is_gathering(register: Option<&RegisterStage>, life: RegisterLife, of: usize) -> bool {
    matches!(register, Some(RegisterStage::Gathering { life: present, told })
        if *present == life && !told.contains_key(&node(of)))
}
