//! What becomes of a directive that somebody has set by hand.

use serde::{Deserialize, Serialize};

/// `spec.drift`: what becomes of a directive that nobody ordered and that somebody has set at a running server.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DriftPolicy {
    /// It goes back to what the server program gives it.
    #[default]
    Correct,
    /// It stays until the next restart, and `status` tells of it.
    Keep,
}

impl DriftPolicy {
    /// The word of the manifest.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Correct => "correct",
            Self::Keep => "keep",
        }
    }

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
    pub(crate) fn is_default(&self) -> bool {
        *self == Self::default()
    }
}
