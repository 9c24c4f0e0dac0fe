//! Writers with a ledger: they write to every shard as an application would, know of each write what became of it, and
//! can tell afterwards how long a shard took none and whether all that was acknowledged is still there.

mod gaps;
mod keys;
mod ledger;
mod read_back;
mod reader;
mod remove;
mod report;
mod route;
mod wire;
mod writer;

pub use gaps::Gap;
pub use ledger::Totals;
pub use read_back::{LostWrite, ReadBack};
pub use report::{LoadReport, Mark, Outage, ShardReport};

use crate::{ClusterClient, ClusterError, Endpoint, Password, ShardMap};
use keys::KeySpace;
use ledger::Ledger;
use route::Route;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};
use valkeeper_model::{Slot, SlotSet};
use writer::{Shared, Writer};

/// How long a start or a read-back may look for the cluster.
const FIND: Duration = Duration::from_secs(5);

/// What to write, and how fast.
#[derive(Debug, Clone)]
pub struct LoadConfig {
    /// Servers to learn the cluster from.
    pub seeds: Vec<Endpoint>,
    /// The password.
    pub password: Option<Password>,
    /// Writers of each shard. Each is a thread with a connection of its own and a slot of its own.
    pub writers_per_shard: usize,
    /// How fast each writes.
    pub rate: Rate,
    /// Size of each value in bytes; 12 at least.
    pub value_size: usize,
    /// Beginning of all keys; the load adds what makes this run's keys its own.
    pub key_prefix: String,
    /// Try a failed write again until it succeeds. Otherwise the next one is tried.
    pub retry: bool,
    /// How long a writer waits for an answer before the write counts as failed.
    pub reply_timeout: Duration,
}

/// How fast a writer writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rate {
    /// One write after the other, with a pause after each acknowledgement.
    Paced(Duration),
    /// As fast as the server answers, with so many writes in flight.
    Saturated {
        /// Writes in flight at once.
        in_flight: usize,
    },
}

impl LoadConfig {
    /// One writer a shard, about a thousand small writes a second each, retried.
    pub fn new(seeds: Vec<Endpoint>, password: Option<Password>) -> Self {
        Self {
            seeds,
            password,
            writers_per_shard: 1,
            rate: Rate::Paced(Duration::from_millis(1)),
            value_size: 16,
            key_prefix: "valkeeper-load".to_owned(),
            retry: true,
            reply_timeout: Duration::from_secs(3),
        }
    }

    /// As fast as the servers take it: writers enough to keep each shard's server busy, few enough that they are not what
    /// is measured.
    #[must_use]
    pub fn saturating(self) -> Self {
        Self { writers_per_shard: 2, rate: Rate::Saturated { in_flight: 64 }, ..self }
    }
}

/// Why a load could not start, run or be checked.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The cluster's slots could not be learned.
    #[error("the cluster could not be found: {0}")]
    NoCluster(#[from] ClusterError),
    /// Some slots have no owner.
    #[error("not all slots have an owner")]
    Incomplete,
    /// A thread could not be started, or ended badly.
    #[error("a writer's thread: {0}")]
    Thread(String),
    /// Some shards acknowledge nothing.
    #[error("no write acknowledged in time by shards {0:?}")]
    Stalled(Vec<usize>),
    /// Acknowledged writes could not be read back, so that nothing is known of them.
    #[error("reading back was not possible: {0}")]
    Unreadable(String),
}

/// A load that runs.
#[derive(Debug)]
pub struct Load {
    shared: Arc<Shared>,
    map: Arc<ShardMap>,
    marks: Mutex<Vec<Mark>>,
    writers: Vec<(usize, JoinHandle<Ledger>)>,
}

impl Load {
    /// Learns the cluster and starts the writers. Shards are numbered by their lowest slot.
    pub async fn start(config: LoadConfig) -> Result<Self, LoadError> {
        let client = ClusterClient::new(config.seeds.clone(), config.password.clone());
        let map = client.shard_map(FIND).await?;
        if !map.is_complete() {
            return Err(LoadError::Incomplete);
        }
        let prefix = format!("{}:{}", config.key_prefix, run_name());
        let acknowledged = map.shards.iter().map(|_| AtomicU64::new(0)).collect();
        let (start, stop) = (Instant::now(), AtomicBool::new(false));
        let shared = Arc::new(Shared { config, start, stop, guides: map.guides, acknowledged });
        let mut load = Self { shared, map: Arc::clone(&map), marks: Mutex::default(), writers: Vec::new() };
        for (index, shard) in map.shards.iter().enumerate() {
            for writer in 0..load.shared.config.writers_per_shard.max(1) {
                load.start_writer(index, &shard.slots, writer, &prefix)?;
            }
        }
        Ok(load)
    }

    fn start_writer(
        &mut self,
        shard: usize,
        slots: &SlotSet,
        writer: usize,
        prefix: &str,
    ) -> Result<(), LoadError> {
        let config = &self.shared.config;
        let slot = nth_of(slots, writer, config.writers_per_shard.max(1)).ok_or(LoadError::Incomplete)?;
        let ledger = Ledger::new(KeySpace::new(prefix, slot, writer, config.value_size));
        let route = Route::new(&self.map, slot).ok_or(LoadError::Incomplete)?;
        let writer = Writer::new(Arc::clone(&self.shared), shard, ledger, route);
        let thread = std::thread::Builder::new()
            .name(format!("load-{shard}"))
            .stack_size(256 << 10)
            .spawn(move || writer.run())
            .map_err(|error| LoadError::Thread(error.to_string()))?;
        self.writers.push((shard, thread));
        Ok(())
    }

    /// Time since the load started, the time scale of its report.
    pub fn elapsed(&self) -> Duration {
        self.shared.start.elapsed()
    }

    /// Remembers that something happens now.
    pub fn mark(&self, name: &str) -> Duration {
        let at = self.elapsed();
        self.marks.lock().unwrap_or_else(PoisonError::into_inner).push(Mark { name: name.to_owned(), at });
        at
    }

    /// The shards as they were at the start.
    pub fn shards(&self) -> &ShardMap {
        &self.map
    }

    /// Writes acknowledged so far, by shard.
    pub fn acknowledged(&self) -> Vec<u64> {
        self.shared.acknowledged.iter().map(|count| count.load(Ordering::Relaxed)).collect()
    }

    /// Waits until every shard has acknowledged a write from now on.
    pub async fn flowing(&self, within: Duration) -> Result<(), LoadError> {
        let (before, start) = (self.acknowledged(), Instant::now());
        loop {
            let now = self.acknowledged();
            let still: Vec<_> = (0..now.len()).filter(|shard| now[*shard] == before[*shard]).collect();
            if still.is_empty() {
                return Ok(());
            }
            if start.elapsed() > within {
                return Err(LoadError::Stalled(still));
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    /// Stops the writers. Writes that failed and can still be placed within three seconds are.
    pub async fn stop(mut self) -> Result<LoadReport, LoadError> {
        self.shared.stop.store(true, Ordering::Relaxed);
        let writers = std::mem::take(&mut self.writers);
        let join = move || {
            writers
                .into_iter()
                .map(|(shard, thread)| thread.join().map(|ledger| (shard, ledger)))
                .collect::<Result<Vec<_>, _>>()
        };
        let ledgers = tokio::task::spawn_blocking(join)
            .await
            .map_err(|error| LoadError::Thread(error.to_string()))?
            .map_err(|_| LoadError::Thread("it panicked".to_owned()))?;
        let marks = std::mem::take(&mut *self.marks.lock().unwrap_or_else(PoisonError::into_inner));
        Ok(LoadReport::new(&self.map, ledgers, marks, self.elapsed(), &self.shared.config))
    }
}

/// Writers of a load that nobody stops any more end by themselves.
impl Drop for Load {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
    }
}

/// Tells this run's keys from those of any other, so that a read-back never finds an earlier run's.
fn run_name() -> String {
    static RUNS: AtomicU64 = AtomicU64::new(0);
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    format!("{:x}.{}", since.as_nanos(), RUNS.fetch_add(1, Ordering::Relaxed))
}

/// A slot for the `index`-th of `count` writers, spread over the shard's slots.
fn nth_of(slots: &SlotSet, index: usize, count: usize) -> Option<Slot> {
    let mut nth = (2 * index + 1) * usize::from(slots.len()) / (2 * count);
    for range in slots.ranges() {
        let len = usize::from(range.len());
        if nth < len {
            let offset = u16::try_from(nth).ok()?;
            return Slot::try_from(range.first().number() + offset).ok();
        }
        nth -= len;
    }
    slots.first()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writers_spread_over_the_slots() {
        let slots: SlotSet = "0-9 100-109".parse().unwrap();
        let of = |count| (0..count).map(|i| nth_of(&slots, i, count).unwrap().number()).collect::<Vec<_>>();
        assert_eq!(of(1), [100]);
        assert_eq!(of(2), [5, 105]);
        assert_eq!(of(4), [2, 7, 102, 107]);
        assert!(of(50).iter().all(|slot| slots.contains(Slot::try_from(*slot).unwrap())));
        assert_eq!(nth_of(&SlotSet::empty(), 0, 1), None);
    }

    #[test]
    fn runs_have_names_of_their_own() {
        assert_ne!(run_name(), run_name());
    }
}
