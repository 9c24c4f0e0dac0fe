//! Slots as atoms: who owns what, by epochs.

use super::{Bus, Effects, NodesFileState, SHARDS};
use crate::history::Tips;
use valkeeper_model::Role;

/// The second primary takes over some atoms of the first, with their keys.
fn import(bus: &mut Bus, to: usize, atoms: &[usize]) {
    let (slots, mut keys, mut fx) = (bus.slots_of(atoms), Tips::EMPTY, Effects::default());
    for atom in atoms {
        keys.set(*atom, 40 + u32::try_from(*atom).unwrap_or_default());
    }
    bus.servers[to].import(&slots, &keys, &mut fx).unwrap_or_else(|error| panic!("{error}"));
    assert!(fx.changed_data);
    bus.deliver(to, fx);
}

#[test]
fn two_primaries_own_parts_of_what_was_one_shard() {
    let mut bus = Bus::formed();
    let home = bus.home_of(0);
    let (moved, kept) = home.split_at(2);
    for atom in &home {
        bus.servers[0].data.tips.set(*atom, 7);
    }
    let before = bus.servers[0].data.offset;

    import(&mut bus, 1, moved);

    assert!(moved.iter().all(|atom| bus.owner_of(*atom) == Some(1)));
    assert!(kept.iter().all(|atom| bus.owner_of(*atom) == Some(0)));
    assert!(bus.servers[0].serves() && bus.servers[1].serves(), "who lost some of its slots stays a primary");
    assert!(moved.iter().all(|atom| bus.servers[0].data.tips.get(*atom) == 0), "and deletes their keys");
    assert!(kept.iter().all(|atom| bus.servers[0].data.tips.get(*atom) == 7));
    assert!(bus.servers[0].data.offset > before, "which its replicas are sent");
    assert!(bus.servers[1].data.tips.get(moved[0]) != 0);
    assert!(bus.beliefs(|server| server.table[1].config_epoch).iter().all(|epoch| *epoch == 4));
}

#[test]
fn nodes_conf_keeps_whose_each_atom_is() {
    let mut bus = Bus::formed();
    let moved = bus.home_of(0)[..1].to_vec();
    import(&mut bus, 1, &moved);
    let owned = (bus.owned_by(0), bus.owned_by(1));
    for me in [0, 1] {
        bus.servers[me].end();
        assert!(matches!(bus.servers[me].disk.conf, NodesFileState::Written(_)));
        bus.start(me);
    }
    assert_eq!((bus.owned_by(0), bus.owned_by(1)), owned);
}

#[test]
fn an_old_claim_of_some_atoms_is_answered_and_given_up() {
    let mut bus = Bus::formed();
    let moved = bus.home_of(0)[..1].to_vec();
    bus.cut_off = vec![0];
    import(&mut bus, 1, &moved);
    assert_eq!(bus.servers[0].owners[moved[0]], Some(0), "the former owner has not heard of it");

    // The new owner itself cannot be heard: another one has to tell.
    bus.cut_off = vec![1];
    bus.pass(3_000);

    assert_eq!(bus.owner_of(moved[0]), Some(1));
    assert_eq!(bus.owner_of(bus.home_of(0)[1]), Some(0));
}

#[test]
fn whoever_loses_its_last_atom_to_the_owner_of_others_stays_an_empty_primary() {
    let mut bus = Bus::formed();
    let home = bus.home_of(0);
    import(&mut bus, 1, &home);
    bus.pass(1_000);
    assert!(bus.servers[0].is_primary() && !bus.servers[0].owns());
    assert!(home.iter().all(|atom| bus.owner_of(*atom) == Some(1)));
    assert_eq!(bus.servers[SHARDS].table[SHARDS].primary, Some(0), "its replica stays with it");
}

#[test]
fn a_promoted_replica_takes_over_what_its_primary_owned_then() {
    let mut bus = Bus::formed();
    let home = bus.home_of(0);
    let (moved, kept) = home.split_at(1);
    import(&mut bus, 1, moved);
    let replica = SHARDS;
    let mut fx = Effects::default();
    let (now, mut random) = (bus.now, crate::random::Random::new(2));
    bus.servers[replica].failover(true, now, &mut random, &mut fx).unwrap_or_else(|error| panic!("{error}"));
    bus.deliver(replica, fx);

    assert!(kept.iter().all(|atom| bus.owner_of(*atom) == Some(replica)));
    assert_eq!(bus.owner_of(moved[0]), Some(1));
    assert_eq!(bus.servers[0].table[0].role, Role::Replica, "who lost all that it owned follows");
    assert_eq!(bus.servers[0].table[0].primary, Some(replica));
}

#[test]
fn votes_are_refused_for_a_claim_of_which_one_atom_has_a_newer_owner() {
    let mut bus = Bus::formed();
    let moved = bus.home_of(0)[..1].to_vec();
    let replica = SHARDS;
    // The replica still believes that all of it is its primary's.
    bus.cut_off = vec![replica];
    import(&mut bus, 1, &moved);
    bus.cut_off = vec![0];
    let mut fx = Effects::default();
    let (now, mut random) = (bus.now, crate::random::Random::new(2));
    bus.servers[replica].failover(true, now, &mut random, &mut fx).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(bus.servers[replica].owners[moved[0]], Some(0));
    bus.deliver(replica, fx);
    assert!(!bus.servers[replica].is_primary());
    assert_eq!(bus.servers[replica].owners[moved[0]], Some(1), "and it is told");
}

#[test]
fn an_atom_that_its_owner_stopped_claiming_goes_to_whoever_claims_it() {
    let mut bus = Bus::formed();
    let atom = bus.home_of(2)[0];
    // As by CLUSTER DELSLOTS on the owner, whose epoch is the highest.
    bus.servers[2].owners[atom] = None;
    bus.pass(6_000);
    assert_eq!(bus.servers[1].owners[atom], Some(2), "it stays bound to its owner");
    let mut fx = Effects::default();
    bus.servers[0].owners[atom] = None;
    let slots = bus.slots_of(&[atom]);
    bus.servers[0].take_slots(&slots, &mut fx).unwrap_or_else(|error| panic!("{error}"));
    bus.pass(6_000);
    assert_eq!(bus.owner_of(atom), Some(0), "the lower epoch is enough then");
}

#[test]
fn slots_that_are_no_whole_atoms_are_refused() {
    let mut bus = Bus::formed();
    let whole = bus.slots_of(&bus.home_of(0)[..1]);
    let first = whole.first().unwrap_or_else(|| panic!("an atom without slots"));
    let part = valkeeper_model::SlotRange::new(first, first).into_iter().collect();
    let mut fx = Effects::default();
    assert!(bus.servers[1].import(&part, &Tips::EMPTY, &mut fx).is_err());
    assert!(bus.servers[1].take_slots(&whole, &mut fx).is_err(), "somebody owns it");
}
