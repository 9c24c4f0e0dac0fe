//! Tables that grow and shrink.

use super::{Bus, Effects, SHARDS, address, id};
use crate::server::FORGOTTEN_MS;

/// The one instance that nobody knows.
const STRANGER: usize = 2 * SHARDS;

fn meet(bus: &mut Bus, one: usize, other: usize) {
    let mut fx = Effects::default();
    let now = bus.now;
    bus.servers[one].meet(other, address(other), now, &mut fx);
    bus.deliver(one, fx);
}

/// Who knows an instance.
fn knowing(bus: &Bus, whom: usize) -> Vec<usize> {
    let all = bus.servers.iter();
    all.filter(|server| server.me != whom && server.table.knows(whom)).map(|server| server.me).collect()
}

fn forget(bus: &mut Bus, by: usize, whom: usize) -> Result<(), String> {
    let now = bus.now;
    bus.servers[by].forget(id(whom), now)
}

#[test]
fn a_server_knows_whom_its_nodes_conf_names() {
    let mut bus = Bus::with_strangers(1);
    assert_eq!(knowing(&bus, STRANGER), Vec::<usize>::new());
    assert_eq!(bus.servers[STRANGER].table.iter().count(), 1, "itself");
    meet(&mut bus, 0, STRANGER);
    bus.servers[0].end();
    bus.start(0);
    assert!(bus.servers[0].table.knows(STRANGER), "and keeps in it whom it met");
}

#[test]
fn one_meeting_makes_all_known_to_each_other() {
    let mut bus = Bus::with_strangers(1);
    meet(&mut bus, 0, STRANGER);
    assert!(
        bus.servers[0].table.knows(STRANGER) && bus.servers[STRANGER].table.knows(0),
        "at once, both ways"
    );
    bus.pass(6_000);
    assert_eq!(knowing(&bus, STRANGER), (0..STRANGER).collect::<Vec<_>>());
    assert_eq!(bus.servers[STRANGER].table.iter().count(), STRANGER + 1);
    assert_eq!(bus.servers[STRANGER].owners, bus.servers[0].owners, "it learns who owns what");
    assert!(bus.servers[STRANGER].is_primary() && !bus.servers[STRANGER].owns());
}

#[test]
fn nobody_listens_to_a_stranger() {
    let mut bus = Bus::with_strangers(1);
    // It knows one, and that one does not know it.
    bus.servers[STRANGER].table.insert(0, crate::server::Peer::at(address(0), bus.now));
    bus.pass(6_000);
    assert_eq!(knowing(&bus, STRANGER), Vec::<usize>::new());
    assert!(!bus.servers[STRANGER].table[0].suspected, "it is answered all the same");
}

#[test]
fn one_forgetting_makes_all_forget() {
    let mut bus = Bus::with_strangers(1);
    meet(&mut bus, 0, STRANGER);
    bus.pass(6_000);
    bus.servers[STRANGER].end();
    assert_eq!(forget(&mut bus, 1, STRANGER), Ok(()));
    assert_eq!(forget(&mut bus, 1, STRANGER), Ok(()), "who is forgotten already may be forgotten again");
    bus.pass(6_000);
    assert_eq!(knowing(&bus, STRANGER), Vec::<usize>::new());
    bus.pass(FORGOTTEN_MS + 6_000);
    assert_eq!(knowing(&bus, STRANGER), Vec::<usize>::new(), "nobody is left who could tell of it");
    assert!(forget(&mut bus, 1, STRANGER).is_err(), "by now nobody knows that id");
}

#[test]
fn who_was_forgotten_is_not_brought_back_by_gossip_for_a_minute() {
    let mut bus = Bus::with_strangers(1);
    meet(&mut bus, 0, STRANGER);
    bus.pass(6_000);
    // One that is cut off is not told; when it is back, it is.
    bus.cut_off = vec![SHARDS];
    assert_eq!(forget(&mut bus, 0, STRANGER), Ok(()));
    bus.pass(FORGOTTEN_MS / 2);
    assert!(knowing(&bus, STRANGER).contains(&SHARDS));
    bus.cut_off.clear();
    bus.pass(6_000);
    assert_eq!(knowing(&bus, STRANGER), Vec::<usize>::new());

    // One that is cut off for longer brings it back.
    bus.pass(FORGOTTEN_MS);
    meet(&mut bus, 0, STRANGER);
    bus.pass(6_000);
    bus.cut_off = vec![SHARDS];
    assert_eq!(forget(&mut bus, 0, STRANGER), Ok(()));
    bus.pass(FORGOTTEN_MS + 6_000);
    bus.cut_off.clear();
    bus.pass(6_000);
    assert_eq!(knowing(&bus, STRANGER).len(), STRANGER);
}

#[test]
fn who_is_met_is_taken_up_in_spite_of_the_ban() {
    let mut bus = Bus::with_strangers(1);
    meet(&mut bus, 0, STRANGER);
    bus.pass(6_000);
    assert_eq!(forget(&mut bus, 0, STRANGER), Ok(()));
    meet(&mut bus, 0, STRANGER);
    assert!(bus.servers[0].table.knows(STRANGER));
}

#[test]
fn a_server_forgets_neither_itself_nor_its_primary() {
    let mut bus = Bus::formed();
    assert!(forget(&mut bus, 0, 0).is_err());
    assert!(forget(&mut bus, SHARDS, 0).is_err());
    assert!(forget(&mut bus, 0, 40).is_err());
    assert_eq!(forget(&mut bus, 1, 0), Ok(()));
    bus.pass(3_000);
    assert!(!bus.servers[2].table.knows(0));
    assert!(bus.servers[SHARDS].table.knows(0), "nor does it when others tell it");
}

#[test]
fn what_a_forgotten_primary_owned_is_nobodys() {
    let mut bus = Bus::formed();
    bus.servers[0].end();
    let atoms = bus.home_of(0);
    assert_eq!(forget(&mut bus, 1, 0), Ok(()));
    assert!(atoms.iter().all(|atom| bus.servers[1].owners[*atom].is_none()));
    assert_eq!(bus.servers[1].table[SHARDS].primary, None, "and its replica is nobody's");
}
