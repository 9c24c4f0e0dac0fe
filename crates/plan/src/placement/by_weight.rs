//! Which slots move so that all shards hold about as much as any other: keys, bytes of memory, time of the processor.
//!
//! A slot is moved whole, so that evenness has a grain. A shard cannot have less than its heaviest slot without another having that: it keeps it, and
//! the others share the rest. Shards that give take nothing and the other way round, so that a slot moves once and no pair of shards both ways.

use std::collections::{BTreeMap, BTreeSet};
use valkeeper_model::{ShardName, Slot, SlotMoveTarget};

/// What each slot of a shard weighs. All slots that it owns are in it: one that could not be weighed is no nought.
pub type SlotWeights = BTreeMap<Slot, u64>;

/// How far a shard may be from its even part without anything being moved for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tolerance {
    percent: u8,
}

impl Tolerance {
    /// In hundredths of the even part.
    pub const fn percent(percent: u8) -> Self {
        Self { percent }
    }

    /// The same as a number.
    pub const fn in_percent(self) -> u8 {
        self.percent
    }

    /// What a shard may have more or less than that: one at least, as a key is not halved.
    fn of(self, part: u64) -> u64 {
        let share = (u128::from(part) * u128::from(self.percent)).div_ceil(100);
        u64::try_from(share).unwrap_or(u64::MAX)
    }
}

/// What a shard has if all have the same: a fraction, so that nothing of it is rounded away before it has to be.
struct EvenPart {
    all: u128,
    shards: u128,
}

impl EvenPart {
    /// Of what is left to share once each shard has its heaviest slot.
    fn of(heaviest: impl Iterator<Item = u64>, all: u128) -> Self {
        let mut heaviest: Vec<u128> = heaviest.map(u128::from).collect();
        heaviest.sort_unstable();
        let mut part = Self { all, shards: heaviest.len() as u128 };
        while let Some(slot) = heaviest.pop().filter(|slot| slot * part.shards > part.all) {
            part = Self { all: part.all - slot, shards: part.shards - 1 };
        }
        part
    }

    fn rounded_down(&self) -> u64 {
        u64::try_from(self.all / self.shards.max(1)).unwrap_or(u64::MAX)
    }

    fn rounded_up(&self) -> u64 {
        u64::try_from(self.all.div_ceil(self.shards.max(1))).unwrap_or(u64::MAX)
    }
}

/// What a shard does in this.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    Open,
    Gives,
    Takes,
    /// None of its slots makes anything more even.
    Stuck,
}

struct WeighedShard<'h> {
    name: &'h ShardName,
    weight: u64,
    /// Its own slots that it has still, by weight. What it takes it keeps.
    slots: BTreeSet<(u64, Slot)>,
    heaviest: u64,
    side: Side,
}

impl<'h> WeighedShard<'h> {
    fn new(name: &'h ShardName, weights: &SlotWeights) -> Self {
        let slots: BTreeSet<(u64, Slot)> = weights.iter().map(|(slot, weight)| (*weight, *slot)).collect();
        let heaviest = slots.last().map_or(0, |(weight, _)| *weight);
        Self { name, weight: weights.values().sum(), slots, heaviest, side: Side::Open }
    }

    /// What it is to have at most: its part, or the slot that it cannot be without.
    fn most(&self, part: &EvenPart) -> u64 {
        part.rounded_down().max(self.heaviest)
    }

    fn surplus(&self, part: &EvenPart) -> u64 {
        self.weight.saturating_sub(self.most(part))
    }

    fn lack(&self, part: &EvenPart) -> u64 {
        part.rounded_up().saturating_sub(self.weight)
    }

    fn is_uneven(&self, part: &EvenPart, tolerance: Tolerance) -> bool {
        self.surplus(part) > tolerance.of(self.most(part))
            || self.lack(part) > tolerance.of(part.rounded_up())
    }

    /// A shard without slots has no vote: the last one stays.
    fn heaviest_within(&self, most: u64) -> Option<(u64, Slot)> {
        if self.slots.len() < 2 || most == 0 {
            return None;
        }
        self.slots.range(..=(most, Slot::LAST)).next_back().copied().filter(|(weight, _)| *weight > 0)
    }

    fn lightest_above(&self, least: u64, most: u64) -> Option<(u64, Slot)> {
        if self.slots.len() < 2 || least >= most {
            return None;
        }
        self.slots.range((least + 1, Slot::FIRST)..=(most, Slot::LAST)).next().copied()
    }
}

/// The moves, one for each pair of shards; none if all shards are as even as is tolerated. Few slots, the heaviest that fit; none that weighs nothing.
pub fn moves(held: &BTreeMap<ShardName, SlotWeights>, tolerance: Tolerance) -> Vec<SlotMoveTarget> {
    let mut shards: Vec<WeighedShard<'_>> =
        held.iter().map(|(name, weights)| WeighedShard::new(name, weights)).collect();
    let all = shards.iter().map(|shard| u128::from(shard.weight)).sum();
    let part = EvenPart::of(shards.iter().map(|shard| shard.heaviest), all);
    let mut moved: BTreeMap<(&ShardName, &ShardName), Vec<Slot>> = BTreeMap::new();
    while let Some((from, to)) = pair(&shards, &part, tolerance) {
        let slots = give(&mut shards, (from, to), &part);
        match (slots.is_empty(), shards.get(from), shards.get(to)) {
            (false, Some(giver), Some(taker)) => {
                moved.entry((giver.name, taker.name)).or_default().extend(slots);
            }
            // What does not fit the lightest fits nobody.
            _ => set_side(&mut shards, from, Side::Stuck),
        }
    }
    let target = |((from, to), slots): ((&ShardName, &ShardName), Vec<Slot>)| SlotMoveTarget {
        from: from.clone(),
        to: to.clone(),
        slots: slots.into_iter().collect(),
    };
    moved.into_iter().map(target).collect()
}

/// Who gives to whom next: the one with the greatest surplus to the lightest. `None` when all are as even as is tolerated, or nobody can give or take.
fn pair(shards: &[WeighedShard<'_>], part: &EvenPart, tolerance: Tolerance) -> Option<(usize, usize)> {
    let of =
        |sides: [Side; 2]| shards.iter().enumerate().filter(move |(_, shard)| sides.contains(&shard.side));
    let givers = || of([Side::Open, Side::Gives]).filter(|(_, shard)| shard.surplus(part) > 0);
    let takers = || of([Side::Open, Side::Takes]).filter(|(_, shard)| shard.lack(part) > 0);
    if !givers().chain(takers()).any(|(_, shard)| shard.is_uneven(part, tolerance)) {
        return None;
    }
    // Of equal ones the first.
    let (from, _) = givers().max_by_key(|(at, shard)| (shard.surplus(part), std::cmp::Reverse(*at)))?;
    let (to, _) = takers().min_by_key(|(at, shard)| (shard.weight, *at))?;
    Some((from, to))
}

/// Moves slots from one to the other until the one has no surplus, the other no lack, or none fits. If none fits at all, one that is too heavy for that
/// but leaves at most half of the difference between the two.
fn give(shards: &mut [WeighedShard<'_>], (from, to): (usize, usize), part: &EvenPart) -> Vec<Slot> {
    let mut moved = Vec::new();
    loop {
        let (Some(giver), Some(taker)) = (shards.get(from), shards.get(to)) else { return moved };
        let difference = giver.weight.saturating_sub(taker.weight);
        let fits = giver.surplus(part).min(taker.lack(part)).min(difference.saturating_sub(1));
        let halves = difference / 4 * 3;
        let chosen = match giver.heaviest_within(fits) {
            None if moved.is_empty() => giver.lightest_above(fits, halves),
            chosen => chosen,
        };
        let Some((weight, slot)) = chosen else { return moved };
        if let Some(giver) = shards.get_mut(from) {
            giver.slots.remove(&(weight, slot));
            giver.weight -= weight;
            giver.side = Side::Gives;
        }
        if let Some(taker) = shards.get_mut(to) {
            taker.weight += weight;
            taker.side = Side::Takes;
        }
        moved.push(slot);
    }
}

fn set_side(shards: &mut [WeighedShard<'_>], at: usize, side: Side) {
    if let Some(shard) = shards.get_mut(at) {
        shard.side = side;
    }
}
