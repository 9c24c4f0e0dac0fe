//! When nothing was acknowledged: per writer the times between two acknowledgements, as far as they are worth keeping,
//! and what of them several writers have in common.

use std::time::Duration;

/// Shorter ones are not kept: at full load acknowledgements come every few microseconds.
const SHORTEST: Duration = Duration::from_micros(250);

/// Kept at most per writer; beyond, the shortest half of the scale goes.
const MOST: usize = 1 << 18;

/// A time without an acknowledged write, counted from the start of the load.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Gap {
    /// The last acknowledgement before.
    pub from: Duration,
    /// The first one after.
    pub until: Duration,
}

impl Gap {
    /// How long.
    pub fn length(&self) -> Duration {
        self.until.saturating_sub(self.from)
    }
}

/// One writer's gaps, in order.
#[derive(Debug, Clone)]
pub(super) struct GapLog {
    gaps: Vec<Gap>,
    shortest: Duration,
    last: Duration,
}

impl GapLog {
    pub(super) fn new() -> Self {
        Self { gaps: Vec::new(), shortest: SHORTEST, last: Duration::ZERO }
    }

    /// Something was acknowledged now, or, at the end, will not be any more.
    pub(super) fn acknowledged(&mut self, now: Duration) {
        let gap = Gap { from: self.last, until: now };
        self.last = now;
        if gap.length() < self.shortest {
            return;
        }
        if self.gaps.len() == MOST {
            self.shortest *= 2;
            let shortest = self.shortest;
            self.gaps.retain(|gap| gap.length() >= shortest);
        }
        self.gaps.push(gap);
    }
}

/// The gaps that all writers have in common: between them nobody's write was acknowledged.
pub(super) fn common<'a>(logs: impl IntoIterator<Item = &'a GapLog>) -> Vec<Gap> {
    let mut logs = logs.into_iter();
    let first = logs.next().map(|log| log.gaps.clone()).unwrap_or_default();
    logs.fold(first, |common, log| intersection(&common, &log.gaps))
}

fn intersection(a: &[Gap], b: &[Gap]) -> Vec<Gap> {
    let (mut i, mut j, mut both) = (0, 0, Vec::new());
    while let (Some(x), Some(y)) = (a.get(i), b.get(j)) {
        let gap = Gap { from: x.from.max(y.from), until: x.until.min(y.until) };
        if gap.from < gap.until {
            both.push(gap);
        }
        if x.until < y.until { i += 1 } else { j += 1 }
    }
    both
}

/// The longest gap that overlaps the window; an empty one if none does.
pub(super) fn longest(gaps: &[Gap], from: Duration, until: Duration) -> Gap {
    gaps.iter()
        .filter(|gap| gap.until > from && gap.from < until)
        .max_by_key(|gap| gap.length())
        .copied()
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn log(times: impl IntoIterator<Item = u64>) -> GapLog {
        let mut log = GapLog::new();
        times.into_iter().for_each(|ms| log.acknowledged(Duration::from_millis(ms)));
        log
    }

    #[test]
    fn the_longest_gap_is_the_one_that_overlaps() {
        let gaps = common([&log([10, 20, 100, 101, 400])]);
        let ms = Duration::from_millis;
        assert_eq!(longest(&gaps, ms(0), ms(90)), Gap { from: ms(20), until: ms(100) });
        assert_eq!(longest(&gaps, ms(0), ms(900)).length(), ms(299));
        assert_eq!(longest(&gaps, ms(500), ms(900)), Gap::default());
    }

    #[test]
    fn a_full_log_keeps_the_long_ones() {
        let mut log = GapLog::new();
        let mut now = Duration::ZERO;
        for i in 0..MOST + 1000 {
            now += if i % 1000 == 0 { Duration::from_millis(5) } else { Duration::from_micros(300) };
            log.acknowledged(now);
        }
        assert!(log.gaps.len() < 2000);
        assert_eq!(longest(&log.gaps, Duration::ZERO, now).length(), Duration::from_millis(5));
    }

    proptest! {
        // The oracle: all acknowledgements of all writers in one list.
        #[test]
        fn common_gaps_are_those_of_the_merged_list(
            writers in prop::collection::vec(prop::collection::btree_set(1_u64..500, 1..40), 1..5),
        ) {
            let logs: Vec<_> = writers.iter().map(|times| log(times.iter().copied().chain([500]))).collect();
            let mut merged: Vec<u64> = writers.iter().flatten().copied().chain([500]).collect();
            merged.sort_unstable();
            merged.dedup();
            let mut from = 0;
            let expected: Vec<_> = merged.into_iter().map(|until| {
                let gap = Gap { from: Duration::from_millis(from), until: Duration::from_millis(until) };
                from = until;
                gap
            }).collect();
            prop_assert_eq!(common(&logs), expected);
        }
    }
}
