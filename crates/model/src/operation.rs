//! Long work that stands in the layout, and what is disturbed on purpose while it goes on. Both are stored before anything is begun, without a new
//! generation: no agent is told of them, and a controller that is started in the middle goes on where the one before it has ended.

mod slot_move;

use crate::layout::LayoutVersion;
use crate::newer::NewerFields;
use crate::{Incarnation, InstanceMoves, InstanceName, Newer, ResizeOperation, Roll, ShardName, ZoneName};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;

pub use slot_move::{
    SlotMove, SlotMoveCheckpoint, SlotMoveStage, SlotMoveTarget, SlotTransfer, TransferExtent,
};

/// What an operation is called in its layout.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct OperationName(String);

impl OperationName {
    /// The only one of its kind in a shard.
    pub fn in_shard(kind: &str, shard: &ShardName) -> Self {
        Self(format!("{kind}-{shard}"))
    }

    /// The only one of its kind in a cluster.
    pub fn only(kind: &str) -> Self {
        Self(kind.to_owned())
    }

    /// The only one of its kind for that instance.
    pub fn of_instance(kind: &str, instance: &InstanceName) -> Self {
        Self(format!("{kind}-{instance}"))
    }

    /// The only one of its kind for that zone.
    pub fn of_zone(kind: &str, zone: &ZoneName) -> Self {
        Self(format!("{kind}-{zone}"))
    }

    /// The only one of its kind from one shard to another.
    pub fn between(kind: &str, from: &ShardName, to: &ShardName) -> Self {
        Self(format!("{kind}-{from}-{to}"))
    }

    /// The roll: there is one at a time.
    pub fn roll() -> Self {
        Self("roll".to_owned())
    }
}

impl fmt::Display for OperationName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Long work: of which kind, to what end, and how far it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "camelCase")]
pub enum Operation {
    /// A primary hands over so that no zone's loss loses the majority, nor a shard (law 7).
    Rezone(RoleSwitch),
    /// A primary that cannot write to its disk hands over to a replica that can.
    LeaveFullDisk(RoleSwitch),
    /// Slots move from one shard to another.
    MoveSlots(SlotMove),
    /// Servers are restarted one after the other, for their configuration or their version.
    Roll(Box<Roll>),
    /// Instances come and go.
    #[serde(untagged)]
    Resize(ResizeOperation),
    /// What only a newer version knows. It is kept and left alone.
    #[serde(untagged)]
    Newer(Newer),
}

/// A primary hands over to one of its replicas.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RoleSwitch {
    /// Which.
    pub target: SwitchTarget,
    /// How far it is.
    pub checkpoint: SwitchCheckpoint,
    /// What a newer version has added.
    #[serde(flatten)]
    pub newer: NewerFields,
}

/// Who hands over to whom.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SwitchTarget {
    /// In which shard.
    pub shard: ShardName,
    /// The primary.
    pub from: InstanceName,
    /// Its successor.
    pub to: InstanceName,
}

/// How far a switch is. It is one command; what has come of that is seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum SwitchCheckpoint {
    /// The primary may have been told to hand over.
    Begun,
}

impl Operation {
    /// The switch, if it is one.
    pub fn switch(&self) -> Option<&SwitchTarget> {
        match self {
            Self::Rezone(switch)
            | Self::LeaveFullDisk(switch)
            | Self::Resize(ResizeOperation::HandOverToLeave(switch)) => Some(&switch.target),
            Self::Resize(ResizeOperation::Move(_)) | Self::MoveSlots(_) | Self::Roll(_) | Self::Newer(_) => {
                None
            }
        }
    }

    /// Which instances come and go, if that is what it is.
    pub fn moves(&self) -> Option<&InstanceMoves> {
        match self {
            Self::Resize(ResizeOperation::Move(moves)) => Some(moves),
            _ => None,
        }
    }

    /// The roll, if it is one.
    pub fn roll(&self) -> Option<&Roll> {
        match self {
            Self::Roll(roll) => Some(roll),
            _ => None,
        }
    }
}

/// What is disturbed on purpose now, by instance. Everything that law 6 counts and that cannot be seen yet is in it: an entry is stored before the
/// deed, and ends by what is seen.
pub type Ledger = BTreeMap<InstanceName, Disturbance>;

/// One primary that is disturbed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Disturbance {
    /// Its shard.
    pub shard: ShardName,
    /// By what.
    pub by: DisturbedBy,
    /// The run that is disturbed; `None` if none was seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub incarnation: Option<Incarnation>,
    /// The first layout that has this entry.
    pub since: LayoutVersion,
    /// What a newer version has added.
    #[serde(flatten)]
    pub newer: NewerFields,
}

/// What disturbs a primary.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum DisturbedBy {
    /// An operation of the layout.
    Operation(OperationName),
    /// A user's request.
    Request(DisturbingRequest),
    /// What only a newer version knows.
    #[serde(untagged)]
    Newer(Newer),
}

/// A request that disturbs a primary. One that is not known here is [`DisturbedBy::Newer`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum DisturbingRequest {
    /// To hand over.
    Switchover,
    /// To be killed and succeeded.
    Failover,
    /// To restart.
    Restart,
    /// To stay down.
    Fence,
}

impl fmt::Display for DisturbedBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Operation(operation) => write!(f, "operation {operation}"),
            Self::Request(request) => f.write_str(match request {
                DisturbingRequest::Switchover => "a switchover that was asked for",
                DisturbingRequest::Failover => "a failover that was asked for",
                DisturbingRequest::Restart => "a restart that was asked for",
                DisturbingRequest::Fence => "a fence that was asked for",
            }),
            Self::Newer(newer) => write!(f, "{newer}"),
        }
    }
}

/// Why a primary is not disturbed any more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum DisturbanceEnd {
    /// Another serves the shard, or it was restarted as it was asked to.
    Done,
    /// Its agent has refused, or has not begun in time: it serves as before.
    NotBegun,
    /// The run that was disturbed has ended otherwise, and the instance serves again.
    RunEnded,
    /// The instance is none any more, or is of another shard.
    InstanceGone,
}

impl fmt::Display for DisturbanceEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Done => "it is done",
            Self::NotBegun => "it was not begun, and the primary serves as before",
            Self::RunEnded => "its server was restarted meanwhile and serves again",
            Self::InstanceGone => "the instance is gone, or is of another shard",
        })
    }
}
