//! Waiting for a healthy cluster, and saying what it waits for.

use crate::args::Within;
use crate::called::called;
use crate::document::status::Status;
use crate::failure::{Failure, Kind};
use std::time::{Duration, Instant};

/// A reason that is gone in a moment is not told.
pub(crate) const WORTH_TELLING: Duration = Duration::from_secs(1);

/// Says what is waited for, and since when.
pub(crate) fn tell_waiting(begun: Instant, what: &str) {
    eprintln!("{:>6.1}s  waiting: {what}", begun.elapsed().as_secs_f64());
}

/// Looks until the cluster is healthy, and says what it waits for.
pub(crate) async fn until_healthy(
    within: Within,
    look: impl AsyncFnMut() -> anyhow::Result<Status>,
) -> anyhow::Result<Status> {
    until(Goal::Healthy, within, look).await
}

/// The same, until no work is under way either: a cluster is healthy while its slots move.
pub(crate) async fn until_at_rest(
    within: Within,
    look: impl AsyncFnMut() -> anyhow::Result<Status>,
) -> anyhow::Result<Status> {
    until(Goal::AtRest, within, look).await
}

async fn until(
    goal: Goal,
    within: Within,
    mut look: impl AsyncFnMut() -> anyhow::Result<Status>,
) -> anyhow::Result<Status> {
    let mut patience = Patience::new(goal, within);
    loop {
        let status = look().await?;
        if patience.is_over(&status)? {
            return Ok(status);
        }
    }
}

/// What is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Goal {
    Healthy,
    AtRest,
}

impl Goal {
    fn is_reached(self, status: &Status) -> bool {
        status.healthy && (self == Self::Healthy || status.progress.is_empty())
    }
}

/// Somebody waits.
struct Patience {
    goal: Goal,
    within: Duration,
    begun: Instant,
    said: (Instant, String),
}

impl Patience {
    fn new(goal: Goal, within: Within) -> Self {
        let now = Instant::now();
        Self { goal, within: within.timeout, begun: now, said: (now, String::new()) }
    }

    /// Is it as it is to be? Says what it waits for when that is another thing; an error when the time is over.
    fn is_over(&mut self, status: &Status) -> Result<bool, Failure> {
        if self.goal.is_reached(status) {
            return Ok(true);
        }
        let causes = status.causes();
        let work = || status.progress.first().map(ToString::to_string);
        let first = causes.first().map(|cause| cause.message.clone()).or_else(work).unwrap_or_default();
        if self.said.0.elapsed() >= WORTH_TELLING && first != self.said.1 && !first.is_empty() {
            let more = match causes.len() {
                0 | 1 => String::new(),
                all => format!(" (and {} more)", all - 1),
            };
            tell_waiting(self.begun, &format!("{first}{more}"));
            self.said = (Instant::now(), first.clone());
        }
        if self.begun.elapsed() >= self.within {
            let what = if status.healthy {
                format!("not done after {:?}: {first}", self.within)
            } else {
                format!("not healthy after {:?}: {}", self.within, status.causes_in_a_line())
            };
            let hint = format!("it goes on in the background: `{} status --watch`", called());
            return Err(Failure::new(Kind::TimedOut, what, hint));
        }
        Ok(false)
    }
}
