//! Whose pods are made first when a cluster is founded.

use std::time::{Duration, Instant};
use valkeeper_model::Layout;

/// A founder's server refuses writes for the first 2 s of its life (`CLUSTER_WRITABLE_DELAY` of the engine), and a replica needs much
/// less than that. So founders do not share their node's processors with replicas while their containers are made: that they
/// run earlier shows, that replicas come this much later does not. Longer would show where pods need long for other reasons.
const FOUNDERS_FIRST: Duration = Duration::from_secs(1);

/// The head start that founders have, once in a cluster's life.
#[derive(Debug, Default)]
pub(crate) struct FoundersFirst {
    ends: Option<Instant>,
}

impl FoundersFirst {
    /// For how long from now on only founders' pods are to be made. Where some pods are there already, however they came to be,
    /// nothing is left to be gained.
    pub(crate) fn left(&mut self, layout: &Layout, nobody_is_there: bool, now: Instant) -> Option<Duration> {
        if !layout.is_founding() || self.ends.is_none() && !nobody_is_there {
            return None;
        }
        let ends = *self.ends.get_or_insert(now + FOUNDERS_FIRST);
        Some(ends.saturating_duration_since(now)).filter(|left| !left.is_zero())
    }
}
