//! What is missing to a cluster that follows another.

use crate::{CalledAs, DemotionHold, HeldBack, InstanceName, ReplicaCause, SourceFault};
use serde::{Deserialize, Serialize};
use std::fmt;

/// Why a cluster that follows another is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(tag = "reason", rename_all_fields = "camelCase")]
pub enum ReplicaModeWaiting {
    /// The followed primary of another cluster cannot be seen, or must not be followed.
    SourceUnusable {
        /// By whom.
        instance: InstanceName,
        /// Why.
        why: SourceFault,
    },
    /// Instances are not in sync with the followed primary of another cluster.
    SourceNotFollowed {
        /// What is wrong with them.
        causes: Vec<ReplicaCause>,
    },
    /// A copy is kept from what the source does, until a person accepts it.
    CopyHeldBack {
        /// Whose.
        instance: InstanceName,
        /// From what.
        why: HeldBack,
    },
    /// The cluster was told to stop following, and has no primary yet.
    Promoting,
    /// A primary is not demoted for the source, since data would be lost that nobody has given up.
    DemotionHeld {
        /// The primary.
        instance: InstanceName,
        /// What would be lost, or is not known.
        why: DemotionHold,
    },
}

impl ReplicaModeWaiting {
    /// The instance it is about, if it is about one.
    pub fn instance(&self) -> Option<&InstanceName> {
        match self {
            Self::SourceUnusable { instance, .. }
            | Self::CopyHeldBack { instance, .. }
            | Self::DemotionHeld { instance, .. } => Some(instance),
            Self::SourceNotFollowed { .. } | Self::Promoting => None,
        }
    }

    pub(super) fn write(&self, f: &mut fmt::Formatter<'_>, called: CalledAs) -> fmt::Result {
        match self {
            Self::SourceUnusable { instance, why } => write!(f, "{instance}: the source {why}"),
            Self::SourceNotFollowed { causes } => {
                f.write_str("not in sync with the source")?;
                causes
                    .iter()
                    .try_for_each(|ReplicaCause { instance, fault }| write!(f, "; {instance} {fault}"))
            }
            Self::CopyHeldBack { instance, why } => write!(
                f,
                "{instance}: its copy is held back, since {why}; `{called} promote` makes it the primary, \
                 `{called} accept-source` gives it up"
            ),
            Self::Promoting => f.write_str("the designated leader is being promoted"),
            Self::DemotionHeld { instance, why } => write!(
                f,
                "{instance} goes on as the primary: {why}; `{called} apply --accept-data-loss` gives its data up, `{called} promote` keeps it"
            ),
        }
    }
}
