//! A server that ends again and again soon after its start is started again later each time: each start may cost its primary a full copy.

use valkeeper_model::Millis;

/// A run that ends sooner than this was too short.
const SHORT_RUN_MS: u64 = 30_000;
/// Before the start after the second short run in a row; twice as long after each further one.
const FIRST_DELAY_MS: u64 = 500;
const LONGEST_DELAY_MS: u64 = 30_000;

/// Runs that ended by themselves.
#[derive(Debug, Default)]
pub(super) struct CrashLoop {
    began: Millis,
    short_runs: u32,
}

impl CrashLoop {
    /// A run has begun.
    pub(super) fn begin(&mut self, now: Millis) {
        self.began = now;
    }

    /// It has ended, unasked. Returns how long the next start is to wait; once may be chance.
    pub(super) fn ended(&mut self, now: Millis) -> Option<u64> {
        if now.since(self.began) >= SHORT_RUN_MS {
            self.short_runs = 0;
            return None;
        }
        self.short_runs += 1;
        let doublings = self.short_runs.checked_sub(2)?;
        Some(FIRST_DELAY_MS.saturating_mul(1 << doublings.min(10)).min(LONGEST_DELAY_MS))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn starts_come_later_each_time_until_a_run_lasts() {
        let mut crash_loop = CrashLoop::default();
        let mut now = Millis(1_000_000);
        let mut run = |ms: u64| {
            crash_loop.begin(now);
            now = now.plus(ms);
            crash_loop.ended(now)
        };
        let delays = [run(100), run(2_000), run(50), run(50)];
        assert_eq!(delays, [None, Some(500), Some(1_000), Some(2_000)]);
        assert_eq!((0..20).filter_map(|_| run(50)).max(), Some(LONGEST_DELAY_MS));
        assert_eq!([run(SHORT_RUN_MS), run(50)], [None, None]);
    }
}
