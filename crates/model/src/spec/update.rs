//! How changes that need a restart get to the servers.

use serde::{Deserialize, Serialize};

/// `spec.update`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct UpdateSpec {
    /// For so long the first servers that have a change must stay well before the others get it, milliseconds.
    pub canary_ms: u64,
    /// Who restarts servers.
    pub restart: RestartPolicy,
    /// Whether a person is asked before a primary is touched.
    #[serde(default)]
    pub primaries: PrimaryUpdate,
}

impl UpdateSpec {
    /// `canary` when the manifest has none.
    pub const DEFAULT_CANARY_MS: u64 = 30_000;

    /// Does the manifest say nothing of it?
    pub(crate) fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

impl Default for UpdateSpec {
    fn default() -> Self {
        Self {
            canary_ms: Self::DEFAULT_CANARY_MS,
            restart: RestartPolicy::default(),
            primaries: PrimaryUpdate::default(),
        }
    }
}

/// Who restarts servers for a change that they cannot take while they run.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RestartPolicy {
    /// The cluster itself, one after the other.
    #[default]
    Rolling,
    /// A person.
    Manual,
}

/// Whether an update touches primaries by itself.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PrimaryUpdate {
    /// It does, when the replicas are done.
    #[default]
    Unsupervised,
    /// A person approves of it first.
    Supervised,
}

impl PrimaryUpdate {
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
    pub(crate) fn is_unsupervised(&self) -> bool {
        *self == Self::Unsupervised
    }
}
