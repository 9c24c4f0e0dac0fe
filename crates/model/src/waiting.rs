//! Why something is not as it should be, or does not move: one variant per cause (law 12).

use crate::{CopyState, InstanceName, NodeId, ShardName, SlotSet, Unseen, ZoneName};
use serde::{Deserialize, Serialize};
use std::fmt;

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
    /// Kubernetes does not run its pod.
    PodNotRunning {
        /// Whose.
        instance: InstanceName,
        /// What Kubernetes says.
        why: String,
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
    /// The primary does not reach the majority of primaries and refuses writes: it may have been replaced.
    Isolated {
        /// Which.
        instance: InstanceName,
    },
    /// A replica does not hear of its primary any more: its host may be lost.
    PrimaryUnheard {
        /// The primary.
        instance: InstanceName,
    },
    /// A primary is not heard, and is not replaced as long as a majority of the others has not said so too.
    TestimonyMissing {
        /// The primary.
        instance: InstanceName,
        /// Who has not said so, or not yet.
        of: Vec<InstanceName>,
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
    /// What an instance has on its disk is less than what it had, and nobody has more.
    CopyDoubtful {
        /// Whose disk.
        instance: InstanceName,
        /// Of which shard.
        shard: ShardName,
        /// What is wrong with the copy.
        state: CopyState,
    },
    /// Under `persistence: aof`: the append-only file does not hold everything yet; a loss of power would lose writes.
    AofIncomplete {
        /// Whose.
        instance: InstanceName,
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
    /// Clients that go by its name do not find it, so that no role is switched to it for zones.
    NameElsewhere {
        /// Which.
        instance: InstanceName,
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
    /// A node that is no member, or not known to be one yet.
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
    /// The server could not load its data: the files are damaged, or of a format that it does not read.
    DataDamaged {
        /// The end of its log.
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
            Self::DataDamaged { detail } => write!(f, "the server cannot load its data: {detail}"),
            Self::Exited { detail } => write!(f, "the server ended at once: {detail}"),
            Self::WrongIdentity { found } => write!(f, "the server has another node id: {found}"),
        }
    }
}

impl Waiting {
    /// Does an instance wait until the user accepts a loss (`valkeeper failover SHARD --accept-data-loss`)?
    pub fn asks_for_loss(&self) -> bool {
        matches!(self, Self::AllCopiesMissing { .. } | Self::CopyDoubtful { .. })
    }

    /// Is some key not served while this lasts, or may soon not be, as nobody could be voted for?
    pub fn is_outage(&self) -> bool {
        matches!(self, Self::SlotsUnserved { .. } | Self::NoPrimary { .. } | Self::NoQuorum { .. })
    }
}

impl fmt::Display for Waiting {
    #[expect(
        clippy::too_many_lines,
        reason = "one arm for each reason: split, a missing one would be no error"
    )]
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names =
            |list: &[InstanceName]| list.iter().map(InstanceName::as_str).collect::<Vec<_>>().join(", ");
        match self {
            Self::AgentUnknown { instance, why } => write!(f, "{instance}: its agent is {}", why.0),
            Self::PodNotRunning { instance, why } => write!(f, "the pod of {instance} does not run: {why}"),
            Self::InstanceDown { instance } => write!(f, "{instance}: the server is down"),
            Self::ServerUnknown { instance, why } => write!(f, "{instance}: the server runs, but {}", why.0),
            Self::Loading { instance } => write!(f, "{instance}: the server is loading its data"),
            Self::Fenced { instance } => {
                write!(f, "{instance}: fenced; `valkeeper unfence {instance}` lets it run again")
            }
            Self::Isolated { instance } => write!(
                f,
                "{instance}: does not reach a majority of the primaries and refuses writes: it may have been replaced"
            ),
            Self::PrimaryUnheard { instance } => {
                write!(f, "{instance}: its replicas do not hear of it; its host may be lost")
            }
            Self::TestimonyMissing { instance, of } => write!(
                f,
                "{instance}: not heard, but not replaced either: whether it still serves is known only when a majority of \
                 the primaries has not heard of it, and nothing is known of {}",
                names(of)
            ),
            Self::StartFailed { instance, failure } => write!(f, "{instance}: {failure}"),
            Self::SiblingsUnknown { instance, siblings } => write!(
                f,
                "{instance}: not started while nothing is known of {}, which may hold the newest data",
                names(siblings)
            ),
            Self::CopyOnSibling { instance, sibling } => {
                write!(f, "{instance}: not started: {sibling} has the newer or only copy and is not up yet")
            }
            Self::CopyDoubtful { instance, shard, state } => {
                write!(
                    f,
                    "{instance}: not started: {state}, and no other copy of {shard} is known; put the right files back, or \
                     accept the loss with `valkeeper failover {shard} --accept-data-loss`"
                )
            }
            Self::AofIncomplete { instance } => write!(
                f,
                "{instance}: its append-only file does not hold all of its data yet; until then a loss of power loses writes"
            ),
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
            Self::NameElsewhere { instance } => {
                write!(
                    f,
                    "{instance}: its name does not lead to its address yet; no role is switched to it for zones"
                )
            }
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
