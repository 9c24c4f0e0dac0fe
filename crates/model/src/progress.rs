//! How far long work is.

use crate::{OperationName, Refusal};
use serde::{Deserialize, Serialize};
use std::fmt;

/// How far an operation of the layout is, as `status` shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Progress {
    /// Which operation.
    pub operation: OperationName,
    /// To what end, for people.
    pub purpose: String,
    /// So many are done.
    pub done: u64,
    /// Of so many.
    pub total: u64,
    /// Of what.
    pub unit: ProgressUnit,
    /// So many a minute, once that can be told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub per_minute: Option<u64>,
    /// About so long until it is done, seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left_s: Option<u64>,
    /// Why it does not go on now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waits_for: Option<Box<Refusal>>,
}

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ProgressUnit {
    /// Instances.
    Instances,
    /// Slots.
    Slots,
    /// A word that only a newer version knows.
    #[serde(other)]
    Other,
}

impl fmt::Display for ProgressUnit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Instances => "instances",
            Self::Slots => "slots",
            Self::Other => "parts",
        })
    }
}

impl fmt::Display for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} of {} {}", self.purpose, self.done, self.total, self.unit)?;
        if let Some(rate) = self.per_minute {
            write!(f, ", {rate} a minute")?;
        }
        if let Some(left) = self.left_s {
            write!(f, ", about {left} s left")?;
        }
        match &self.waits_for {
            Some(why) => write!(f, "; waits: {why}"),
            None => Ok(()),
        }
    }
}
