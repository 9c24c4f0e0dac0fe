//! Slots that move: which, when they count as moved, and that nothing else fights a move.

use crate::ordered::{ordered, runs};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::sync::Arc;
use valkeeper_model::{
    AgentReport, InstanceName, Layout, Millis, NodeId, Observation, Observed, Operation, Refusal, ShardName,
    Slot, SlotMove, SlotMoveStage, SlotRefusal, SlotSet, Topology, TransferExtent, Waiting,
};
use valkeeper_plan::operations::move_slots::{self, KnownTo, MoveSeen};
use valkeeper_plan::operations::stored::{self, Next};
use valkeeper_plan::operations::{self, Barred, Step};
use valkeeper_plan::placement::rebalance::{self, Holding, Stay};
use valkeeper_plan::view::cluster_view::ClusterView;
use valkeeper_plan::view::health;

type Seen = BTreeMap<InstanceName, AgentReport>;

fn slots(text: &str) -> SlotSet {
    text.parse().expect("slots")
}

fn shard(name: &str) -> ShardName {
    name.parse().expect("a name")
}

/// A whole cluster of three shards, in which these slots are to move.
fn moving(moves: &[(&str, &str, &str)]) -> (Layout, Seen) {
    let (controller, given) = ordered(3, |_| ());
    let mut layout = controller.layout().expect("a layout").clone().founded();
    for (from, to, which) in moves {
        let slot_move = SlotMove::new(shard(from), shard(to), slots(which));
        layout.operations.insert(slot_move.name(), Operation::MoveSlots(slot_move));
    }
    let seen = given.iter().map(|(name, order)| match runs(order, |_| true) {
        Observed::Known(report) => (name.clone(), report),
        Observed::Unknown(unseen) => panic!("{unseen}"),
    });
    (layout, seen.collect())
}

fn with<T>(layout: &Layout, seen: &Seen, look: impl FnOnce(&ClusterView<'_>) -> T) -> T {
    let instances = seen.iter().map(|(name, report)| (name.clone(), Observed::Known(report.clone())));
    let observation = Observation { at: Millis(1), instances: instances.collect(), ..Observation::default() };
    look(&ClusterView::new(layout, &observation))
}

fn due(layout: &Layout, seen: &Seen) -> Vec<Step> {
    with(layout, seen, |view| operations::due(view, &health::judge(view), &Barred::default()))
}

fn waits(layout: &Layout, seen: &Seen) -> Vec<Waiting> {
    with(layout, seen, |view| health::judge(view).waiting)
}

fn primary(layout: &Layout, of: &str) -> (InstanceName, NodeId) {
    let founder = layout.shards[&shard(of)].founder.clone();
    let id = layout.instances[&founder].node_id;
    (founder, id)
}

/// In the eyes of these, the slots are that shard's and the other's no more.
fn believe(
    layout: &Layout,
    seen: &mut Seen,
    who: impl Fn(&InstanceName) -> bool,
    which: &SlotSet,
    of: [&str; 2],
) {
    let ((_, from), (_, to)) = (primary(layout, of[0]), primary(layout, of[1]));
    for (_, report) in seen.iter_mut().filter(|(name, _)| who(name)) {
        let Observed::Known(view) = &mut report.server else { continue };
        let topology: &mut Topology = Arc::make_mut(&mut view.topology);
        let (given, taken) = (topology[&from].slots.minus(which), topology[&to].slots.union(which));
        topology.get_mut(&from).expect("known").slots = given;
        topology.get_mut(&to).expect("known").slots = taken;
    }
}

fn seen_of(layout: &Layout, seen: &Seen) -> MoveSeen {
    with(layout, seen, |view| move_slots::seen(view).remove(0))
}

fn next(layout: &Layout, seen: &Seen, nth: usize) -> Next {
    let (name, operation) = layout.operations.iter().nth(nth).expect("an operation");
    with(layout, seen, |view| stored::next(view, name, operation).expect("known"))
}

#[test]
fn the_giving_primary_is_told_what_has_not_arrived() {
    let (mut layout, mut seen) = moving(&[("s0", "s1", "0-99")]);
    let (source, _) = primary(&layout, "s0");
    let (_, target) = primary(&layout, "s1");
    let Next::Step(Step::MoveSlots { instance, transfer, .. }) = next(&layout, &seen, 0) else { panic!() };
    assert_eq!((instance, transfer.to, transfer.extent), (source, target, TransferExtent::All));
    assert_eq!(transfer.slots, slots("0-99"));
    let half = slots("0-49");
    believe(&layout, &mut seen, |_| true, &half, ["s0", "s1"]);
    let name = layout.operations.keys().next().expect("one").clone();
    assert_eq!(
        seen_of(&layout, &seen),
        MoveSeen { name: name.clone(), arrived: half.clone(), known: KnownTo::All }
    );
    layout = move_slots::with_arrived(layout, &name, &half);
    assert!(!layout.shards[&shard("s0")].slots.intersects(&half));
    assert!(half.minus(&layout.shards[&shard("s1")].slots).is_empty());
    assert_eq!(layout.shards[&shard("s0")].gave, half);
    let Next::Step(Step::MoveSlots { transfer, .. }) = next(&layout, &seen, 0) else { panic!() };
    assert_eq!(transfer.slots, slots("50-99"));
    let report = with(&layout, &seen, health::judge);
    assert!(report.healthy, "{:?}", report.waiting);
    assert_eq!((report.progress[0].done, report.progress[0].total), (50, 100));
}

#[test]
fn slots_have_arrived_when_both_primaries_and_a_majority_say_so() {
    let (layout, seen) = moving(&[("s0", "s1", "0-99")]);
    let (source, _) = primary(&layout, "s0");
    let (target, _) = primary(&layout, "s1");
    let all = slots("0-99");
    let after = |who: &dyn Fn(&InstanceName) -> bool| {
        let mut seen = seen.clone();
        believe(&layout, &mut seen, who, &all, ["s0", "s1"]);
        seen_of(&layout, &seen).arrived
    };
    assert!(after(&|_| false).is_empty());
    assert!(after(&|name| *name == target).is_empty(), "the other serves them too");
    assert!(after(&|name| *name == source || *name == target).is_empty(), "two of six");
    assert!(after(&|name| *name != target).is_empty(), "nobody serves them");
    assert!(after(&|name| *name != source).is_empty(), "the former owner believes that it has them");
    assert_eq!(after(&|_| true), all);
    let late = layout.instances.keys().find(|name| **name != source && **name != target).expect("a third");
    assert_eq!(after(&|name| name != late), all);
}

#[test]
fn nothing_fights_a_move() {
    let (layout, seen) = moving(&[("s0", "s1", "0-99")]);
    let all = slots("0-99");
    let mends = |steps: &[Step]| {
        steps.iter().any(|step| matches!(step, Step::TakeSlots { .. } | Step::BringHome { .. }))
    };
    // Whoever has heard of it and whoever has not: the cluster is whole, and the slots stay where they go.
    for some in 0..layout.instances.len() {
        let mut seen = seen.clone();
        let names: Vec<_> = layout.instances.keys().take(some).cloned().collect();
        believe(&layout, &mut seen, |name| names.contains(name), &all, ["s0", "s1"]);
        assert!(!mends(&due(&layout, &seen)), "{some}");
        let taken = |one: &Waiting| matches!(one, Waiting::SlotsTaken { .. } | Waiting::SlotsDisowned { .. });
        assert!(!waits(&layout, &seen).iter().any(taken), "{some}: {:?}", waits(&layout, &seen));
    }
    // Without the move it is another's deed.
    let (still, mut seen) = moving(&[]);
    believe(&still, &mut seen, |_| true, &all, ["s0", "s1"]);
    assert!(waits(&still, &seen).iter().any(|one| matches!(one, Waiting::SlotsTaken { .. })));
}

#[test]
fn open_slots_of_a_move_are_open_on_purpose() {
    for (moves, told) in [(&[("s0", "s1", "0-99")][..], false), (&[], true)] {
        let (layout, mut seen) = moving(moves);
        let (source, _) = primary(&layout, "s0");
        if let Observed::Known(view) = &mut seen.get_mut(&source).expect("it").server {
            view.open_slots = 1;
        }
        let open = |one: &Waiting| matches!(one, Waiting::OpenSlots { .. });
        assert_eq!(waits(&layout, &seen).iter().any(open), told);
    }
}

#[test]
fn a_shard_takes_part_in_one_move_at_a_time() {
    let (layout, seen) = moving(&[("s0", "s1", "0-9"), ("s0", "s2", "20-29")]);
    assert!(matches!(next(&layout, &seen, 0), Next::Step(_)));
    let turn = |next| matches!(next, Next::Wait(Refusal::Slots(SlotRefusal::InTurn { .. })));
    assert!(turn(next(&layout, &seen, 1)));
}

#[test]
fn failures_make_it_smaller_and_end_it() {
    let (mut layout, seen) = moving(&[("s0", "s1", "0-99")]);
    let name = layout.operations.keys().next().expect("one").clone();
    for failure in 1..=8 {
        assert!(matches!(next(&layout, &seen, 0), Next::Step(_)), "{failure}");
        layout = move_slots::with_failure(layout, &name, "no".to_owned());
    }
    let Next::Wait(Refusal::Slots(SlotRefusal::GivenUp { failures, said })) = next(&layout, &seen, 0) else {
        panic!()
    };
    assert_eq!((failures, said.as_str()), (8, "no"));
    // What has moved since the last failure lets it begin anew.
    let (layout, _) = moving(&[("s0", "s1", "0-99")]);
    let failed = move_slots::with_failure(layout, &name, "no".to_owned());
    let Operation::MoveSlots(one) = &move_slots::with_arrived(failed, &name, &slots("0")).operations[&name]
    else {
        panic!()
    };
    assert_eq!((one.checkpoint.failures, one.checkpoint.stage), (0, SlotMoveStage::Moving));
}

#[test]
fn a_target_without_room_is_waited_for() {
    let (mut layout, mut seen) = moving(&[("s0", "s1", "0-999")]);
    layout.config.max_memory = Some(1_000_000);
    let (source, _) = primary(&layout, "s0");
    if let Observed::Known(view) = &mut seen.get_mut(&source).expect("it").server {
        (view.memory_bytes, view.keys) = (900_000_000, 1_000_000);
    }
    assert!(matches!(next(&layout, &seen, 0), Next::Wait(Refusal::Slots(SlotRefusal::NoRoom { .. }))));
}

/// Slots dealt out to shards at will, of which some leave.
fn holdings() -> impl Strategy<Value = BTreeMap<ShardName, Holding>> {
    let shares = prop::collection::vec((0_u16..60, prop::bool::weighted(0.25)), 1..7);
    (shares, any::<u16>()).prop_map(|(shares, stride)| {
        let total: u16 = shares.iter().map(|(count, _)| count).sum();
        // Scattered, and each slot once.
        let step = usize::from(stride % 7) + 1;
        let mut numbers: Vec<u16> = (0..total).collect();
        numbers.sort_by_key(|number| (usize::from(*number) % step, *number));
        let mut numbers = numbers.into_iter().map(|number| Slot::try_from(number * 3).expect("a slot"));
        let shard = |(nth, (count, leaves)): (usize, (u16, bool))| {
            let slots = numbers.by_ref().take(usize::from(count)).collect::<SlotSet>();
            let stay = if leaves && nth > 0 { Stay::Leaves } else { Stay::Share };
            (ShardName::nth(u32::try_from(nth).expect("few")), Holding { slots, stay })
        };
        shares.into_iter().enumerate().map(shard).collect()
    })
}

/// The fewest slots that have to move, by trying out who keeps one more.
fn fewest(held: &BTreeMap<ShardName, Holding>) -> u16 {
    let all: u16 = held.values().map(|one| one.slots.len()).sum();
    let staying: Vec<u16> =
        held.values().filter(|one| one.stay == Stay::Share).map(|one| one.slots.len()).collect();
    let leaving: u16 = held.values().filter(|one| one.stay == Stay::Leaves).map(|one| one.slots.len()).sum();
    let count = u16::try_from(staying.len()).expect("few");
    let (share, more) = (all / count, u32::from(all % count));
    let cost = |mask: u32| {
        let surplus = |(nth, own): (usize, &u16)| own.saturating_sub(share + u16::from(mask >> nth & 1 == 1));
        staying.iter().enumerate().map(surplus).sum::<u16>() + leaving
    };
    (0..1_u32 << count).filter(|mask| mask.count_ones() == more).map(cost).min().expect("a way")
}

proptest! {
    #[test]
    fn as_few_slots_move_as_can_be(held in holdings()) {
        let moves = rebalance::moves(&held);
        prop_assert_eq!(rebalance::count(&moves), fewest(&held));
        let mut after = held.clone();
        for one in &moves {
            let (from, to, slots) = (&one.target.from, &one.target.to, &one.target.slots);
            prop_assert!(slots.minus(&held[from].slots).is_empty(), "each slot moves once, from its owner");
            after.get_mut(from).expect("it").slots = after[from].slots.minus(slots);
            after.get_mut(to).expect("it").slots = after[to].slots.union(slots);
        }
        let all = |held: &BTreeMap<ShardName, Holding>| {
            held.values().fold(SlotSet::empty(), |all, one| all.union(&one.slots))
        };
        prop_assert_eq!(all(&held), all(&after));
        let sizes: Vec<u16> =
            after.values().filter(|one| one.stay == Stay::Share).map(|one| one.slots.len()).collect();
        prop_assert!(sizes.iter().max().expect("one") - sizes.iter().min().expect("one") <= 1);
        prop_assert!(after.values().all(|one| one.stay == Stay::Share || one.slots.is_empty()));
        prop_assert!(rebalance::moves(&after).is_empty(), "nothing is left to do");
    }
}
