//! Every order of events of three agents, and of two and their register, explored by a model checker that runs [`Terms`] and
//! [`super::register::asked`] themselves: messages that are late or lost, agents and servers that end and come back, votes that are on their way to
//! the disk when that happens, a register that is lost. Time does not count: whatever waits for a time may happen at any.

mod checks;
mod messages;
mod running;
mod setup;

use super::terms::{Elected, Terms};
use crate::mode::cluster::nodes_conf;
use messages::{Message, REGISTER, knows_itself};
use setup::node;
use stateright::{Model, Property};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use valkeeper_model::nodes_conf::NodesConf;
use valkeeper_model::{AgentOrder, Epoch, KnownVotes, RegisterStage, RegisterVotes};

/// What a server process is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Server {
    Down,
    Replica,
    /// Takes writes.
    Primary,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Seat {
    terms: Terms,
    disk: NodesConf,
    /// A writing that has been asked for.
    writing: Option<(u64, NodesConf)>,
    server: Server,
    /// It was made a replica for a handover by the agent that lives.
    handed_over: bool,
    last_token: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct State {
    seats: Vec<Seat>,
    messages: BTreeSet<Message>,
    exchanges: u8,
    failed_writes: u8,
    restarts: u8,
    stands: u8,
    crashes: u8,
    deaths: u8,
    handovers: u8,
    register: Option<RegisterStage>,
    registers_made: u64,
    registers_lost: u8,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Action {
    Deliver(Message),
    Write(usize),
    WriteFails(usize),
    Stand(usize),
    HandOver(usize),
    ServerDies(usize),
    ServerStarts(usize),
    /// Before what was being written is on the disk.
    AgentCrashes(usize),
    /// After that, and before it knew.
    AgentCrashesLate(usize),
    /// Of all agents at once: they are in one process.
    SupervisorRestarts,
    ObeyFile(usize),
    Exchange(usize),
    /// With all that it has stored. A new one is made.
    RegisterIsLost,
}

/// How often what nobody asked for may happen.
#[derive(Debug, Clone)]
struct Election {
    order: Arc<Vec<AgentOrder>>,
    stands: u8,
    crashes: u8,
    deaths: u8,
    handovers: u8,
    failed_writes: u8,
    restarts: u8,
    registers_lost: u8,
    writes: Writes,
}

/// How long a writing takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Writes {
    AtOnce,
    /// Anything may happen meanwhile.
    Slow,
}

/// Is the register new, and has this seat neither told it what is on its disk nor asked it? A question has a token of its own each time, so that there is no
/// end of states without that.
fn is_to_tell(state: &State, of: usize) -> bool {
    let told = match &state.register {
        Some(RegisterStage::Voting(_)) => return false,
        Some(RegisterStage::Gathering { told, .. }) => told.contains_key(&node(of)),
        None => false,
    };
    !told && !state.messages.iter().any(|message| message.is_between(of, REGISTER))
}

impl Model for Election {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        let seat = |of: usize| {
            let disk = nodes_conf::founding(&self.order[of]);
            let mut terms = Terms::default();
            terms.found(&disk);
            let server = if of == 0 { Server::Primary } else { Server::Replica };
            Seat { terms, disk, writing: None, server, handed_over: false, last_token: 0 }
        };
        let mut founder = Terms::default();
        founder.found(&nodes_conf::founding(&self.order[0]));
        let votes = KnownVotes { known: founder.known(), ..KnownVotes::default() };
        vec![State {
            seats: (0..self.order.len()).map(seat).collect(),
            messages: BTreeSet::new(),
            exchanges: 0,
            failed_writes: 0,
            restarts: 0,
            stands: 0,
            crashes: 0,
            deaths: 0,
            handovers: 0,
            register: Some(RegisterStage::Voting(RegisterVotes { votes, renewals: None })),
            registers_made: 0,
            registers_lost: 0,
        }]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        actions.extend(state.messages.iter().cloned().map(Action::Deliver));
        if state.restarts < self.restarts {
            actions.push(Action::SupervisorRestarts);
        }
        if state.registers_lost < self.registers_lost {
            actions.push(Action::RegisterIsLost);
        }
        for (of, seat) in state.seats.iter().enumerate() {
            let itself = knows_itself(seat, of);
            if seat.writing.is_some() {
                actions.push(Action::Write(of));
                if state.failed_writes < self.failed_writes {
                    actions.push(Action::WriteFails(of));
                }
            }
            let may_stand = seat.server == Server::Replica || itself && seat.server == Server::Down;
            if may_stand && state.stands < self.stands && !seat.terms.stands() {
                actions.push(Action::Stand(of));
            }
            if itself && seat.server == Server::Primary && state.handovers < self.handovers {
                actions.push(Action::HandOver(of));
            }
            if seat.server == Server::Down {
                actions.push(Action::ServerStarts(of));
            } else if state.deaths < self.deaths {
                actions.push(Action::ServerDies(of));
            }
            if state.crashes < self.crashes {
                actions.push(Action::AgentCrashes(of));
                if seat.writing.is_some() {
                    actions.push(Action::AgentCrashesLate(of));
                }
            }
            let differs = match seat.server {
                Server::Primary => !itself,
                Server::Replica => itself && !seat.terms.has_promised(),
                Server::Down => false,
            };
            if differs {
                actions.push(Action::ObeyFile(of));
            }
            let tells = itself && seat.server == Server::Primary && state.exchanges < state.stands;
            let gathers = is_to_tell(state, of);
            if tells || gathers && seat.server != Server::Down {
                actions.push(Action::Exchange(of));
            }
        }
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut state = last.clone();
        match action {
            Action::Deliver(message) => {
                state.messages.remove(&message);
                self.deliver(&mut state, &message);
            }
            Action::Write(of) | Action::WriteFails(of) => {
                let written = if matches!(action, Action::Write(_)) { Ok(()) } else { Err(()) };
                if written.is_err() {
                    state.failed_writes += 1;
                }
                self.written(&mut state, of, written);
            }
            Action::Stand(of) => {
                state.stands += 1;
                self.run(&mut state, of, |terms, situation, out| {
                    terms.stand(situation, out);
                    Elected::Unchanged
                });
            }
            Action::HandOver(of) => {
                state.handovers += 1;
                (state.seats[of].server, state.seats[of].handed_over) = (Server::Replica, true);
            }
            Action::ServerDies(of) => {
                state.deaths += 1;
                let seat = &mut state.seats[of];
                (seat.server, seat.handed_over) = (Server::Down, false);
                seat.terms.gives_up();
            }
            // What it starts as is by the file; a start waits for a writing.
            Action::ServerStarts(of) => {
                let newest =
                    state.seats.iter().filter_map(|seat| seat.terms.known()).map(|known| known.term).max();
                let seat = &mut state.seats[of];
                if seat.writing.is_some() || seat.terms.stands() {
                    return None;
                }
                let known = seat.terms.known();
                let itself = known.is_some_and(|known| known.primary == node(of));
                // Where a vote may not have been kept a start waits until all others have said whom they know, as it does in the agent.
                let succeeded = self.failed_writes > 0 && known.map(|known| known.term) < newest;
                if itself && (seat.terms.has_promised() || succeeded) {
                    return None;
                }
                seat.server = if itself { Server::Primary } else { Server::Replica };
            }
            Action::SupervisorRestarts => {
                state.restarts += 1;
                state.messages.clear();
                for seat in &mut state.seats {
                    (seat.writing, seat.handed_over) = (None, false);
                    seat.terms = Terms::default();
                    seat.terms.found(&seat.disk);
                }
            }
            Action::AgentCrashes(of) | Action::AgentCrashesLate(of) => {
                state.crashes += 1;
                let seat = &mut state.seats[of];
                if let Some((_, roles)) =
                    seat.writing.take().filter(|_| action == Action::AgentCrashesLate(of))
                {
                    seat.disk = roles;
                }
                seat.handed_over = false;
                seat.terms = Terms::default();
                seat.terms.found(&seat.disk);
            }
            Action::ObeyFile(of) => {
                let itself = knows_itself(&state.seats[of], of);
                state.seats[of].server = if itself { Server::Primary } else { Server::Replica };
                state.seats[of].handed_over = false;
            }
            Action::RegisterIsLost => {
                state.registers_lost += 1;
                state.register = None;
            }
            Action::Exchange(of) => {
                state.exchanges += u8::from(!is_to_tell(&state, of));
                self.run(&mut state, of, |terms, situation, out| {
                    terms.exchange(situation, out);
                    Elected::Unchanged
                });
            }
        }
        self.settle(&mut state);
        Some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("at most one server takes writes", |_, state: &State| {
                state.seats.iter().filter(|seat| seat.server == Server::Primary).count() <= 1
            }),
            Property::always("a term has one primary", |_, state: &State| {
                let known = state.seats.iter().filter_map(|seat| seat.terms.known());
                let mut of_term = BTreeMap::new();
                known
                    .into_iter()
                    .all(|known| *of_term.entry(known.term).or_insert(known.primary) == known.primary)
            }),
            Property::sometimes("another one is elected", |_, state: &State| {
                state.seats.iter().enumerate().any(|(of, seat)| of > 0 && seat.server == Server::Primary)
            }),
            Property::sometimes("one is elected after another", |_, state: &State| {
                state.seats.iter().filter_map(|seat| seat.terms.known()).any(|known| known.term >= Epoch(3))
            }),
        ]
    }
}
