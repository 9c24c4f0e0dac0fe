//! Servers of several versions beside each other.

use super::{Bus, Effects, SHARDS, address, config, id, replid};
use crate::history::Tips;
use crate::server::{Server, Version};
use std::collections::BTreeMap;

/// Starts a server as another version.
fn start_as(server: &mut Server, version: Version, config: &BTreeMap<String, String>) -> Result<(), String> {
    server.end();
    server.version = version;
    server.exec(config.clone(), replid(0))
}

#[test]
fn a_server_does_not_start_on_the_dump_of_a_newer_one() {
    let mut bus = Bus::formed();
    let server = &mut bus.servers[0];
    server.data.tips.set(0, 7);
    server.write_rdb();
    let (rdb, aof) = (config(&[("save", "900 1")]), config(&[("appendonly", "yes")]));
    assert!(start_as(server, Version::Valkey81, &rdb).is_err());
    assert!(!server.alive());
    assert_eq!(start_as(server, Version::Valkey81, &aof), Ok(()), "with AOF on, a dump.rdb is not read");
    assert_eq!(start_as(server, Version::Valkey90, &rdb), Ok(()));
    assert_eq!(server.data.tips.get(0), 7);
    server.write_rdb();
    assert_eq!(start_as(server, Version::Valkey91, &rdb), Ok(()));
}

#[test]
fn nor_on_the_append_only_file_of_a_newer_one() {
    let mut bus = Bus::formed();
    let server = &mut bus.servers[0];
    let aof = config(&[("appendonly", "yes")]);
    assert_eq!(start_as(server, Version::Valkey81, &aof), Ok(()));
    assert_eq!(start_as(server, Version::Valkey91, &aof), Ok(()), "a newer one reads it");
    assert_eq!(start_as(server, Version::Valkey81, &aof), Ok(()), "and has not written its base anew");
    server.disk.aof = None;
    assert_eq!(start_as(server, Version::Valkey91, &aof), Ok(()));
    assert!(start_as(server, Version::Valkey81, &aof).is_err());
}

#[test]
fn an_older_server_takes_no_slots_by_migration() {
    let mut bus = Bus::formed();
    let slots = bus.slots_of(&bus.home_of(0)[..1]);
    bus.servers[1].version = Version::Valkey81;
    let mut fx = Effects::default();
    assert!(bus.servers[1].import(&slots, &Tips::EMPTY, &mut fx).is_err());
    bus.servers[1].version = Version::Valkey90;
    assert_eq!(bus.servers[1].import(&slots, &Tips::EMPTY, &mut fx), Ok(()));
}

#[test]
fn an_older_server_neither_spreads_nor_hears_of_forgetting() {
    let mut bus = Bus::with_strangers(1);
    let stranger = 2 * SHARDS;
    let (now, mut fx) = (bus.now, Effects::default());
    bus.servers[0].meet(stranger, address(stranger), now, &mut fx);
    bus.deliver(0, fx);
    bus.pass(6_000);
    bus.servers[stranger].end();
    bus.servers[0].version = Version::Redis70;
    bus.servers[1].version = Version::Redis70;
    let forget = |bus: &mut Bus, by: usize| {
        let now = bus.now;
        bus.servers[by].forget(id(stranger), now)
    };
    assert_eq!(forget(&mut bus, 0), Ok(()));
    bus.pass(6_000);
    assert!((1..stranger).all(|server| bus.servers[server].table.knows(stranger)));
    assert_eq!(forget(&mut bus, 2), Ok(()));
    bus.pass(6_000);
    let knows: Vec<_> = (0..stranger).filter(|server| bus.servers[*server].table.knows(stranger)).collect();
    assert_eq!(knows, [1]);
}

/// How long the replica of a dead primary takes to be one.
fn election_ms(version: Version) -> u64 {
    let mut bus = Bus::formed();
    bus.servers[SHARDS].version = version;
    bus.servers[SHARDS].data.offset = 100;
    bus.servers[0].end();
    let died = bus.now;
    while !bus.servers[SHARDS].is_primary() && bus.now < died + 60_000 {
        bus.pass(100);
    }
    bus.now - died
}

#[test]
fn an_older_replica_waits_longer_before_it_asks_for_votes() {
    let (old, new) = (election_ms(Version::Valkey81), election_ms(Version::Valkey91));
    assert!(old >= new + 200 && old < 20_000, "{old} {new}");
}
