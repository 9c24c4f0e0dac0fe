//! Removes everything a load has written.

use super::read_back::Ledgers;
use super::reader::{BATCH, Reader};
use super::{FIND, LoadError};
use crate::{ClusterClient, Endpoint, Password, ShardMap};
use std::time::{Duration, Instant};

/// Also what was not acknowledged: it may have been written all the same. Answers how many keys were there.
pub(super) async fn remove(
    ledgers: Ledgers,
    seeds: Vec<Endpoint>,
    password: Option<Password>,
    within: Duration,
) -> Result<u64, LoadError> {
    let map = ClusterClient::new(seeds, password.clone()).shard_map(FIND.min(within)).await?;
    let deadline = Instant::now() + within;
    tokio::task::spawn_blocking(move || remove_all(&ledgers, &map, password.as_ref(), deadline))
        .await
        .map_err(|error| LoadError::Thread(error.to_string()))?
}

fn remove_all(
    ledgers: &Ledgers,
    map: &ShardMap,
    password: Option<&Password>,
    deadline: Instant,
) -> Result<u64, LoadError> {
    let mut removed = 0;
    for ledger in ledgers.iter().flat_map(|writers| writers.iter()) {
        let mut reader = Reader::new(map, &ledger.keys, password, deadline)?;
        let mut numbers = 0..ledger.issued;
        while !numbers.is_empty() {
            let batch: Vec<u64> = numbers.by_ref().take(BATCH).collect();
            let count = reader.ask("UNLINK", &batch, |_, count| Ok(count))?;
            removed += u64::try_from(count).unwrap_or(0);
        }
    }
    Ok(removed)
}
