//! Which slots move so that all shards hold about as much.

use proptest::prelude::*;
use std::collections::BTreeMap;
use valkeeper_model::{ShardName, Slot, SlotMoveTarget};
use valkeeper_plan::placement::by_weight::{SlotWeights, Tolerance, moves};

type Held = BTreeMap<ShardName, SlotWeights>;

const TWO_PERCENT: Tolerance = Tolerance::percent(2);

/// Shards that own one slot after the other, of these weights.
fn held(shards: &[Vec<u64>]) -> Held {
    let mut slots = (0..Slot::COUNT).map(|number| Slot::try_from(number).expect("a slot"));
    let mut shard = |weights: &Vec<u64>| slots.by_ref().zip(weights.iter().copied()).collect();
    (0_u32..).zip(shards).map(|(n, weights)| (ShardName::nth(n), shard(weights))).collect()
}

/// After the moves; fails if one takes a slot from a shard that has it not.
fn after(held: &Held, moves: &[SlotMoveTarget]) -> Held {
    let mut after = held.clone();
    for one in moves {
        for slot in one.slots.iter() {
            let weight = after.get_mut(&one.from).expect("a shard").remove(&slot);
            let weight = weight.unwrap_or_else(|| panic!("{slot} is not in {}", one.from));
            after.get_mut(&one.to).expect("a shard").insert(slot, weight);
        }
    }
    after
}

fn sums(held: &Held) -> Vec<u64> {
    held.values().map(|slots| slots.values().sum()).collect()
}

fn slots_and_weights(held: &Held) -> SlotWeights {
    held.values().flatten().map(|(slot, weight)| (*slot, *weight)).collect()
}

fn count(moves: &[SlotMoveTarget]) -> u16 {
    moves.iter().map(|one| one.slots.len()).sum()
}

#[test]
fn the_heaviest_slots_that_fit_move_and_few_of_them() {
    let held = held(&[vec![50, 10, 10, 10, 10, 5, 5], vec![10, 10], vec![0, 0]]);
    let moves = moves(&held, TWO_PERCENT);
    assert_eq!(sums(&after(&held, &moves)), [50, 35, 35], "{moves:?}");
    assert!(count(&moves) <= 6, "{moves:?}");
}

#[test]
fn what_is_even_enough_stays() {
    for even in [
        vec![vec![10_000; 10], vec![9_900; 10], vec![10_100; 10]],
        vec![vec![0; 5], vec![0; 5]],
        vec![vec![1, 0], vec![0, 0], vec![0, 0]],
        vec![vec![7; 9]],
    ] {
        assert_eq!(moves(&held(&even), TWO_PERCENT), [], "{even:?}");
    }
    let uneven = held(&[vec![1_000; 100], vec![950; 100], vec![1_050; 100]]);
    assert_ne!(moves(&uneven, TWO_PERCENT), []);
    assert_eq!(moves(&uneven, Tolerance::percent(10)), []);
}

#[test]
fn a_slot_above_the_even_part_stays_and_the_others_share_the_rest() {
    let held = held(&[vec![1_000, 10, 10, 10], vec![10; 3], vec![0, 0]]);
    let moves = moves(&held, TWO_PERCENT);
    assert_eq!(sums(&after(&held, &moves)), [1_000, 30, 30], "{moves:?}");
}

#[test]
fn a_shard_without_slots_takes_and_none_is_emptied() {
    let taken = held(&[vec![30, 30, 30], vec![]]);
    let moves_to_it = moves(&taken, TWO_PERCENT);
    assert_eq!(sums(&after(&taken, &moves_to_it)), [60, 30]);
    assert_eq!(moves(&held(&[vec![90], vec![]]), TWO_PERCENT), []);
}

prop_compose! {
    fn any_cluster()(
        shards in prop::collection::vec(
            prop::collection::vec(prop_oneof![3 => Just(0), 6 => 0_u64..100, 1 => 0_u64..20_000], 0..60),
            1..7,
        ),
    ) -> Held {
        held(&shards)
    }
}

prop_compose! {
    /// So many light slots that every shard can be filled to a hair.
    fn fine_cluster()(
        shards in prop::collection::vec(prop::collection::vec(1_u64..6, 40..400), 2..7),
    ) -> Held {
        held(&shards)
    }
}

proptest! {
    #[test]
    fn no_slot_is_lost_and_nothing_becomes_less_even(held in any_cluster()) {
        let moves = moves(&held, TWO_PERCENT);
        let after = after(&held, &moves);
        prop_assert_eq!(slots_and_weights(&held), slots_and_weights(&after));
        let (before_sums, after_sums) = (sums(&held), sums(&after));
        prop_assert!(after_sums.iter().max() <= before_sums.iter().max());
        prop_assert!(after_sums.iter().min() >= before_sums.iter().min());
        let squares = |sums: &[u64]| sums.iter().map(|sum| u128::from(*sum).pow(2)).sum::<u128>();
        prop_assert!(moves.is_empty() || squares(&after_sums) < squares(&before_sums));
        for (name, slots) in &held {
            prop_assert!(slots.is_empty() || !after[name].is_empty(), "{} is emptied", name);
            let gives = moves.iter().any(|one| one.from == *name);
            prop_assert!(!gives || moves.iter().all(|one| one.to != *name), "{} gives and takes", name);
        }
        for one in &moves {
            prop_assert!(!one.slots.is_empty());
            prop_assert!(one.slots.iter().all(|slot| held[&one.from][&slot] > 0), "nothing is moved for nought");
        }
        prop_assert!(moves.len() < held.len() * 2, "{} pairs", moves.len());
    }

    /// A shard that is still uneven could not be helped: the difference to the lightest would stay as large with any of its slots.
    #[test]
    fn what_is_left_uneven_cannot_be_halved(held in any_cluster()) {
        let after = after(&held, &moves(&held, TWO_PERCENT));
        let again = moves(&after, TWO_PERCENT);
        let (once, twice) = (sums(&after), sums(&self::after(&after, &again)));
        let spread = |sums: &[u64]| sums.iter().max().expect("one") - sums.iter().min().expect("one");
        prop_assert!(spread(&twice) <= spread(&once));
    }

    #[test]
    fn light_slots_bring_all_within_the_tolerance(held in fine_cluster()) {
        let after = sums(&after(&held, &moves(&held, TWO_PERCENT)));
        let all: u64 = after.iter().sum();
        let shards = u64::try_from(after.len()).expect("few");
        // Two hundredths, and the heaviest slot, which cannot be halved.
        let (part, grain) = (all / shards, all / shards / 50 + 6);
        prop_assert!(after.iter().all(|sum| sum.abs_diff(part) <= grain), "{:?} of {}", after, part);
        let moved = moves(&held, TWO_PERCENT);
        let weight = |one: &SlotMoveTarget| one.slots.iter().map(|slot| held[&one.from][&slot]).sum::<u64>();
        let surplus: u64 = sums(&held).iter().map(|sum| sum.saturating_sub(part)).sum();
        prop_assert!(moved.iter().map(weight).sum::<u64>() <= surplus + 6 * shards, "no more moves than is too much");
    }
}
