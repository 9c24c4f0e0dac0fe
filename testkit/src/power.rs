//! Power losses, and servers whose snapshots and loads take as long as those of much larger ones.

use crate::cluster::{self, Cluster};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{JoinHandle, sleep};
use std::time::Duration;

/// Between two tries to slow a server that may just have been started.
const AGAIN: Duration = Duration::from_millis(10);
/// A server that is slow to load answers between so many bytes.
const EVENTS_EACH: &str = "4096";

/// What is slow: microseconds a key.
#[derive(Debug, Clone, Copy)]
pub enum Slow {
    /// Snapshots, rewrites of the AOF and full syncs to replicas.
    Saving(u32),
    /// Loading, from the disk or from the primary.
    Loading(u32),
}

/// Slows every process of an instance, also one that is started later, until this is dropped.
#[derive(Debug)]
pub struct Slowed {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Slowed {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Cluster<'_> {
    /// Kills the supervisor and all servers at once, as a power loss ends them. What they have written is on the disk: losing
    /// the page cache too takes a machine.
    pub fn lose_power(&self) {
        for instance in self.instance_names() {
            self.until_written(&instance);
        }
        let left = self.place.clear();
        self.check(left.is_empty(), &format!("still there after SIGKILL: {left:?}"));
    }

    /// Waits until an instance that answers has handed its AOF to the kernel. With `appendfsync everysec` that is so before it
    /// acknowledges a write, but while an fsync is on, which a busy disk makes long: then up to two seconds later.
    pub fn until_written(&self, instance: &str) {
        self.until(&format!("{instance} has written its AOF"), || {
            let Ok(told) = self.ask::<String>(instance, &["INFO", "persistence"]) else { return Some(()) };
            let buffered = told.lines().find_map(|line| line.trim().strip_prefix("aof_buffer_length:"));
            buffered.is_none_or(|bytes| bytes == "0").then_some(())
        });
    }

    /// Sets a directive of one server by hand.
    pub fn set(&self, instance: &str, directive: &str, value: &str) {
        let _: String = self.told(instance, &["CONFIG", "SET", directive, value]);
    }

    /// Makes the running process of an instance slow, or as fast as ever with 0.
    pub fn slow(&self, instance: &str, slow: Slow) {
        for (directive, value) in slow.directives() {
            self.set(instance, directive, &value);
        }
    }

    /// Makes an instance slow from now on, whatever process it runs in.
    pub fn keep_slow(&self, instance: &str, slow: Slow) -> Slowed {
        let (port, password) = (self.port(instance), self.password());
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let directives = slow.directives();
        let thread = std::thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                for (directive, value) in &directives {
                    let words = ["CONFIG", "SET", directive, value];
                    let _ = cluster::ask::<String>(port, Some(&password), &words);
                }
                sleep(AGAIN);
            }
        });
        Slowed { stop, thread: Some(thread) }
    }

    /// Writes a snapshot on that instance, and waits until it is on its disk.
    pub fn save(&self, instance: &str) {
        let before = self.count(instance, "persistence", "rdb_saves");
        self.until(&format!("{instance} saves"), || {
            let saving: String = self.info(instance, "persistence", "rdb_bgsave_in_progress");
            (saving == "0").then_some(())?;
            self.ask::<String>(instance, &["BGSAVE"]).ok().map(drop)
        });
        self.until(&format!("{instance} has saved"), || {
            let now = self.count(instance, "persistence", "rdb_saves");
            (now > before && self.info(instance, "persistence", "rdb_bgsave_in_progress") == "0")
                .then_some(())
        });
    }

    /// Rewrites the AOF of that instance, and waits until it is done.
    pub fn rewrite(&self, instance: &str) {
        let before = self.aof_files(instance);
        self.until(&format!("{instance} rewrites its AOF"), || {
            self.ask::<String>(instance, &["BGREWRITEAOF"]).ok().map(drop)
        });
        self.until(&format!("{instance} has rewritten its AOF"), || {
            let idle = self.info(instance, "persistence", "aof_rewrite_in_progress") == "0"
                && self.info(instance, "persistence", "aof_rewrite_scheduled") == "0";
            let now = self.aof_files(instance);
            (idle
                && now
                    .iter()
                    .all(|file| file.extension().is_some_and(|e| e == "manifest") || !before.contains(file)))
            .then_some(())
        });
    }

    /// The files of an instance's AOF.
    pub fn aof_files(&self, instance: &str) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(self.aof_dir(instance)).into_iter().flatten();
        let mut files: Vec<_> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
        files.sort();
        files
    }

    /// Where an instance keeps its AOF.
    pub fn aof_dir(&self, instance: &str) -> PathBuf {
        self.data_dir(instance).join("appendonlydir")
    }
}

impl Slow {
    fn directives(self) -> Vec<(&'static str, String)> {
        match self {
            Self::Saving(us) => vec![("rdb-key-save-delay", us.to_string())],
            Self::Loading(us) => vec![
                ("loading-process-events-interval-bytes", EVENTS_EACH.to_owned()),
                ("key-load-delay", us.to_string()),
            ],
        }
    }
}

/// How a cluster came up from what is on its disks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Healthy, by its own word and by its servers'.
    Whole,
    /// Not healthy, and a reason names the command that accepts the loss.
    Waits,
}

impl Cluster<'_> {
    /// Starts it, and waits until it is either healthy or says how the loss of data is accepted.
    pub fn comes_up(&self) -> Outcome {
        let said = self.try_up(&["--timeout", "1"]);
        self.check(matches!(said.code, Some(0 | 4)), &format!("up failed ({:?}): {}", said.code, said.err));
        let outcome = self.until("it is healthy or waits for a word of the user", || {
            let status = self.status();
            if status.healthy {
                return Some(Outcome::Whole);
            }
            status.reasons().contains("--accept-data-loss").then_some(Outcome::Waits)
        });
        if outcome == Outcome::Whole {
            self.until_whole();
        }
        outcome
    }

    /// Accepts the loss of a shard's data if it waits for that.
    pub fn accept_loss(&self, shard: &str) {
        let command = format!("valkeeper failover {shard} --accept-data-loss");
        if self.status().reasons().contains(&command) {
            self.must(&["failover", shard, "--accept-data-loss"]);
        }
    }
}
