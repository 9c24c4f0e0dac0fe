//! The number of shards changes: what is laid out, when slots move, and when a shard that leaves is stopped.

use crate::ordered::{Counted, address, name, runs, spec};
use std::collections::{BTreeMap, BTreeSet};
use valkeeper_model::{
    AgentOrder, Answer, Ask, AskFailed, ClusterSpec, Generation, InstanceLife, InstanceName, Layout, Millis,
    Observation, Observed, OrderedSince, Refusal, Role, ShardLife, ShardName, ShardSeat, SlotMoveStage,
    SlotSet, Unseen, ZoneName,
};
use valkeeper_plan::agent::{Agent, Command as Act, Event as Happening, StartPlan};
use valkeeper_plan::controller::{change, orders};
use valkeeper_plan::failover::copy::DataFiles;
use valkeeper_plan::failover::restart_decision::{Disk, NodesFile, Owner};
use valkeeper_plan::operations::{move_slots, spread};
use valkeeper_plan::placement::{Placing, found};
use valkeeper_plan::view::cluster_view::ClusterView;

fn zones() -> Vec<ZoneName> {
    ["a", "b", "c"].iter().map(|zone| zone.parse().expect("a zone")).collect()
}

fn founded() -> Layout {
    found(&spec(3), &zones(), &mut Counted(0)).expect("it has room").founded()
}

fn followed(layout: &Layout, wanted: &ClusterSpec) -> Result<Layout, Refusal> {
    let taken = u64::try_from(layout.instances.len() + layout.retired.len()).expect("few");
    change::follow(layout, wanted, None, &mut Placing { zones: &zones(), ids: &mut Counted(1_000 * taken) })
}

fn with_shards(layout: &Layout, shards: u32) -> Layout {
    followed(layout, &spec(shards)).expect("it has room")
}

fn shard(n: u32) -> ShardName {
    ShardName::nth(n)
}

fn given(layout: &Layout) -> BTreeMap<InstanceName, AgentOrder> {
    let places: BTreeMap<_, _> = layout.instances.keys().cloned().zip((1..).map(address)).collect();
    let members = orders::members(layout, &places).expect("founders have a place");
    let hash = orders::addresses_hash(layout, &places);
    let order = |name: &InstanceName| orders::order(layout, &members, None, hash, name).expect("a member");
    layout.instances.keys().map(|name| (name.clone(), order(name))).collect()
}

/// All servers run by the orders of that layout, and the slots are where it says.
fn seen(layout: &Layout) -> Observation {
    let given = given(layout);
    let instances = given.iter().map(|(name, order)| (name.clone(), runs(order, |_| true))).collect();
    Observation { at: Millis(1), instances, ..Observation::default() }
}

fn spread(layout: &Layout) -> Option<Layout> {
    let seen = seen(layout);
    spread::next(&ClusterView::new(layout, &seen))
}

fn lives(layout: &Layout, life: &InstanceLife) -> usize {
    layout.instances.values().filter(|one| one.life == *life).count()
}

fn joined(layout: Layout) -> Layout {
    layout.with_lives(|one| (one.life == InstanceLife::Joining).then_some(InstanceLife::Member))
}

#[test]
fn new_shards_are_whole_and_have_no_slots_and_their_primaries_are_in_different_zones() {
    let grown = with_shards(&founded(), 6);
    assert_eq!((grown.shards.len(), grown.instances.len()), (6, 12));
    let new: Vec<_> = grown.shards.iter().filter(|(_, one)| one.life == ShardLife::Founding).collect();
    assert_eq!(
        new.iter().map(|(name, _)| (*name).clone()).collect::<Vec<_>>(),
        [shard(3), shard(4), shard(5)]
    );
    assert!(new.iter().all(|(_, one)| one.slots.is_empty()));
    let primaries: BTreeSet<_> = new.iter().map(|(_, one)| &grown.instances[&one.founder].zone).collect();
    assert_eq!(primaries.len(), 3);
    for (name, one) in new {
        let home = &grown.instances[&one.founder].zone;
        assert!(grown.instances_of(name).all(|(of, other)| *of == one.founder || other.zone != *home));
    }
    // The same again changes nothing, and an empty shard has no vote.
    assert_eq!(with_shards(&grown, 6), grown);
    let given = given(&grown);
    let vote = |of: &InstanceName| given[&name(0)].members[of].seat;
    assert_eq!((vote(&name(0)), vote(&name(6))), (ShardSeat::Held, ShardSeat::NotHeld));
    assert_eq!(given[&name(6)].shard_life, ShardLife::Founding);
    // Four primaries in three zones: one zone would hold half of them.
    assert!(matches!(followed(&founded(), &spec(4)), Err(Refusal::Impossible(_))));
}

/// An agent whose directory is lost begins nothing while others obey a newer order than its own.
#[test]
fn every_order_counts_for_an_instance_whose_shard_has_no_slots_yet() {
    let mut grown = joined(with_shards(&founded(), 6));
    let first = OrderedSince { of: grown.generation, all: Generation(1), instances: BTreeMap::new() };
    grown.ordered = Some(first);
    assert_eq!(grown.ordered_since(&name(0)), Generation(1));
    assert_eq!(grown.ordered_since(&name(6)), grown.generation);
    assert_eq!(grown.ordered_since(&name(7)), grown.generation);
}

#[test]
fn slots_move_once_all_new_ones_are_there_and_as_few_as_can_be() {
    let grown = with_shards(&founded(), 6);
    assert_eq!(spread(&grown), None, "instances join still");
    let there = joined(grown);
    // One that a primary does not know could get no votes.
    let mut unknown = seen(&there);
    if let Some(Observed::Known(report)) = unknown.instances.get_mut(&name(0))
        && let Observed::Known(view) = &mut report.server
    {
        let mut topology = valkeeper_model::Topology::clone(&view.topology);
        topology.remove(&there.instances[&name(7)].node_id);
        view.topology = std::sync::Arc::new(topology);
    }
    let built = spread::next(&ClusterView::new(&there, &unknown)).expect("two of three are whole");
    let members =
        |layout: &Layout| layout.shards.values().filter(|one| one.life == ShardLife::Member).count();
    assert_eq!(members(&built), 5);
    assert_eq!(spread(&built).map(|next| members(&next)), Some(6));
    let moving = spread(&spread(&there).expect("they are whole")).expect("slots move");
    let moves: Vec<_> = moving.slot_moves().map(|(_, one)| one.target.clone()).collect();
    assert_eq!(moves.len(), 3);
    assert_eq!(moves.iter().map(|one| u32::from(one.slots.len())).sum::<u32>(), 8_191);
    assert_eq!(spread(&moving), None, "they are under way");
}

#[test]
fn the_way_back_ends_the_moves_first_and_takes_the_same_shards_away() {
    let there = joined(with_shards(&founded(), 6));
    let moving = spread(&spread(&there).expect("whole")).expect("slots move");
    let back = with_shards(&moving, 3);
    assert!(back.slot_moves().all(|(_, one)| one.checkpoint.stage == SlotMoveStage::Ending));
    let leaving: Vec<_> = back
        .shards
        .iter()
        .filter(|(_, one)| one.life == ShardLife::Leaving)
        .map(|(name, _)| name.clone())
        .collect();
    assert_eq!(leaving, [shard(3), shard(4), shard(5)]);
    assert_eq!(lives(&back, &InstanceLife::Leaving), 0, "they serve until they have no slots");
    // Forth again: nobody has been told to leave.
    let again = with_shards(&back, 6);
    assert_eq!(again.shards.keys().collect::<Vec<_>>(), moving.shards.keys().collect::<Vec<_>>());
    assert!(again.shards.values().all(|one| one.life == ShardLife::Member));
    // The moves have ended, and nothing had come.
    let mut ended = back;
    ended.operations.retain(|_, operation| operation.moves().is_some());
    let stopping = spread(&ended).expect("they are empty");
    assert_eq!(lives(&stopping, &InstanceLife::Leaving), 6);
    // What has been told to leave does not come back: others do, under names of their own.
    let others = with_shards(&stopping, 6);
    assert_eq!(others.shards.keys().filter(|name| !stopping.shards.contains_key(*name)).count(), 3);
}

#[test]
fn a_shard_that_leaves_gives_all_of_its_slots_away_first() {
    let mut six = found(&spec(6), &zones(), &mut Counted(0)).expect("it has room").founded();
    six = with_shards(&six, 3);
    let moving = spread(&six).expect("slots move");
    let away: SlotSet =
        moving.slot_moves().fold(SlotSet::empty(), |all, (_, one)| all.union(&one.target.slots));
    let held: u16 =
        six.shards.values().filter(|one| one.life == ShardLife::Leaving).map(|one| one.slots.len()).sum();
    assert_eq!(away.len(), held);
    assert!(moving.slot_moves().all(|(_, one)| [shard(3), shard(4), shard(5)].contains(&one.target.from)));
    assert_eq!(lives(&moving, &InstanceLife::Leaving), 0);
}

/// What an agent starts in an empty directory of its own.
fn begins(order: &AgentOrder) -> Option<Box<StartPlan>> {
    let mut agent = Agent::new(order.instance.clone(), None, Millis(0));
    agent.handle(Millis(0), Happening::Order(Box::new(order.clone())));
    let (owner, nodes_conf) = (Owner::Nobody, NodesFile::Missing);
    let disk = Disk { owner, nodes_conf, files: DataFiles::default(), record: None, beside: None };
    let mut said = agent.handle(Millis(1), Happening::Inspected(Ok(Box::new(disk))));
    let asked: Vec<_> = said
        .iter()
        .filter_map(|command| match command {
            Act::Tell { token, ask: Ask::Report { .. }, .. } => Some(*token),
            _ => None,
        })
        .collect();
    for token in asked {
        let result: Result<Answer, AskFailed> = Err(AskFailed::Unseen(Unseen::Unreachable));
        said.extend(agent.handle(Millis(2), Happening::Told { token, result }));
    }
    said.into_iter().find_map(|command| match command {
        Act::Start(plan) => Some(plan),
        _ => None,
    })
}

#[test]
fn a_new_shard_begins_with_a_primary_that_claims_nothing() {
    let grown = with_shards(&founded(), 6);
    let given = given(&grown);
    let file = |of: &InstanceName| begins(&given[of]).and_then(|plan| plan.nodes_conf).expect("it starts");
    let (founder, replica) = (file(&name(6)), file(&name(7)));
    let me = founder.myself().expect("its own line");
    assert_eq!((me.flags.role, me.primary), (Some(Role::Primary), None));
    let follows = replica.myself().expect("its own line");
    assert_eq!((follows.flags.role, follows.primary), (Some(Role::Replica), Some(me.id)));
    // An engine would tell others of slots with an epoch that it has read in its file.
    for conf in [&founder, &replica] {
        assert_eq!(conf.nodes.len(), 12);
        assert!(conf.nodes.iter().all(|node| node.slots.is_empty() && node.config_epoch.0 == 0));
    }
    // Once its shard serves, an empty directory is a lost one.
    let served = AgentOrder { shard_life: ShardLife::Member, ..given[&name(6)].clone() };
    assert!(begins(&served).is_none());
}

#[test]
fn a_shard_that_has_given_all_away_needs_no_word_of_its_replica() {
    let six = with_shards(&found(&spec(6), &zones(), &mut Counted(0)).expect("it has room").founded(), 3);
    let moving = spread(&six).expect("slots move");
    let mut seen = seen(&moving);
    // All servers believe that the slots of s3 are there where they go; its replica is not seen.
    let moves: Vec<_> =
        moving.slot_moves().map(|(_, one)| one.target.clone()).filter(|one| one.from == shard(3)).collect();
    let id = |of: &ShardName| moving.instances[&moving.shards[of].founder].node_id;
    for report in seen.instances.values_mut() {
        let Observed::Known(report) = report else { continue };
        let Observed::Known(view) = &mut report.server else { continue };
        let mut topology = valkeeper_model::Topology::clone(&view.topology);
        for one in &moves {
            let giver = topology.get_mut(&id(&one.from)).expect("known");
            giver.slots = giver.slots.minus(&one.slots);
            let taker = topology.get_mut(&id(&one.to)).expect("known");
            taker.slots = taker.slots.union(&one.slots);
        }
        view.topology = std::sync::Arc::new(topology);
    }
    let replica = moving
        .instances_of(&shard(3))
        .map(|(name, _)| name.clone())
        .find(|name| *name != moving.shards[&shard(3)].founder);
    seen.instances.insert(replica.expect("a replica"), Observed::Unknown(Unseen::Unreachable));
    let cluster_view = ClusterView::new(&moving, &seen);
    assert!(cluster_view.shards[&shard(3)].primary().is_some(), "it is one until the layout says so");
    let arrived: u16 = move_slots::seen(&cluster_view).iter().map(|one| one.arrived.len()).sum();
    assert_eq!(arrived, moving.shards[&shard(3)].slots.len());
}

#[test]
fn shards_that_stay_after_all_have_as_many_replicas_as_the_others() {
    let six = found(&spec(6), &zones(), &mut Counted(0)).expect("it has room").founded();
    let mut bare = spec(3);
    bare.replicas_per_shard = 0;
    let leaving = followed(&six, &bare).expect("it has room");
    let back = with_shards(&leaving, 6);
    for name in back.shards.keys() {
        assert_eq!(back.instances_of(name).filter(|(_, one)| one.life.stays()).count(), 2, "{name}");
    }
}
