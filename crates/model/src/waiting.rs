//! Why something is not as it should be, or does not move: one variant per cause (law 12).

use crate::{
    AccessFault, Address, CalledAs, CopyState, InstanceName, InvalidDirective, NodeId, PasswordFault, Paused,
    ReplicaCause, ShardName, SlotSet, StartFailure, StepKey, Unseen, ZoneName,
};
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
    /// An object of the cluster cannot be made or changed.
    NotMade {
        /// Its kind.
        kind: String,
        /// Its name.
        name: String,
        /// The instance that lacks it; none if all do.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        instance: Option<InstanceName>,
        /// What the API server says.
        why: String,
    },
    /// Something else has the name of an object of the cluster. It is left as it is.
    NotOurs {
        /// Its kind.
        kind: String,
        /// Its name.
        name: String,
        /// The instance that lacks its own; none if all do.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        instance: Option<InstanceName>,
    },
    /// Something of a cluster of this name that was deleted is still there, and goes by itself.
    Leaving {
        /// Its kind.
        kind: String,
        /// Its name.
        name: String,
        /// The instance that waits for its own; none if all do.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        instance: Option<InstanceName>,
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
        /// What was said.
        why: String,
    },
    /// The definition of the kind on Kubernetes is older than the operator: it takes less than there is to tell.
    DefinitionOlder {
        /// What it does not take.
        fields: Vec<String>,
    },
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

/// An address, if there is one.
fn place(address: Option<&Address>) -> String {
    address.map_or_else(|| "an unknown address".to_owned(), ToString::to_string)
}

impl Waiting {
    /// The instance it is about, if it is about one.
    pub fn instance(&self) -> Option<&InstanceName> {
        match self {
            Self::AgentUnknown { instance, .. }
            | Self::PodNotRunning { instance, .. }
            | Self::InstanceDown { instance }
            | Self::ServerUnknown { instance, .. }
            | Self::Loading { instance }
            | Self::Fenced { instance }
            | Self::Isolated { instance }
            | Self::PrimaryUnheard { instance }
            | Self::TestimonyMissing { instance, .. }
            | Self::StartFailed { instance, .. }
            | Self::SiblingsUnknown { instance, .. }
            | Self::CopyOnSibling { instance, .. }
            | Self::CopyDoubtful { instance, .. }
            | Self::AofIncomplete { instance }
            | Self::TopologyUnknown { instance }
            | Self::NameElsewhere { instance }
            | Self::ViewDiffers { instance }
            | Self::HeldForFailed { instance, .. }
            | Self::OpenSlots { instance }
            | Self::OldOrder { instance }
            | Self::ConfigDiffers { instance, .. }
            | Self::RestartNeeded { instance, .. }
            | Self::PersistenceFailing { instance }
            | Self::ClusterStateFail { instance } => Some(instance),
            _ => None,
        }
    }

    /// The shard it is about, if it is about one.
    pub fn shard(&self) -> Option<&ShardName> {
        match self {
            Self::AllCopiesMissing { shard }
            | Self::CopyDoubtful { shard, .. }
            | Self::NoPrimary { shard }
            | Self::FailingOver { shard }
            | Self::SwitchingOver { shard }
            | Self::ReplicasMissing { shard, .. }
            | Self::ZoneShared { shard, .. } => Some(shard),
            _ => None,
        }
    }

    /// Is the cluster not whole for it? Zones that hold what they should not after a failover or a switchover are told, and mended by
    /// the controller, and names follow pods in their own time; the cluster is whole all the same.
    pub fn is_flaw(&self) -> bool {
        !matches!(
            self,
            Self::ZoneMajority { .. }
                | Self::ZoneShared { .. }
                | Self::NameElsewhere { .. }
                | Self::ConfigByHand { .. }
        )
    }

    /// Is it what a new order looks like until everybody obeys it?
    pub fn is_order_on_its_way(&self) -> bool {
        matches!(self, Self::OldOrder { .. } | Self::ConfigDiffers { .. })
    }

    /// Does this last until a user acts, however long one waits?
    pub fn lasts(&self) -> bool {
        matches!(self, Self::ForeignNode { .. } | Self::SlotsTaken { .. } | Self::Fenced { .. })
    }

    /// Does an instance wait until the user accepts a loss (`valkeeper failover SHARD --accept-data-loss`)?
    pub fn asks_for_loss(&self) -> bool {
        matches!(self, Self::AllCopiesMissing { .. } | Self::CopyDoubtful { .. })
    }

    /// Is some key not served while this lasts, or may soon not be, as nobody could be voted for?
    pub fn is_outage(&self) -> bool {
        matches!(
            self,
            Self::SlotsUnserved { .. }
                | Self::SlotsDisowned { .. }
                | Self::NoPrimary { .. }
                | Self::NoQuorum { .. }
        )
    }
}

impl fmt::Display for Waiting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write(f, CalledAs::default())
    }
}

/// A reason in words, for people who call the command line so.
struct Told<'a>(&'a Waiting, CalledAs);

impl fmt::Display for Told<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.write(f, self.1)
    }
}

impl Waiting {
    /// In words; what to type stands there as people call the command line.
    pub fn told(&self, called: CalledAs) -> String {
        Told(self, called).to_string()
    }

    #[expect(
        clippy::too_many_lines,
        reason = "one arm for each reason: split, a missing one would be no error"
    )]
    fn write(&self, f: &mut fmt::Formatter<'_>, called: CalledAs) -> fmt::Result {
        let names =
            |list: &[InstanceName]| list.iter().map(InstanceName::as_str).collect::<Vec<_>>().join(", ");
        match self {
            Self::AgentUnknown { instance, why } => write!(f, "{instance}: its agent {}", why.0),
            Self::PodNotRunning { instance, why } => write!(f, "the pod of {instance} does not run: {why}"),
            Self::NotMade { kind, name, why, .. } => write!(f, "{kind} {name} cannot be made: {why}"),
            Self::NotOurs { kind, name, .. } => write!(
                f,
                "{kind} {name} was not made by Valkeeper for this cluster and is left as it is: rename or remove it"
            ),
            Self::Leaving { kind, name, .. } => {
                write!(f, "{kind} {name} is of a RedisCluster of this name that was deleted, and will go")
            }
            Self::InstanceDown { instance } => write!(f, "{instance}: the server is down"),
            Self::ServerUnknown { instance, why } => write!(f, "{instance}: the server runs, but {}", why.0),
            Self::Busy { instance } => write!(
                f,
                "{instance}: busy with a script or a function, and refuses all other commands; `SCRIPT KILL` or \
                 `FUNCTION KILL` ends one that has written nothing"
            ),
            Self::CommandsHeldBack { instance } => write!(
                f,
                "{instance}: takes connections and carries out no command: `CLIENT PAUSE … ALL`, or more load than it can bear"
            ),
            Self::RightMissing { instance, command } => write!(
                f,
                "{instance}: its user `default` has no right to `{command}`, so that nothing is known of it: \
                 `ACL SETUSER default +{command}`"
            ),
            Self::LookRefused { instance, said } => {
                write!(f, "{instance}: the server runs, but does not let itself be looked at: {said}")
            }
            Self::ClientsKeptOut { instance, why } => write!(f, "{instance}: {why}"),
            Self::ClientsPaused { instance, paused: Paused::Writes } => write!(
                f,
                "{instance}: a `CLIENT PAUSE` holds writes back; `CLIENT UNPAUSE` there lets them go"
            ),
            Self::ClientsPaused { instance, paused: Paused::All } => {
                write!(f, "{instance}: a `CLIENT PAUSE` holds all clients back until its time is over")
            }
            Self::SlotsDisowned { instance, slots } => write!(
                f,
                "{instance}: does not serve slots {slots}, which are its shard's: it says itself that it does not own them"
            ),
            Self::SwitchoverHelps { shard, primary, to } => write!(
                f,
                "{shard}: {primary} cannot write its data to disk, {to} can: `valkeeper switchover {shard}`"
            ),
            Self::Loading { instance } => write!(f, "{instance}: the server is loading its data"),
            Self::DiskSilent { instance } => {
                write!(f, "{instance}: its disk does not answer; what waits for it goes on when it does")
            }
            Self::Fenced { instance } => {
                write!(f, "{instance}: fenced; `{called} unfence {instance}` lets it run again")
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
                     accept the loss with `{called} failover {shard} --accept-data-loss`"
                )
            }
            Self::AofIncomplete { instance } => write!(
                f,
                "{instance}: its append-only file does not hold all of its data yet; until then a loss of power loses writes"
            ),
            Self::AllCopiesMissing { shard } => write!(
                f,
                "{shard}: every copy of its data is gone (a disk not mounted?); bring one back, or accept the loss with \
                 `{called} failover {shard} --accept-data-loss`"
            ),
            Self::TopologyUnknown { instance } => {
                write!(
                    f,
                    "{instance}: its nodes.conf is lost and no other instance answers that could tell the topology"
                )
            }
            Self::NoPrimary { shard } => write!(f, "{shard}: no primary is seen to serve its slots"),
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
            Self::ReplicasMissing { shard, in_sync, wanted, causes } => {
                write!(f, "{shard}: {in_sync} of {wanted} replicas in sync")?;
                causes
                    .iter()
                    .try_for_each(|ReplicaCause { instance, fault }| write!(f, "; {instance} {fault}"))
            }
            Self::ZoneShared { shard, zone } => write!(f, "{shard}: primary and replica share zone {zone}"),
            Self::NameElsewhere { instance } => {
                write!(
                    f,
                    "{instance}: its name does not lead to its address yet; no role is switched to it for zones"
                )
            }
            Self::NameUnknown { instance, host } => write!(
                f,
                "{instance}: clients are sent to {host}, which does not lead there: is that the DNS domain of this Kubernetes?"
            ),
            Self::ZoneMajority { zone, primaries, of } => {
                write!(
                    f,
                    "zone {zone} holds {primaries} of {of} primaries: losing it would lose the majority"
                )
            }
            Self::ZoneWithoutNodes { zone } => {
                write!(f, "no node is in zone {zone} any more: what runs there has no place to come back to")
            }
            Self::ViewDiffers { instance } => {
                write!(f, "{instance}: has not learned the current topology yet")
            }
            Self::HeldForFailed { instance, of } => write!(f, "{instance}: holds {of} for failed"),
            Self::Stranger { instance } => {
                write!(f, "{instance}: shakes hands with a node that is not known yet")
            }
            Self::ForeignNode { node, address, known_by } => write!(
                f,
                "node {node} at {} is no member of this cluster, and {known_by} members know it; `valkeeper forget {node}` \
                 removes it",
                place(address.as_ref())
            ),
            Self::SlotsTaken { shard, slots, node, address } => write!(
                f,
                "{shard}: its slots {slots} are owned by node {node} at {}, whose claim is newer",
                place(address.as_ref())
            ),
            Self::SlotsUnowned { shard, slots } => write!(f, "{shard}: nobody owns its slots {slots}"),
            Self::MembersUnknown { instance, members, count } => {
                let more = if *count > members.len() { ", …" } else { "" };
                write!(f, "{instance}: does not know {count} of the members ({}{more})", names(members))
            }
            Self::StepRefused { refused, why } => {
                write!(f, "{refused} was refused, and is tried again later: {why}")
            }
            Self::PromotionRefused { instance, why } => {
                write!(f, "{instance}: refuses to become primary: {why}")
            }
            Self::MayHaveWon { instance } => write!(
                f,
                "{instance}: was told to become primary and does not answer; another one is promoted when it cannot have won \
                 any more"
            ),
            Self::OpenSlots { instance } => write!(f, "{instance}: has slots that are being moved by hand"),
            Self::OldOrder { instance } => write!(f, "{instance}: its agent still obeys an older order"),
            Self::ConfigDiffers { instance, directives } => {
                write!(f, "{instance}: {} not set yet", directives.join(", "))
            }
            Self::RestartNeeded { instance, directives } => write!(
                f,
                "{instance}: {} can only change by a restart: `{called} restart {instance}`",
                directives.join(", ")
            ),
            Self::ConfigInvalid { instance, directives } => write!(
                f,
                "{instance}: the server does not take the configuration: {}; it keeps what it has: correct the manifest",
                crate::trial::list(directives)
            ),
            Self::ConfigByHand { instance, directives } => write!(
                f,
                "{instance}: {} set by hand: a restart undoes it; write it into spec.redis to keep it",
                directives.join(", ")
            ),
            Self::PasswordUnusable { instance, why } => {
                write!(
                    f,
                    "{instance}: the wanted password cannot be used: {why}; the server keeps the one it has"
                )
            }
            Self::PersistenceFailing { instance } => {
                write!(f, "{instance}: cannot write its data to disk (full?): see `{called} logs {instance}`")
            }
            Self::ClusterStateFail { instance } => write!(f, "{instance}: its cluster_state is not ok yet"),
            Self::NoSupervisor => write!(f, "no supervisor runs: `{called} up FILE` starts one"),
            Self::NotProvisioned { why } => write!(f, "instances cannot be given what they run on: {why}"),
            Self::DefinitionOlder { fields } => write!(
                f,
                "the definition of RedisCluster is older than the operator and does not take {}: apply the new one",
                fields.join(", ")
            ),
            Self::StoreFailed { why } => write!(f, "the state cannot be stored: {why}"),
        }
    }
}
