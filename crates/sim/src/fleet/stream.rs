//! Replication: partial when the replica's position lies in its primary's stream, full otherwise. A full synchronisation
//! replaces whatever the replica held, also by nothing: this is what the laws guard against.

use super::{Fleet, Happening};
use crate::network::Way;
use crate::server::{Connection, Data, Effects, Process, Rise, Upstream};
use std::collections::VecDeque;
use valkeeper_model::{AttachedReplica, Offset, ReplicationId};

impl Fleet {
    /// A server follows another one, or none, from now on.
    pub(super) fn turn(&mut self, server: usize) {
        // Its own replicas lose their connection when it becomes one, and without cluster mode also when it becomes a primary: they have to
        // be told of the new history.
        if !self.servers[server].is_primary() || self.servers[server].is_plain() {
            self.sever_replicas_of(server);
        }
        if !self.servers[server].has_source() {
            self.servers[server].upstream = None;
            return;
        }
        let to = self.source_of(server);
        let connection = self.id();
        self.servers[server].upstream = Some(Upstream {
            to,
            run: 0,
            connection,
            severed: false,
            state: Connection::Waiting,
            fork: None,
            pipe: VecDeque::new(),
        });
        let delay = self.random.within(1..=30);
        self.clock.after(delay, Happening::Connect { server, connection });
    }

    /// Who became primary goes on in a stream of its own; who followed the same one until there may follow it.
    pub(super) fn becomes_primary(&mut self, server: usize, how: Rise) {
        self.law_of_succession(server, how);
        let replid = ReplicationId::from_bytes(self.random.id());
        let data = &mut self.servers[server].data;
        data.second = data.resumable.then_some((data.replid, data.offset));
        data.replid = replid;
        data.resumable = true;
        // The engine had stopped appending if it was taking a copy (replicationUnsetPrimary starts it again).
        if !self.servers[server].appending {
            self.begin_appending(server);
        }
        let name = self.name(server).clone();
        let epoch = self.servers[server].table[server].config_epoch;
        self.note(|| format!("{name} became primary ({how:?}), epoch {epoch}"));
    }

    /// Whom a server follows: by its table, or whoever is at the address that it was given.
    fn source_of(&self, server: usize) -> Option<usize> {
        match self.servers[server].source() {
            None => self.servers[server].myself().and_then(|me| me.primary),
            Some(address) => self.servers.iter().position(|other| other.address.socket() == address),
        }
    }

    fn is_current(&self, server: usize, connection: u64) -> bool {
        self.servers[server].upstream.as_ref().is_some_and(|upstream| upstream.connection == connection)
    }

    fn try_again(&mut self, server: usize, connection: u64) {
        let delay = self.random.within(300..=1_000);
        self.clock.after(delay, Happening::Connect { server, connection });
    }

    pub(super) fn connect(&mut self, server: usize, connection: u64) {
        if !self.is_current(server, connection) {
            return;
        }
        let answers = |to: &usize| {
            *to != server && self.servers[*to].takes_replicas() && self.network.open(Way::Bus, server, *to)
        };
        let Some(to) = self.source_of(server).filter(answers).filter(|_| self.servers[server].awake()) else {
            return self.try_again(server, connection);
        };
        let resumes = self.servers[to].resumes(&self.servers[server].data)
            && !self.random.in_thousand(self.setup.backlog_gaps);
        if !resumes {
            self.begin_backlog(to);
        }
        let (run, theirs) = (self.servers[to].run, self.servers[to].data.clone());
        let (state, delay) = if resumes {
            (Connection::Resuming, self.random.within(1..=5))
        } else if self.random.in_thousand(50) {
            (Connection::Copying, self.random.within(300..=2_500))
        } else {
            (Connection::Copying, self.random.within(20..=150))
        };
        if state == Connection::Copying {
            let format = self.servers[to].version.dump_format_for(self.servers[server].version);
            if !self.servers[server].version.loads(format) {
                let name = self.name(server).clone();
                self.note(|| format!("{name} cannot load a copy of format {format}"));
                return self.try_again(server, connection);
            }
            let names = (self.name(server).clone(), self.name(to).clone());
            self.note(|| format!("{} begins a full synchronisation with {}", names.0, names.1));
            self.servers[server].data.resumable = false;
            // The engine stops appending when it takes the copy; the AOF in force stays as it is until it has been rewritten.
            self.servers[server].appending = false;
        }
        if let Some(upstream) = &mut self.servers[server].upstream {
            upstream.to = Some(to);
            upstream.run = run;
            upstream.severed = false;
            upstream.state = state;
            upstream.fork = (state == Connection::Copying).then_some((theirs.tips, theirs.offset));
        }
        self.clock.after(delay, Happening::Synced { server, connection });
    }

    /// The first replica of a server without cluster mode: no history of it reaches further back, so that it begins a new one.
    fn begin_backlog(&mut self, primary: usize) {
        if !self.servers[primary].is_plain() || self.servers[primary].data.backlog.is_some() {
            return;
        }
        let replid = ReplicationId::from_bytes(self.random.id());
        let data = &mut self.servers[primary].data;
        *data = Data { replid, second: None, backlog: Some(data.offset), ..data.clone() };
    }

    pub(super) fn synced(&mut self, server: usize, connection: u64) {
        if !self.is_current(server, connection) || !self.servers[server].alive() {
            return;
        }
        let Some((to, run, state)) = self.servers[server]
            .upstream
            .as_ref()
            .and_then(|upstream| Some((upstream.to?, upstream.run, upstream.state)))
        else {
            return;
        };
        let primary = &self.servers[to];
        let there = primary.takes_replicas() && primary.run == run;
        if !there || !self.network.open(Way::Bus, server, to) || !self.servers[server].awake() {
            if let Some(upstream) = &mut self.servers[server].upstream {
                upstream.state = Connection::Waiting;
            }
            return self.try_again(server, connection);
        }
        let theirs = primary.data.clone();
        let before = self.servers[server].data.tips;
        let catching_up = self.now() + self.random.within(1..=200);
        let replica = &mut self.servers[server];
        replica.ever_up = true;
        replica.behind = None;
        let (latest, until) = (theirs.tips, theirs.offset);
        let fork = replica.upstream.as_ref().and_then(|upstream| upstream.fork);
        let mine = replica.data.clone();
        let other_history = mine.replid != theirs.replid;
        replica.data = Data { second: None, backlog: None, resumable: true, ..theirs };
        if let Some((tips, offset)) = fork {
            (replica.data.tips, replica.data.offset) = (tips, offset);
        }
        if replica.is_plain() {
            let resumed = state == Connection::Resuming;
            let second = if other_history { Some((mine.replid, mine.offset)) } else { mine.second };
            replica.data.second = second.filter(|_| resumed);
            replica.data.backlog = mine.backlog.filter(|_| resumed).or(Some(replica.data.offset));
        }
        let after = replica.data.tips;
        if let Some(upstream) = &mut replica.upstream {
            upstream.state = Connection::Up;
            upstream.pipe.clear();
            // What was written since the fork waits in the primary's memory.
            if replica.data.offset < until {
                replica.behind = Some(until);
                upstream.pipe.push_back((catching_up, latest, until));
                self.clock.at(catching_up, Happening::Stream { server, connection });
            }
        }
        if state == Connection::Copying {
            // What came over the wire was written to dump.rdb first; the AOF is made anew from it.
            let format = self.servers[to].version.dump_format_for(self.servers[server].version);
            self.servers[server].write_rdb();
            if let Some(copy) = &mut self.servers[server].disk.rdb {
                copy.format = format;
            }
            self.begin_appending(server);
        } else {
            debug_assert!(
                self.history.contains(&after, &before),
                "a partial resynchronisation rewrote history"
            );
            self.servers[server].append();
        }
        let names = (self.name(server).clone(), self.name(to).clone());
        let (was, is) = (self.history.size(&before), self.history.size(&after));
        self.note(|| {
            let how = if state == Connection::Copying { "full" } else { "partial" };
            format!("{} in sync with {} ({how}: {was} writes before, {is} now)", names.0, names.1)
        });
        if self.servers[server].is_plain() && (other_history || state == Connection::Copying) {
            self.sever_replicas_of(server);
        }
        let shard = self.servers[server].shard();
        self.law_of_copies(shard, "a synchronisation");
    }

    /// A primary took a write.
    pub(crate) fn replicate(&mut self, primary: usize) {
        let now = self.now();
        let (tips, offset) = (self.servers[primary].data.tips, self.servers[primary].data.offset);
        let run = self.servers[primary].run;
        for replica in 0..self.servers.len() {
            let attached = self.servers[replica].upstream.as_ref().is_some_and(|upstream| {
                !upstream.severed
                    && upstream.to == Some(primary)
                    && upstream.run == run
                    && upstream.state == Connection::Up
            });
            if replica == primary || !attached {
                continue;
            }
            let arrival = self.network.bus_arrival(primary, replica, now, &mut self.random);
            let arrival = arrival + self.network.lag_ms[replica];
            if let Some(upstream) = &mut self.servers[replica].upstream {
                upstream.pipe.push_back((arrival, tips, offset));
                let connection = upstream.connection;
                self.clock.at(arrival, Happening::Stream { server: replica, connection });
            }
        }
    }

    /// Part of the stream has arrived.
    pub(super) fn stream(&mut self, server: usize, connection: u64) {
        let now = self.now();
        if !self.is_current(server, connection) || !self.servers[server].awake() {
            return;
        }
        let open = self.servers[server]
            .upstream
            .as_ref()
            .is_some_and(|upstream| upstream.to.is_some_and(|to| self.network.open(Way::Bus, to, server)));
        if !open {
            return;
        }
        let replica = &mut self.servers[server];
        let Some(upstream) = &mut replica.upstream else { return };
        let mut moved = false;
        while let Some((at, tips, offset)) = upstream.pipe.front().copied()
            && at <= now
        {
            upstream.pipe.pop_front();
            replica.data.tips = tips;
            replica.data.offset = offset;
            moved = true;
        }
        if !moved {
            return;
        }
        if replica.behind.is_some_and(|until| until <= replica.data.offset) {
            replica.behind = None;
        }
        replica.append();
        let mut fx = Effects::default();
        replica.advanced(now, &mut self.random, &mut fx);
        self.apply(server, fx);
        if self.servers[server].is_plain() {
            self.replicate(server);
        }
    }

    /// The primary's process has ended, or it follows another: what it sent still arrives, then the connection ends.
    pub(super) fn sever_replicas_of(&mut self, primary: usize) {
        let now = self.now();
        let shard = self.servers[primary].shard();
        for replica in 0..self.servers.len() {
            let upstream = self.servers[replica].upstream.as_ref();
            let attached = upstream.is_some_and(|upstream| upstream.to == Some(primary));
            if !attached && self.members.shard_of[replica] != shard {
                continue;
            }
            let torn = self.random.in_thousand(200);
            let keep = self.random.index(4);
            let behind = self.servers[replica].behind.is_some();
            let Some(upstream) = &mut self.servers[replica].upstream else { continue };
            if !attached || upstream.state == Connection::Waiting || replica == primary {
                continue;
            }
            // Not everything that was acknowledged had left the process: of a full synchronisation hardly anything.
            if behind {
                upstream.pipe.clear();
            } else if torn {
                upstream.pipe.truncate(keep);
            }
            upstream.severed = true;
            let last = upstream.pipe.back().map_or(now, |(at, ..)| *at);
            let connection = upstream.connection;
            let delay = self.random.within(0..=2);
            self.clock.at(last + delay, Happening::Severed { server: replica, connection });
        }
    }

    pub(super) fn severed(&mut self, server: usize, connection: u64) {
        if !self.is_current(server, connection) {
            return;
        }
        let Some(to) = self.servers[server].upstream.as_ref().and_then(|upstream| upstream.to) else {
            return;
        };
        // A network that is cut tells nothing, and a process that is stopped reads nothing.
        if !self.network.open(Way::Bus, server, to) || self.servers[server].process == Process::Hung {
            self.clock.after(50, Happening::Severed { server, connection });
            return;
        }
        self.stream(server, connection);
        if !self.is_current(server, connection) {
            return;
        }
        let fresh = self.id();
        if let Some(upstream) = &mut self.servers[server].upstream {
            upstream.state = Connection::Waiting;
            upstream.pipe.clear();
            upstream.connection = fresh;
        }
        self.try_again(server, fresh);
    }

    /// The replicas that a primary shows.
    pub(crate) fn attached(&self, primary: usize) -> Vec<AttachedReplica> {
        let run = self.servers[primary].run;
        let replicas = self.servers.iter().enumerate().filter_map(|(index, replica)| {
            let upstream = replica.upstream.as_ref()?;
            let here =
                upstream.to == Some(primary) && upstream.run == run && upstream.state != Connection::Waiting;
            (here && index != primary).then(|| AttachedReplica {
                address: replica.address.socket(),
                online: upstream.state == Connection::Up,
                acknowledged: Offset(replica.data.offset),
            })
        });
        replicas.collect()
    }
}
