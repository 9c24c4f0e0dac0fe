//! What has happened, for people and programs to read later.

mod hibernation;
mod resizing;
mod roll;
mod slots;
mod words;

pub use hibernation::HibernationHappened;
pub use resizing::ResizeHappened;
pub use roll::RollHappened;

use crate::{
    AsideCause, CalledAs, CopySource, CopyState, DisturbanceEnd, InstanceName, NodeId, Role, ShardName,
    SlotSet, SlowCommand, SourceWitness, StartFailure, Waiting,
};
use serde::{Deserialize, Serialize};
pub use slots::SlotHappened;

/// Something that happened, for people and programs to read later.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all_fields = "camelCase")]
pub enum Happened {
    /// The layout was committed for the first time.
    Founded {
        /// Instances in it.
        instances: usize,
    },
    /// The cluster is whole for the first time.
    Formed,
    /// An instance that was added has caught up with its shard's primary, and is a member from now on.
    Joined {
        /// Which shard.
        shard: ShardName,
        /// Which instance.
        instance: InstanceName,
    },
    /// A primary that was to be disturbed counts as disturbed no more, although what was asked of it is not done.
    DisturbanceEnded {
        /// Its shard.
        shard: ShardName,
        /// The primary.
        instance: InstanceName,
        /// Why.
        why: DisturbanceEnd,
    },
    /// A server runs.
    Started {
        /// Which.
        instance: InstanceName,
    },
    /// A server that was running was taken over by this supervisor.
    Adopted {
        /// Which.
        instance: InstanceName,
    },
    /// A server ended without being told to.
    Died {
        /// Which.
        instance: InstanceName,
        /// How.
        how: String,
        /// Its last known role.
        role: Option<Role>,
    },
    /// A server was killed because it did not answer.
    Unresponsive {
        /// Which.
        instance: InstanceName,
        /// For how long, milliseconds.
        silent_ms: u64,
    },
    /// A server did not answer for a while, because of this command.
    SlowCommand {
        /// Which server.
        instance: InstanceName,
        /// The command.
        slow: SlowCommand,
    },
    /// A replica became primary because its primary was lost.
    FailedOver {
        /// Of which shard.
        shard: ShardName,
        /// The lost one.
        from: InstanceName,
        /// The new one.
        to: InstanceName,
        /// From the death to the confirmed promotion, milliseconds; `None` if nobody watched when it died.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        took_ms: Option<u64>,
    },
    /// A replica became primary, and Valkeeper has not told it to: by the engine's own election, or by hand.
    RoseByItself {
        /// Of which shard.
        shard: ShardName,
        /// The new primary.
        instance: InstanceName,
        /// The one that it followed, if that is a member.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        from: Option<InstanceName>,
    },
    /// A server's role was changed by hand in another way: it follows another node, or none.
    Rewired {
        /// Which.
        instance: InstanceName,
        /// Whom it follows now; `None` if nobody.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        follows: Option<NodeId>,
    },
    /// A server was given another node id (`CLUSTER RESET HARD`); it is restarted as who it is.
    IdentityReset {
        /// Which.
        instance: InstanceName,
        /// The id it was found with.
        found: NodeId,
    },
    /// A primary was given back the slots of its shard that nobody owned any more.
    SlotsTakenBack {
        /// Which shard.
        shard: ShardName,
        /// Its primary.
        instance: InstanceName,
        /// Which slots.
        slots: SlotSet,
    },
    /// Nodes that are no members were removed from every server's table.
    Forgotten {
        /// Which.
        nodes: Vec<NodeId>,
    },
    /// A replica became primary because its copy of the data is the best there is (law 13).
    BetterCopyPromoted {
        /// Of which shard.
        shard: ShardName,
        /// The last primary, which did not run.
        from: InstanceName,
        /// The new one.
        to: InstanceName,
        /// What was wrong with the last primary's copy; `Held`: it was older.
        state: CopyState,
    },
    /// A replica was made primary without a vote: the majority was lost (law 4).
    TakenOver {
        /// Of which shard.
        shard: ShardName,
        /// The new primary.
        to: InstanceName,
        /// Primaries that could vote.
        alive: usize,
        /// How many were needed.
        needed: usize,
    },
    /// Roles were swapped as planned.
    SwitchedOver {
        /// Of which shard.
        shard: ShardName,
        /// The old primary.
        from: InstanceName,
        /// The new one.
        to: InstanceName,
        /// How long writes were held back, milliseconds.
        paused_ms: u64,
    },
    /// A replica was told to serve its shard in the place of another shard's member, which had been moved here by hand.
    BroughtHome {
        /// Of which shard.
        shard: ShardName,
        /// Whom was moved here.
        from: InstanceName,
        /// The shard's own.
        to: InstanceName,
    },
    /// The append-only file of a running server is gone from its data directory; the server writes it anew.
    AofLost {
        /// Whose.
        instance: InstanceName,
    },
    /// A switchover was given up; the old primary goes on.
    SwitchoverAbandoned {
        /// Of which shard.
        shard: ShardName,
        /// Why.
        why: String,
    },
    /// nodes.conf was lost or damaged and was rebuilt.
    NodesConfRebuilt {
        /// Whose.
        instance: InstanceName,
    },
    /// Kubernetes takes its pod away: evicted, preempted, its node given up.
    PodDisrupted {
        /// Whose.
        instance: InstanceName,
        /// What Kubernetes says.
        why: String,
    },
    /// A server that was told to stop could not save its data, and was ended without.
    EndedUnsaved {
        /// Which.
        instance: InstanceName,
    },
    /// The source of a cluster that follows it is out of reach of as many agents as `automaticPromotion` asks for: the cluster is promoted.
    SourceOutOfReach {
        /// Its name.
        source: String,
        /// Who could not reach it.
        witnesses: Vec<SourceWitness>,
    },
    /// Writes are held until a copy of the cluster is promoted, which it follows from then on.
    HandoverBegun {
        /// The copy's name.
        to: String,
    },
    /// The cluster does not hand over to its copy, and takes writes again.
    HandoverCancelled,
    /// The cluster was told to follow its source no more.
    ReplicaModePromoteRequested {
        /// The source's name.
        source: String,
    },
    /// The cluster follows its source no more: a member is the primary.
    ReplicaClusterPromoted {
        /// Which.
        instance: InstanceName,
        /// The former source's name.
        source: String,
        /// What of the source's writes it may lack; `None` if nobody could tell.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        loss: Option<crate::PromotionLoss>,
    },
    /// A copy is kept from what the source does.
    CopyHeldBack {
        /// Whose.
        instance: InstanceName,
        /// From what.
        why: crate::HeldBack,
    },
    /// A person has accepted what the source does: no copy is held back from it.
    SourceAccepted {
        /// The source's name.
        source: String,
    },
    /// The cluster follows its source at another place from now on.
    ReplicaModeSourceUpdated {
        /// Where.
        place: String,
    },
    /// A fence was set.
    Fenced {
        /// On which.
        instance: InstanceName,
    },
    /// A fence was lifted.
    Unfenced {
        /// From which.
        instance: InstanceName,
    },
    /// A primary does not reach the majority of primaries, which may replace it: it refuses writes.
    Isolated {
        /// Which.
        instance: InstanceName,
        /// Of which shard.
        shard: ShardName,
    },
    /// It reaches the majority again, or follows its successor.
    IsolationEnded {
        /// Which.
        instance: InstanceName,
        /// Of which shard.
        shard: ShardName,
    },
    /// Two members of a shard hold different numbers of keys at the same offset: the replica takes its primary's copy anew.
    CopiesDiffer {
        /// The replica.
        instance: InstanceName,
        /// Its keys without a time to live.
        keys: u64,
        /// Its primary's.
        primary_keys: u64,
    },
    /// Files that a server must not load were moved.
    CopySetAside {
        /// Whose.
        instance: InstanceName,
        /// What and why.
        why: AsideCause,
        /// Which file.
        source: CopySource,
        /// The folder, within its data directory.
        folder: String,
    },
    /// The user accepted that a shard comes back with less than it had, or empty.
    LossAccepted {
        /// Which.
        shard: ShardName,
    },
    /// A start failed.
    StartFailed {
        /// Which.
        instance: InstanceName,
        /// Why.
        failure: StartFailure,
    },
    /// The user's configuration was applied.
    ConfigChanged {
        /// Which directives.
        directives: Vec<String>,
    },
    /// Directives that somebody had set by hand were set back.
    ConfigPutBack {
        /// Where.
        instance: InstanceName,
        /// Which.
        directives: Vec<String>,
    },
    /// A changed password has reached a server, which accepts the former one for a while.
    PasswordAdded {
        /// Which.
        instance: InstanceName,
        /// For how long, milliseconds.
        former_ms: u64,
    },
    /// A server does not accept the former password any more.
    PasswordReplaced {
        /// Which.
        instance: InstanceName,
    },
    /// The cluster is whole.
    BecameHealthy,
    /// The cluster is not whole any more.
    BecameUnhealthy {
        /// The first reason.
        waiting: Waiting,
    },
    /// The supervisor stops.
    Stopped,
    /// Instances came or went.
    #[serde(untagged)]
    Resize(ResizeHappened),
    /// Slots move.
    #[serde(untagged)]
    Slots(SlotHappened),
    /// Servers are restarted one after the other.
    #[serde(untagged)]
    Roll(RollHappened),
    /// The whole cluster is stopped, or runs again.
    #[serde(untagged)]
    Hibernation(HibernationHappened),
    /// What only a newer version knows.
    #[serde(untagged)]
    Newer(crate::Newer),
}

impl Happened {
    /// The word that programs know it by.
    pub fn type_name(&self) -> Option<String> {
        let value = serde_json::to_value(self).ok()?;
        value.get("event")?.as_str().map(str::to_owned)
    }

    /// The instances it is about.
    pub fn instances(&self) -> Vec<&InstanceName> {
        match self {
            Self::Started { instance }
            | Self::Adopted { instance }
            | Self::Died { instance, .. }
            | Self::Unresponsive { instance, .. }
            | Self::NodesConfRebuilt { instance }
            | Self::EndedUnsaved { instance }
            | Self::Fenced { instance }
            | Self::Unfenced { instance }
            | Self::Isolated { instance, .. }
            | Self::IsolationEnded { instance, .. }
            | Self::StartFailed { instance, .. }
            | Self::PasswordAdded { instance, .. }
            | Self::CopiesDiffer { instance, .. }
            | Self::CopySetAside { instance, .. }
            | Self::AofLost { instance }
            | Self::ReplicaClusterPromoted { instance, .. }
            | Self::CopyHeldBack { instance, .. }
            | Self::PasswordReplaced { instance }
            | Self::Roll(RollHappened::Rolling { instance, .. }) => vec![instance],
            Self::FailedOver { from, to, .. }
            | Self::SwitchedOver { from, to, .. }
            | Self::BroughtHome { from, to, .. }
            | Self::BetterCopyPromoted { from, to, .. } => vec![from, to],
            Self::TakenOver { to, .. } => vec![to],
            Self::BecameUnhealthy { waiting } => waiting.instance().into_iter().collect(),
            Self::Resize(happened) => happened.instance().into_iter().collect(),
            _ => Vec::new(),
        }
    }

    /// The shard it is about, if it names one.
    pub fn shard(&self) -> Option<&ShardName> {
        match self {
            Self::FailedOver { shard, .. }
            | Self::BetterCopyPromoted { shard, .. }
            | Self::TakenOver { shard, .. }
            | Self::SwitchedOver { shard, .. }
            | Self::BroughtHome { shard, .. }
            | Self::SwitchoverAbandoned { shard, .. }
            | Self::Isolated { shard, .. }
            | Self::IsolationEnded { shard, .. }
            | Self::LossAccepted { shard } => Some(shard),
            Self::BecameUnhealthy { waiting } => waiting.shard(),
            Self::Resize(happened) => happened.shard(),
            _ => None,
        }
    }

    /// In words; what to type stands there as people call the command line.
    pub fn told(&self, called: CalledAs) -> String {
        match self {
            Self::BecameUnhealthy { waiting } => format!("cluster not healthy: {}", waiting.told(called)),
            other => other.to_string(),
        }
    }
}

impl From<HibernationHappened> for Happened {
    fn from(happened: HibernationHappened) -> Self {
        Self::Hibernation(happened)
    }
}

impl From<RollHappened> for Happened {
    fn from(happened: RollHappened) -> Self {
        Self::Roll(happened)
    }
}
