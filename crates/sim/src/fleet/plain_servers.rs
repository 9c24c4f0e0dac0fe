//! Servers without cluster mode beside each other: nobody controls them.

use super::*;
use crate::atoms::Atom;
use crate::server::{Connection, Kind, Process, Version};
use std::net::SocketAddr;
use valkeeper_model::{Link, ReplicationId};

/// All writes go there: one key is enough.
const ATOM: Atom = 0;

/// A fleet in which nothing happens by itself, and three servers of it.
struct Plain(Fleet);

impl Plain {
    fn stopped() -> Self {
        let mut fleet = Fleet::new(Setup { replicas: 2, transcript: true, ..Setup::quiet(1) });
        let members = Arc::make_mut(&mut fleet.members);
        // The first three are of one shard.
        members.shard_of = (0..members.ids.len()).map(|index| index / 3).collect();
        fleet.servers.iter_mut().for_each(|server| server.members = Arc::clone(&fleet.members));
        fleet.clock = Clock::new();
        fleet.controllers.clear();
        fleet.writers.clear();
        Self(fleet)
    }

    /// The first is a primary, the two others follow it.
    fn set() -> Self {
        let mut plain = Self::stopped();
        plain.start(0, None);
        plain.start(1, Some(0));
        plain.start(2, Some(0));
        plain.pass(3_000);
        assert!(plain.follows(1, 0) && plain.follows(2, 0));
        plain.write(0, 5);
        plain.pass(1_000);
        assert_eq!(plain.sizes(), [5, 5, 5]);
        plain
    }

    fn at(&self, server: usize) -> SocketAddr {
        self.0.servers[server].address.socket()
    }

    fn start(&mut self, server: usize, source: Option<usize>) {
        self.start_with(server, source, &[]);
    }

    fn start_with(&mut self, server: usize, source: Option<usize>, more: &[(&str, &str)]) {
        let mut config = BTreeMap::from([("cluster-enabled".to_owned(), "no".to_owned())]);
        config.insert("save".to_owned(), "900 1".to_owned());
        config.extend(more.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        if let Some(source) = source.map(|source| self.at(source)) {
            config.insert("replicaof".to_owned(), format!("{} {}", source.ip(), source.port()));
        }
        let replid = ReplicationId::from_bytes(self.0.random.id());
        let target = &mut self.0.servers[server];
        target.disk.owner = Some("c".to_owned());
        target.exec(config, replid).unwrap_or_else(|error| panic!("{error}"));
        target.started_at = self.0.clock.now();
        let run = target.run;
        self.0.clock.after(5, Happening::Ready { server, run });
    }

    fn kill(&mut self, server: usize) {
        self.0.kill(server, "killed");
    }

    /// An orderly stop.
    fn stop(&mut self, server: usize) {
        self.0.servers[server].process = Process::Leaving;
        self.kill(server);
    }

    fn replicate(&mut self, server: usize, source: Option<usize>) {
        let source = source.map(|source| self.at(source));
        let mut fx = Effects::default();
        let done = self.0.servers[server].replicate_from(source, &mut fx);
        done.unwrap_or_else(|error| panic!("{error}"));
        self.0.apply(server, fx);
    }

    fn write(&mut self, server: usize, times: usize) {
        assert!(self.0.servers[server].serves());
        for _ in 0..times {
            let tip = self.0.take_write(server, ATOM);
            self.0.history.acknowledge(tip);
        }
    }

    fn pass(&mut self, ms: u64) {
        let until = self.0.now() + ms;
        // A host that is not lost comes back: nothing happens, and time passes.
        self.0.clock.at(until, Happening::HostBack { host: 0 });
        while self.0.now() < until {
            let Some(happening) = self.0.clock.go_on() else { break };
            self.0.dispatch(happening);
        }
    }

    fn follows(&self, server: usize, source: usize) -> bool {
        let upstream = self.0.servers[server].upstream.as_ref();
        upstream.is_some_and(|up| up.state == Connection::Up && up.to == Some(source))
    }

    fn sizes(&self) -> [u32; 3] {
        [0, 1, 2].map(|server| self.0.history.size(&self.0.servers[server].data.tips))
    }

    /// Full synchronisations so far, and partial ones.
    fn synchronisations(&self) -> (usize, usize) {
        let lines = self.0.transcript.clone().lines();
        let count = |how: &str| lines.iter().filter(|line| line.contains(how)).count();
        (count("(full:"), count("(partial:"))
    }
}

#[test]
fn a_replica_begins_with_a_full_synchronisation_and_gets_the_stream_then() {
    let mut plain = Plain::set();
    assert_eq!(plain.synchronisations(), (2, 0));
    assert_eq!(plain.0.servers[1].data.replid, plain.0.servers[0].data.replid);
    assert_eq!(plain.0.attached(0).len(), 2);
    assert_eq!(plain.0.laws.broken, None);
    assert!(!plain.0.servers[1].serves());
    plain.write(0, 3);
    plain.pass(500);
    assert_eq!(plain.sizes(), [8, 8, 8]);
}

#[test]
fn after_a_promotion_the_others_and_the_old_primary_go_on_with_a_partial_synchronisation() {
    let mut plain = Plain::set();
    let (old, offset) = (plain.0.servers[0].data.replid, plain.0.servers[1].data.offset);
    plain.stop(0);
    plain.pass(100);
    plain.replicate(1, None);
    let promoted = &plain.0.servers[1];
    assert!(promoted.serves());
    assert_eq!(promoted.data.second, Some((old, offset)));
    assert_ne!(promoted.data.replid, old);
    plain.write(1, 4);
    plain.replicate(2, Some(1));
    plain.start(0, Some(1));
    plain.pass(3_000);
    assert!(plain.follows(2, 1) && plain.follows(0, 1));
    assert_eq!(plain.synchronisations(), (2, 2));
    assert_eq!(plain.sizes(), [9, 9, 9]);
    assert_eq!(plain.0.laws.broken, None);
}

#[test]
fn whoever_has_more_than_the_promoted_one_had_loses_it_by_a_full_synchronisation() {
    let mut plain = Plain::set();
    plain.kill(2);
    plain.0.network.cut(Way::Bus, 0, 1);
    plain.write(0, 2);
    plain.pass(500);
    assert_eq!(plain.sizes(), [7, 5, 5]);
    plain.replicate(1, None);
    plain.0.network.mend(plain.0.clock.now());
    plain.replicate(0, Some(1));
    plain.pass(3_000);
    assert!(plain.follows(0, 1));
    assert_eq!(plain.synchronisations(), (3, 0));
    assert_eq!(plain.0.history.size(&plain.0.servers[0].data.tips), 5);
}

#[test]
fn a_replica_that_was_away_for_longer_than_the_backlog_gets_all_anew() {
    for (backlog, fulls) in [("1000", 3), ("10000", 2)] {
        let mut plain = Plain::stopped();
        plain.start_with(0, None, &[("repl-backlog-size", backlog)]);
        plain.start(1, Some(0));
        plain.start(2, Some(0));
        plain.pass(3_000);
        plain.stop(1);
        plain.write(0, 20);
        plain.start(1, Some(0));
        plain.pass(3_000);
        assert!(plain.follows(1, 0));
        assert_eq!(plain.synchronisations().0, fulls, "a backlog of {backlog}");
        assert_eq!(plain.sizes(), [20, 20, 20]);
    }
}

#[test]
fn a_primary_that_is_restarted_with_its_file_is_continued_and_without_it_empties_all() {
    let mut plain = Plain::set();
    plain.stop(0);
    plain.pass(100);
    plain.start(0, None);
    plain.pass(3_000);
    assert!(plain.follows(1, 0) && plain.follows(2, 0));
    assert_eq!(plain.synchronisations(), (2, 2));
    assert_eq!(plain.0.laws.broken, None);

    plain.kill(0);
    plain.0.servers[0].disk.rdb = None;
    plain.0.servers[1].disk.rdb = None;
    plain.0.servers[2].disk.rdb = None;
    plain.start(0, None);
    plain.pass(3_000);
    assert_eq!(plain.sizes(), [0, 0, 0]);
    assert_eq!(plain.0.laws.broken.as_ref().map(|broken| broken.law), Some(3), "and the laws see it");
}

#[test]
fn a_replica_of_a_replica_gets_what_that_one_gets_and_survives_its_promotion() {
    let mut plain = Plain::set();
    plain.replicate(2, Some(1));
    plain.pass(2_000);
    assert!(plain.follows(2, 1));
    plain.write(0, 2);
    plain.pass(500);
    assert_eq!(plain.sizes(), [7, 7, 7]);
    assert_eq!(plain.synchronisations(), (2, 1));
    plain.replicate(1, None);
    plain.write(1, 1);
    plain.pass(3_000);
    assert!(plain.follows(2, 1));
    assert_eq!(plain.synchronisations(), (2, 2));
    assert_eq!(plain.sizes(), [7, 8, 8]);
}

#[test]
fn nobody_at_the_address_is_no_source_until_somebody_is() {
    let mut plain = Plain::stopped();
    plain.start(1, Some(0));
    plain.0.servers[0].address = Fleet::address(0, 500);
    plain.pass(2_000);
    assert_eq!(plain.0.servers[1].link(), Link::NeverUp);
    plain.0.servers[0].address = Fleet::address(0, 0);
    plain.start(0, None);
    plain.pass(2_000);
    assert_eq!(plain.0.servers[1].link(), Link::Up);
    plain.kill(0);
    plain.pass(500);
    assert_eq!(plain.0.servers[1].link(), Link::Lost);
}

#[test]
fn a_source_is_another_one_than_oneself_and_may_be_of_another_shard() {
    let mut plain = Plain::set();
    plain.replicate(1, Some(1));
    plain.pass(3_000);
    assert!(!plain.0.servers[1].in_stream());
    let shard = plain.0.members.shard_of[0];
    let stranger = plain.0.members.shard_of.iter().position(|other| *other != shard).unwrap_or_default();
    plain.start(stranger, Some(0));
    plain.pass(3_000);
    plain.write(0, 1);
    plain.pass(500);
    assert!(plain.follows(stranger, 0));
    assert_eq!(plain.0.history.size(&plain.0.servers[stranger].data.tips), 6);
}

#[test]
fn an_older_replica_takes_no_copy_that_it_cannot_load() {
    for (primary, comes_up) in [(Version::Valkey90, false), (Version::Valkey91, true)] {
        let mut plain = Plain::stopped();
        plain.0.servers[0].version = primary;
        plain.0.servers[1].version = Version::Valkey81;
        plain.start(0, None);
        plain.start(1, Some(0));
        plain.pass(5_000);
        assert_eq!(plain.follows(1, 0), comes_up, "{primary}");
        assert_eq!(plain.0.servers[1].kind, Kind::Plain(Some(plain.at(0))));
    }
}
