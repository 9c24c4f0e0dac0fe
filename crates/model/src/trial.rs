//! What a server program makes of a configuration that it is tried with, and of a password.

use serde::{Deserialize, Serialize};
use std::fmt;

/// A directive that the server program refuses, with its own words.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct InvalidDirective {
    /// Which; `None` if the program does not name one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// What the program says.
    pub why: String,
}

impl fmt::Display for InvalidDirective {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.name {
            Some(name) => write!(f, "{name}: {}", self.why),
            None => f.write_str(&self.why),
        }
    }
}

/// The list, for a sentence.
pub(crate) fn list(directives: &[InvalidDirective]) -> String {
    directives.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

/// What came of starting the server program with a configuration on an empty directory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "trial", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Trial {
    /// It starts.
    Starts,
    /// It refuses the configuration.
    Refuses {
        /// What it refuses.
        directives: Vec<InvalidDirective>,
    },
    /// The trial itself failed: nothing is known of the configuration.
    Failed {
        /// Why.
        why: String,
    },
}

/// Why a password cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, thiserror::Error)]
#[serde(tag = "fault", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum PasswordFault {
    /// It cannot be read.
    #[error("it cannot be read: {why}")]
    Unreadable {
        /// Why.
        why: String,
    },
    /// It would mean that none is needed.
    #[error("it is empty")]
    Empty,
    /// Bytes that are no text.
    #[error("it is not UTF-8 text")]
    NotText,
    /// The engine would refuse it.
    #[error("it is {bytes} bytes long; at most {longest} are allowed")]
    TooLong {
        /// Its length.
        bytes: usize,
        /// The engine's limit.
        longest: usize,
    },
    /// What only a newer version knows.
    #[error("{0}")]
    #[serde(untagged)]
    Newer(crate::Newer),
}
