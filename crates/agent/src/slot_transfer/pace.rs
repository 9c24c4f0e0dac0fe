//! How many keys a job of the engine's own migration takes: as many as keep no client waiting for long.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// At first.
const FIRST: u64 = 4_000;
/// At least, and at most.
const BOUNDS: (u64, u64) = (1_000, 8_000);
/// Fewer after an answer that took longer than this.
const LONG: Duration = Duration::from_millis(90);
/// More after one that took less.
const SHORT: Duration = Duration::from_millis(15);
/// Part by which a job grows after a short answer: there are some eighty a second.
const GROWS_BY: u64 = 50;

/// Keys in a job, unless a single slot has more. Kept from one go to the next.
#[derive(Debug, Clone)]
pub(crate) struct Pace(Arc<AtomicU64>);

impl Default for Pace {
    fn default() -> Self {
        Self(Arc::new(AtomicU64::new(FIRST)))
    }
}

impl Pace {
    pub(super) fn keys(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// A client has waited so long for an answer while slots moved.
    pub(super) fn waited(&self, so_long: Duration) {
        self.0.store(paced(self.keys(), so_long), Ordering::Relaxed);
    }
}

fn paced(keys: u64, waited: Duration) -> u64 {
    let next = if waited > LONG {
        keys / 2
    } else if waited < SHORT {
        keys + keys / GROWS_BY
    } else {
        keys
    };
    next.clamp(BOUNDS.0, BOUNDS.1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_answers_make_jobs_small_at_once_and_short_ones_make_them_larger_slowly() {
        let pace = Pace::default();
        pace.waited(LONG + Duration::from_millis(1));
        assert_eq!(pace.keys(), FIRST / 2);
        pace.waited(LONG);
        assert_eq!(pace.keys(), FIRST / 2);
        pace.waited(Duration::ZERO);
        assert_eq!(pace.keys(), FIRST / 2 + FIRST / 2 / GROWS_BY);
        (0..1_000).for_each(|_| pace.waited(Duration::ZERO));
        assert_eq!(pace.keys(), BOUNDS.1);
        (0..100).for_each(|_| pace.waited(Duration::from_secs(1)));
        assert_eq!(pace.keys(), BOUNDS.0);
    }
}
