//! Servers without cluster mode, each by itself.

use super::{Bus, address, members, replid};
use crate::random::Random;
use crate::server::{Effects, Kind, Process, Rise, Server};
use std::collections::BTreeMap;

/// The configuration of one without cluster mode, and whom it names as its source.
fn config(source: Option<&str>) -> BTreeMap<String, String> {
    let mut config = BTreeMap::from([("save".to_owned(), "900 1".to_owned())]);
    if let Some(source) = source {
        config.insert("replicaof".to_owned(), source.to_owned());
    }
    config
}

fn started(source: Option<&str>) -> Server {
    let mut server = Server::new(0, members(0), address(0), replid(0));
    start(&mut server, source);
    server
}

fn start(server: &mut Server, source: Option<&str>) {
    server.exec(config(source), replid(9)).unwrap_or_else(|error| panic!("{error}"));
    server.ready(5_000);
}

#[test]
fn one_whose_configuration_names_no_source_is_a_writable_primary_at_once() {
    let server = started(None);
    assert!(server.is_primary() && server.serves());
    assert_eq!((server.kind, server.source()), (Kind::Plain(None), None));
}

#[test]
fn one_whose_configuration_names_a_source_never_takes_a_write() {
    let mut server = started(Some("127.0.0.1 7001"));
    assert!(!server.is_primary() && !server.owns() && !server.serves());
    assert_eq!(server.source(), Some(address(1).socket()));
    let view = server.view(&[], Vec::new(), &crate::history::History::new());
    assert!(view.follows.is_some_and(|followed| followed.is_at(&address(1))), "and says so");
    assert!(!server.takes_replicas(), "its link is not up");
}

#[test]
fn replicaof_changes_what_it_is_while_it_runs() {
    let mut server = started(None);
    let mut fx = Effects::default();
    let source = Some(address(1).socket());
    assert_eq!(server.replicate_from(source, &mut fx), Ok(()));
    assert!(fx.turned && fx.released && fx.rose.is_none());
    assert!(!server.is_primary() && !server.serves() && server.has_source());

    let mut fx = Effects::default();
    assert_eq!(server.replicate_from(source, &mut fx), Ok(()));
    assert!(!fx.turned, "it is connected to that one already");

    assert_eq!(server.replicate_from(None, &mut fx), Ok(()));
    assert_eq!(fx.rose, Some(Rise::NoOne));
    assert!(server.serves() && !server.has_source());

    let mut fx = Effects::default();
    assert_eq!(server.replicate_from(None, &mut fx), Ok(()));
    assert!(fx.rose.is_none() && !fx.turned);
}

#[test]
fn what_it_was_told_while_it_ran_is_forgotten_at_its_end() {
    let mut server = started(None);
    let mut fx = Effects::default();
    assert_eq!(server.replicate_from(Some(address(1).socket()), &mut fx), Ok(()));
    server.end();
    start(&mut server, None);
    assert!(server.serves(), "it starts as its configuration says");
    server.end();
    start(&mut server, Some("127.0.0.1 7001"));
    assert!(!server.serves());
}

#[test]
fn it_has_neither_bus_nor_nodes_conf() {
    let bus = Bus::formed();
    let mut server = started(None);
    let (mut random, mut fx) = (Random::new(1), Effects::default());
    server.cron(60_000, &mut random, &mut fx);
    assert!(server.ok, "nobody is needed for that");
    let mut meeting = Effects::default();
    let mut other = bus.servers;
    other[1].meet(0, address(0), 1_000, &mut meeting);
    let (_, _, message) = meeting.sends.remove(0);
    server.receive(60_000, &message, &mut random, &mut fx);
    assert!(fx.sends.is_empty());
    assert_eq!(server.table.iter().count(), 1);
    server.end();
    assert_eq!(server.disk.conf, crate::server::NodesFileState::Missing);
}

#[test]
fn the_modes_exclude_each_other() {
    let mut bus = Bus::formed();
    let mut fx = Effects::default();
    assert!(bus.servers[0].replicate_from(None, &mut fx).is_err());
    let mut server = Server::new(0, members(0), address(0), replid(0));
    let both = super::config(&[("replicaof", "127.0.0.1 7001")]);
    assert!(server.exec(both, replid(9)).is_err());
    assert!(server.exec(config(Some("somewhere")), replid(9)).is_err());
    assert_eq!(server.process, Process::Down);
}

#[test]
fn a_restarted_primary_names_the_history_of_its_file_as_the_former_one() {
    let mut server = started(None);
    server.data.tips.set(0, 7);
    (server.data.replid, server.data.offset) = (replid(3), 700);
    server.write_rdb();
    server.end();
    start(&mut server, None);
    assert_eq!(server.data.replid, replid(9));
    assert_eq!((server.data.second, server.data.offset), (Some((replid(3), 700)), 700));
    assert_eq!(server.data.tips.get(0), 7);

    server.end();
    start(&mut server, Some("127.0.0.1 7001"));
    assert_eq!(
        (server.data.replid, server.data.offset),
        (replid(3), 700),
        "a replica goes on in that history"
    );
    assert!(server.data.resumable);
}
