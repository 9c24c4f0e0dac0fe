//! Why a server did not do or tell what it was asked.

use redis::{ErrorKind, RedisError, ServerError};
use valkeeper_model::Unseen;

/// Is the process, or the whole system, out of file descriptors? EMFILE and ENFILE have these numbers on all systems we run on.
pub fn out_of_descriptors(error: &std::io::Error) -> bool {
    matches!(error.raw_os_error(), Some(23 | 24))
}

/// Why an ask failed. Told apart by the reply's code, never by its text, which differs between versions.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AskError {
    /// No answer within the time given. The order may still be carried out.
    #[error("no answer in time")]
    Timeout,
    /// The connection was refused or broke. What was in flight may have been carried out.
    #[error("unreachable: {0}")]
    Unreachable(String),
    /// This process has no file descriptor left to connect with: nothing is said of the server.
    #[error("no file descriptor is left to connect with")]
    NoDescriptors,
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
            Self::Timeout | Self::Unreachable(_) | Self::NoDescriptors | Self::Garbled { .. } => false,
            Self::AuthRefused
            | Self::NoPermission(_)
            | Self::Busy
            | Self::Loading
            | Self::MisConf(_)
            | Self::Refused { .. } => true,
        }
    }

    /// The same with the name of the command in the place of the engine's own words, which could repeat a password.
    #[must_use]
    pub(super) fn without_text(self, command: &str) -> Self {
        match self {
            Self::Refused { code, .. } => Self::Refused { code, text: command.to_owned() },
            other => other,
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

    /// From the two parts of an error reply. Engines end some of their texts with a blank or a new line, which nobody wants in an event.
    pub(crate) fn from_reply(code: &str, text: &str) -> Self {
        let text = text.trim();
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

/// Why a server did not set a directive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NotSet {
    /// Not while it runs: the value may be valid or not.
    Immutable,
    /// The value, or the directive itself, is not valid; in the engine's words.
    Invalid(String),
    /// Something else than the directive is the cause.
    Other,
}

impl AskError {
    /// What the answer to a `CONFIG SET` of a directive that the engine has means. The engine has no codes for it, so that its texts
    /// are read (docs/engine-facts.md, "What a server says to a value"): the one place where they are.
    pub fn not_set(&self) -> NotSet {
        let Self::Refused { code, text } = self else { return NotSet::Other };
        if code != "ERR" {
            return NotSet::Other;
        }
        // Redis 6.2 says the same of a directive that it does not have.
        if text.starts_with("Unsupported CONFIG parameter") {
            return NotSet::Immutable;
        }
        let reason = match text.split_once(" - ") {
            Some(("CONFIG SET failed", reason)) => reason,
            Some((start, reason)) if start.starts_with("CONFIG SET failed (") => reason,
            // Redis 6.2.
            Some((start, reason)) if start.starts_with("Invalid argument '") => reason,
            _ if text.starts_with("Invalid argument '") => "the value is not valid",
            _ if text.starts_with("Unknown option") => "the server does not know this directive",
            _ => text,
        };
        match reason {
            "can't set immutable config" | "can't set protected config" => NotSet::Immutable,
            _ if reason.contains("loading") => NotSet::Other,
            reason => NotSet::Invalid(reason.to_owned()),
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
            AskError::NoDescriptors => Self::NoDescriptors,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_the_engine_do_not_end_with_a_new_line() {
        let said = AskError::from_reply(
            "ERR",
            "Target instance replied with error: BUSYKEY Target key name already exists.\r\n",
        );
        assert_eq!(
            said.to_string(),
            "ERR Target instance replied with error: BUSYKEY Target key name already exists."
        );
    }

    #[test]
    fn an_immutable_directive_is_told_from_a_value_that_is_not_valid() {
        let said = |text: &str| AskError::from_reply("ERR", text).not_set();
        let invalid = |why: &str| NotSet::Invalid(why.to_owned());
        // Valkey 9.1.2 and Redis 7.0.15.
        assert_eq!(
            said(
                "CONFIG SET failed (possibly related to argument 'tcp-backlog') - can't set immutable config"
            ),
            NotSet::Immutable
        );
        assert_eq!(
            said(
                "CONFIG SET failed (possibly related to argument 'maxmemory') - argument must be a memory value"
            ),
            invalid("argument must be a memory value")
        );
        assert!(matches!(
            said("Unknown option or number of arguments for CONFIG SET - 'maxmemroy'"),
            NotSet::Invalid(_)
        ));
        // Redis 6.2.
        assert_eq!(said("Unsupported CONFIG parameter: tcp-backlog"), NotSet::Immutable);
        assert_eq!(
            said("Invalid argument 'lots' for CONFIG SET 'hz' - not a number"),
            invalid("not a number")
        );
        assert!(matches!(said("Invalid argument 'lots' for CONFIG SET 'hz'"), NotSet::Invalid(_)));
        assert_eq!(AskError::from_reply("LOADING", "").not_set(), NotSet::Other);
        assert_eq!(said("CONFIG SET failed - can't set while loading"), NotSet::Other);
        assert_eq!(said("something else"), invalid("something else"));
    }
}
