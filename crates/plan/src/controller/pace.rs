//! How often a controller looks.

/// Between observations of a cluster that is whole and not as it should be, milliseconds.
const UNEASY_MS: u64 = 1_000;

/// Between observations, milliseconds. Whoever has news nudges the controller; these are for what nobody tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// Of a cluster that is whole.
    pub at_rest_ms: u64,
    /// Of one that is not, while its report has just changed.
    pub unsettled_ms: u64,
    /// Of one that is not, at most: what has not changed for long is looked at less and less often.
    pub stuck_ms: u64,
}

impl Default for Pace {
    /// For agents in the same process, where a look costs next to nothing.
    fn default() -> Self {
        Self { at_rest_ms: 1_000, unsettled_ms: 50, stuck_ms: 50 }
    }
}

impl Pace {
    /// For one that is whole and not as it should be all the same: its zones may want a step whose cause has to last for a second,
    /// and until it is taken the loss of a zone costs the majority.
    pub(super) fn uneasy_ms(self, unchanged_ms: u64) -> u64 {
        self.unsettled_ms(unchanged_ms).max(UNEASY_MS).min(self.at_rest_ms)
    }

    /// For a cluster that is not whole and has shown the same for so long.
    pub(super) fn unsettled_ms(self, unchanged_ms: u64) -> u64 {
        (unchanged_ms / 10).clamp(self.unsettled_ms, self.stuck_ms.max(self.unsettled_ms))
    }
}
