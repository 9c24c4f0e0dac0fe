//! What a load found.

use super::gaps::{self, Gap};
use super::ledger::{Ledger, Totals};
use super::{LoadConfig, LoadError, ReadBack, read_back, remove};
use crate::{Endpoint, Password, ShardMap};
use std::sync::Arc;
use std::time::Duration;
use valkeeper_model::{NodeId, SlotSet};

/// Something that happened, and when, since the start of the load.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mark {
    /// Its name.
    pub name: String,
    /// When.
    pub at: Duration,
}

/// A load that has ended: its ledger, and what can be told from it.
#[derive(Debug, Clone)]
pub struct LoadReport {
    /// By shard, in the order of their lowest slots at the start.
    pub shards: Vec<ShardReport>,
    /// What was marked.
    pub marks: Vec<Mark>,
    /// How long it ran.
    pub duration: Duration,
    seeds: Vec<Endpoint>,
    password: Option<Password>,
}

/// One shard's part.
#[derive(Debug, Clone)]
pub struct ShardReport {
    /// Its slots at the start.
    pub slots: SlotSet,
    /// Its primary at the start.
    pub primary: NodeId,
    /// What became of its writes.
    pub totals: Totals,
    gaps: Vec<Gap>,
    ledgers: Arc<Vec<Ledger>>,
}

/// How a shard took an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outage {
    /// The longest time without an acknowledged write that overlaps the window.
    pub gap: Duration,
    /// From the beginning of the window to the first acknowledged write after that time.
    pub recovered_after: Duration,
}

impl ShardReport {
    /// The longest time between two consecutive acknowledged writes (of any of the shard's writers) that overlaps the
    /// window. Times under 0.25 ms count as none.
    pub fn longest_gap(&self, from: Duration, until: Duration) -> Gap {
        gaps::longest(&self.gaps, from, until)
    }

    /// The longest such time of the writer that fared worst: what the unluckiest application saw.
    pub fn longest_gap_of_a_writer(&self, from: Duration, until: Duration) -> Gap {
        let worst = |ledger: &Ledger| gaps::longest(&gaps::common([&ledger.gaps]), from, until);
        self.ledgers.iter().map(worst).max_by_key(Gap::length).unwrap_or_default()
    }

    /// How the shard took what happened in the window.
    pub fn outage(&self, from: Duration, until: Duration) -> Outage {
        let gap = self.longest_gap(from, until);
        Outage { gap: gap.length(), recovered_after: gap.until.saturating_sub(from) }
    }
}

impl LoadReport {
    pub(super) fn new(
        map: &ShardMap,
        ledgers: Vec<(usize, Ledger)>,
        marks: Vec<Mark>,
        duration: Duration,
        config: &LoadConfig,
    ) -> Self {
        let mut by_shard: Vec<Vec<Ledger>> = map.shards.iter().map(|_| Vec::new()).collect();
        for (shard, ledger) in ledgers {
            by_shard[shard].push(ledger);
        }
        let shards = map.shards.iter().zip(by_shard).map(|(shard, ledgers)| {
            let mut totals = Totals::default();
            for ledger in &ledgers {
                totals.add(&ledger.totals);
            }
            let gaps = gaps::common(ledgers.iter().map(|ledger| &ledger.gaps));
            let (slots, primary) = (shard.slots.clone(), shard.primary.id);
            ShardReport { slots, primary, totals, gaps, ledgers: Arc::new(ledgers) }
        });
        let (seeds, password) = (config.seeds.clone(), config.password.clone());
        Self { shards: shards.collect(), marks, duration, seeds, password }
    }

    /// Over all shards.
    pub fn totals(&self) -> Totals {
        self.shards.iter().fold(Totals::default(), |mut all, shard| {
            all.add(&shard.totals);
            all
        })
    }

    /// When the named event was marked.
    pub fn mark(&self, name: &str) -> Option<Duration> {
        self.marks.iter().find(|mark| mark.name == name).map(|mark| mark.at)
    }

    /// How each shard took the named event, up to the next mark or the end.
    pub fn outages(&self, name: &str) -> Option<Vec<Outage>> {
        let from = self.mark(name)?;
        let next = self.marks.iter().map(|mark| mark.at).filter(|at| *at > from).min();
        Some(self.shards.iter().map(|shard| shard.outage(from, next.unwrap_or(self.duration))).collect())
    }

    /// Reads every acknowledged write back.
    pub async fn read_back(&self, within: Duration) -> Result<ReadBack, LoadError> {
        self.read_back_from(self.seeds.clone(), self.password.clone(), within).await
    }

    /// The same, when the servers are elsewhere by now, or the data is another cluster's too.
    pub async fn read_back_from(
        &self,
        seeds: Vec<Endpoint>,
        password: Option<Password>,
        within: Duration,
    ) -> Result<ReadBack, LoadError> {
        let ledgers = self.shards.iter().map(|shard| Arc::clone(&shard.ledgers)).collect();
        read_back::read_back(ledgers, seeds, password, within).await
    }

    /// Removes every key that was written, and says how many there were.
    pub async fn remove(&self, within: Duration) -> Result<u64, LoadError> {
        let ledgers = self.shards.iter().map(|shard| Arc::clone(&shard.ledgers)).collect();
        remove::remove(ledgers, self.seeds.clone(), self.password.clone(), within).await
    }
}
