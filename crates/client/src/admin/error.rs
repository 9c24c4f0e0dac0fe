//! Why a server did not do or tell what it was asked.

use redis::{ErrorKind, RedisError, ServerError};
use valkeeper_model::Unseen;

/// Why an ask failed. Told apart by the reply's code, never by its text, which differs between versions.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AskError {
    /// No answer within the time given. The order may still be carried out.
    #[error("no answer in time")]
    Timeout,
    /// The connection was refused or broke. What was in flight may have been carried out.
    #[error("unreachable: {0}")]
    Unreachable(String),
    /// The server wants another password.
    #[error("refused our password")]
    AuthRefused,
    /// The user may not use the command.
    #[error("no permission: {0}")]
    NoPermission(String),
    /// A script runs longer than the engine's limit.
    #[error("busy with a script")]
    Busy,
    /// It still reads its data from disk.
    #[error("loading its data")]
    Loading,
    /// It refuses writes because it cannot persist, or for a like reason.
    #[error("refuses writes: {0}")]
    MisConf(String),
    /// Any other error reply.
    #[error("{code} {text}")]
    Refused {
        /// The first word of the reply: `ERR`, `MOVED`, `CLUSTERDOWN`, …
        code: String,
        /// The rest of it.
        text: String,
    },
    /// An answer that cannot be understood.
    #[error("answer not understood: {what}")]
    Garbled {
        /// What was wrong with it.
        what: String,
    },
}

impl AskError {
    /// Did a server answer at all? Then the process lives, whatever it said.
    pub fn alive(&self) -> bool {
        match self {
            Self::Timeout | Self::Unreachable(_) | Self::Garbled { .. } => false,
            Self::AuthRefused
            | Self::NoPermission(_)
            | Self::Busy
            | Self::Loading
            | Self::MisConf(_)
            | Self::Refused { .. } => true,
        }
    }

    /// The code of an error reply, where it was kept.
    pub fn code(&self) -> Option<&str> {
        match self {
            Self::Refused { code, .. } => Some(code),
            _ => None,
        }
    }

    pub(crate) fn garbled(what: impl Into<String>) -> Self {
        Self::Garbled { what: what.into() }
    }

    /// From the two parts of an error reply.
    pub(crate) fn from_reply(code: &str, text: &str) -> Self {
        match code {
            "NOAUTH" | "WRONGPASS" => Self::AuthRefused,
            "NOPERM" => Self::NoPermission(text.to_owned()),
            "BUSY" => Self::Busy,
            "LOADING" => Self::Loading,
            "MISCONF" => Self::MisConf(text.to_owned()),
            _ => Self::Refused { code: code.to_owned(), text: text.to_owned() },
        }
    }
}

impl From<&ServerError> for AskError {
    fn from(error: &ServerError) -> Self {
        Self::from_reply(error.code(), error.details().unwrap_or_default())
    }
}

impl From<&RedisError> for AskError {
    fn from(error: &RedisError) -> Self {
        if error.is_timeout() {
            return Self::Timeout;
        }
        match (error.kind(), error.code()) {
            (ErrorKind::Io, _) => Self::Unreachable(error.to_string()),
            (_, Some(code)) => Self::from_reply(code, error.detail().unwrap_or_default()),
            _ if error.is_connection_dropped() => Self::Unreachable(error.to_string()),
            _ => Self::garbled(error.to_string()),
        }
    }
}

/// What an observation keeps of it. A server that answered, but not the question, was not seen in what was asked.
impl From<&AskError> for Unseen {
    fn from(error: &AskError) -> Self {
        match error {
            AskError::Timeout => Self::Timeout,
            AskError::Unreachable(_) => Self::Unreachable,
            AskError::AuthRefused => Self::AuthRefused,
            AskError::Loading => Self::Loading,
            AskError::Busy
            | AskError::NoPermission(_)
            | AskError::MisConf(_)
            | AskError::Refused { .. }
            | AskError::Garbled { .. } => Self::Garbled,
        }
    }
}
