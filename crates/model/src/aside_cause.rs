//! Why files with data are not used.

use serde::{Deserialize, Serialize};
use std::fmt;

/// Why a copy is not loaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum AsideCause {
    /// The engine cannot load it.
    Damaged,
    /// Parts of it are missing.
    Incomplete,
    /// A newer copy serves, or is loaded.
    Older,
    /// Its writes are in no history of the copy that serves.
    Diverged,
    /// It holds another shard's keys.
    Foreign,
    /// `persistence: none` promises that nothing comes back.
    NotPersisted,
}

impl fmt::Display for AsideCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Damaged => "cannot be loaded",
            Self::Incomplete => "is not complete",
            Self::Older => "is older than the copy that is used",
            Self::Diverged => "holds writes that the copy that serves does not have",
            Self::Foreign => "belongs to another shard",
            Self::NotPersisted => "is left from before `persistence: none`",
        })
    }
}
