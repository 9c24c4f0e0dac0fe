//! The password, kept out of logs.

use std::fmt;

/// Bytes; `CONFIG_AUTHPASS_MAX_LEN` of Redis 6.0 to Valkey 9.1.
const LONGEST: usize = 512;

/// Why a text cannot be a password.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadPassword {
    /// It would mean that none is needed.
    #[error("the password is empty")]
    Empty,
    /// The engine would refuse it.
    #[error("the password is longer than {LONGEST} bytes")]
    TooLong,
}

/// A password. It never prints: `Debug` and `Display` show a placeholder (law 11).
#[derive(Clone, PartialEq, Eq)]
pub struct Password(String);

impl Password {
    /// Takes the text as it is.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// What a user has given: not empty, which would mean no password, and not longer than the engine takes.
    pub fn given(text: &str) -> Result<Self, BadPassword> {
        match text.len() {
            0 => Err(BadPassword::Empty),
            1..=LONGEST => Ok(Self::new(text)),
            _ => Err(BadPassword::TooLong),
        }
    }

    /// The text itself, for the one place that sends or stores it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(…)")
    }
}

impl fmt::Display for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("…")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn never_prints() {
        let password = Password::new("secret");
        assert!(!format!("{password} {password:?} {:?}", Some(&password)).contains("secret"));
        assert_eq!(password.reveal(), "secret");
    }
}
