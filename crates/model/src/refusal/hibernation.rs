//! Why a cluster does not hibernate, and what is not done while it does.

use super::list;
use crate::{CalledAs, HibernationWish, InstanceName, OperationName};
use serde::{Deserialize, Serialize};

/// Why something waits for a hibernation, or a hibernation for something.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, thiserror::Error)]
#[serde(tag = "refusal", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum HibernationRefusal {
    /// The cluster is left as it is until it runs again.
    #[error("the cluster hibernates")]
    Hibernates,
    /// It was never whole: there is nothing to keep.
    #[error("the cluster is being made, and hibernates when it has been whole once")]
    StillFounding,
    /// Its servers keep nothing on their disks.
    #[error("the cluster's servers keep no data on their disks")]
    NothingKept,
    /// What is under way is brought to its end before.
    #[error("the cluster hibernates when the operation `{operation}` is over")]
    UnderWay {
        /// What.
        operation: OperationName,
    },
    /// Instances come or go.
    #[error("the cluster hibernates when {} has come or gone", list(.instances))]
    ComesOrGoes {
        /// Which.
        instances: Vec<InstanceName>,
    },
    /// A primary changes.
    #[error("the cluster hibernates when {} is not disturbed any more", list(.instances))]
    Disturbed {
        /// Which.
        instances: Vec<InstanceName>,
    },
    /// It is being promoted.
    #[error("the cluster hibernates when its promotion is over")]
    BeingPromoted,
    /// Stopped, it would lose what it cannot write.
    #[error("{instance} cannot write its data to disk, and would lose it")]
    NotSaved {
        /// Which.
        instance: InstanceName,
    },
    /// The pods go when all servers are known to be down for good.
    #[error("not known to be down: {}", list(.instances))]
    NotDown {
        /// Which.
        instances: Vec<InstanceName>,
    },
}

impl HibernationRefusal {
    /// What to do about it.
    pub fn hint(&self, called: CalledAs) -> String {
        let off = format!("the annotation {}: {}", HibernationWish::ANNOTATION, HibernationWish::Off);
        match self {
            Self::Hibernates => format!("{off} has it run again; what the manifest says by then is followed"),
            Self::NothingKept => {
                format!("set spec.persistence to aof and wait until all servers run with it, or take {off}")
            }
            Self::NotSaved { .. } => {
                format!("make room on its disk; it is stopped when it can write; {off} has the cluster go on")
            }
            Self::NotDown { .. } => format!(
                "`{called} status` says what is the matter with them; no pod goes before; {off} has the cluster go on"
            ),
            Self::StillFounding
            | Self::UnderWay { .. }
            | Self::ComesOrGoes { .. }
            | Self::Disturbed { .. }
            | Self::BeingPromoted => {
                format!(
                    "`{called} status` says what that waits for; nothing was stopped, and {off} has it stay so"
                )
            }
        }
    }
}
