//! Servers by themselves: a bus without delay, and nobody who controls them.

mod plain;
mod slots;
mod table;
mod versions;

use super::{Effects, Members, NodesFileState, Process, Server};
use crate::atoms::{Atom, AtomSet, Atoms};
use crate::random::Random;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use valkeeper_model::nodes_conf::{NodeLine, NodesConf, Vars};
use valkeeper_model::{Address, Epoch, NodeId, ReplicationId, Role, ShardId, SlotSet};

/// Shards of the usual bus, and instances of each: a primary, then a replica.
const SHARDS: usize = 3;
const NODE_TIMEOUT_MS: u64 = 5_000;

fn id(index: usize) -> NodeId {
    NodeId::from_bytes([u8::try_from(index + 1).unwrap_or_default(); 20])
}

fn replid(index: usize) -> ReplicationId {
    ReplicationId::from_bytes([u8::try_from(index + 101).unwrap_or_default(); 20])
}

fn address(index: usize) -> Address {
    let port = 7_000 + u16::try_from(index).unwrap_or_default();
    Address { ip: std::net::Ipv4Addr::LOCALHOST.into(), port, bus_port: port + Address::BUS_OFFSET }
}

/// A configuration in cluster mode.
fn config(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    let pairs = std::iter::once(&("cluster-enabled", "yes")).chain(pairs);
    pairs.map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

/// `SHARDS` primaries, then a replica of each, and perhaps more instances after them, each in a shard without slots.
fn members(more: usize) -> Arc<Members> {
    let count = 2 * SHARDS + more;
    let slots: Vec<_> =
        (0..SHARDS).map(|shard| SlotSet::part(u32::try_from(shard).unwrap_or_default(), 3)).collect();
    let shard_of = |index: usize| if index < 2 * SHARDS { index % SHARDS } else { index - SHARDS };
    Arc::new(Members {
        ids: (0..count).map(id).collect(),
        names: (0..count).filter_map(|index| format!("c-{index}").parse().ok()).collect(),
        shard_of: (0..count).map(shard_of).collect(),
        atoms: Atoms::of(&slots),
        shard_names: (0..SHARDS + more)
            .map(|shard| valkeeper_model::ShardName::nth(u32::try_from(shard).unwrap_or_default()))
            .collect(),
        shard_ids: (0..SHARDS + more)
            .map(|shard| ShardId::from_bytes([u8::try_from(shard).unwrap_or_default(); 20]))
            .collect(),
        node_timeout_ms: NODE_TIMEOUT_MS,
    })
}

/// A server, and what it knows of the first `known` instances.
fn nodes_conf(members: &Members, me: usize, known: usize) -> NodesConf {
    let line = |index: usize| {
        let founded = index < 2 * SHARDS;
        let role = if founded && index >= SHARDS { Role::Replica } else { Role::Primary };
        let mut line = NodeLine::new(id(index), Some(address(index)), role);
        line.flags.myself = index == me;
        line.primary = (role == Role::Replica).then(|| id(index % SHARDS));
        if index < SHARDS {
            line.slots = members.atoms.slots_of(members.atoms.home_of(index));
            line.config_epoch = Epoch(index as u64 + 1);
        }
        line
    };
    let others = (0..known).filter(|index| *index != me);
    let vars = Vars { current_epoch: Epoch(SHARDS as u64), last_vote_epoch: Epoch(0) };
    NodesConf { nodes: std::iter::once(me).chain(others).map(line).collect(), vars: Some(vars) }
}

/// All servers, their clock, and who is cut off.
struct Bus {
    servers: Vec<Server>,
    random: Random,
    now: u64,
    cut_off: Vec<usize>,
}

impl Bus {
    /// A formed cluster, and `more` instances of which nobody knows.
    fn with_strangers(more: usize) -> Self {
        let members = members(more);
        let count = members.ids.len();
        let servers = (0..count).map(|me| Server::new(me, Arc::clone(&members), address(me), replid(me)));
        let mut bus =
            Self { servers: servers.collect(), random: Random::new(1), now: 1_000, cut_off: Vec::new() };
        for me in 0..count {
            let known = if me < 2 * SHARDS { 2 * SHARDS } else { 0 };
            bus.servers[me].disk.conf = NodesFileState::Written(nodes_conf(&members, me, known));
            bus.start(me);
        }
        bus.pass(3_000);
        bus
    }

    fn formed() -> Self {
        Self::with_strangers(0)
    }

    fn start(&mut self, me: usize) {
        let started = self.servers[me].exec(config(&[]), replid(me));
        started.unwrap_or_else(|error| panic!("{me}: {error}"));
        self.servers[me].ready(self.now);
    }

    /// Everything that follows from something that a server did, until nothing follows any more.
    fn deliver(&mut self, from: usize, fx: Effects) {
        let mut sends: VecDeque<_> = fx.sends.into_iter().map(|send| (from, send)).collect();
        while let Some((from, (to, at, message))) = sends.pop_front() {
            let cut = self.cut_off.contains(&from) || self.cut_off.contains(&to);
            if cut || self.servers[to].address != at {
                continue;
            }
            let mut fx = Effects::default();
            self.servers[to].receive(self.now, &message, &mut self.random, &mut fx);
            sends.extend(fx.sends.into_iter().map(|send| (to, send)));
        }
    }

    fn pass(&mut self, ms: u64) {
        let until = self.now + ms;
        while self.now < until {
            self.now += super::CRON_MS;
            for me in 0..self.servers.len() {
                if self.servers[me].process == Process::Running {
                    let mut fx = Effects::default();
                    self.servers[me].cron(self.now, &mut self.random, &mut fx);
                    self.deliver(me, fx);
                }
            }
        }
    }

    fn home_of(&self, shard: usize) -> Vec<Atom> {
        self.servers[0].members.atoms.home_of(shard).iter().collect()
    }

    fn slots_of(&self, atoms: &[Atom]) -> SlotSet {
        self.servers[0].members.atoms.slots_of(atoms.iter().copied().collect())
    }

    /// Who owns an atom, if all that are not cut off agree.
    fn owner_of(&self, atom: Atom) -> Option<usize> {
        let mut believed = self.beliefs(|server| server.owners[atom]);
        believed.dedup();
        assert_eq!(believed.len(), 1, "{believed:?}");
        believed[0]
    }

    fn beliefs<T>(&self, of: impl Fn(&Server) -> T) -> Vec<T> {
        let there = self.servers.iter().filter(|server| !self.cut_off.contains(&server.me));
        there.map(of).collect()
    }

    fn owned_by(&self, who: usize) -> AtomSet {
        self.servers[who].owned_by(who)
    }
}
