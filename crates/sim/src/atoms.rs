//! Groups of slots that always move together here. An atom is the smallest thing that has an owner, an epoch and a history: a claim is a
//! set of atoms where the engine's is a bitmap of 16384 slots.

use std::fmt;
use valkeeper_model::{SlotRange, SlotSet};

/// More than so many there are never.
pub const MOST: usize = 32;
/// A cluster's slots are divided into about so many, the same number for each shard.
const USUAL: usize = 12;

/// An atom, by its index.
pub type Atom = usize;

/// A set of atoms.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct AtomSet(u32);

impl AtomSet {
    /// None.
    pub const EMPTY: Self = Self(0);

    /// Is this one in it?
    pub fn contains(self, atom: Atom) -> bool {
        self.0 & 1 << atom != 0
    }

    /// Adds one.
    pub fn insert(&mut self, atom: Atom) {
        self.0 |= 1 << atom;
    }

    /// Takes one out.
    pub fn remove(&mut self, atom: Atom) {
        self.0 &= !(1 << atom);
    }

    /// Is there none?
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Both together.
    #[must_use]
    pub fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// What is not in the other.
    #[must_use]
    pub fn minus(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Each of them, in order.
    pub fn iter(self) -> impl Iterator<Item = Atom> {
        (0..MOST).filter(move |atom| self.contains(*atom))
    }
}

impl FromIterator<Atom> for AtomSet {
    fn from_iter<I: IntoIterator<Item = Atom>>(atoms: I) -> Self {
        let mut set = Self::EMPTY;
        atoms.into_iter().for_each(|atom| set.insert(atom));
        set
    }
}

impl fmt::Debug for AtomSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

/// How the slots of a cluster are divided.
#[derive(Debug, Clone)]
pub struct Atoms {
    slots: Vec<SlotSet>,
    /// The shard that each belonged to when the cluster was founded.
    home: Vec<usize>,
}

impl Atoms {
    /// Divides what each shard is founded with. A shard of servers without cluster mode has no slots: it is one atom.
    pub fn of(shards: &[SlotSet]) -> Self {
        let each = (USUAL / shards.len().max(1)).max(1);
        let mut atoms = Self { slots: Vec::new(), home: Vec::new() };
        for (shard, slots) in shards.iter().enumerate() {
            let parts = usize::from(slots.len()).clamp(1, each);
            for nth in 0..parts {
                let bound = |nth: usize| usize::from(slots.len()) * nth / parts;
                atoms.add(shard, part(slots, bound(nth), bound(nth + 1)));
            }
        }
        atoms
    }

    /// Divides further, so that these slots are whole atoms too.
    #[must_use]
    pub fn cut_at(&self, slots: &SlotSet) -> Self {
        let mut cut = Self { slots: Vec::new(), home: Vec::new() };
        for (atom, home) in self.slots.iter().zip(&self.home) {
            let outside = atom.minus(slots);
            let inside = atom.minus(&outside);
            for part in [inside, outside].into_iter().filter(|part| !part.is_empty() || atom.is_empty()) {
                cut.add(*home, part);
                if atom.is_empty() {
                    break;
                }
            }
        }
        cut
    }

    fn add(&mut self, shard: usize, slots: SlotSet) {
        assert!(self.slots.len() < MOST, "more than {MOST} atoms");
        self.slots.push(slots);
        self.home.push(shard);
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.slots.len()
    }

    /// Those that a shard was founded with.
    pub fn home_of(&self, shard: usize) -> AtomSet {
        self.home.iter().enumerate().filter(|(_, home)| **home == shard).map(|(atom, _)| atom).collect()
    }

    /// The slots of some atoms.
    pub fn slots_of(&self, atoms: AtomSet) -> SlotSet {
        atoms.iter().flat_map(|atom| self.slots[atom].ranges()).copied().collect()
    }

    /// The atoms that lie in these slots.
    pub fn within(&self, slots: &SlotSet) -> AtomSet {
        let lies_within = |atom: &SlotSet| !atom.is_empty() && atom.minus(slots).is_empty();
        self.slots.iter().enumerate().filter(|(_, atom)| lies_within(atom)).map(|(atom, _)| atom).collect()
    }

    /// The atoms that these slots are, if they are whole ones.
    pub fn exactly(&self, slots: &SlotSet) -> Option<AtomSet> {
        let atoms = self.within(slots);
        (self.slots_of(atoms) == *slots).then_some(atoms)
    }
}

/// The slots of a set from the `from`-th on to before the `to`-th.
fn part(slots: &SlotSet, from: usize, to: usize) -> SlotSet {
    let mut before = 0;
    let mut ranges = Vec::new();
    for range in slots.ranges() {
        let len = usize::from(range.len());
        let (low, high) = (from.max(before), to.min(before + len));
        if low < high {
            let slot = |nth: usize| {
                let offset = u16::try_from(nth - before).unwrap_or_else(|error| panic!("{error}"));
                (range.first().number() + offset).try_into().unwrap_or_else(|error| panic!("{error}"))
            };
            ranges.extend(SlotRange::new(slot(low), slot(high - 1)));
        }
        before += len;
    }
    ranges.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn thirds() -> Vec<SlotSet> {
        (0..3).map(|shard| SlotSet::part(shard, 3)).collect()
    }

    #[test]
    fn the_atoms_of_a_shard_are_its_slots() {
        for count in [1, 2, 3, 5] {
            let shards: Vec<_> = (0..count).map(|shard| SlotSet::part(shard, count)).collect();
            let atoms = Atoms::of(&shards);
            assert!((8..=12).contains(&atoms.count()), "{}", atoms.count());
            for (shard, slots) in shards.iter().enumerate() {
                assert_eq!(atoms.slots_of(atoms.home_of(shard)), *slots);
                assert_eq!(atoms.exactly(slots), Some(atoms.home_of(shard)));
            }
        }
    }

    #[test]
    fn slots_that_cut_an_atom_are_not_whole_ones_until_it_is_cut() {
        let atoms = Atoms::of(&thirds());
        let quarter = SlotSet::part(0, 4);
        assert_eq!(atoms.exactly(&quarter), None);
        let cut = atoms.cut_at(&quarter);
        assert_eq!(cut.count(), atoms.count() + 1);
        assert_eq!(cut.exactly(&quarter).map(|found| cut.slots_of(found)), Some(quarter));
        assert_eq!(cut.slots_of(cut.home_of(0)), thirds()[0]);
    }

    #[test]
    fn a_shard_without_slots_is_one_atom() {
        let atoms = Atoms::of(&[SlotSet::empty()]);
        assert_eq!(atoms.home_of(0).iter().collect::<Vec<_>>(), [0]);
        assert_eq!(atoms.within(&SlotSet::all()), AtomSet::EMPTY);
    }
}
