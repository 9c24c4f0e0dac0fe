//! Why a server could not be started.

use crate::{NodeId, PasswordFault};
use serde::{Deserialize, Serialize};
use std::fmt;

/// Why a server could not be started.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum StartFailure {
    /// Somebody else listens on its port.
    PortTaken {
        /// The port.
        port: u16,
    },
    /// The server program is missing or does not run.
    ProgramUnusable {
        /// What was tried and what happened.
        detail: String,
    },
    /// The data directory belongs to another cluster or instance (law 10).
    ForeignData {
        /// Whose.
        owner: String,
    },
    /// The password cannot be used.
    PasswordUnusable {
        /// Why.
        why: PasswordFault,
    },
    /// The data directory cannot be used.
    DataUnusable {
        /// What happened.
        detail: String,
    },
    /// The server could not load its data: the files are damaged, or of a format that it does not read.
    DataDamaged {
        /// The end of its log.
        detail: String,
    },
    /// The process ended before it answered.
    Exited {
        /// The end of its log.
        detail: String,
    },
    /// It answered with another node id than ours (law 10).
    WrongIdentity {
        /// Its id.
        found: NodeId,
    },
}

impl fmt::Display for StartFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PortTaken { port } => write!(f, "port {port} is taken by another process"),
            Self::ProgramUnusable { detail } => write!(f, "the server program cannot be run: {detail}"),
            Self::ForeignData { owner } => write!(f, "its data directory belongs to {owner}"),
            Self::PasswordUnusable { why } => write!(f, "its password cannot be used: {why}"),
            Self::DataUnusable { detail } => write!(f, "its data directory cannot be used: {detail}"),
            Self::DataDamaged { detail } => write!(f, "the server cannot load its data: {detail}"),
            Self::Exited { detail } => write!(f, "the server ended at once: {detail}"),
            Self::WrongIdentity { found } => write!(f, "the server has another node id: {found}"),
        }
    }
}
