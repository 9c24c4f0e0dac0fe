//! The password, kept out of logs.

use std::fmt;
use std::io;
use valkeeper_model::PasswordFault;

/// Bytes; `CONFIG_AUTHPASS_MAX_LEN` of Redis 6.0 to Valkey 9.1.
const LONGEST: usize = 512;

/// A password. It never prints: `Debug` and `Display` show a placeholder (law 11).
#[derive(Clone, PartialEq, Eq)]
pub struct Password(String);

impl Password {
    /// Takes the text as it is.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// What a user has written into a file or a Secret. One rule for both, so that one manifest means one password everywhere: blanks
    /// and line breaks around it are not part of it, and the rest is a text that the engine takes.
    pub fn written(bytes: &[u8]) -> Result<Self, PasswordFault> {
        let text = std::str::from_utf8(bytes).map_err(|_| PasswordFault::NotText)?.trim();
        match text.len() {
            0 => Err(PasswordFault::Empty),
            1..=LONGEST => Ok(Self::new(text)),
            bytes => Err(PasswordFault::TooLong { bytes, longest: LONGEST }),
        }
    }

    /// The same of a file that was read, or not.
    pub fn read(file: io::Result<Vec<u8>>) -> Result<Self, PasswordFault> {
        Self::written(&file.map_err(|error| PasswordFault::Unreadable { why: error.to_string() })?)
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

    #[test]
    fn what_is_written_is_a_text_without_the_blanks_around_it() {
        let written = |text: &str| Password::written(text.as_bytes()).map(|one| one.reveal().to_owned());
        for text in ["pw", " pw", "pw \n", "\t pw\r\n"] {
            assert_eq!(written(text).as_deref(), Ok("pw"), "{text:?}");
        }
        assert_eq!(written(" \n"), Err(PasswordFault::Empty));
        assert_eq!(written("two words").as_deref(), Ok("two words"));
        assert_eq!(written("two\nlines\n").as_deref(), Ok("two\nlines"));
        assert!(written(&"x".repeat(512)).is_ok());
        assert_eq!(written(&"x".repeat(513)), Err(PasswordFault::TooLong { bytes: 513, longest: 512 }));
        assert_eq!(Password::written(&[0xff]), Err(PasswordFault::NotText));
        let missing = Password::read(Err(io::ErrorKind::NotFound.into()));
        assert!(matches!(missing, Err(PasswordFault::Unreadable { .. })));
    }
}
