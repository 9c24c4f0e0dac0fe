//! Whether a server's memory is used up. Who writes at the limit is over it in one moment and under it in the next: that is told once
//! it lasts, and taken back once that lasts.

use valkeeper_model::{MemoryFull, Millis};

/// So long must every look have found it over the limit.
const FULL_MS: u64 = 1_000;
/// So long must none have, before it has room again.
const ROOM_MS: u64 = 3_000;

/// What was seen of a run's memory.
#[derive(Debug, Default)]
pub(super) struct Fullness {
    /// Since when the looks say the other thing than what is told.
    changed_at: Option<Millis>,
    told: Option<MemoryFull>,
}

impl Fullness {
    /// What to tell after a look that found this. How much is in use differs from look to look: it is told anew when it differs by more
    /// than a tenth.
    pub(super) fn seen(&mut self, now: Millis, seen: Option<MemoryFull>) -> Option<MemoryFull> {
        if seen.is_some() == self.told.is_some() {
            self.changed_at = None;
            if let (Some(seen), Some(told)) = (seen, self.told)
                && (seen.limit != told.limit || seen.used.abs_diff(told.used) > told.used / 10)
            {
                self.told = Some(seen);
            }
            return self.told;
        }
        let since = *self.changed_at.get_or_insert(now);
        let must_last = if seen.is_some() { FULL_MS } else { ROOM_MS };
        if now.since(since) >= must_last {
            self.changed_at = None;
            self.told = seen;
        }
        self.told
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[expect(clippy::unnecessary_wraps, reason = "what a look finds")]
    fn full(used: u64, limit: u64) -> Option<MemoryFull> {
        Some(MemoryFull { used, limit })
    }

    #[test]
    fn only_what_lasts_is_told() {
        let mut fullness = Fullness::default();
        let mut seen = |ms, seen| fullness.seen(Millis(ms), seen);
        assert_eq!(seen(0, full(11, 10)), None);
        assert_eq!(seen(900, None), None);
        assert_eq!(seen(1_000, full(11, 10)), None);
        assert_eq!(seen(2_000, full(12, 10)), full(12, 10));
        // It hovers about the limit: the word and its figures stay.
        assert_eq!(seen(3_000, None), full(12, 10));
        assert_eq!(seen(4_000, full(13, 10)), full(12, 10));
        assert_eq!(seen(4_500, full(15, 10)), full(15, 10));
        assert_eq!(seen(5_000, full(13, 12)), full(13, 12));
        assert_eq!(seen(6_000, None), full(13, 12));
        assert_eq!(seen(8_900, None), full(13, 12));
        assert_eq!(seen(9_000, None), None);
    }
}
