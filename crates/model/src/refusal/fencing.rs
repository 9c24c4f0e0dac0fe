//! Why an instance is not kept down, or is kept down all the same.

use super::list;
use crate::{CalledAs, FencedBy, FencedInstances, Fences, InstanceName, ShardName};
use serde::{Deserialize, Serialize};

/// Why fences stay as they are.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, thiserror::Error)]
#[serde(tag = "refusal", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum FenceRefusal {
    /// Somebody else than who asks keeps it down.
    #[error("{instance} is fenced by {}", told(by))]
    FencedByOthers {
        /// Which.
        instance: InstanceName,
        /// Who.
        by: Fences,
    },
    /// The annotation names what there is not.
    #[error("there is no instance {}", list(.instances))]
    UnknownInstances {
        /// The names.
        instances: Vec<InstanceName>,
    },
    /// The annotation names a whole shard, and not the whole cluster.
    #[error("no instance of {shard} would be left to take over")]
    NobodyLeft {
        /// Which.
        shard: ShardName,
    },
    /// The last of a shard goes down when all others are: what it takes until then is on its disk alone.
    #[error("{instance} is the last of its shard to go down, and {} not known to be down yet", are(.others))]
    OthersRun {
        /// Which.
        instance: InstanceName,
        /// The others.
        others: Vec<InstanceName>,
    },
}

fn told(by: &Fences) -> String {
    if by.has(&FencedBy::Annotation) {
        format!("the annotation {}", FencedInstances::ANNOTATION)
    } else if by.has(&FencedBy::Hibernation) {
        "the hibernation of the cluster".to_owned()
    } else {
        "what only a newer version of Valkeeper lifts".to_owned()
    }
}

fn are(names: &[InstanceName]) -> String {
    format!("{} {}", list(names), if names.len() == 1 { "is" } else { "are" })
}

impl FenceRefusal {
    /// What to do about it.
    pub fn hint(&self, called: CalledAs) -> String {
        match self {
            Self::FencedByOthers { instance, by } if by.has(&FencedBy::Annotation) => {
                format!("take {instance} out of the annotation {}", FencedInstances::ANNOTATION)
            }
            Self::FencedByOthers { by, .. } if by.has(&FencedBy::Hibernation) => {
                format!(
                    "the annotation {}: off has the cluster run again",
                    crate::HibernationWish::ANNOTATION
                )
            }
            Self::FencedByOthers { .. } => "run the newer version again, and lift it there".to_owned(),
            Self::UnknownInstances { .. } => format!(
                "`{called} status` lists instances; nothing of {} is followed until all names are right",
                FencedInstances::ANNOTATION
            ),
            Self::NobodyLeft { shard } => format!(
                "leave an instance of {shard} out, or write [\"*\"], which takes the whole cluster down; nothing was touched"
            ),
            Self::OthersRun { .. } => {
                format!("`{called} status` says what they wait for; this one follows by itself")
            }
        }
    }
}
