//! Why instances do not come and go as they are asked to.

use crate::{CalledAs, InstanceName, ZoneName};
use serde::{Deserialize, Serialize};

/// Why the instances of a cluster stay as they are.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, thiserror::Error)]
#[serde(tag = "refusal", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum ResizeRefusal {
    /// A cluster that was never whole is not changed.
    #[error("the cluster is being made, so that instances cannot come and go yet")]
    StillFounding,
    /// It leaves already.
    #[error("{instance} is being removed already")]
    LeavesAlready {
        /// Which.
        instance: InstanceName,
    },
    /// It was removed: its data is kept, and it never comes back.
    #[error("{instance} was removed from the cluster; its data is kept, and it does not come back")]
    IsRetired {
        /// Which.
        instance: InstanceName,
    },
    /// Who answers is not gone.
    #[error("the agent of {instance} answers, so that its host is not gone")]
    HostAnswers {
        /// Which.
        instance: InstanceName,
    },
    /// Nobody answers for it: it would never be known to be down.
    #[error("nobody answers for {instance}, so that it may still run")]
    HostUnheard {
        /// Which.
        instance: InstanceName,
    },
    /// It is the primary by what is known, and nobody has succeeded it.
    #[error("{instance} may be the primary still: no other instance of its shard is")]
    NotSucceeded {
        /// Which.
        instance: InstanceName,
    },
    /// In modes in which agents vote, votes change with the instances.
    #[error(
        "instances of a cluster of mode {mode} cannot come and go yet: its agents vote, and a change of the votes is not built"
    )]
    VotesWouldChange {
        /// The mode.
        mode: crate::Mode,
    },
    /// No such zone.
    #[error("there is no zone `{zone}`: there are {}", .zones.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "))]
    NoSuchZone {
        /// The name given.
        zone: ZoneName,
        /// Those that there are.
        zones: Vec<ZoneName>,
    },
}

impl ResizeRefusal {
    /// What to do about it.
    pub fn hint(&self, called: CalledAs) -> Option<String> {
        Some(match self {
            Self::StillFounding => {
                format!("`{called} status` says what it waits for; try again when it is healthy")
            }
            Self::LeavesAlready { .. } | Self::NoSuchZone { .. } | Self::IsRetired { .. } => {
                format!("`{called} status` lists instances and zones")
            }
            Self::HostAnswers { instance } => format!("`{called} replace {instance}` without `--gone`"),
            Self::HostUnheard { instance } => format!(
                "wait until it answers; if its host is gone for good, `{called} replace {instance} --gone` says so"
            ),
            Self::NotSucceeded { .. } => {
                format!(
                    "`{called} status` says why nobody has taken over; try again when its shard has a primary"
                )
            }
            Self::VotesWouldChange { .. } => "put the old number back, or make a new cluster".to_owned(),
        })
    }
}
