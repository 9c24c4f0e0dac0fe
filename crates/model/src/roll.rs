//! A roll: servers are restarted one after the other, for a configuration that they cannot take while they run or for another version of their
//! program.

use crate::newer::NewerFields;
use crate::{
    Generation, InstanceName, InvalidDirective, PrimaryUpdate, ServerConfig, ServerVersion, ShardName,
    StartFailure, TemplateHash,
};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// What servers run with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ServerSetup {
    /// Their configuration.
    pub config: ServerConfig,
    /// Their program; `None` where the platform chooses it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<ServerVersion>,
    /// How their pods are made; `None` where there are none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod_template: Option<TemplateHash>,
}

/// A roll that stands in the layout. What servers are to run with is the layout's own configuration and version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Roll {
    /// To what.
    pub target: RollTarget,
    /// What the cluster had before, and returns to if the canary does not get well.
    pub from: ServerSetup,
    /// How far it is.
    pub checkpoint: RollCheckpoint,
    /// Instances whose turn has come.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub turned: BTreeSet<InstanceName>,
    /// Instances whose servers come back as they were if they restart before their turn.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub kept: BTreeMap<InstanceName, Kept>,
    /// What a newer version has added.
    #[serde(flatten)]
    pub newer: NewerFields,
}

impl Roll {
    /// Does a person approve of it before it restarts primaries?
    pub fn asks_before_primaries(&self) -> bool {
        self.target.primaries == PrimaryUpdate::Supervised
    }
}

/// What a server keeps until its turn. Which directives those are that it cannot set while it runs, its agent knows.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Kept {
    /// Its version, where that is another than the wanted one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<ServerVersion>,
    /// How its pod is made, where that is another way than the wanted one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod_template: Option<TemplateHash>,
}

/// To what servers are brought, and how carefully.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RollTarget {
    /// The generation of the layout with the configuration.
    pub generation: Generation,
    /// The version; `None` where the platform chooses it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<ServerVersion>,
    /// The shard that goes first. Where there is one shard, one replica of it does.
    pub canary: ShardName,
    /// For so long the canary must be well before the others follow, milliseconds.
    pub canary_ms: u64,
    /// Whether primaries wait for a person's approval, which none has given yet.
    #[serde(default, skip_serializing_if = "PrimaryUpdate::is_unsupervised")]
    pub primaries: PrimaryUpdate,
}

/// How far a roll is. Which servers have been restarted is seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum RollCheckpoint {
    /// The canary is restarted and watched.
    Canary,
    /// The others follow.
    Rest,
    /// The canary did not get well: those that were restarted go back.
    Returning,
}

/// A setup that was given up: it is not tried again until the manifest says something else.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GivenUp {
    /// What was wanted.
    pub setup: ServerSetup,
    /// Why it was given up.
    pub why: RollFault,
}

/// Why a roll does not go on.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(tag = "fault", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum RollFault {
    /// A server cannot be started.
    StartFailed {
        /// Which.
        instance: InstanceName,
        /// Why.
        failure: StartFailure,
    },
    /// A server ends again and again after its restart.
    CrashLoop {
        /// Which.
        instance: InstanceName,
    },
    /// The server program refuses the configuration.
    ConfigRefused {
        /// Where.
        instance: InstanceName,
        /// What it refuses.
        directives: Vec<InvalidDirective>,
    },
    /// A restart has not brought what it was for.
    NotTaken {
        /// Where.
        instance: InstanceName,
    },
    /// A server was restarted and is not in sync.
    NotWell {
        /// Which.
        instance: InstanceName,
    },
}

impl fmt::Display for RollFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::StartFailed { instance, failure } => write!(f, "{instance} does not start: {failure}"),
            Self::CrashLoop { instance } => {
                write!(f, "{instance} ends again and again: `valkeeper logs {instance}` has its last words")
            }
            Self::ConfigRefused { instance, directives } => {
                write!(f, "the server program of {instance} refuses {}", crate::trial::list(directives))
            }
            Self::NotTaken { instance } => write!(f, "{instance} was restarted and runs as before"),
            Self::NotWell { instance } => write!(f, "{instance} was restarted and does not get in sync"),
        }
    }
}
