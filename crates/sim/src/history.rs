//! What was written: a tree for each atom. Every write hangs below the one that the server held last of that atom when it took it, so that
//! a copy is one position in each tree, a prefix is an ancestor, and two servers that both take writes make a fork that cannot be
//! overlooked.

use crate::atoms::{Atom, AtomSet, MOST};

/// A position in the tree of an atom: the last write a copy holds of it. Zero is the empty copy.
pub type Tip = u32;

/// What holds nothing.
pub const EMPTY: Tip = 0;

/// A copy: its position in each tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tips([Tip; MOST]);

impl Tips {
    /// What holds nothing.
    pub const EMPTY: Self = Self([EMPTY; MOST]);

    /// The last write it holds of an atom.
    pub fn get(&self, atom: Atom) -> Tip {
        self.0[atom]
    }

    /// Puts it at another position of an atom's tree.
    pub fn set(&mut self, atom: Atom, tip: Tip) {
        self.0[atom] = tip;
    }

    /// Forgets what it holds of some atoms.
    pub fn clear(&mut self, atoms: AtomSet) {
        atoms.iter().for_each(|atom| self.0[atom] = EMPTY);
    }

    /// Does it hold nothing?
    pub fn is_empty(&self) -> bool {
        *self == Self::EMPTY
    }

    /// The atoms it holds something of.
    pub fn atoms(&self) -> AtomSet {
        (0..MOST).filter(|atom| self.0[*atom] != EMPTY).collect()
    }
}

/// One write.
#[derive(Debug, Clone, Copy)]
pub struct Write {
    parent: Tip,
    depth: u32,
    /// Of which atom.
    pub atom: Atom,
    /// Did a client get its OK?
    pub acknowledged: bool,
    /// Its loss is allowed: by the engine's own rules, by what was promised, or since a fault destroyed its last copy.
    pub excused: bool,
}

/// All writes of a run.
#[derive(Debug)]
pub struct History {
    writes: Vec<Write>,
    /// By atom: writes whose loss nothing excuses yet.
    owed: Vec<Vec<Tip>>,
}

impl History {
    /// Nothing written yet.
    pub fn new() -> Self {
        let root = Write { parent: EMPTY, depth: 0, atom: usize::MAX, acknowledged: false, excused: true };
        Self { writes: vec![root], owed: vec![Vec::new(); MOST] }
    }

    /// A write on top of a copy.
    pub fn append(&mut self, atom: Atom, on: &Tips) -> Tip {
        let parent = on.get(atom);
        let depth = self.get(parent).depth + 1;
        self.writes.push(Write { parent, depth, atom, acknowledged: false, excused: false });
        let tip = Tip::try_from(self.writes.len() - 1).unwrap_or(Tip::MAX);
        self.owed[atom].push(tip);
        tip
    }

    /// One write.
    pub fn get(&self, tip: Tip) -> &Write {
        &self.writes[tip as usize]
    }

    /// A client got its OK.
    pub fn acknowledge(&mut self, tip: Tip) {
        self.writes[tip as usize].acknowledged = true;
    }

    /// Its loss is allowed from now on.
    pub fn excuse(&mut self, tip: Tip) {
        let write = &mut self.writes[tip as usize];
        write.excused = true;
        let atom = write.atom;
        if let Some(owed) = self.owed.get_mut(atom) {
            owed.retain(|owed| *owed != tip);
        }
    }

    /// The how many-th of its atom a write is.
    pub fn depth(&self, tip: Tip) -> u32 {
        self.get(tip).depth
    }

    /// Writes in a copy.
    pub fn size(&self, copy: &Tips) -> u32 {
        copy.0.iter().map(|tip| self.depth(*tip)).sum()
    }

    /// Does a copy hold this write?
    pub fn holds(&self, copy: &Tips, tip: Tip) -> bool {
        copy.0.get(self.get(tip).atom).is_some_and(|of| self.is_below(*of, tip))
    }

    /// Does a copy hold all that another one holds?
    pub fn contains(&self, copy: &Tips, other: &Tips) -> bool {
        other.atoms().iter().all(|atom| self.is_below(copy.get(atom), other.get(atom)))
    }

    fn is_below(&self, of: Tip, tip: Tip) -> bool {
        let depth = self.depth(tip);
        let mut at = of;
        while self.depth(at) > depth {
            at = self.get(at).parent;
        }
        at == tip
    }

    /// The writes of some atoms that are owed and in none of these copies; acknowledged ones only, or all.
    pub fn missing(&self, atoms: AtomSet, copies: &[Tips], acknowledged_only: bool) -> Vec<Tip> {
        let mut missing: Vec<Tip> =
            atoms.iter().flat_map(|atom| self.missing_of(atom, copies, acknowledged_only)).collect();
        missing.sort_unstable();
        missing
    }

    fn missing_of(&self, atom: Atom, copies: &[Tips], acknowledged_only: bool) -> Vec<Tip> {
        let owed = &self.owed[atom];
        // The usual case first: what is owed is one line, and one copy holds all of it.
        if let Some(last) = owed.last()
            && copies.iter().any(|copy| self.is_below(copy.get(atom), *last) && self.is_line(owed))
        {
            return Vec::new();
        }
        owed.iter()
            .filter(|tip| !acknowledged_only || self.get(**tip).acknowledged)
            .filter(|tip| !copies.iter().any(|copy| self.is_below(copy.get(atom), **tip)))
            .copied()
            .collect()
    }

    fn is_line(&self, owed: &[Tip]) -> bool {
        // Ids grow with time: a chain from the last to the first that meets all of them is a line.
        let Some((first, last)) = owed.first().zip(owed.last()) else { return true };
        let mut at = *last;
        let mut met = 1;
        let mut next = owed.len() - 1;
        while at > *first {
            at = self.get(at).parent;
            if next > 0 && owed[next - 1] == at {
                next -= 1;
                met += 1;
            }
        }
        met == owed.len()
    }

    /// Excuses everything of some atoms that these copies do not hold.
    pub fn excuse_missing(&mut self, atoms: AtomSet, copies: &[Tips]) {
        for atom in atoms.iter() {
            let missing = self.missing_of(atom, copies, false);
            for tip in &missing {
                self.writes[*tip as usize].excused = true;
            }
            self.owed[atom].retain(|tip| missing.binary_search(tip).is_err());
        }
    }

    /// How many writes were acknowledged.
    pub fn acknowledged(&self) -> usize {
        self.writes.iter().filter(|write| write.acknowledged).count()
    }

    /// How many of the acknowledged ones are lost, all with an excuse.
    pub fn excused(&self) -> usize {
        self.writes.iter().filter(|write| write.acknowledged && write.excused).count()
    }
}

impl Default for History {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(positions: &[(Atom, Tip)]) -> Tips {
        let mut tips = Tips::EMPTY;
        for (atom, tip) in positions {
            tips.set(*atom, *tip);
        }
        tips
    }

    fn set(atoms: &[Atom]) -> AtomSet {
        atoms.iter().copied().collect()
    }

    #[test]
    fn a_fork_is_missed_by_the_other_branch() {
        let mut history = History::new();
        let a = history.append(0, &Tips::EMPTY);
        let b = history.append(0, &at(&[(0, a)]));
        let c = history.append(0, &at(&[(0, a)]));
        history.acknowledge(b);
        let (holds_b, holds_c) = (at(&[(0, b)]), at(&[(0, c)]));
        assert!(history.holds(&holds_b, a) && history.holds(&holds_c, a) && !history.holds(&holds_c, b));
        assert!(history.contains(&holds_b, &at(&[(0, a)])) && !history.contains(&holds_b, &holds_c));
        assert_eq!(history.missing(set(&[0]), &[holds_c], true), vec![b]);
        assert_eq!(history.missing(set(&[0]), &[holds_b, holds_c], false), Vec::<Tip>::new());
        history.excuse_missing(set(&[0]), &[holds_c]);
        assert_eq!(history.missing(set(&[0]), &[holds_c], false), Vec::<Tip>::new());
        assert!(history.get(b).excused && !history.get(c).excused);
    }

    #[test]
    fn atoms_have_histories_of_their_own() {
        let mut history = History::new();
        let a = history.append(0, &Tips::EMPTY);
        let b = history.append(1, &at(&[(0, a)]));
        let c = history.append(0, &at(&[(0, a), (1, b)]));
        assert_eq!((history.depth(b), history.depth(c)), (1, 2));
        let (first, second) = (at(&[(0, c)]), at(&[(1, b)]));
        assert_eq!(history.size(&at(&[(0, c), (1, b)])), 3);
        assert_eq!(history.missing(set(&[0, 1]), &[first], false), vec![b]);
        assert_eq!(
            history.missing(set(&[0]), &[first], false),
            Vec::<Tip>::new(),
            "another's atom is not asked for"
        );
        assert_eq!(history.missing(set(&[0, 1]), &[first, second], false), Vec::<Tip>::new());
        history.excuse_missing(set(&[1]), &[Tips::EMPTY]);
        assert!(history.get(b).excused && !history.get(a).excused && !history.get(c).excused);
    }
}
