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
        // Its own replicas lose their connection when it becomes one.
        if !self.servers[server].is_primary() {
            self.sever_replicas_of(server);
        }
        let Some(to) = self.servers[server].myself().and_then(|me| me.primary) else {
            self.servers[server].upstream = None;
            return;
        };
        let connection = self.id();
        self.servers[server].upstream = Some(Upstream {
            to,
            run: 0,
            connection,
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
        let Some(to) = self.servers[server].upstream.as_ref().map(|upstream| upstream.to) else { return };
        let primary = &self.servers[to];
        let answers = primary.awake() && primary.is_primary() && self.network.open(Way::Bus, server, to);
        if !answers || !self.servers[server].awake() {
            return self.try_again(server, connection);
        }
        let (run, theirs) = (primary.run, primary.data.clone());
        let mine = &self.servers[server].data;
        let resumes = Self::resumes(mine, &theirs) && !self.random.in_thousand(self.setup.backlog_gaps);
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
            upstream.run = run;
            upstream.state = state;
            upstream.fork = (state == Connection::Copying).then_some((theirs.tips, theirs.offset));
        }
        self.clock.after(delay, Happening::Synced { server, connection });
    }

    fn resumes(mine: &Data, theirs: &Data) -> bool {
        let own = mine.replid == theirs.replid && mine.offset <= theirs.offset;
        let before = theirs.second.is_some_and(|(id, until)| mine.replid == id && mine.offset <= until);
        mine.resumable && (own || before)
    }

    pub(super) fn synced(&mut self, server: usize, connection: u64) {
        if !self.is_current(server, connection) || !self.servers[server].alive() {
            return;
        }
        let Some((to, run, state)) = self.servers[server]
            .upstream
            .as_ref()
            .map(|upstream| (upstream.to, upstream.run, upstream.state))
        else {
            return;
        };
        let primary = &self.servers[to];
        let there = primary.awake() && primary.run == run && primary.is_primary();
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
        replica.data = Data { second: None, resumable: true, ..theirs };
        if let Some((tips, offset)) = fork {
            (replica.data.tips, replica.data.offset) = (tips, offset);
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
        let shard = self.servers[server].shard();
        self.law_of_copies(shard, "a synchronisation");
    }

    /// A primary took a write.
    pub(crate) fn replicate(&mut self, primary: usize) {
        let now = self.now();
        let (tips, offset) = (self.servers[primary].data.tips, self.servers[primary].data.offset);
        let run = self.servers[primary].run;
        let shard = self.servers[primary].shard();
        for replica in self.shard_members(shard).collect::<Vec<_>>() {
            let attached = self.servers[replica].upstream.as_ref().is_some_and(|upstream| {
                upstream.to == primary && upstream.run == run && upstream.state == Connection::Up
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
            .is_some_and(|upstream| self.network.open(Way::Bus, upstream.to, server));
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
    }

    /// The primary's process has ended, or it follows another: what it sent still arrives, then the connection ends.
    pub(super) fn sever_replicas_of(&mut self, primary: usize) {
        let now = self.now();
        let shard = self.servers[primary].shard();
        for replica in self.shard_members(shard).collect::<Vec<_>>() {
            let torn = self.random.in_thousand(200);
            let keep = self.random.index(4);
            let behind = self.servers[replica].behind.is_some();
            let Some(upstream) = &mut self.servers[replica].upstream else { continue };
            if upstream.to != primary || upstream.state == Connection::Waiting || replica == primary {
                continue;
            }
            // Not everything that was acknowledged had left the process: of a full synchronisation hardly anything.
            if behind {
                upstream.pipe.clear();
            } else if torn {
                upstream.pipe.truncate(keep);
            }
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
        let Some(to) = self.servers[server].upstream.as_ref().map(|upstream| upstream.to) else { return };
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
        let replicas = self.shard_members(self.servers[primary].shard()).filter_map(|index| {
            let replica = &self.servers[index];
            let upstream = replica.upstream.as_ref()?;
            let here = upstream.to == primary && upstream.run == run && upstream.state != Connection::Waiting;
            (here && index != primary).then(|| AttachedReplica {
                address: replica.address.socket(),
                online: upstream.state == Connection::Up,
                acknowledged: Offset(replica.data.offset),
            })
        });
        replicas.collect()
    }
}
