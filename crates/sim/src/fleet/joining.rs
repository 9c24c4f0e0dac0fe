//! Instances that join a running fleet.

use super::*;
use crate::server::NodesFileState;
use valkeeper_model::nodes_conf::{NodeLine, NodesConf};
use valkeeper_model::{ClusterSpec, ReplicationId, Role, ZonePolicy};

/// Servers of a formed cluster that nobody controls.
fn formed() -> Fleet {
    let mut fleet = Fleet::new(Setup::quiet(1));
    fleet.clock = Clock::new();
    fleet.controllers.clear();
    for me in 0..fleet.servers.len() {
        let known: Vec<usize> = (0..fleet.servers.len()).collect();
        start(&mut fleet, me, &known);
    }
    pass(&mut fleet, 4_000);
    fleet
}

/// Starts a server that knows these. The first of each shard is its primary.
fn start(fleet: &mut Fleet, me: usize, known: &[usize]) {
    let line = |index: &usize| {
        let members = &fleet.members;
        let shard = members.shard_of[*index];
        let primary = members.shard_of.iter().position(|of| *of == shard).filter(|primary| primary != index);
        let role = if primary.is_some() { Role::Replica } else { Role::Primary };
        let mut line = NodeLine::new(members.ids[*index], Some(fleet.servers[*index].address.clone()), role);
        line.flags.myself = *index == me;
        line.primary = primary.map(|primary| members.ids[primary]);
        if primary.is_none() {
            line.slots = members.atoms.slots_of(members.atoms.home_of(shard));
            line.config_epoch = valkeeper_model::Epoch(shard as u64 + 1);
        }
        line
    };
    let conf = NodesConf { nodes: known.iter().map(line).collect(), vars: None };
    let replid = ReplicationId::from_bytes(fleet.random.id());
    let server = &mut fleet.servers[me];
    server.disk.conf = NodesFileState::Written(conf);
    let config = BTreeMap::from([("cluster-enabled".to_owned(), "yes".to_owned())]);
    server.exec(config, replid).unwrap_or_else(|error| panic!("{error}"));
    let run = server.run;
    fleet.clock.after(5, Happening::Ready { server: me, run });
}

fn pass(fleet: &mut Fleet, ms: u64) {
    let until = fleet.now() + ms;
    // A host that is not lost comes back: nothing happens, and time passes.
    fleet.clock.at(until, Happening::HostBack { host: 0 });
    while fleet.now() < until {
        let Some(happening) = fleet.clock.go_on() else { break };
        fleet.dispatch(happening);
    }
}

#[test]
fn what_a_layout_has_more_is_added_and_is_known_to_whom_it_meets() {
    let mut fleet = formed();
    let before = fleet.servers.len();
    assert!((0..3).all(|primary| fleet.servers[primary].serves()));

    let larger = Setup { shards: 4, ..fleet.setup.clone() };
    // Four primaries have no place in three zones that survives the loss of each.
    let spec = ClusterSpec { zones: ZonePolicy::BestEffort, ..larger.spec() };
    let layout = valkeeper_plan::placement::found(&spec, &larger.zones(), &mut Random::new(9));
    let layout = layout.unwrap_or_else(|impossible| panic!("{impossible}"));
    fleet.add_instances(&layout);
    fleet.add_instances(&layout);

    assert_eq!(fleet.servers.len(), before + 2, "once");
    let shards: Vec<_> = fleet.members.shard_of[before..].to_vec();
    assert!(shards.contains(&3) && fleet.members.shards() == 4, "one of them is of a new shard: {shards:?}");
    assert!(fleet.atoms_of(3).is_empty());
    let new = before + usize::from(shards[0] != 3);
    assert!((0..before).all(|server| !fleet.servers[server].table.knows(new)));

    start(&mut fleet, new, &[new]);
    pass(&mut fleet, 3_000);
    let (now, address) = (fleet.now(), fleet.servers[new].address.clone());
    let mut fx = Effects::default();
    fleet.servers[0].meet(new, address, now, &mut fx);
    fleet.apply(0, fx);
    pass(&mut fleet, 6_000);
    assert!((0..before).all(|server| fleet.servers[server].table.knows(new)));
    assert!((0..3).all(|primary| fleet.servers[primary].serves()));
    assert_eq!(fleet.servers[new].owners, fleet.servers[0].owners);
    assert_eq!(fleet.laws.broken, None);
}
