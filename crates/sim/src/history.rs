//! What was written: a tree. Every write hangs below the one that the server held last when it took it, so that a copy of a
//! shard is one position in the tree, a prefix is an ancestor, and two servers that both take writes make a fork that
//! cannot be overlooked.

/// A position: the last write a copy holds. Zero is the empty copy.
pub type Tip = u32;

/// What holds nothing.
pub const EMPTY: Tip = 0;

/// One write.
#[derive(Debug, Clone, Copy)]
pub struct Write {
    parent: Tip,
    depth: u32,
    /// Whose.
    pub shard: usize,
    /// Did a client get its OK?
    pub acknowledged: bool,
    /// Its loss is allowed: by the engine's own rules, by what was promised, or since a fault destroyed its last copy.
    pub excused: bool,
}

/// All writes of a run.
#[derive(Debug)]
pub struct History {
    writes: Vec<Write>,
    /// By shard: writes whose loss nothing excuses yet.
    owed: Vec<Vec<Tip>>,
}

impl History {
    /// Nothing written yet.
    pub fn new(shards: usize) -> Self {
        let root = Write { parent: EMPTY, depth: 0, shard: usize::MAX, acknowledged: false, excused: true };
        Self { writes: vec![root], owed: vec![Vec::new(); shards] }
    }

    /// A write on top of a copy.
    pub fn append(&mut self, shard: usize, on: Tip) -> Tip {
        let depth = self.get(on).depth + 1;
        self.writes.push(Write { parent: on, depth, shard, acknowledged: false, excused: false });
        let tip = Tip::try_from(self.writes.len() - 1).unwrap_or(Tip::MAX);
        self.owed[shard].push(tip);
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
        let shard = write.shard;
        if let Some(owed) = self.owed.get_mut(shard) {
            owed.retain(|owed| *owed != tip);
        }
    }

    /// Writes in a copy.
    pub fn depth(&self, tip: Tip) -> u32 {
        self.get(tip).depth
    }

    /// Does the copy `of` hold the write `tip`?
    pub fn holds(&self, of: Tip, tip: Tip) -> bool {
        let depth = self.depth(tip);
        let mut at = of;
        while self.depth(at) > depth {
            at = self.get(at).parent;
        }
        at == tip
    }

    /// The writes of a shard that are owed and in none of these copies; acknowledged ones only, or all.
    pub fn missing(&self, shard: usize, copies: &[Tip], acknowledged_only: bool) -> Vec<Tip> {
        let owed = &self.owed[shard];
        // The usual case first: what is owed is one line, and one copy holds all of it.
        if let Some(last) = owed.last()
            && copies.iter().any(|copy| self.holds(*copy, *last) && self.is_line(owed))
        {
            return Vec::new();
        }
        owed.iter()
            .filter(|tip| !acknowledged_only || self.get(**tip).acknowledged)
            .filter(|tip| !copies.iter().any(|copy| self.holds(*copy, **tip)))
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

    /// Excuses everything of a shard that these copies do not hold.
    pub fn excuse_missing(&mut self, shard: usize, copies: &[Tip]) {
        let missing = self.missing(shard, copies, false);
        for tip in &missing {
            self.writes[*tip as usize].excused = true;
        }
        self.owed[shard].retain(|tip| missing.binary_search(tip).is_err());
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fork_is_missed_by_the_other_branch() {
        let mut history = History::new(1);
        let a = history.append(0, EMPTY);
        let b = history.append(0, a);
        let c = history.append(0, a);
        history.acknowledge(b);
        assert!(history.holds(b, a) && history.holds(c, a) && !history.holds(c, b));
        assert_eq!(history.missing(0, &[c], true), vec![b]);
        assert_eq!(history.missing(0, &[b, c], false), Vec::<Tip>::new());
        history.excuse_missing(0, &[c]);
        assert_eq!(history.missing(0, &[c], false), Vec::<Tip>::new());
        assert!(history.get(b).excused && !history.get(c).excused);
    }
}
