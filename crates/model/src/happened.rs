//! What has happened, for people and programs to read later.

use crate::{
    AsideCause, CalledAs, CopySource, CopyState, DisturbanceEnd, InstanceName, NodeId, Role, ShardName,
    SlotSet, SlowCommand, StartFailure, Waiting,
};
use serde::{Deserialize, Serialize};
use std::fmt;

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
            | Self::PasswordReplaced { instance } => vec![instance],
            Self::FailedOver { from, to, .. }
            | Self::SwitchedOver { from, to, .. }
            | Self::BroughtHome { from, to, .. }
            | Self::BetterCopyPromoted { from, to, .. } => vec![from, to],
            Self::TakenOver { to, .. } => vec![to],
            Self::BecameUnhealthy { waiting } => waiting.instance().into_iter().collect(),
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

impl fmt::Display for Happened {
    #[expect(
        clippy::too_many_lines,
        reason = "one arm for each event: split, a missing one would be no error"
    )]
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Founded { instances } => {
                write!(f, "cluster laid out: {instances} instances are to be made")
            }
            Self::DisturbanceEnded { shard, instance, why } => {
                write!(f, "{shard}: {instance} counts as disturbed no more: {why}")
            }
            Self::Joined { shard, instance } => write!(f, "{instance} has joined {shard}"),
            Self::Formed => f.write_str("cluster formed: all slots are served"),
            Self::Started { instance } => write!(f, "{instance} started"),
            Self::Adopted { instance } => write!(f, "{instance} was running and is watched again"),
            Self::PasswordAdded { instance, former_ms } => {
                let seconds = former_ms / 1_000;
                write!(
                    f,
                    "{instance} accepts the changed password, and the former one for another {seconds} s"
                )
            }
            Self::PasswordReplaced { instance } => {
                write!(f, "{instance} does not accept the former password any more")
            }
            Self::Died { instance, how, role: Some(role) } => write!(f, "{instance} ({role}) died: {how}"),
            Self::Died { instance, how, role: None } => write!(f, "{instance} died: {how}"),
            Self::Unresponsive { instance, silent_ms } => {
                write!(f, "{instance} killed: silent for {silent_ms} ms")
            }
            Self::SlowCommand { instance, slow: SlowCommand { command, client, took_ms } } => write!(
                f,
                "{instance} did not answer while it carried out {command} of {client} for {took_ms} ms"
            ),
            Self::FailedOver { shard, from, to, took_ms } => {
                let took = match took_ms {
                    Some(ms) => format!(" in {ms} ms"),
                    None => ", found dead when its watch began".to_owned(),
                };
                write!(f, "{shard} failed over from {from} to {to}{took}; writes not replicated yet are lost")
            }
            Self::RoseByItself { shard, instance, from } => {
                let from = from.as_ref().map(|from| format!(" instead of {from}")).unwrap_or_default();
                write!(
                    f,
                    "{instance} became primary of {shard}{from}, not by Valkeeper: by the engine's own election or by hand"
                )
            }
            Self::Rewired { instance, follows: Some(primary) } => {
                write!(f, "{instance} follows another node, not by Valkeeper: {primary}")
            }
            Self::Rewired { instance, follows: None } => {
                write!(f, "{instance} has become a primary without slots, not by Valkeeper")
            }
            Self::IdentityReset { instance, found } => {
                write!(
                    f,
                    "{instance} was given another node id by hand ({found}); it is restarted with its own"
                )
            }
            Self::SlotsTakenBack { shard, instance, slots } => {
                write!(f, "{instance} owns slots {slots} of {shard} again, which nobody owned any more")
            }
            Self::Forgotten { nodes } => {
                let nodes: Vec<String> = nodes.iter().map(ToString::to_string).collect();
                write!(f, "removed from every server: {}", nodes.join(", "))
            }
            Self::BetterCopyPromoted { shard, from, to, state } => {
                write!(f, "{shard}: {to} serves in the place of {from}: {state}")
            }
            Self::TakenOver { shard, to, alive, needed } => {
                write!(
                    f,
                    "{shard} taken over by {to} without a vote: {alive} primaries could vote, {needed} were needed"
                )
            }
            Self::AofLost { instance } => {
                write!(
                    f,
                    "{instance}: its append-only file is gone from its data directory; the server writes it anew"
                )
            }
            Self::BroughtHome { shard, from, to } => {
                write!(f, "{shard}: {to} takes over from {from}, which belongs to another shard")
            }
            Self::SwitchedOver { shard, from, to, paused_ms } => {
                write!(
                    f,
                    "{shard} switched over from {from} to {to}; writes held for {paused_ms} ms, none lost"
                )
            }
            Self::SwitchoverAbandoned { shard, why } => {
                write!(f, "{shard}: switchover given up, nothing changed: {why}")
            }
            Self::PodDisrupted { instance, why } => {
                write!(f, "the pod of {instance} is taken away by Kubernetes: {why}")
            }
            Self::NodesConfRebuilt { instance } => {
                write!(f, "{instance}: nodes.conf was lost or damaged and was rebuilt")
            }
            Self::EndedUnsaved { instance } => write!(
                f,
                "{instance} could not save its data when it was stopped (disk full?): its writes since the last snapshot are not on its disk"
            ),
            Self::Fenced { instance } => write!(f, "{instance} fenced"),
            Self::Unfenced { instance } => write!(f, "{instance} unfenced"),
            Self::Isolated { instance, shard } => {
                write!(
                    f,
                    "{instance} does not reach a majority of the primaries, which may replace it: it refuses writes to {shard}"
                )
            }
            Self::IsolationEnded { instance, shard } => {
                write!(f, "{instance} ({shard}) is not isolated any more")
            }
            Self::CopiesDiffer { instance, keys, primary_keys } => write!(
                f,
                "{instance} holds {keys} keys where its primary holds {primary_keys}: it takes its primary's copy anew"
            ),
            Self::CopySetAside { instance, why, source, folder } => {
                let files = match source {
                    CopySource::Aof => "append-only file",
                    CopySource::Rdb => "snapshot",
                    CopySource::Nothing => "no file",
                };
                write!(
                    f,
                    "{instance}: its {files} {why}; moved to {folder} in its data directory, not deleted"
                )
            }
            Self::LossAccepted { shard } => write!(f, "{shard}: the loss of its data was accepted"),
            Self::StartFailed { instance, failure } => write!(f, "{instance} could not start: {failure}"),
            Self::ConfigChanged { directives } => {
                write!(f, "configuration changed: {}", directives.join(", "))
            }
            Self::ConfigPutBack { instance, directives } => {
                write!(f, "{instance}: {} changed by hand and put back", directives.join(", "))
            }
            Self::BecameHealthy => f.write_str("cluster healthy"),
            Self::BecameUnhealthy { .. } => f.write_str(&self.told(CalledAs::default())),
            Self::Stopped => f.write_str("supervisor stopped"),
            Self::Newer(newer) => write!(f, "{newer}"),
        }
    }
}
