//! Reads back what was acknowledged, all of it.

use super::ledger::Ledger;
use super::reader::{BATCH, Reader};
use super::wire::Token;
use super::{FIND, LoadError};
use crate::{ClusterClient, Endpoint, Password, ShardMap};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// Threads at most; each reads one writer's keys at a time.
const THREADS: usize = 8;

/// Lost writes named in the result.
const NAMED: usize = 16;

/// What was read back.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct ReadBack {
    /// Acknowledged writes looked for.
    pub checked: u64,
    /// Not there.
    pub lost: u64,
    /// There, but with another value.
    pub altered: u64,
    /// The first of the lost and altered ones.
    pub examples: Vec<LostWrite>,
}

/// An acknowledged write that is not there as written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LostWrite {
    /// The shard, by its number in the report.
    pub shard: usize,
    /// The key.
    pub key: String,
}

impl ReadBack {
    /// Is everything there as it was written?
    pub fn is_whole(&self) -> bool {
        self.lost == 0 && self.altered == 0
    }

    fn add(&mut self, other: Self) {
        self.checked += other.checked;
        self.lost += other.lost;
        self.altered += other.altered;
        self.examples.extend(other.examples);
        self.examples.truncate(NAMED);
    }
}

/// By shard the ledgers of its writers.
pub(super) type Ledgers = Vec<Arc<Vec<Ledger>>>;

pub(super) async fn read_back(
    ledgers: Ledgers,
    seeds: Vec<Endpoint>,
    password: Option<Password>,
    within: Duration,
) -> Result<ReadBack, LoadError> {
    let map = ClusterClient::new(seeds, password.clone()).shard_map(FIND.min(within)).await?;
    let deadline = Instant::now() + within;
    tokio::task::spawn_blocking(move || read_all(&ledgers, &map, password.as_ref(), deadline))
        .await
        .map_err(|error| LoadError::Thread(error.to_string()))?
}

fn read_all(
    ledgers: &Ledgers,
    map: &ShardMap,
    password: Option<&Password>,
    deadline: Instant,
) -> Result<ReadBack, LoadError> {
    let jobs: Vec<(usize, &Ledger)> = ledgers
        .iter()
        .enumerate()
        .flat_map(|(shard, ledgers)| ledgers.iter().map(move |one| (shard, one)))
        .collect();
    let next = AtomicUsize::new(0);
    let work = || {
        let mut found = ReadBack::default();
        while let Some((shard, ledger)) = jobs.get(next.fetch_add(1, Ordering::Relaxed)) {
            found.add(read(&mut Reader::new(map, &ledger.keys, password, deadline)?, *shard, ledger)?);
        }
        Ok::<_, LoadError>(found)
    };
    thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS.min(jobs.len())).map(|_| scope.spawn(work)).collect();
        threads.into_iter().try_fold(ReadBack::default(), |mut all, thread| {
            all.add(thread.join().map_err(|_| LoadError::Thread("it panicked".to_owned()))??);
            Ok(all)
        })
    })
}

fn read(reader: &mut Reader<'_>, shard: usize, ledger: &Ledger) -> Result<ReadBack, LoadError> {
    let mut found = ReadBack::default();
    let mut numbers = ledger.numbers().peekable();
    let mut batch = Vec::with_capacity(BATCH);
    while numbers.peek().is_some() {
        batch.clear();
        batch.extend(numbers.by_ref().take(BATCH));
        let values = reader.ask("MGET", &batch, |wire, header| {
            if usize::try_from(header) != Ok(batch.len()) {
                return Err(io::ErrorKind::InvalidData.into());
            }
            let value = |_| match wire.token()? {
                Token::Bulk(value) => Ok(value),
                _ => Err(io::ErrorKind::InvalidData.into()),
            };
            (0..batch.len()).map(value).collect::<io::Result<Vec<_>>>()
        })?;
        for (number, value) in batch.iter().zip(values) {
            found.checked += 1;
            match value {
                Some(value) if ledger.keys.is_value(*number, &value) => continue,
                Some(_) => found.altered += 1,
                None => found.lost += 1,
            }
            if found.examples.len() < NAMED {
                let key = String::from_utf8_lossy(&ledger.keys.key(*number)).into_owned();
                found.examples.push(LostWrite { shard, key });
            }
        }
    }
    Ok(found)
}
