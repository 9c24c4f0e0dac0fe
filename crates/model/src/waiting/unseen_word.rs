//! Why something could not be seen, in a reason.

use crate::Unseen;
use serde::{Deserialize, Serialize};

/// [`Unseen`] as text that orders and compares, for reasons.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct UnseenWord(pub(super) String);

impl From<Unseen> for UnseenWord {
    fn from(unseen: Unseen) -> Self {
        Self(unseen.to_string())
    }
}
