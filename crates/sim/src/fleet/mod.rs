//! Everything together: servers, agents, controllers, clients, and what happens to them in which order.
//!
//! | file | what |
//! | --- | --- |
//! | `mod.rs` | the state, and who gets which happening |
//! | `happening.rs` | what happens |
//! | `members.rs` | which instances there are |
//! | `processes.rs` | servers start, serve commands, end |
//! | `stream.rs` | replication between them |
//! | `agents.rs` | the real [`Agent`], its commands carried out |
//! | `asks.rs` | questions between agents and controllers, and what gets lost of them |
//! | `register.rs` | the register, and the way to it |
//! | `controllers.rs` | the real [`Controller`], the store, users |

pub(crate) mod agents;
pub(crate) mod asks;
pub(crate) mod controllers;
mod happening;
#[cfg(test)]
mod joining;
mod members;
#[cfg(test)]
mod plain_servers;
mod processes;
mod register;
mod stream;

use crate::atoms::AtomSet;
use crate::clock::Clock;
use crate::history::{History, Tips};
use crate::laws::{Broken, Laws};
use crate::network::{Network, Way};
use crate::random::Random;
use crate::sabotage::Sabotage;
use crate::server::{Disk, Effects, Members, Message, Server};
use crate::setup::Setup;
use crate::transcript::Transcript;
use crate::writers::Writer;
use agents::AgentHost;
use asks::{AskInFlight, ServeInFlight};
use controllers::{ControllerHost, Store};
pub(crate) use happening::Happening;
use std::collections::BTreeMap;
use std::sync::Arc;
use valkeeper_model::{Address, ClusterSpec, InstanceName};
use valkeeper_plan::agent::ServerCommand;

/// The whole simulated world.
#[derive(Debug)]
pub struct Fleet {
    pub(crate) setup: Setup,
    pub(crate) clock: Clock<Happening>,
    pub(crate) random: Random,
    pub(crate) members: Arc<Members>,
    pub(crate) servers: Vec<Server>,
    /// What waits in the sockets of a hung server, or for a pause to end.
    pub(crate) waiting: Vec<Vec<Held>>,
    pub(crate) history: History,
    pub(crate) network: Network,
    pub(crate) agents: Vec<AgentHost>,
    pub(crate) asks: BTreeMap<u64, AskInFlight>,
    pub(crate) serves: BTreeMap<u64, ServeInFlight>,
    pub(crate) controllers: Vec<ControllerHost>,
    pub(crate) store: Store,
    pub(crate) spec: ClusterSpec,
    pub(crate) writers: Vec<Writer>,
    pub(crate) laws: Laws,
    pub(crate) transcript: Transcript,
    pub(crate) sabotage: Option<Sabotage>,
    /// Whose data directory was copied, and what it held.
    pub(crate) copied_disk: Option<(usize, Disk)>,
    pub(crate) next_id: u64,
    /// Faults are over since then.
    pub(crate) calm_since: Option<u64>,
    pub(crate) finished: bool,
}

/// What a server has not got to yet.
#[derive(Debug)]
pub(crate) enum Held {
    Write { writer: usize, id: u64 },
    Command { id: u64, command: ServerCommand },
    Message(Box<Message>),
}

/// How a run ended.
#[derive(Debug)]
pub struct Outcome {
    /// The broken law, if any.
    pub broken: Option<Broken>,
    /// Happenings carried out.
    pub happenings: u64,
    /// How long the cluster took to be whole again after the last fault, milliseconds.
    pub settled_ms: u64,
    /// Writes acknowledged to clients.
    pub acknowledged: usize,
    /// Those of them that were lost with an excuse.
    pub excused: usize,
    /// The primary of each shard in the end.
    pub primaries: Vec<String>,
    /// What happened, if asked for.
    pub transcript: Vec<String>,
}

impl Fleet {
    /// A fleet before its first moment.
    pub fn new(setup: Setup) -> Self {
        let mut random = Random::new(setup.seed);
        let spec = setup.spec();
        let layout_random = Random::new(random.draw());
        let members = Arc::new(Self::members(&setup, layout_random.clone()));
        let count = members.ids.len();
        let servers = (0..count)
            .map(|me| {
                let replid = valkeeper_model::ReplicationId::from_bytes(random.id());
                Server::new(me, Arc::clone(&members), Self::address(me, 0), replid)
            })
            .collect();
        let shards = members.shards();
        let mut fleet = Self {
            clock: Clock::new(),
            servers,
            waiting: (0..count).map(|_| Vec::new()).collect(),
            history: History::new(),
            network: Network::new(count),
            agents: (0..count).map(|_| AgentHost::default()).collect(),
            asks: BTreeMap::new(),
            serves: BTreeMap::new(),
            controllers: Vec::new(),
            store: Store::new(layout_random),
            spec,
            writers: Writer::of(&members, setup.own_hosts),
            laws: Laws::new(shards, count),
            transcript: Transcript::new(setup.transcript),
            sabotage: setup.sabotage,
            copied_disk: None,
            next_id: 0,
            calm_since: None,
            finished: false,
            members,
            random,
            setup,
        };
        fleet.plan_beginning();
        fleet
    }

    fn plan_beginning(&mut self) {
        self.controllers.push(ControllerHost::default());
        self.clock.after(0, Happening::ControllerUp { controller: 0 });
        for index in 0..self.setup.faults.len() {
            let at = self.setup.faults[index].at;
            self.clock.at(at, Happening::Fault { index });
        }
        for writer in 0..self.writers.len() {
            self.clock.after(500, Happening::WriterTick { writer });
        }
        self.clock.after(0, Happening::Check);
    }

    pub(crate) fn address(index: usize, move_by: u16) -> Address {
        let port = 7_000 + u16::try_from(index).unwrap_or_default() + move_by;
        Address { ip: std::net::Ipv4Addr::LOCALHOST.into(), port, bus_port: port + Address::BUS_OFFSET }
    }

    /// Runs until all is well again after the faults, or a law is broken.
    pub fn run(mut self) -> Outcome {
        self.setup.must_end();
        while !self.finished && self.laws.broken.is_none() {
            let Some(happening) = self.clock.go_on() else { break };
            self.dispatch(happening);
        }
        if let Some(broken) = self.laws.broken.clone() {
            let line = format!("LAW {} BROKEN: {}", broken.law, broken.what);
            self.transcript.note(self.clock.now(), || line);
            for index in 0..self.controllers.len() {
                let stage = format!("controller {index}: {:?}", self.controllers[index].controller);
                self.note(|| stage);
            }
        }
        let primary = |shard| self.laws.primary_of(shard).map(|index| self.name(index).to_string());
        let primaries = (0..self.members.shards()).map(|shard| primary(shard).unwrap_or_default()).collect();
        Outcome {
            primaries,
            happenings: self.clock.count(),
            settled_ms: self.clock.now().saturating_sub(self.calm_since.unwrap_or_default()),
            acknowledged: self.history.acknowledged(),
            excused: self.history.excused(),
            broken: self.laws.broken,
            transcript: self.transcript.lines(),
        }
    }

    pub(crate) fn now(&self) -> u64 {
        self.clock.now()
    }

    pub(crate) fn note(&mut self, line: impl FnOnce() -> String) {
        let now = self.clock.now();
        self.transcript.note(now, line);
    }

    pub(crate) fn id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    pub(crate) fn name(&self, index: usize) -> &InstanceName {
        &self.members.names[index]
    }

    /// The instances of a shard.
    pub(crate) fn shard_members(&self, shard: usize) -> impl Iterator<Item = usize> + '_ {
        self.members.shard_of.iter().enumerate().filter(move |(_, of)| **of == shard).map(|(index, _)| index)
    }

    /// The atoms that a shard was founded with, and those that some member of it owns now by its own belief.
    pub(crate) fn atoms_of(&self, shard: usize) -> AtomSet {
        let members = self.shard_members(shard).map(|index| &self.servers[index]);
        let owned = members.filter(|server| server.is_primary()).map(|server| server.owned_by(server.me));
        owned.fold(self.members.atoms.home_of(shard), AtomSet::union)
    }

    /// Every copy that there is: in memory, and on disk.
    pub(crate) fn copies(&self) -> Vec<Tips> {
        let mut copies = Vec::new();
        for server in &self.servers {
            copies.extend(server.alive().then_some(server.data.tips));
            copies.extend(server.disk.copies());
        }
        copies.retain(|copy| !copy.is_empty());
        copies
    }

    fn dispatch(&mut self, happening: Happening) {
        match happening {
            Happening::Bus { to, at, message } => self.bus(to, &at, message),
            Happening::Cron { server, run } => self.cron(server, run),
            Happening::Ready { server, run } => self.ready(server, run),
            Happening::End { server, run, how } => self.end(server, run, how),
            Happening::Connect { server, connection } => self.connect(server, connection),
            Happening::Synced { server, connection } => self.synced(server, connection),
            Happening::Stream { server, connection } => self.stream(server, connection),
            Happening::Severed { server, connection } => self.severed(server, connection),
            Happening::Appending { server, run } => self.now_appending(server, run),
            Happening::Saved { server, run } => self.saved(server, run),
            Happening::Thaw { server, run } => self.thaw(server, run),
            Happening::Inspect { agent, life } => self.inspect(agent, life),
            Happening::Keep { agent, life, record } => self.keep(agent, life, *record),
            Happening::Start { agent, life, plan } => self.start(agent, life, &plan),
            Happening::Kill { agent, run } => self.kill_command(agent, run),
            Happening::Terminate { agent, run } => self.terminate(agent, run),
            Happening::Agent { agent, life, event } => self.agent_event(agent, life, *event),
            Happening::AgentTick { agent, life, at } => self.agent_tick(agent, life, at),
            Happening::AgentUp { agent } => self.agent_up(agent),
            Happening::HostThaws { host, freeze } => self.host_thaws(host, freeze),
            Happening::HostBack { host } => self.host_back(host),
            Happening::AskRegister(question) => self.register_asked(&question),
            Happening::Ask { id } => self.ask_arrives(id),
            Happening::Answered { id, result } => self.answered(id, *result),
            Happening::AskTimeout { id } => self.ask_timed_out(id),
            Happening::Serve { id, server, command } => self.serve(id, server, command),
            Happening::Served { id, result } => self.served(id, *result),
            Happening::ServeTimeout { id } => self.serve_timed_out(id),
            Happening::Controller { controller, life, event } => {
                self.controller_event(controller, life, *event);
            }
            Happening::ControllerTick { controller, life, at } => self.controller_tick(controller, life, at),
            Happening::ObservationDue { controller, life, round } => {
                self.observation_is_due(controller, life, round);
            }
            Happening::ControllerUp { controller } => self.controller_up(controller),
            Happening::Order { controller, agent, order } => self.order_arrives(controller, agent, *order),
            Happening::Commit { controller, life, layout, after } => {
                self.commit(controller, life, *layout, after);
            }
            Happening::WriterTick { writer } => self.writer_tick(writer),
            Happening::Write { writer, server, id } => self.write_arrives(writer, server, id),
            Happening::Wrote { writer, id, from, result } => self.wrote(writer, id, from, result),
            Happening::WriteTimeout { writer, id } => self.write_timed_out(writer, id),
            Happening::Fault { index } => self.fault_strikes(index),
            Happening::Check => self.check(),
        }
    }

    pub(crate) fn bus(&mut self, to: usize, at: &Address, message: Box<Message>) {
        let from = message.header.from;
        if !self.network.open(Way::Bus, from, to) || self.servers[to].address != *at {
            return;
        }
        if self.servers[to].process == crate::server::Process::Hung {
            self.waiting[to].push(Held::Message(message));
            return;
        }
        let mut fx = Effects::default();
        let now = self.now();
        self.servers[to].receive(now, &message, &mut self.random, &mut fx);
        self.apply(to, fx);
    }

    fn cron(&mut self, server: usize, run: u64) {
        if self.servers[server].run != run || !self.servers[server].alive() {
            return;
        }
        self.clock.after(crate::server::CRON_MS, Happening::Cron { server, run });
        if !self.servers[server].awake() {
            return;
        }
        let mut fx = Effects::default();
        let now = self.now();
        self.servers[server].cron(now, &mut self.random, &mut fx);
        self.apply(server, fx);
        self.release(server);
        self.save_by_itself(server);
    }

    /// Carries out what follows from something that a server did.
    pub(crate) fn apply(&mut self, server: usize, fx: Effects) {
        let now = self.now();
        if let Some(how) = fx.rose {
            self.becomes_primary(server, how);
        }
        if fx.turned {
            self.turn(server);
        }
        for (to, at, message) in fx.sends {
            if self.network.open(Way::Bus, server, to) {
                let arrival = self.network.bus_arrival(server, to, now, &mut self.random);
                self.clock.at(arrival, Happening::Bus { to, at, message: Box::new(message) });
            }
        }
        if fx.changed_data {
            self.replicate(server);
        }
        if fx.released {
            self.release(server);
        }
    }
}
