//! A folder for one scenario, and the end of all that runs in it.

use crate::ports::Ports;
use crate::process;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Scenarios that run at once: each has six servers, writers and a supervisor.
const AT_ONCE: usize = 2;
/// Within this, killed processes are gone.
const GONE_WITHIN: Duration = Duration::from_secs(10);

static RUNNING: Mutex<usize> = Mutex::new(0);
static ONE_ENDED: Condvar = Condvar::new();

/// A scenario's turn, given back when dropped.
#[derive(Debug)]
struct Turn;

impl Turn {
    fn take() -> Self {
        let mut running = RUNNING.lock().unwrap_or_else(PoisonError::into_inner);
        while *running >= AT_ONCE {
            running = ONE_ENDED.wait(running).unwrap_or_else(PoisonError::into_inner);
        }
        *running += 1;
        Self
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        *RUNNING.lock().unwrap_or_else(PoisonError::into_inner) -= 1;
        ONE_ENDED.notify_one();
    }
}

/// The place of one scenario. When it is dropped, everything that runs in it is killed, then looked for again.
#[derive(Debug)]
pub struct Place {
    dir: TempDir,
    ports: Ports,
    // Last, so that the next scenario begins when this one has ended.
    _turn: Turn,
}

impl Place {
    /// Waits for its turn.
    pub fn new() -> Self {
        let turn = Turn::take();
        let dir = tempfile::Builder::new().prefix("valkeeper-scenario-").tempdir();
        Self { dir: dir.expect("a temporary folder can be made"), ports: Ports::reserve(), _turn: turn }
    }

    /// Its folder.
    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// Where the clusters of the scenario keep their state.
    pub fn state_dir(&self) -> PathBuf {
        self.path().join("state")
    }

    /// The first of [`crate::ports::BLOCK`] ports that are the scenario's own.
    pub fn first_port(&self) -> u16 {
        self.ports.first()
    }

    /// Kills everything of the scenario. Says what could not be killed.
    pub fn clear(&self) -> Vec<(u32, String)> {
        let begun = Instant::now();
        // A process that ends shows nothing any more of the folder, and holds its ports and locks for a moment.
        let mut ending = BTreeSet::new();
        loop {
            let left = process::of_folder(self.path());
            ending.retain(|pid| process::alive(*pid));
            if left.is_empty() && ending.is_empty() || begun.elapsed() > GONE_WITHIN {
                return left;
            }
            ending.extend(left.iter().map(|(pid, _)| *pid));
            // A supervisor first: it would start its servers again.
            let (supervisors, others): (Vec<_>, Vec<_>) =
                left.into_iter().partition(|(_, arguments)| arguments.contains("--state-dir"));
            for (pid, _) in supervisors.iter().chain(&others) {
                process::kill(*pid);
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Default for Place {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let left = self.clear();
        // What is mounted in it goes with the namespace, but would keep the folder from being removed before.
        crate::mounts::unmount(&self.state_dir());
        assert!(left.is_empty() || std::thread::panicking(), "still there after SIGKILL: {left:?}");
    }
}
