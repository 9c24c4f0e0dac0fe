//! Reads back what was acknowledged, all of it.

use super::keys::KeySpace;
use super::ledger::Ledger;
use super::route::Route;
use super::wire::{Token, Wire, append_bulk};
use super::{FIND, LoadError};
use crate::cluster::Redirect;
use crate::{ClusterClient, Endpoint, Password, ShardMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// Keys asked for at once.
const BATCH: usize = 256;

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
type Ledgers = Vec<Arc<Vec<Ledger>>>;

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
            found.add(Reader::new(map, &ledger.keys, password, deadline)?.read(*shard, ledger)?);
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

/// Reads one writer's keys, which share a slot.
struct Reader<'a> {
    keys: &'a KeySpace,
    route: Route,
    wire: Option<Wire>,
    password: Option<&'a Password>,
    deadline: Instant,
}

/// What one try brought.
enum Answer {
    Values(Vec<Option<Vec<u8>>>),
    Error { code: String, text: String },
}

impl<'a> Reader<'a> {
    fn new(
        map: &ShardMap,
        keys: &'a KeySpace,
        password: Option<&'a Password>,
        deadline: Instant,
    ) -> Result<Self, LoadError> {
        let route = Route::new(map, keys.slot()).ok_or(LoadError::Incomplete)?;
        Ok(Self { keys, route, wire: None, password, deadline })
    }

    fn read(&mut self, shard: usize, ledger: &Ledger) -> Result<ReadBack, LoadError> {
        let mut found = ReadBack::default();
        let mut numbers = ledger.numbers().peekable();
        let mut batch = Vec::with_capacity(BATCH);
        while numbers.peek().is_some() {
            batch.clear();
            batch.extend(numbers.by_ref().take(BATCH));
            let values = self.values(&batch)?;
            for (number, value) in batch.iter().zip(values) {
                found.checked += 1;
                match value {
                    Some(value) if self.keys.is_value(*number, &value) => continue,
                    Some(_) => found.altered += 1,
                    None => found.lost += 1,
                }
                if found.examples.len() < NAMED {
                    let key = String::from_utf8_lossy(&self.keys.key(*number)).into_owned();
                    found.examples.push(LostWrite { shard, key });
                }
            }
        }
        Ok(found)
    }

    /// The values of a batch, wherever they are by now.
    fn values(&mut self, batch: &[u64]) -> Result<Vec<Option<Vec<u8>>>, LoadError> {
        let mut request = format!("*{}\r\n$4\r\nMGET\r\n", batch.len() + 1).into_bytes();
        for number in batch {
            append_bulk(&mut request, &self.keys.key(*number));
        }
        loop {
            let (pause, last) = match self.exchange(&request, batch.len()) {
                Ok(Answer::Values(values)) => {
                    self.route.took();
                    return Ok(values);
                }
                Ok(Answer::Error { code, text }) => {
                    let pause = match Redirect::read(&code, &text, self.route.current()) {
                        Some(Redirect::Moved(to)) => {
                            self.wire = None;
                            self.route.moved(to)
                        }
                        // In the middle of a slot's move: the keys are together again soon.
                        _ => Some(Duration::from_millis(5)),
                    };
                    (pause, format!("{code} {text}"))
                }
                Err(error) => {
                    self.wire = None;
                    (self.route.failed(), format!("{}: {error}", self.route.current()))
                }
            };
            if Instant::now() > self.deadline {
                return Err(LoadError::Unreadable(last));
            }
            if let Some(pause) = pause {
                thread::sleep(pause);
            }
        }
    }

    fn exchange(&mut self, request: &[u8], count: usize) -> std::io::Result<Answer> {
        let timeout = Duration::from_secs(3);
        let wire = match &mut self.wire {
            Some(wire) => wire,
            none => none.insert(Wire::connect(self.route.current(), self.password, timeout)?),
        };
        wire.send(request)?;
        let values = match wire.token()? {
            Token::Number(len) if usize::try_from(len) == Ok(count) => {
                (0..count).map(|_| match wire.token()? {
                    Token::Bulk(value) => Ok(value),
                    _ => Err(std::io::ErrorKind::InvalidData.into()),
                })
            }
            Token::Error { code, text } => return Ok(Answer::Error { code, text }),
            _ => return Err(std::io::ErrorKind::InvalidData.into()),
        };
        values.collect::<std::io::Result<_>>().map(Answer::Values)
    }
}
