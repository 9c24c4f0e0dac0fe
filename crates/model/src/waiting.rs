//! Why something is not as it should be, or does not move: one variant per cause (law 12).

mod about;
mod kubernetes;
mod replica_mode;
mod resizing;
mod roll;
mod sentinel;
mod unseen_word;
mod words;
use crate::{
    AccessFault, Address, CopyState, DisturbedBy, Fences, InstanceName, InvalidDirective, NodeId,
    OperationName, PasswordFault, Paused, ProvisionError, Refusal, RegisterFault, ReplicaCause, ShardName,
    SlotSet, StartFailure, StepKey, StoreError, ZoneName,
};
pub use kubernetes::KubernetesWaiting;
pub use replica_mode::ReplicaModeWaiting;
pub use resizing::{LeavingStage, ResizeWaiting};
pub use roll::RollWaiting;
pub use sentinel::SentinelWaiting;
use serde::{Deserialize, Serialize};
pub use unseen_word::UnseenWord;

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
    /// The server runs a script or a function, and refuses all other commands meanwhile.
    Busy {
        /// Which.
        instance: InstanceName,
    },
    /// The server takes connections and carries out no command.
    CommandsHeldBack {
        /// Which.
        instance: InstanceName,
    },
    /// The user `default` lacks a right without which nothing is known of the server.
    RightMissing {
        /// Where.
        instance: InstanceName,
        /// The command, as the engine's ACL rules name it.
        command: String,
    },
    /// The server refuses to be looked at for another reason.
    LookRefused {
        /// Which.
        instance: InstanceName,
        /// Its own words.
        said: String,
    },
    /// A client that connects as clients do is not served.
    ClientsKeptOut {
        /// By which.
        instance: InstanceName,
        /// Why.
        why: AccessFault,
    },
    /// Somebody's `CLIENT PAUSE` holds clients back.
    ClientsPaused {
        /// Where.
        instance: InstanceName,
        /// What is held back.
        paused: Paused,
    },
    /// The server loads its data.
    Loading {
        /// Which.
        instance: InstanceName,
    },
    /// Its data directory does not answer: what is on it is not known, and no server starts from it meanwhile.
    DiskSilent {
        /// Whose.
        instance: InstanceName,
    },
    /// The data directory of a server that runs was emptied, or is gone: what the server holds is in memory only.
    DirectoryLost {
        /// Whose.
        instance: InstanceName,
    },
    /// Down by the user's wish.
    Fenced {
        /// Which.
        instance: InstanceName,
        /// Whose word that is; older versions know of one way only.
        #[serde(default = "Fences::by_request", skip_serializing_if = "Fences::is_by_request")]
        by: Fences,
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
    #[serde(rename = "testimonyMissing")]
    DownUnconfirmed {
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
        /// Which file is at fault, and how.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        why: Option<String>,
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
    /// An instance that joins a shard waits for a primary that it can copy.
    NobodyToJoin {
        /// Which instance.
        instance: InstanceName,
        /// Which shard.
        shard: ShardName,
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
    /// A primary counts as disturbed on purpose (law 6) until its end is seen.
    Disturbed {
        /// Its shard.
        shard: ShardName,
        /// The primary.
        instance: InstanceName,
        /// By what.
        by: DisturbedBy,
    },
    /// An operation that stands in the layout does not go on.
    OperationWaits {
        /// Which.
        operation: OperationName,
        /// Why.
        why: Box<Refusal>,
    },
    /// An operation that stands in the layout is of a kind that only a newer version knows, and is left alone.
    OperationUnknown {
        /// Which.
        operation: OperationName,
        /// What it is.
        what: crate::Newer,
    },
    /// The register of a shard, whose vote a majority may need, does not vote (mode `standalone`).
    RegisterUnusable {
        /// Which shard's.
        shard: ShardName,
        /// Why not.
        why: RegisterFault,
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
    /// Slots that a shard's primary itself does not hold for its own, whatever the others believe: it serves none of their keys.
    SlotsDisowned {
        /// The primary.
        instance: InstanceName,
        /// Which slots.
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
        /// What is wrong with those that are not.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        causes: Vec<ReplicaCause>,
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
    /// Clients are sent to it by a name that leads nowhere, or elsewhere, since it came to be.
    NameUnknown {
        /// Which.
        instance: InstanceName,
        /// Its name.
        host: String,
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
    /// No node is in this zone any more: its instances have no place to come back to.
    ZoneWithoutNodes {
        /// The zone.
        zone: ZoneName,
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
    /// A server shakes hands with a node of which nobody knows yet who it is.
    Stranger {
        /// Who does.
        instance: InstanceName,
    },
    /// A node that is no member: a server of another cluster, or one whose id was changed (`CLUSTER RESET HARD`).
    ForeignNode {
        /// Its id.
        node: NodeId,
        /// Where it is, if anybody knows.
        address: Option<Address>,
        /// How many members know it.
        known_by: usize,
    },
    /// Slots are owned by another node than the layout says, and its claim is the newest: no command of Valkeeper takes them back.
    SlotsTaken {
        /// Whose they are by the layout.
        shard: ShardName,
        /// Which.
        slots: SlotSet,
        /// Who owns them.
        node: NodeId,
        /// Where that one is, if anybody knows.
        address: Option<Address>,
    },
    /// Nobody owns these slots of a shard any more (`CLUSTER DELSLOTS`, `FLUSHSLOTS`).
    SlotsUnowned {
        /// Whose they are by the layout.
        shard: ShardName,
        /// Which.
        slots: SlotSet,
    },
    /// A server does not know members that run (`CLUSTER FORGET` by hand, a lost nodes.conf).
    MembersUnknown {
        /// Who does not know them.
        instance: InstanceName,
        /// The first of them.
        members: Vec<InstanceName>,
        /// How many there are.
        count: usize,
    },
    /// A step was refused. It is tried again later and later, and another way if there is one.
    StepRefused {
        /// Which.
        refused: StepKey,
        /// The answer.
        why: String,
    },
    /// A dead primary's successor refuses its promotion. Another replica is chosen after a while.
    PromotionRefused {
        /// The replica.
        instance: InstanceName,
        /// The answer.
        why: String,
    },
    /// A replica that was told to become primary cannot be seen: another one is promoted only when it cannot have won any more.
    MayHaveWon {
        /// The replica.
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
    /// Directives that the server program does not take: the server runs with what it had, and would start with what worked last.
    ConfigInvalid {
        /// Where.
        instance: InstanceName,
        /// Which, and why.
        directives: Vec<InvalidDirective>,
    },
    /// Directives that nobody ordered have another value than the server program gives them; a restart would undo them.
    ConfigByHand {
        /// Where.
        instance: InstanceName,
        /// Which.
        directives: Vec<String>,
    },
    /// Somebody has added ACL users: no other server knows them, and a restart undoes them.
    UsersByHand {
        /// Where.
        instance: InstanceName,
        /// Whom.
        users: Vec<String>,
    },
    /// The wanted password cannot be used: the server keeps the one it has, and would not start without.
    PasswordUnusable {
        /// Whose.
        instance: InstanceName,
        /// Why.
        why: PasswordFault,
    },
    /// The server cannot write its data: disk full or failing.
    PersistenceFailing {
        /// Where.
        instance: InstanceName,
    },
    /// A primary holds more than `maxmemory` and may evict nothing: it refuses every write that needs memory (OOM).
    MemoryFull {
        /// Which.
        instance: InstanceName,
        /// Bytes in use.
        used: u64,
        /// Bytes allowed.
        limit: u64,
    },
    /// A primary cannot write its data, and refuses writes or is about to; a replica of it can.
    SwitchoverHelps {
        /// The shard.
        shard: ShardName,
        /// The primary.
        primary: InstanceName,
        /// Who could take over.
        to: InstanceName,
    },
    /// `cluster_state` is not ok there.
    ClusterStateFail {
        /// Where.
        instance: InstanceName,
    },
    /// Nobody watches the cluster.
    NoSupervisor,
    /// Instances cannot be given what they run on.
    NotProvisioned {
        /// Why not.
        #[serde(flatten)]
        error: ProvisionError,
    },
    /// The layout cannot be read or stored.
    StoreFailed {
        /// Why not.
        #[serde(flatten)]
        error: StoreError,
    },
    /// Of a cluster that follows another.
    #[serde(untagged)]
    ReplicaMode(ReplicaModeWaiting),
    /// A Sentinel does not do what it is for.
    #[serde(untagged)]
    Sentinel(SentinelWaiting),
    /// An instance leaves.
    #[serde(untagged)]
    Resize(ResizeWaiting),
    /// An object on Kubernetes is not as it should be.
    #[serde(untagged)]
    Kubernetes(KubernetesWaiting),
    /// Not all servers run with what is wanted.
    #[serde(untagged)]
    Roll(RollWaiting),
    /// What only a newer version knows.
    #[serde(untagged)]
    Newer(crate::Newer),
}

impl From<RollWaiting> for Waiting {
    fn from(waiting: RollWaiting) -> Self {
        Self::Roll(waiting)
    }
}
