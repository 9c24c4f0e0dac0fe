//! How what is stored and sent may grow.
//!
//! A field is added without a new format: a program that does not know the field keeps it ([`crate::NewerFields`]) where the program writes the object
//! again, and passes it over elsewhere. The number is raised only when an older program would misunderstand what is written: an older program then refuses it.
//! What was written before formats were numbered has format 1.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The format of an object, as a field of it. The newest format is what is written; that and every older one is read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Format<const NEWEST: u32>;

impl<const NEWEST: u32> Serialize for Format<NEWEST> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u32(NEWEST)
    }
}

impl<'de, const NEWEST: u32> Deserialize<'de> for Format<NEWEST> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let found = u32::deserialize(deserializer)?;
        if found > NEWEST {
            return Err(serde::de::Error::custom(Unreadable::Newer { found, newest: NEWEST }));
        }
        Ok(Self)
    }
}

/// Why what is stored cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// A newer version has written it, and says that this one would misunderstand it.
    #[error(
        "has format {found}, which only a newer version of Valkeeper reads; this one reads formats up to {newest}"
    )]
    Newer {
        /// Its format.
        found: u32,
        /// The newest that is read.
        newest: u32,
    },
    /// It is not what it should be.
    #[error("is damaged: {0}")]
    Damaged(String),
}

/// Only the number: what is of a newer format may differ in everything else.
#[derive(Deserialize)]
struct Numbered {
    #[serde(default)]
    format: u32,
}

/// Reads an object of which `newest` is the newest known format, from JSON.
pub(crate) fn read<T: serde::de::DeserializeOwned>(text: &[u8], newest: u32) -> Result<T, Unreadable> {
    serde_json::from_slice(text).map_err(|error| match serde_json::from_slice::<Numbered>(text) {
        Ok(Numbered { format }) if format > newest => Unreadable::Newer { found: format, newest },
        _ => Unreadable::Damaged(error.to_string()),
    })
}
