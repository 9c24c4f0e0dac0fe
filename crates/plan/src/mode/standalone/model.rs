//! Every order of events of three seats, explored by a model checker that runs [`Terms`] itself: messages that are late or lost, agents and
//! servers that end and come back, votes that are on their way to the disk when that happens. Time does not count: whatever waits for a time
//! may happen at any.

use super::terms::{Elected, Request, Situation, Terms, Vote};
use crate::mode::cluster::nodes_conf;
use crate::protocol::{Command, Outbox, Token};
use stateright::{Model, Property};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use valkeeper_model::nodes_conf::NodesConf;
use valkeeper_model::{
    AgentOrder, Answer, Ask, ClusterId, Epoch, Format, Generation, InstanceName, Member, Millis, Mode,
    NodeId, PrimaryTerm, Run, ServerConfig, ShardId, ShardName, SlotSet, VoteRefusal,
};

const SEATS: usize = 3;

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

#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Message {
    from: usize,
    to: usize,
    token: u64,
    what: What,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum What {
    Vote(Epoch),
    Term(Epoch, NodeId),
    Voted { answer: Given, known: Option<(Epoch, NodeId)>, named: BTreeSet<NodeId> },
    Known(Option<(Epoch, NodeId)>),
}

/// What becomes of a request for a vote.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Given {
    Yes,
    NotKept,
    No,
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
    writes: Writes,
}

/// How long a writing takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Writes {
    AtOnce,
    /// Anything may happen meanwhile.
    Slow,
}

fn name(seat: usize) -> InstanceName {
    format!("c-{seat}").parse().unwrap()
}

fn node(seat: usize) -> NodeId {
    NodeId::from_bytes([u8::try_from(seat).unwrap() + 1; 20])
}

fn orders() -> Vec<AgentOrder> {
    let shard: ShardName = "s0".parse().unwrap();
    let member = |seat| Member {
        shard: shard.clone(),
        shard_id: ShardId::from_bytes([9; 20]),
        node_id: node(seat),
        address: None,
        founding_slots: if seat == 0 { SlotSet::all() } else { SlotSet::empty() },
        founder: node(0),
    };
    let members: Arc<BTreeMap<_, _>> = Arc::new((0..SEATS).map(|seat| (name(seat), member(seat))).collect());
    let spec = valkeeper_model::ClusterSpec {
        mode: Mode::Standalone,
        ..valkeeper_model::ClusterSpec::new("c".parse().unwrap())
    };
    let config: ServerConfig = crate::placement::server_config(&spec);
    let order = |seat| AgentOrder {
        sentinels: None,
        source: None,
        format: Format,
        generation: Generation(1),
        cluster: ClusterId::from_bytes([1; 20]),
        instance: name(seat),
        run: Run::Up,
        life: valkeeper_model::InstanceLife::Member,
        config: config.clone(),
        members: Arc::clone(&members),
        addresses_hash: None,
    };
    (0..SEATS).map(order).collect()
}

/// Stands for a question at the seat that is asked: who asked, and with which token.
fn question(message: &Message) -> Token {
    Token(message.token * 10 + u64::try_from(message.from).unwrap())
}

fn asker(token: Token) -> (usize, u64) {
    (usize::try_from(token.0 % 10).unwrap(), token.0 / 10)
}

fn pair(known: Option<PrimaryTerm>) -> Option<(Epoch, NodeId)> {
    known.map(|known| (known.term, known.primary))
}

fn knows_itself(seat: &Seat, of: usize) -> bool {
    seat.terms.known().is_some_and(|known| known.primary == node(of))
}

impl Election {
    /// Runs the machine of a seat, and has its commands carried out.
    fn run(
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
        let missed = BTreeSet::new();
        let situation = Situation { now: Millis(0), name: &own, order, vote, missed: &missed };
        let mut out = Outbox::after(seat.last_token);
        let _ = event(&mut seat.terms, &situation, &mut out);
        seat.last_token = out.last_token();
        for command in out.take() {
            match command {
                Command::KeepRoles { number, roles } => seat.writing = Some((number, *roles)),
                Command::Tell { token, to, ask, .. } => {
                    let to = (0..SEATS).find(|other| name(*other) == to).unwrap();
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
                _ => {}
            }
        }
    }

    /// Without the messages that change nothing when they arrive: one that never arrives is among the orders explored.
    fn prune(state: &mut State) {
        let seats = &state.seats;
        state.messages.retain(|message| {
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
            }
        });
    }

    /// Writes at once where nothing can come between.
    fn settle(&self, state: &mut State) {
        while self.writes == Writes::AtOnce
            && let Some(of) = (0..SEATS).find(|of| state.seats[*of].writing.is_some())
        {
            self.written(state, of, Ok(()));
        }
        Self::prune(state);
    }

    fn written(&self, state: &mut State, of: usize, written: Result<(), ()>) {
        let Some((number, roles)) = state.seats[of].writing.take() else { return };
        if written.is_ok() {
            state.seats[of].disk = roles;
        }
        self.run(state, of, |terms, situation, out| terms.saved(situation, number, written, out));
    }

    fn deliver(&self, state: &mut State, message: &Message) {
        let known =
            |pair: &Option<(Epoch, NodeId)>| pair.map(|(term, primary)| PrimaryTerm { term, primary });
        match &message.what {
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

    fn answered(&self, state: &mut State, message: &Message, answer: Answer) {
        let token = Token(message.token);
        self.run(state, message.to, |terms, situation, out| {
            terms.answered(situation, token, &Ok(answer), out);
            Elected::Unchanged
        });
    }
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
        vec![State {
            seats: (0..SEATS).map(seat).collect(),
            messages: BTreeSet::new(),
            exchanges: 0,
            failed_writes: 0,
            restarts: 0,
            stands: 0,
            crashes: 0,
            deaths: 0,
            handovers: 0,
        }]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        actions.extend(state.messages.iter().cloned().map(Action::Deliver));
        if state.restarts < self.restarts {
            actions.push(Action::SupervisorRestarts);
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
            if itself && seat.server == Server::Primary && state.exchanges < state.stands {
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
            Action::Exchange(of) => {
                state.exchanges += 1;
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

mod checks;
