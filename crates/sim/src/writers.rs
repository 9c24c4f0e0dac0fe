//! Clients: each writes to the primary it believes in, follows redirections, and remembers which writes were acknowledged.

use crate::fleet::{Fleet, Happening, Held, WRITE_BYTES};
use crate::history::Tip;
use crate::server::Process;

/// A client of one shard.
#[derive(Debug)]
pub(crate) struct Writer {
    shard: usize,
    believes: usize,
    /// Is it cut off with a host of its shard, and not from it?
    beside: bool,
    /// Writes without a reply yet.
    open: Vec<u64>,
}

/// What a server replies.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Wrote {
    /// OK.
    Done(Tip),
    /// `MOVED`.
    Moved(usize),
    /// `CLUSTERDOWN`, `LOADING`, or no connection.
    Refused,
}

impl Writer {
    /// One for each shard, and where hosts are cut off one more beside each.
    pub(crate) fn of(shards: usize, own_hosts: bool) -> Vec<Self> {
        let one = |shard, beside| Self { shard, believes: shard, beside, open: Vec::new() };
        let mut writers: Vec<_> = (0..shards).map(|shard| one(shard, false)).collect();
        if own_hosts {
            writers.extend((0..shards).map(|shard| one(shard, true)));
        }
        writers
    }
}

impl Fleet {
    pub(crate) fn writer_tick(&mut self, writer: usize) {
        let pause = self.random.within(20..=150);
        self.clock.after(pause, Happening::WriterTick { writer });
        let id = self.id();
        if let Some(host) = self.cut_off_with(writer) {
            self.writers[writer].believes = host;
        }
        let server = self.writers[writer].believes;
        self.writers[writer].open.push(id);
        let delay = self.random.within(0..=1);
        self.clock.after(delay, Happening::Write { writer, server, id });
        self.clock.after(1_500, Happening::WriteTimeout { writer, id });
    }

    /// The cut host that a writer is beside.
    fn cut_off_with(&self, writer: usize) -> Option<usize> {
        let Writer { shard, beside, .. } = self.writers[writer];
        let mut cut = self.network.hosts_cut.iter();
        cut.find(|host| beside && self.members.shard_of[**host] == shard).copied()
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
        let shard = self.writers[writer].shard;
        let target = &self.servers[server];
        let result = match target.process {
            Process::Down | Process::Loading => Wrote::Refused,
            Process::Hung => return self.waiting[server].push(Held::Write { writer, id }),
            Process::Running | Process::Leaving => match target.owners[shard] {
                Some(owner) if owner != server => Wrote::Moved(owner),
                Some(_) if !target.ok || target.refuses_writes() => Wrote::Refused,
                Some(_) if target.pauses(now) => {
                    return self.waiting[server].push(Held::Write { writer, id });
                }
                Some(_) => Wrote::Done(self.take_write(server, shard)),
                None => Wrote::Refused,
            },
        };
        self.reply_to_writer(writer, id, server, result);
    }

    fn take_write(&mut self, server: usize, shard: usize) -> Tip {
        let tip = self.history.append(shard, self.servers[server].data.tip);
        let target = &mut self.servers[server];
        target.data.tip = tip;
        target.data.offset += WRITE_BYTES;
        target.append();
        self.laws.note_served(shard);
        self.law_of_writes(server, shard, tip);
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
            Wrote::Moved(to) => self.writers[writer].believes = to,
            Wrote::Refused => self.ask_somebody_else(writer, from),
        }
    }

    pub(crate) fn write_timed_out(&mut self, writer: usize, id: u64) {
        let known = self.writers[writer].open.iter().position(|open| *open == id);
        if let Some(position) = known {
            self.writers[writer].open.swap_remove(position);
            let believed = self.writers[writer].believes;
            self.ask_somebody_else(writer, believed);
        }
    }

    /// A client that gets no answer reads the topology from any node; here the next write goes there and is redirected.
    fn ask_somebody_else(&mut self, writer: usize, bad: usize) {
        if self.writers[writer].believes == bad {
            self.writers[writer].believes = self.random.index(self.servers.len());
        }
    }
}
