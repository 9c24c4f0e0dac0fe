//! Hash slots.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// One of the 16384 hash slots.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "u16", into = "u16")]
pub struct Slot(u16);

/// A slot number, or a list of them, that cannot be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a slot or a range of slots (0 to 16383)")]
pub struct InvalidSlot(String);

impl Slot {
    /// How many there are.
    pub const COUNT: u16 = 16384;

    /// The lowest.
    pub const FIRST: Self = Self(0);

    /// The highest.
    pub const LAST: Self = Self(Self::COUNT - 1);

    /// The slot's number.
    pub fn number(self) -> u16 {
        self.0
    }

    /// The slot of a key: CRC16 of the key, or of the part in the first `{…}` if that is not empty, modulo 16384
    /// (Valkey cluster specification, "Hash tags").
    pub fn of_key(key: &[u8]) -> Self {
        let tag = key.iter().position(|b| *b == b'{').and_then(|open| {
            let rest = &key[open + 1..];
            rest.iter().position(|b| *b == b'}').filter(|close| *close > 0).map(|close| &rest[..close])
        });
        Self(crc16(tag.unwrap_or(key)) % Self::COUNT)
    }
}

/// CRC16-XMODEM: polynomial 0x1021, initial value 0.
fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |crc, byte| {
        (0..8).fold(
            crc ^ u16::from(*byte) << 8,
            |crc, _| if crc & 0x8000 == 0 { crc << 1 } else { crc << 1 ^ 0x1021 },
        )
    })
}

impl TryFrom<u16> for Slot {
    type Error = InvalidSlot;
    fn try_from(number: u16) -> Result<Self, InvalidSlot> {
        if number < Self::COUNT { Ok(Self(number)) } else { Err(InvalidSlot(number.to_string())) }
    }
}
impl From<Slot> for u16 {
    fn from(slot: Slot) -> u16 {
        slot.0
    }
}
impl fmt::Display for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A range of slots, both ends in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SlotRange {
    first: Slot,
    last: Slot,
}

impl SlotRange {
    /// From `first` to `last`; `None` if they are the wrong way round.
    pub fn new(first: Slot, last: Slot) -> Option<Self> {
        (first <= last).then_some(Self { first, last })
    }
    /// The lowest slot.
    pub fn first(self) -> Slot {
        self.first
    }
    /// The highest slot.
    pub fn last(self) -> Slot {
        self.last
    }
    /// How many slots.
    pub fn len(self) -> u16 {
        self.last.0 - self.first.0 + 1
    }
    /// Never: a range holds at least one slot.
    pub fn is_empty(self) -> bool {
        false
    }
}

impl fmt::Display for SlotRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.first == self.last { self.first.fmt(f) } else { write!(f, "{}-{}", self.first, self.last) }
    }
}

impl FromStr for SlotRange {
    type Err = InvalidSlot;
    /// `"0-5460"` or `"7"`, as in `CLUSTER NODES`.
    fn from_str(text: &str) -> Result<Self, InvalidSlot> {
        let wrong = || InvalidSlot(text.to_owned());
        let slot = |part: &str| {
            part.parse::<u16>().map_err(|_| wrong()).and_then(|n| Slot::try_from(n).map_err(|_| wrong()))
        };
        let (first, last) = match text.split_once('-') {
            Some((first, last)) => (slot(first)?, slot(last)?),
            None => (slot(text)?, slot(text)?),
        };
        Self::new(first, last).ok_or_else(wrong)
    }
}

/// A set of slots, kept as ordered ranges that neither touch nor overlap, so that equal sets compare equal.
#[derive(Default, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SlotSet(Vec<SlotRange>);

impl SlotSet {
    /// No slot.
    pub fn empty() -> Self {
        Self::default()
    }
    /// All 16384.
    pub fn all() -> Self {
        Self(vec![SlotRange { first: Slot(0), last: Slot(Slot::COUNT - 1) }])
    }
    /// Is there none?
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
    /// How many.
    pub fn len(&self) -> u16 {
        self.0.iter().map(|range| range.len()).sum()
    }
    /// The ranges, in order.
    pub fn ranges(&self) -> &[SlotRange] {
        &self.0
    }
    /// Is this slot in it?
    pub fn contains(&self, slot: Slot) -> bool {
        let after = self.0.partition_point(|range| range.last < slot);
        self.0.get(after).is_some_and(|range| range.first <= slot)
    }
    /// The lowest slot.
    pub fn first(&self) -> Option<Slot> {
        self.0.first().map(|range| range.first)
    }
    /// Both sets together.
    #[must_use]
    pub fn union(&self, other: &Self) -> Self {
        self.0.iter().chain(&other.0).copied().collect()
    }
    /// What is in this set and not in the other.
    #[must_use]
    pub fn minus(&self, other: &Self) -> Self {
        let mut left = Vec::new();
        for range in &self.0 {
            let mut from = range.first.0;
            for cut in other.0.iter().filter(|cut| cut.last >= range.first && cut.first <= range.last) {
                if cut.first.0 > from {
                    left.push(SlotRange { first: Slot(from), last: Slot(cut.first.0 - 1) });
                }
                from = cut.last.0 + 1;
            }
            if from <= range.last.0 {
                left.push(SlotRange { first: Slot(from), last: range.last });
            }
        }
        Self(left)
    }
    /// What is in both.
    #[must_use]
    pub fn common(&self, other: &Self) -> Self {
        self.minus(&self.minus(other))
    }
    /// The `count` highest of them; all if there are fewer.
    #[must_use]
    pub fn highest(&self, count: u16) -> Self {
        let mut missing = count;
        let mut taken = Vec::new();
        for range in self.0.iter().rev() {
            let size = range.len().min(missing);
            if size == 0 {
                break;
            }
            taken.push(SlotRange { first: Slot(range.last.0 + 1 - size), last: range.last });
            missing -= size;
        }
        taken.into_iter().collect()
    }
    /// The slots, in order.
    pub fn iter(&self) -> impl Iterator<Item = Slot> + '_ {
        self.0.iter().flat_map(|range| range.first.0..=range.last.0).map(Slot)
    }
    /// Do they share a slot?
    pub fn intersects(&self, other: &Self) -> bool {
        self.0.iter().any(|a| other.0.iter().any(|b| a.first <= b.last && b.first <= a.last))
    }
    /// Are some of these the shard's? Any are if the shard's are not known (empty).
    pub fn are_of(&self, shard: &Self) -> bool {
        shard.is_empty() || self.intersects(shard)
    }
    /// The `index`-th of `parts` equal, contiguous parts of all slots; sizes differ by one at most.
    pub fn part(index: u32, parts: u32) -> Self {
        let bound = |i: u32| u16::try_from(u32::from(Slot::COUNT) * i / parts.max(1)).unwrap_or(Slot::COUNT);
        let (first, end) = (bound(index.min(parts)), bound((index + 1).min(parts)));
        if first >= end {
            return Self::empty();
        }
        Self(vec![SlotRange { first: Slot(first), last: Slot(end - 1) }])
    }
}

impl FromIterator<Slot> for SlotSet {
    fn from_iter<I: IntoIterator<Item = Slot>>(slots: I) -> Self {
        slots.into_iter().map(|slot| SlotRange { first: slot, last: slot }).collect()
    }
}

impl FromIterator<SlotRange> for SlotSet {
    fn from_iter<I: IntoIterator<Item = SlotRange>>(ranges: I) -> Self {
        let mut ranges: Vec<_> = ranges.into_iter().collect();
        ranges.sort_unstable();
        let mut merged: Vec<SlotRange> = Vec::with_capacity(ranges.len());
        for range in ranges {
            match merged.last_mut() {
                Some(last) if range.first.0 <= last.last.0 + 1 => last.last = last.last.max(range.last),
                _ => merged.push(range),
            }
        }
        Self(merged)
    }
}

impl fmt::Display for SlotSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, range) in self.0.iter().enumerate() {
            if i > 0 {
                f.write_str(" ")?;
            }
            range.fmt(f)?;
        }
        Ok(())
    }
}
impl fmt::Debug for SlotSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{{{self}}}")
    }
}
impl FromStr for SlotSet {
    type Err = InvalidSlot;
    fn from_str(text: &str) -> Result<Self, InvalidSlot> {
        text.split_whitespace().map(str::parse::<SlotRange>).collect()
    }
}
impl TryFrom<String> for SlotSet {
    type Error = InvalidSlot;
    fn try_from(text: String) -> Result<Self, InvalidSlot> {
        text.parse()
    }
}
impl From<SlotSet> for String {
    fn from(set: SlotSet) -> String {
        set.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slot_of_key_follows_the_specification() {
        assert_eq!(Slot::of_key(b"123456789").number(), 0x31C3);
        assert_eq!(Slot::of_key(b"{user1000}.following"), Slot::of_key(b"user1000"));
        assert_eq!(Slot::of_key(b"foo{}{bar}").number(), crc16(b"foo{}{bar}") % 16384);
    }

    #[test]
    fn parts_cover_all_slots_once() {
        for parts in 1..40 {
            let sets: Vec<_> = (0..parts).map(|i| SlotSet::part(i, parts)).collect();
            assert_eq!(sets.iter().map(|s| u32::from(s.len())).sum::<u32>(), 16384);
            assert_eq!(sets.iter().fold(SlotSet::empty(), |a, b| a.union(b)), SlotSet::all());
        }
    }

    #[test]
    fn minus_and_union_are_inverse() {
        let all = SlotSet::all();
        let some: SlotSet = "0 5-9 100-200 16383".parse().unwrap();
        assert_eq!(all.minus(&some).union(&some), all);
        assert!(!all.minus(&some).intersects(&some));
        assert_eq!(some.to_string(), "0 5-9 100-200 16383");
    }
}
