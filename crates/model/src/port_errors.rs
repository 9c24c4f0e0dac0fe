//! Why a platform could not do what a controller wanted of it: one error for each port. They go on in reasons and refusals, beside the text that
//! versions before them have there alone.

use serde::{Deserialize, Serialize};

/// Why the layout could not be read or stored.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, thiserror::Error)]
#[serde(tag = "stage", rename_all = "camelCase")]
pub enum StoreError {
    /// What is stored is no layout that could be followed: damaged, of a newer version, or gone while the data is there.
    #[error("{why}")]
    Unreadable {
        /// What was found.
        why: String,
    },
    /// What is stored belongs to somebody else.
    #[error("{why}")]
    Foreign {
        /// What was found.
        why: String,
    },
    /// What is stored is of a cluster that was deleted, and goes.
    #[error("{why}")]
    LeftOver {
        /// What was found.
        why: String,
    },
    /// It could not be read.
    #[error("{why}")]
    NotRead {
        /// Of which kind that is.
        fault: StorageFault,
        /// What was said.
        why: String,
    },
    /// It could not be written.
    #[error("{why}")]
    NotWritten {
        /// Of which kind that is.
        fault: StorageFault,
        /// What was said.
        why: String,
    },
    /// Another version of Valkeeper has told of it, in words.
    #[error("{why}")]
    #[serde(untagged)]
    Other {
        /// Its words.
        why: String,
    },
}

impl StoreError {
    /// What to do about it, if that is known.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::NotRead { fault, .. } | Self::NotWritten { fault, .. } => fault.hint().map(str::to_owned),
            Self::Unreadable { .. } | Self::Foreign { .. } | Self::LeftOver { .. } | Self::Other { .. } => {
                None
            }
        }
    }
}

/// Why instances could not be given what they run on.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, thiserror::Error)]
#[serde(tag = "stage", rename_all = "camelCase")]
pub enum ProvisionError {
    /// No port is left for one of them.
    #[error("{why}")]
    NoFreePort {
        /// What was said.
        why: String,
    },
    /// Which addresses they have is kept, and what is kept cannot be understood.
    #[error("{why}")]
    AddressesUnreadable {
        /// What was found.
        why: String,
    },
    /// Their addresses could not be read or kept.
    #[error("{why}")]
    AddressesNotKept {
        /// Of which kind that is.
        fault: StorageFault,
        /// What was said.
        why: String,
    },
    /// Another version of Valkeeper has told of it, in words.
    #[error("{why}")]
    #[serde(untagged)]
    Other {
        /// Its words.
        why: String,
    },
}

/// What is the matter with a disk or an API server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum StorageFault {
    /// The disk of the state directory, or what its owner may use of it, is used up.
    DiskFull,
    /// The disk of the state directory takes no writes.
    ReadOnly,
    /// The operating system refuses it for another reason.
    Io,
    /// The API server does not let the operator do that.
    Forbidden,
    /// The API server refuses it for another reason, or cannot be reached.
    Api,
    /// None of these, or of a kind that only a newer version knows.
    #[serde(other)]
    Other,
}

impl StorageFault {
    fn hint(self) -> Option<&'static str> {
        match self {
            Self::DiskFull => Some("make room on the disk of the state directory"),
            Self::ReadOnly => Some("the state directory is mounted read-only, or its disk has failed"),
            Self::Forbidden => Some(
                "may the operator read and write ConfigMaps in this namespace, and is there quota for one? Its log says more",
            ),
            Self::Io | Self::Api | Self::Other => None,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that panics has failed, which is what it should do")]

    use super::*;
    use crate::{CalledAs, Refusal, Waiting};
    use serde_json::{Value, json};

    fn not_written(fault: StorageFault) -> StoreError {
        StoreError::NotWritten { fault, why: "it says so".to_owned() }
    }

    #[test]
    fn older_and_newer_programs_find_the_words() {
        let reason = Waiting::StoreFailed { error: not_written(StorageFault::DiskFull) };
        let written = serde_json::to_value(&reason).unwrap();
        let wanted = json!({ "reason": "StoreFailed", "stage": "notWritten", "fault": "diskFull", "why": "it says so" });
        assert_eq!(written, wanted);
        assert_eq!(serde_json::from_value::<Waiting>(written).unwrap(), reason);
        let read = |written: Value| serde_json::from_value::<Waiting>(written).unwrap();
        let other = Waiting::StoreFailed { error: StoreError::Other { why: "full".to_owned() } };
        assert_eq!(read(json!({ "reason": "StoreFailed", "why": "full" })), other);
        let newer = json!({ "reason": "StoreFailed", "stage": "melted", "degrees": 51, "why": "full" });
        assert_eq!(read(newer), other);
        let fault = json!({ "reason": "StoreFailed", "stage": "notRead", "fault": "asleep", "why": "full" });
        let error = StoreError::NotRead { fault: StorageFault::Other, why: "full".to_owned() };
        assert_eq!(read(fault), Waiting::StoreFailed { error });
        let error = ProvisionError::NoFreePort { why: "none".to_owned() };
        let lacking = Waiting::NotProvisioned { error };
        assert_eq!(read(serde_json::to_value(&lacking).unwrap()), lacking);
        let error = ProvisionError::Other { why: "none".to_owned() };
        let older = json!({ "reason": "NotProvisioned", "why": "none" });
        assert_eq!(read(older), Waiting::NotProvisioned { error });
    }

    #[test]
    fn refusals_say_what_to_do_only_where_it_is_known() {
        let refusal = Refusal::NotStored { error: not_written(StorageFault::Forbidden) };
        let written = serde_json::to_value(&refusal).unwrap();
        assert_eq!((&written["refusal"], &written["why"]), (&json!("notStored"), &json!("it says so")));
        assert_eq!(serde_json::from_value::<Refusal>(written).unwrap(), refusal);
        let older: Refusal =
            serde_json::from_value(json!({ "refusal": "notStored", "why": "full" })).unwrap();
        assert_eq!(older.to_string(), "the new state could not be stored: full");
        // Whoever is called how: a disk is spoken of only when a disk is full.
        for called in [CalledAs::Valkeeper, CalledAs::KubectlValkeeper] {
            let hint = |error| Refusal::NotStored { error }.hint(called).unwrap_or_default();
            assert_eq!(older.hint(called), None);
            assert!(hint(not_written(StorageFault::DiskFull)).contains("make room"));
            assert!(hint(not_written(StorageFault::Forbidden)).contains("ConfigMaps"));
            assert_eq!(hint(not_written(StorageFault::Api)), "");
            assert_eq!(hint(not_written(StorageFault::Io)), "");
        }
    }
}
