//! What is missing to the Sentinels of a cluster of mode `sentinel`.

use crate::{Followed, InstanceName, SentinelFault};
use serde::{Deserialize, Serialize};
use std::fmt;

/// Why a Sentinel does not send clients to the primary.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(tag = "reason", rename_all_fields = "camelCase")]
pub enum SentinelWaiting {
    /// The agent of the primary does not see it.
    SentinelUnseen {
        /// Which Sentinel.
        sentinel: InstanceName,
        /// Why; `None` if it was not looked at yet.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        why: Option<SentinelFault>,
    },
    /// It sends clients to another server.
    SentinelLeadsElsewhere {
        /// Which Sentinel.
        sentinel: InstanceName,
        /// Where.
        to: Followed,
    },
}

impl SentinelWaiting {
    /// The Sentinel it is about.
    pub fn sentinel(&self) -> &InstanceName {
        match self {
            Self::SentinelUnseen { sentinel, .. } | Self::SentinelLeadsElsewhere { sentinel, .. } => sentinel,
        }
    }
}

impl fmt::Display for SentinelWaiting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SentinelUnseen { sentinel, why: Some(why) } => write!(f, "{sentinel}: the Sentinel {why}"),
            Self::SentinelUnseen { sentinel, why: None } => {
                write!(f, "{sentinel}: the Sentinel was not looked at yet")
            }
            Self::SentinelLeadsElsewhere { sentinel, to } => {
                write!(
                    f,
                    "{sentinel}: the Sentinel sends clients to {}:{}, which is not the primary",
                    to.host, to.port
                )
            }
        }
    }
}
