//! The explanation: what is not as it should be and why, what has happened, and what users may ask for.

use crate::{
    AgentReport, InstanceName, Millis, NodeId, Observed, Role, ShardName, SlotSet, Unseen, ZoneName,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;

/// Everything seen at one moment. What did not answer is `Unknown`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Observation {
    /// When.
    pub at: Millis,
    /// What each agent said.
    pub instances: BTreeMap<InstanceName, Observed<AgentReport>>,
}

impl Observation {
    /// A report that came.
    pub fn report(&self, instance: &InstanceName) -> Option<&AgentReport> {
        self.instances.get(instance).and_then(Observed::known)
    }
}

/// Why a cluster is not healthy, or why something does not move. One variant per cause (law 12).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(tag = "reason", rename_all_fields = "camelCase")]
pub enum Waiting {
    /// The agent did not answer.
    AgentUnknown {
        /// Whose.
        instance: InstanceName,
        /// Why.
        why: UnseenWord,
    },
    /// The server is down.
    InstanceDown {
        /// Which.
        instance: InstanceName,
    },
    /// The server runs and does not answer.
    ServerUnknown {
        /// Which.
        instance: InstanceName,
        /// Why.
        why: UnseenWord,
    },
    /// The server loads its data.
    Loading {
        /// Which.
        instance: InstanceName,
    },
    /// Down by the user's wish.
    Fenced {
        /// Which.
        instance: InstanceName,
    },
    /// The server could not be started.
    StartFailed {
        /// Which.
        instance: InstanceName,
        /// Why.
        failure: StartFailure,
    },
    /// A dead primary waits until the fate of its replicas is known: one of them may hold the only copy.
    SiblingsUnknown {
        /// The dead primary.
        instance: InstanceName,
        /// Of which nothing is known.
        siblings: Vec<InstanceName>,
    },
    /// A blank primary waits for a sibling that holds data on its disk.
    CopyOnSibling {
        /// The blank one.
        instance: InstanceName,
        /// Who holds the copy.
        sibling: InstanceName,
    },
    /// Every copy of a shard that had data is gone.
    AllCopiesMissing {
        /// Which.
        shard: ShardName,
    },
    /// The topology needed to rebuild nodes.conf is not known to anyone that answers.
    TopologyUnknown {
        /// Which.
        instance: InstanceName,
    },
    /// No primary serves the shard's slots.
    NoPrimary {
        /// Which.
        shard: ShardName,
    },
    /// A failover is on.
    FailingOver {
        /// Of which.
        shard: ShardName,
    },
    /// A switchover is on.
    SwitchingOver {
        /// Of which.
        shard: ShardName,
    },
    /// The vote of the majority cannot be had.
    NoQuorum {
        /// Primaries that can vote.
        alive: usize,
        /// How many must.
        needed: usize,
    },
    /// Slots not served according to a majority of instances.
    SlotsUnserved {
        /// Which.
        slots: SlotSet,
    },
    /// A shard has fewer replicas in sync than wanted.
    ReplicasMissing {
        /// Which.
        shard: ShardName,
        /// In sync.
        in_sync: u32,
        /// Wanted.
        wanted: u32,
    },
    /// A replica shares its primary's zone (law 7).
    ZoneShared {
        /// Which.
        shard: ShardName,
        /// The zone.
        zone: ZoneName,
    },
    /// Losing this zone would lose the majority of primaries (law 7).
    ZoneMajority {
        /// The zone.
        zone: ZoneName,
        /// Primaries in it.
        primaries: usize,
        /// All.
        of: usize,
    },
    /// A server's view differs: it has not learned of the change yet, or cannot.
    ViewDiffers {
        /// Whose.
        instance: InstanceName,
    },
    /// A server holds a member for failed that is not.
    HeldForFailed {
        /// Who believes it.
        instance: InstanceName,
        /// About whom.
        of: InstanceName,
    },
    /// A node that is no member, or is blank.
    Stranger {
        /// Who knows it.
        instance: InstanceName,
    },
    /// A slot is open (importing or migrating).
    OpenSlots {
        /// Where.
        instance: InstanceName,
    },
    /// The agent obeys an older order.
    OldOrder {
        /// Which.
        instance: InstanceName,
    },
    /// Directives differ from the ordered ones and are about to be set.
    ConfigDiffers {
        /// Where.
        instance: InstanceName,
        /// Which.
        directives: Vec<String>,
    },
    /// Directives differ from the ordered ones and cannot be set live.
    RestartNeeded {
        /// Where.
        instance: InstanceName,
        /// Which.
        directives: Vec<String>,
    },
    /// The server cannot write its data: disk full or failing.
    PersistenceFailing {
        /// Where.
        instance: InstanceName,
    },
    /// `cluster_state` is not ok there.
    ClusterStateFail {
        /// Where.
        instance: InstanceName,
    },
    /// Nobody watches the cluster.
    NoSupervisor,
    /// The state cannot be stored.
    StoreFailed {
        /// What the store said.
        why: String,
    },
}

/// [`Unseen`] as text that orders and compares, for reasons.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct UnseenWord(String);

impl From<Unseen> for UnseenWord {
    fn from(unseen: Unseen) -> Self {
        Self(unseen.to_string())
    }
}

/// Why a server could not be started.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum StartFailure {
    /// Somebody else listens on its port.
    PortTaken {
        /// The port.
        port: u16,
    },
    /// The server program is missing or does not run.
    ProgramUnusable {
        /// What was tried and what happened.
        detail: String,
    },
    /// The data directory belongs to another cluster or instance (law 10).
    ForeignData {
        /// Whose.
        owner: String,
    },
    /// The data directory cannot be used.
    DataUnusable {
        /// What happened.
        detail: String,
    },
    /// The process ended before it answered.
    Exited {
        /// The end of its log.
        detail: String,
    },
    /// It answered with another node id than ours (law 10).
    WrongIdentity {
        /// Its id.
        found: NodeId,
    },
}

impl fmt::Display for StartFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PortTaken { port } => write!(f, "port {port} is taken by another process"),
            Self::ProgramUnusable { detail } => write!(f, "the server program cannot be run: {detail}"),
            Self::ForeignData { owner } => write!(f, "its data directory belongs to {owner}"),
            Self::DataUnusable { detail } => write!(f, "its data directory cannot be used: {detail}"),
            Self::Exited { detail } => write!(f, "the server ended at once: {detail}"),
            Self::WrongIdentity { found } => write!(f, "the server has another node id: {found}"),
        }
    }
}

impl fmt::Display for Waiting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names =
            |list: &[InstanceName]| list.iter().map(InstanceName::as_str).collect::<Vec<_>>().join(", ");
        match self {
            Self::AgentUnknown { instance, why } => write!(f, "{instance}: its agent is {}", why.0),
            Self::InstanceDown { instance } => write!(f, "{instance}: the server is down"),
            Self::ServerUnknown { instance, why } => write!(f, "{instance}: the server runs, but {}", why.0),
            Self::Loading { instance } => write!(f, "{instance}: the server is loading its data"),
            Self::Fenced { instance } => {
                write!(f, "{instance}: fenced; `valkeeper unfence {instance}` lets it run again")
            }
            Self::StartFailed { instance, failure } => write!(f, "{instance}: {failure}"),
            Self::SiblingsUnknown { instance, siblings } => write!(
                f,
                "{instance}: not started while nothing is known of {}, which may hold the newest data",
                names(siblings)
            ),
            Self::CopyOnSibling { instance, sibling } => {
                write!(f, "{instance}: its data is gone; waiting for {sibling}, which has a copy on disk")
            }
            Self::AllCopiesMissing { shard } => write!(
                f,
                "{shard}: every copy of its data is gone (a disk not mounted?); bring one back, or accept the loss with \
                 `valkeeper failover {shard} --accept-data-loss`"
            ),
            Self::TopologyUnknown { instance } => {
                write!(
                    f,
                    "{instance}: its nodes.conf is lost and no other instance answers that could tell the topology"
                )
            }
            Self::NoPrimary { shard } => write!(f, "{shard}: no primary serves its slots"),
            Self::FailingOver { shard } => write!(f, "{shard}: failing over"),
            Self::SwitchingOver { shard } => write!(f, "{shard}: switching over"),
            Self::NoQuorum { alive, needed } => {
                write!(
                    f,
                    "{alive} primaries can vote and {needed} are needed: no failover by vote is possible"
                )
            }
            Self::SlotsUnserved { slots } => {
                write!(f, "slots {slots} are not served according to a majority of instances")
            }
            Self::ReplicasMissing { shard, in_sync, wanted } => {
                write!(f, "{shard}: {in_sync} of {wanted} replicas in sync")
            }
            Self::ZoneShared { shard, zone } => write!(f, "{shard}: primary and replica share zone {zone}"),
            Self::ZoneMajority { zone, primaries, of } => {
                write!(
                    f,
                    "zone {zone} holds {primaries} of {of} primaries: losing it would lose the majority"
                )
            }
            Self::ViewDiffers { instance } => {
                write!(f, "{instance}: has not learned the current topology yet")
            }
            Self::HeldForFailed { instance, of } => write!(f, "{instance}: holds {of} for failed"),
            Self::Stranger { instance } => write!(f, "{instance}: knows a node that is not a member"),
            Self::OpenSlots { instance } => write!(f, "{instance}: has slots that are being moved by hand"),
            Self::OldOrder { instance } => write!(f, "{instance}: its agent still obeys an older order"),
            Self::ConfigDiffers { instance, directives } => {
                write!(f, "{instance}: {} not set yet", directives.join(", "))
            }
            Self::RestartNeeded { instance, directives } => write!(
                f,
                "{instance}: {} can only change by a restart: `valkeeper restart {instance}`",
                directives.join(", ")
            ),
            Self::PersistenceFailing { instance } => {
                write!(
                    f,
                    "{instance}: cannot write its data to disk (full?): see `valkeeper logs {instance}`"
                )
            }
            Self::ClusterStateFail { instance } => write!(f, "{instance}: its cluster_state is not ok yet"),
            Self::NoSupervisor => f.write_str("no supervisor runs: `valkeeper up FILE` starts one"),
            Self::StoreFailed { why } => write!(f, "the state cannot be stored: {why}"),
        }
    }
}

/// Where a cluster is, in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Phase {
    /// Never been whole yet.
    Creating,
    /// Whole.
    Healthy,
    /// All slots served, but not whole.
    Degraded,
    /// A shard is without a serving primary.
    Failing,
    /// Its servers run, and nobody watches them.
    Unsupervised,
    /// Stopped, its data kept.
    Down,
}

/// A shard as it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ShardReport {
    /// Its name.
    pub name: ShardName,
    /// Its slots.
    pub slots: SlotSet,
    /// Its primary, if one serves.
    pub primary: Option<InstanceName>,
    /// Its replicas that answer as such.
    pub replicas: Vec<InstanceName>,
}

/// An instance as it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct InstanceReport {
    /// Its name.
    pub name: InstanceName,
    /// Its shard.
    pub shard: ShardName,
    /// Its zone.
    pub zone: ZoneName,
    /// Its role, if it answers.
    pub role: Option<Role>,
    /// Where it answers.
    pub address: Option<String>,
    /// Its process, if running.
    pub pid: Option<u32>,
    /// Its version, if it answers.
    pub version: Option<String>,
    /// How far behind its primary, bytes; of a replica in sync only.
    pub lag_bytes: Option<u64>,
    /// Down by the user's wish.
    pub fenced: bool,
}

/// What the planner says of the cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// In one word.
    pub phase: Phase,
    /// Law 8.
    pub healthy: bool,
    /// Shards, by name.
    pub shards: Vec<ShardReport>,
    /// Instances, by name.
    pub instances: Vec<InstanceReport>,
    /// Everything that is not as it should be.
    pub waiting: Vec<Waiting>,
}

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
    /// A replica became primary because its primary was lost.
    FailedOver {
        /// Of which shard.
        shard: ShardName,
        /// The lost one.
        from: InstanceName,
        /// The new one.
        to: InstanceName,
        /// From the death to the confirmed promotion, milliseconds.
        took_ms: u64,
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
    /// The user accepted that a shard comes back empty.
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
    /// The cluster is whole.
    BecameHealthy,
    /// The cluster is not whole any more.
    BecameUnhealthy {
        /// The first reason.
        waiting: Waiting,
    },
    /// The supervisor stops.
    Stopped,
}

impl fmt::Display for Happened {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Founded { instances } => write!(f, "cluster founded with {instances} instances"),
            Self::Formed => f.write_str("cluster formed: all slots served, all replicas in sync"),
            Self::Started { instance } => write!(f, "{instance} started"),
            Self::Adopted { instance } => write!(f, "{instance} was running and is watched again"),
            Self::Died { instance, how, role: Some(role) } => write!(f, "{instance} ({role}) died: {how}"),
            Self::Died { instance, how, role: None } => write!(f, "{instance} died: {how}"),
            Self::Unresponsive { instance, silent_ms } => {
                write!(f, "{instance} killed: silent for {silent_ms} ms")
            }
            Self::FailedOver { shard, from, to, took_ms } => {
                write!(
                    f,
                    "{shard} failed over from {from} to {to} in {took_ms} ms; writes not replicated yet are lost"
                )
            }
            Self::TakenOver { shard, to, alive, needed } => {
                write!(
                    f,
                    "{shard} taken over by {to} without a vote: {alive} primaries could vote, {needed} were needed"
                )
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
            Self::NodesConfRebuilt { instance } => {
                write!(f, "{instance}: nodes.conf was lost or damaged and was rebuilt")
            }
            Self::Fenced { instance } => write!(f, "{instance} fenced"),
            Self::Unfenced { instance } => write!(f, "{instance} unfenced"),
            Self::LossAccepted { shard } => write!(f, "{shard}: the loss of its data was accepted"),
            Self::StartFailed { instance, failure } => write!(f, "{instance} could not start: {failure}"),
            Self::ConfigChanged { directives } => {
                write!(f, "configuration changed: {}", directives.join(", "))
            }
            Self::BecameHealthy => f.write_str("cluster healthy"),
            Self::BecameUnhealthy { waiting } => write!(f, "cluster not healthy: {waiting}"),
            Self::Stopped => f.write_str("supervisor stopped"),
        }
    }
}

/// What a user may ask of a running cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "request", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Request {
    /// Swap roles without losing a write.
    Switchover {
        /// In which shard; all in turn if none is named… is refused unless `to` names one.
        shard: Option<ShardName>,
        /// To whom; the best if none is named.
        to: Option<InstanceName>,
    },
    /// Kill the primary and promote a replica.
    Failover {
        /// Of which shard.
        shard: ShardName,
        /// Also if the primary is well.
        force: bool,
        /// Let a shard whose every copy is gone come back empty.
        accept_data_loss: bool,
    },
    /// Keep an instance down.
    Fence {
        /// Which.
        instance: InstanceName,
        /// Also if it is a primary that nobody can follow.
        force: bool,
    },
    /// Let it run again.
    Unfence {
        /// Which.
        instance: InstanceName,
    },
    /// Restart an instance, handing over first.
    Restart {
        /// Which.
        instance: InstanceName,
    },
    /// A new spec.
    Apply {
        /// The spec.
        spec: Box<crate::spec::ClusterSpec>,
    },
}

/// Why a request was not carried out (law 12). `hint` tells what to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(tag = "refusal", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Refusal {
    /// No such shard.
    #[error("there is no shard `{shard}`")]
    NoSuchShard {
        /// The name given.
        shard: ShardName,
    },
    /// No such instance.
    #[error("there is no instance `{instance}`")]
    NoSuchInstance {
        /// The name given.
        instance: InstanceName,
    },
    /// Neither shard nor successor was named and there is more than one shard.
    #[error("say which shard, or which instance is to become primary")]
    ShardNotNamed,
    /// It is the primary already.
    #[error("{instance} is the primary already")]
    AlreadyPrimary {
        /// Which.
        instance: InstanceName,
    },
    /// The named successor is of another shard or cannot take over.
    #[error("{instance} cannot take over: {why}")]
    NotASuccessor {
        /// Which.
        instance: InstanceName,
        /// Why.
        why: Unfit,
    },
    /// No replica can take over.
    #[error("no replica of {shard} can take over from {primary}: stopping it would stop the shard's writes")]
    NoSuccessor {
        /// Of which shard.
        shard: ShardName,
        /// Its primary.
        primary: InstanceName,
    },
    /// Law 6.
    #[error("{shard} is being changed already, or is not whole: {waiting}")]
    Disrupted {
        /// Which.
        shard: ShardName,
        /// What it waits for.
        waiting: Waiting,
    },
    /// Too few primaries are well (law 6).
    #[error("only {alive} of {of} primaries are well: disturbing another could lose the majority")]
    MajorityAtRisk {
        /// Well.
        alive: usize,
        /// All.
        of: usize,
    },
    /// The primary is well, so that a switchover, which loses nothing, is what is wanted.
    #[error("{primary} is well: `failover` kills it and may lose writes that are not replicated yet")]
    PrimaryIsWell {
        /// The primary.
        primary: InstanceName,
    },
    /// The shard has no primary that could be killed; it is being looked after.
    #[error("{shard} has no primary now: it is being failed over already")]
    NoPrimary {
        /// Which.
        shard: ShardName,
    },
    /// A field that cannot change in a running cluster (yet).
    #[error("{field} cannot change in a running cluster yet")]
    CannotChange {
        /// The field.
        field: String,
    },
    /// The shard is not missing all its copies.
    #[error("{shard} is not waiting for an accepted loss")]
    NothingToAccept {
        /// Which.
        shard: ShardName,
    },
    /// The layout cannot be made.
    #[error("{0}")]
    Impossible(#[from] Impossible),
    /// It was begun and did not succeed; nothing is lost.
    #[error("{why}")]
    Failed {
        /// What happened.
        why: String,
    },
    /// The new layout could not be stored, so that nothing was done.
    #[error("the new state could not be stored: {why}")]
    NotStored {
        /// What happened.
        why: String,
    },
}

impl Refusal {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::NoSuchShard { .. } | Self::NoSuchInstance { .. } | Self::ShardNotNamed => {
                "`valkeeper status` lists shards and instances".to_owned()
            }
            Self::NoSuccessor { .. }
            | Self::Disrupted { .. }
            | Self::MajorityAtRisk { .. }
            | Self::NotASuccessor { .. } => {
                "`valkeeper status` says what the cluster waits for; try again when it is healthy".to_owned()
            }
            Self::PrimaryIsWell { .. } => {
                "use `valkeeper switchover`, or `--force` if you mean it".to_owned()
            }
            Self::CannotChange { .. } => "put the old value back, or make a new cluster".to_owned(),
            Self::Impossible(impossible) => return impossible.hint(),
            Self::NotStored { .. } => "is the state directory full or read-only?".to_owned(),
            Self::AlreadyPrimary { .. }
            | Self::NoPrimary { .. }
            | Self::NothingToAccept { .. }
            | Self::Failed { .. } => return None,
        })
    }
}

/// Why an instance may not succeed its primary (law 2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Unfit {
    /// Of another shard.
    OtherShard,
    /// Its server does not answer.
    NotSeen,
    /// Not a replica of that primary.
    NotItsReplica,
    /// Its copy is not in sync.
    NotInSync,
    /// Another history of writes than the primary's.
    OtherHistory,
    /// Fenced.
    Fenced,
}

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::OtherShard => "it belongs to another shard",
            Self::NotSeen => "its server does not answer",
            Self::NotItsReplica => "it does not follow that primary",
            Self::NotInSync => "it is not in sync",
            Self::OtherHistory => "its data comes from another history",
            Self::Fenced => "it is fenced",
        })
    }
}

/// Why no layout can satisfy the spec (law 7).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(tag = "impossible", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Impossible {
    /// Replicas need zones of their own.
    #[error("{needed} zones are needed to keep replicas out of their primary's zone, {given} given")]
    TooFewZones {
        /// Given.
        given: usize,
        /// Needed.
        needed: usize,
    },
    /// A zone's loss would lose the majority.
    #[error(
        "with {zones} zones, {shards} primaries cannot be placed so that every zone may be lost: one holds {worst}"
    )]
    MajorityInOneZone {
        /// Zones.
        zones: usize,
        /// Shards.
        shards: u32,
        /// Primaries in the fullest zone.
        worst: u32,
    },
}

impl Impossible {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        Some("give more zones (`--zones a,b,c`), or accept the risk with `zones: besteffort`".to_owned())
    }
}
