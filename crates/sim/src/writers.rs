//! Clients: each writes to the primary it believes in, follows redirections, and remembers which writes were acknowledged.

use crate::atoms::Atom;
use crate::fleet::{Fleet, Happening, Held};
use crate::history::Tip;
use crate::server::{Members, Process, WRITE_BYTES};

/// A client of what one shard was founded with: each of its writes is to the next atom of that.
#[derive(Debug)]
pub(crate) struct Writer {
    shard: usize,
    /// Whom it believes to own each atom.
    believes: Vec<(Atom, usize)>,
    /// Is it cut off with a host of its shard, and not from it?
    beside: bool,
    /// Writes without a reply yet.
    open: Vec<u64>,
}

/// What a server replies.
#[derive(Debug)]
pub(crate) enum Wrote {
    /// OK.
    Done(Tip),
    /// `MOVED`; the client reads the topology then.
    Moved(Vec<(Atom, usize)>),
    /// `CLUSTERDOWN`, `LOADING`, or no connection.
    Refused,
}

impl Writer {
    /// One for each shard, and where hosts are cut off one more beside each.
    pub(crate) fn of(members: &Members, own_hosts: bool) -> Vec<Self> {
        let shards = members.shards();
        let one = |shard, beside| {
            let believes = members.atoms.home_of(shard).iter().map(|atom| (atom, shard)).collect();
            Self { shard, believes, beside, open: Vec::new() }
        };
        let mut writers: Vec<_> = (0..shards).map(|shard| one(shard, false)).collect();
        if own_hosts {
            writers.extend((0..shards).map(|shard| one(shard, true)));
        }
        writers
    }

    /// The atom that a write is to, and whom the client believes to own it.
    fn aim(&self, id: u64) -> (Atom, usize) {
        let count = self.believes.len() as u64;
        self.believes[usize::try_from(id % count).unwrap_or_default()]
    }
}

impl Fleet {
    pub(crate) fn writer_tick(&mut self, writer: usize) {
        let pause = self.random.within(20..=150);
        self.clock.after(pause, Happening::WriterTick { writer });
        let id = self.id();
        if let Some(host) = self.cut_off_with(writer) {
            self.writers[writer].believes.iter_mut().for_each(|(_, owner)| *owner = host);
        }
        let (_, server) = self.writers[writer].aim(id);
        self.writers[writer].open.push(id);
        let delay = self.random.within(0..=1);
        self.clock.after(delay, Happening::Write { writer, server, id });
        self.clock.after(1_500, Happening::WriteTimeout { writer, id });
    }

    /// The cut host that a writer is beside.
    fn cut_off_with(&self, writer: usize) -> Option<usize> {
        let Writer { shard, beside, .. } = &self.writers[writer];
        let mut cut = self.network.hosts_cut.iter();
        cut.find(|host| *beside && self.members.shard_of[**host] == *shard).copied()
    }

    fn reaches(&self, writer: usize, server: usize) -> bool {
        match self.cut_off_with(writer) {
            Some(host) => host == server,
            None => !self.network.hosts_cut.contains(&server),
        }
    }

    pub(crate) fn write_arrives(&mut self, writer: usize, server: usize, id: u64) {
        let now = self.now();
        if !self.reaches(writer, server) {
            return;
        }
        let (atom, _) = self.writers[writer].aim(id);
        let target = &self.servers[server];
        let result = match target.process {
            Process::Down | Process::Loading => Wrote::Refused,
            Process::Hung => return self.waiting[server].push(Held::Write { writer, id }),
            Process::Running | Process::Leaving => match target.owners[atom] {
                Some(owner) if owner != server => Wrote::Moved(self.topology_for(writer, server)),
                Some(_) if !target.ok || target.refuses_writes() => Wrote::Refused,
                Some(_) if target.pauses(now) => {
                    return self.waiting[server].push(Held::Write { writer, id });
                }
                Some(_) => Wrote::Done(self.take_write(server, atom)),
                None => Wrote::Refused,
            },
        };
        self.reply_to_writer(writer, id, server, result);
    }

    /// Who owns what a writer writes, by what a server tells it.
    fn topology_for(&self, writer: usize, server: usize) -> Vec<(Atom, usize)> {
        let atoms = self.writers[writer].believes.iter().map(|(atom, _)| *atom);
        atoms.filter_map(|atom| Some((atom, self.servers[server].owners[atom]?))).collect()
    }

    pub(crate) fn take_write(&mut self, server: usize, atom: Atom) -> Tip {
        let tip = self.history.append(atom, &self.servers[server].data.tips);
        let target = &mut self.servers[server];
        target.data.tips.set(atom, tip);
        target.data.offset += WRITE_BYTES;
        target.append();
        let shard = target.shard();
        self.laws.note_served(shard);
        self.law_of_writes(server, tip);
        self.replicate(server);
        tip
    }

    pub(crate) fn reply_to_writer(&mut self, writer: usize, id: u64, from: usize, result: Wrote) {
        let delay = self.random.within(0..=1);
        self.clock.after(delay, Happening::Wrote { writer, id, from, result });
    }

    pub(crate) fn wrote(&mut self, writer: usize, id: u64, from: usize, result: Wrote) {
        if !self.reaches(writer, from) {
            return;
        }
        if let Wrote::Done(tip) = result {
            self.history.acknowledge(tip);
            self.law_of_acknowledgement(from, tip);
        }
        let known = self.writers[writer].open.iter().position(|open| *open == id);
        let Some(position) = known else { return };
        self.writers[writer].open.swap_remove(position);
        match result {
            Wrote::Done(_) => {}
            Wrote::Moved(topology) => {
                for (atom, owner) in &mut self.writers[writer].believes {
                    let told = topology.iter().find(|(of, _)| of == atom);
                    *owner = told.map_or(*owner, |(_, owner)| *owner);
                }
            }
            Wrote::Refused => self.ask_somebody_else(writer, id, from),
        }
    }

    pub(crate) fn write_timed_out(&mut self, writer: usize, id: u64) {
        let known = self.writers[writer].open.iter().position(|open| *open == id);
        if let Some(position) = known {
            self.writers[writer].open.swap_remove(position);
            let (_, believed) = self.writers[writer].aim(id);
            self.ask_somebody_else(writer, id, believed);
        }
    }

    /// A client that gets no answer reads the topology from any node; here the next write goes there and is redirected.
    fn ask_somebody_else(&mut self, writer: usize, id: u64, bad: usize) {
        if self.writers[writer].aim(id).1 == bad {
            let other = self.random.index(self.servers.len());
            let believes = &mut self.writers[writer].believes;
            believes.iter_mut().filter(|(_, owner)| *owner == bad).for_each(|(_, owner)| *owner = other);
        }
    }
}
