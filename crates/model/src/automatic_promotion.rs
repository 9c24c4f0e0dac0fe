//! `spec.replicaMode.automaticPromotion`: a cluster that follows another is promoted when enough of its agents cannot reach the source.

use crate::InstanceName;
use serde::{Deserialize, Serialize};
use std::fmt;

/// When a cluster that follows another is promoted without a person.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AutomaticPromotion {
    /// For so long the source must have been out of reach of each, milliseconds.
    pub after_ms: u64,
    /// So many agents.
    pub witnesses: u32,
}

impl AutomaticPromotion {
    /// `after` when the manifest has none.
    pub const DEFAULT_AFTER_MS: u64 = 30_000;
    /// A source that is restarted, or fails over, is away for some seconds.
    pub const MIN_AFTER_MS: u64 = 5_000;
    /// One agent alone may be cut off itself.
    pub const MIN_WITNESSES: u32 = 2;

    /// `witnesses` when the manifest has none: a majority of the agents, and never one alone.
    pub fn default_witnesses(instances: u32) -> u32 {
        (instances / 2 + 1).max(Self::MIN_WITNESSES)
    }
}

/// An agent that could not reach the source.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SourceWitness {
    /// Whose.
    pub instance: InstanceName,
    /// How long ago the source answered it last, milliseconds.
    pub unseen_ms: u64,
}

impl fmt::Display for SourceWitness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} for {}.{} s", self.instance, self.unseen_ms / 1_000, self.unseen_ms % 1_000 / 100)
    }
}
