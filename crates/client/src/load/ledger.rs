//! What became of every write of one writer: the number up to which all were issued, and the few that were not
//! acknowledged.

use super::gaps::GapLog;
use super::keys::KeySpace;
use std::collections::BTreeMap;
use std::time::Duration;

/// What became of a write that was not acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// An error was answered: not written.
    Refused,
    /// The connection broke or the answer did not come: perhaps written.
    Unknown,
}

/// Counts of a writer, a shard or a whole load.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Totals {
    /// Writes acknowledged. Each must be readable for ever after.
    pub acknowledged: u64,
    /// Writes of which an application that only follows redirects would have seen an error, once or more often, also
    /// if a retry succeeded.
    pub failed: u64,
    /// Further tries after such errors.
    pub retried: u64,
    /// Redirects followed; no client shows them.
    pub redirected: u64,
    /// Writes of which nobody knows whether they were carried out.
    pub unknown: u64,
    /// Writes given up after an error reply: not carried out.
    pub refused: u64,
    /// The errors by code, or by kind for those of the connection.
    pub errors: BTreeMap<String, u64>,
}

impl Totals {
    pub(super) fn add(&mut self, other: &Self) {
        self.acknowledged += other.acknowledged;
        self.failed += other.failed;
        self.retried += other.retried;
        self.redirected += other.redirected;
        self.unknown += other.unknown;
        self.refused += other.refused;
        for (code, count) in &other.errors {
            *self.errors.entry(code.clone()).or_default() += count;
        }
    }
}

/// One writer's ledger.
#[derive(Debug, Clone)]
pub(super) struct Ledger {
    pub(super) keys: KeySpace,
    /// Numbers below were issued.
    pub(super) issued: u64,
    /// Those of them that were not acknowledged.
    pub(super) exceptions: BTreeMap<u64, Fate>,
    pub(super) totals: Totals,
    pub(super) gaps: GapLog,
}

impl Ledger {
    pub(super) fn new(keys: KeySpace) -> Self {
        let (exceptions, totals, gaps) = (BTreeMap::new(), Totals::default(), GapLog::new());
        Self { keys, issued: 0, exceptions, totals, gaps }
    }

    pub(super) fn acknowledged(&mut self, now: Duration) {
        self.totals.acknowledged += 1;
        self.gaps.acknowledged(now);
    }

    pub(super) fn given_up(&mut self, number: u64, fate: Fate) {
        self.exceptions.insert(number, fate);
        match fate {
            Fate::Refused => self.totals.refused += 1,
            Fate::Unknown => self.totals.unknown += 1,
        }
    }

    pub(super) fn error(&mut self, code: &str) {
        *self.totals.errors.entry(code.to_owned()).or_default() += 1;
    }

    /// The numbers acknowledged.
    pub(super) fn numbers(&self) -> impl Iterator<Item = u64> {
        (0..self.issued).filter(|number| !self.exceptions.contains_key(number))
    }
}
