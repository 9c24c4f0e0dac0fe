//! Conditions instead of times, and what is told when one does not come true.

use crate::cluster::Cluster;
use std::fmt::Write as _;
use std::time::{Duration, Instant};

/// How long anything may take. Generous: a busy machine is no failure.
pub const DEADLINE: Duration = Duration::from_secs(90);
/// Between two looks.
const PAUSE: Duration = Duration::from_millis(15);
/// Lines of logs that are told.
const TAIL: usize = 40;

/// Waits for a condition that needs no cluster to explain it.
pub fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(begun.elapsed() < DEADLINE, "not within {DEADLINE:?}: {what}");
        std::thread::sleep(PAUSE);
    }
}

impl Cluster<'_> {
    /// Waits for a condition; fails with all that is known of the cluster.
    pub fn until<T>(&self, what: &str, mut look: impl FnMut() -> Option<T>) -> T {
        let begun = Instant::now();
        loop {
            if let Some(found) = look() {
                return found;
            }
            if begun.elapsed() > DEADLINE {
                self.fail(&format!("not within {DEADLINE:?}: {what}"));
            }
            std::thread::sleep(PAUSE);
        }
    }

    /// Sees that something never happens while something else comes true.
    pub fn never_until<T>(
        &self,
        never: &str,
        mut happened: impl FnMut() -> bool,
        until: &str,
        mut look: impl FnMut() -> Option<T>,
    ) -> T {
        self.until(until, || {
            if happened() {
                self.fail(never);
            }
            look()
        })
    }

    /// Fails unless it is so.
    pub fn check(&self, so: bool, what: &str) {
        if !so {
            self.fail(what);
        }
    }

    /// Fails, with all that is known of the cluster.
    pub fn fail(&self, why: &str) -> ! {
        panic!("{why}\n{}", self.diagnosis());
    }

    /// Status page, events, and the end of the logs.
    pub fn diagnosis(&self) -> String {
        let page = self.run(&["status"]);
        let events = self.run(&["events"]);
        let mut told = format!("--- status\n{}{}\n--- events\n", page.out, page.err);
        told.push_str(&tail(&events.out, 3 * TAIL));
        let logs = [("supervisor", self.dir().join("supervisor.log"))].into_iter().chain(
            self.instance_names()
                .into_iter()
                .map(|name| ("server", self.instance_dir(&name).join("server.log"))),
        );
        for (whose, path) in logs {
            let text = std::fs::read_to_string(&path).unwrap_or_default();
            let _ = write!(told, "--- {whose} {}\n{}", path.display(), tail(&text, TAIL));
        }
        told
    }
}

/// The last lines of a text.
pub(crate) fn tail(text: &str, lines: usize) -> String {
    let all: Vec<&str> = text.lines().collect();
    let last = all.get(all.len().saturating_sub(lines)..).unwrap_or_default();
    last.join("\n") + "\n"
}
