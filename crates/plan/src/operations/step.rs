//! One command to one agent, and how patient the controller is with it.

use valkeeper_model::{
    Address, Incarnation, InstanceName, NodeId, ShardName, SlotSet, SlotTransfer, StepKey,
};

/// How long a primary that cannot write its data is borne: one write that failed may be followed by one that does not.
const DISK_MS: u64 = 3_000;
/// A shard is not switched for its disks again before that: where both fill up in turn, clients are not sent to and fro.
const DISK_AGAIN_MS: u64 = 60_000;

/// One step.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Step {
    /// Promote without a vote (law 4).
    TakeOver {
        /// Which shard.
        shard: ShardName,
        /// Whom.
        to: InstanceName,
        /// Which run of it.
        incarnation: Incarnation,
        /// The dead primary.
        replaces: NodeId,
        /// Primaries that can vote.
        alive: usize,
        /// Votes needed.
        needed: usize,
    },
    /// Make an instance follow its shard's primary.
    Follow {
        /// Whom.
        instance: InstanceName,
        /// Which run of it.
        incarnation: Incarnation,
        /// The primary.
        primary: NodeId,
    },
    /// Make two members know each other (again).
    Meet {
        /// Who does not know.
        instance: InstanceName,
        /// Whom.
        whom: InstanceName,
        /// Where that one is.
        address: Address,
        /// What is amiss between them.
        acquaintance: Acquaintance,
    },
    /// Swap roles so that no zone's loss loses the majority, nor a shard (law 7).
    SwitchForZones {
        /// Which shard.
        shard: ShardName,
        /// From whom.
        from: InstanceName,
        /// To whom.
        to: InstanceName,
        /// How long the cause must have been seen, milliseconds.
        patience_ms: u64,
    },
    /// Hand over from a primary that cannot write its data to disk, and refuses writes or is about to, to a replica that can.
    SwitchForDisk {
        /// Which shard.
        shard: ShardName,
        /// From whom.
        from: InstanceName,
        /// To whom.
        to: InstanceName,
    },
    /// Hand over from a primary that is to leave.
    SwitchToLeave {
        /// Which shard.
        shard: ShardName,
        /// From whom.
        from: InstanceName,
        /// To whom.
        to: InstanceName,
    },
    /// Remove instances that were retired from a server's table.
    ForgetRetired {
        /// Whose.
        instance: InstanceName,
        /// Their node ids.
        nodes: Vec<NodeId>,
    },
    /// Give a primary the slots of its shard that nobody owns any more.
    TakeSlots {
        /// Which shard.
        shard: ShardName,
        /// Its primary.
        instance: InstanceName,
        /// Which run of it.
        incarnation: Incarnation,
        /// Which slots.
        slots: SlotSet,
    },
    /// Move slots to another shard's primary.
    MoveSlots {
        /// From which shard.
        shard: ShardName,
        /// To which.
        to: ShardName,
        /// The primary that gives them.
        instance: InstanceName,
        /// Which run of it.
        incarnation: Incarnation,
        /// What it is told.
        transfer: Box<SlotTransfer>,
    },
    /// Make a replica primary in the place of another shard's member, which was moved here by hand and serves the slots.
    BringHome {
        /// Of which shard.
        shard: ShardName,
        /// From whom.
        from: InstanceName,
        /// To whom.
        to: InstanceName,
        /// Which run of it.
        incarnation: Incarnation,
    },
    /// Restart an instance whose turn in a roll has come.
    Restart {
        /// Which.
        instance: InstanceName,
    },
}

/// How well two members know each other that are to meet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Acquaintance {
    /// One knows where the other is: the engine mends the rest alone.
    OneSided,
    /// Neither knows where the other is: the engine never mends that alone.
    None,
    /// The one that is met has heard of the other by gossip, and not from itself whom it follows: the engine mends that with its pings, within seconds.
    ByGossip,
}

impl Step {
    /// How long the cause must have been seen before the step is taken, milliseconds: the engine mends most of it alone.
    pub fn patience_ms(&self) -> u64 {
        match self {
            Self::TakeOver { .. }
            | Self::SwitchToLeave { .. }
            | Self::ForgetRetired { .. }
            | Self::MoveSlots { .. }
            | Self::Restart { .. }
            | Self::Meet { acquaintance: Acquaintance::None | Acquaintance::ByGossip, .. } => 0,
            Self::Follow { .. } => 1_000,
            Self::SwitchForZones { patience_ms, .. } => *patience_ms,
            Self::SwitchForDisk { .. } => DISK_MS,
            // Who moves slots by hand takes them away here and gives them to another in the next moment.
            Self::Meet { .. } | Self::TakeSlots { .. } | Self::BringHome { .. } => 2_000,
        }
    }
    /// How long the outcome is waited for before the step is taken again, milliseconds.
    pub fn settle_ms(&self) -> u64 {
        match self {
            Self::TakeOver { .. } | Self::ForgetRetired { .. } => 1_000,
            Self::MoveSlots { .. } => 0,
            Self::SwitchForDisk { .. } => DISK_AGAIN_MS,
            Self::Follow { .. }
            | Self::Meet { .. }
            | Self::SwitchForZones { .. }
            | Self::SwitchToLeave { .. }
            | Self::BringHome { .. }
            | Self::Restart { .. }
            | Self::TakeSlots { .. } => 3_000,
        }
    }
    /// What it is done to, for patience and settling.
    pub fn key(&self) -> StepKey {
        match self.clone() {
            Self::TakeOver { shard, to, .. } => StepKey::TakeOver { shard, to },
            Self::Follow { instance, primary, .. } => StepKey::Follow { instance, primary },
            Self::Meet { instance, whom, .. } => StepKey::Meet { instance, whom },
            Self::SwitchForZones { shard, from, to, .. } => StepKey::SwitchForZones { shard, from, to },
            Self::SwitchForDisk { shard, from, to } => StepKey::SwitchForDisk { shard, from, to },
            Self::SwitchToLeave { shard, from, to } => StepKey::SwitchToLeave { shard, from, to },
            Self::ForgetRetired { instance, nodes } => StepKey::ForgetRetired { instance, nodes },
            Self::TakeSlots { shard, instance, .. } => StepKey::TakeSlots { shard, instance },
            Self::MoveSlots { shard, to, .. } => StepKey::MoveSlots { shard, to },
            Self::Restart { instance } => StepKey::Restart { instance },
            Self::BringHome { shard, to, .. } => StepKey::BringHome { shard, to },
        }
    }
}
