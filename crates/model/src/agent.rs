//! What passes between the controller and an agent, and between agents: orders, reports, requests.

mod ask;
mod standing;

pub use ask::{Answer, Ask, AskFailed, Death, LeaseSeats, PrimaryTerm, VoteRefusal};
pub use standing::ReplicaStanding;

use crate::{
    Address, ClusterId, Epoch, Followed, Format, Generation, HeldCopy, Incarnation, InstanceLife,
    InstanceName, Link, NodeId, Observed, PasswordFault, RegisterFault, Role, SeenPosition, SentinelSeen,
    SentinelsOrder, ServerConfig, ServerView, ShardId, ShardLife, ShardName, SlotSet, SourceOrder,
    SourceReport, TemplateHash, Waiting,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Everything an agent needs to know to look after its server without asking anyone. Older generations are refused. What a newer
/// controller says beyond that is passed over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AgentOrder {
    /// Of this type.
    #[serde(default)]
    pub format: Format<1>,
    /// The layout's generation this was rendered from.
    pub generation: Generation,
    /// The cluster it belongs to.
    pub cluster: ClusterId,
    /// Whose order.
    pub instance: InstanceName,
    /// Up, or fenced.
    pub run: Run,
    /// Whose servers stop when this one does.
    #[serde(default, skip_serializing_if = "StopsWith::is_one")]
    pub stops_with: StopsWith,
    /// How far the instance is in its life.
    #[serde(flatten, with = "crate::life::ordered")]
    pub life: InstanceLife,
    /// How to configure the server.
    pub config: ServerConfig,
    /// The server program that it is started with; `None` where the platform chooses it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<crate::ServerVersion>,
    /// May its server be started with all of `config`?
    #[serde(default, skip_serializing_if = "RestartTurn::has_come")]
    pub turn: RestartTurn,
    /// Of its shard: what an instance that joins begins as.
    #[serde(default = "serving", skip_serializing_if = "serves")]
    pub shard_life: ShardLife,
    /// All members, this one too.
    pub members: Arc<BTreeMap<InstanceName, Member>>,
    /// The Sentinels that are to know who is the primary.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sentinels: Option<Arc<SentinelsOrder>>,
    /// The primary of another cluster that is followed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<SourceOrder>,
    /// Which addresses these are; `None` by older controllers.
    #[serde(rename = "whereabouts", default, skip_serializing_if = "Option::is_none")]
    pub addresses_hash: Option<AddressesHash>,
}

/// Older controllers add instances to shards that serve only.
fn serving() -> ShardLife {
    ShardLife::Member
}

fn serves(life: &ShardLife) -> bool {
    *life == ShardLife::Member
}

/// Stands for the addresses of an order: orders with the same ones have the same number, by the controller's own reckoning. Agents only
/// repeat it, so that a controller sees who was told otherwise: addresses change within a generation, and a controller that has slept
/// tells old ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct AddressesHash(pub u64);

/// The turn of a server in a roll. Older controllers say nothing of it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum RestartTurn {
    /// A start brings all that is ordered.
    #[default]
    Come,
    /// What the server could not set while it ran, a start does not bring either.
    Awaited,
}

impl RestartTurn {
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
    fn has_come(&self) -> bool {
        *self == Self::Come
    }
}

/// Whose servers stop when one is fenced. Older controllers say nothing of it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum StopsWith {
    /// Its own: a primary hands over first.
    #[default]
    Itself,
    /// All of its shard, replicas first: a primary has nobody to hand over to.
    Shard,
}

impl StopsWith {
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
    fn is_one(&self) -> bool {
        *self == Self::Itself
    }
}

/// Should the server run?
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Run {
    /// Yes.
    Up,
    /// No, until the fence is lifted.
    Fenced,
}

/// A member as the others need to know it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Member {
    /// Its shard.
    pub shard: ShardName,
    /// The engine's id of that shard.
    pub shard_id: ShardId,
    /// Its node id.
    pub node_id: NodeId,
    /// Where it answers, or did last; `None` while it has never had a place.
    pub address: Option<Address>,
    /// The slots it owns when the cluster is founded: all of its shard's on the founding primary, none on others.
    pub founding_slots: SlotSet,
    /// The founding primary of its shard.
    pub founder: NodeId,
    /// Of its shard.
    #[serde(default, skip_serializing_if = "ShardSeat::is_held")]
    pub seat: ShardSeat,
}

/// A voice in a majority, which the primary of a shard that owns slots has. Older controllers know no other shards.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ShardSeat {
    /// The shard owns slots.
    #[default]
    Held,
    /// It owns none: it is being built, or has given all of them away.
    NotHeld,
}

impl ShardSeat {
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
    fn is_held(&self) -> bool {
        *self == Self::Held
    }
}

impl AgentOrder {
    /// The member this order is for.
    pub fn myself(&self) -> Option<&Member> {
        self.members.get(&self.instance)
    }
    /// The other members of the shard.
    pub fn siblings(&self) -> impl Iterator<Item = (&InstanceName, &Member)> {
        let shard = self.myself().map(|member| &member.shard);
        self.members
            .iter()
            .filter(move |(name, member)| Some(&member.shard) == shard && **name != self.instance)
    }
    /// The node ids of all members of the shard, its own too.
    pub fn ids_of_shard(&self) -> impl Iterator<Item = NodeId> {
        self.siblings().map(|(_, member)| member).chain(self.myself()).map(|member| member.node_id)
    }
    /// The names of the other members of its shard.
    pub fn sibling_names(&self) -> Vec<InstanceName> {
        self.siblings().map(|(name, _)| name.clone()).collect()
    }
    /// The slots with which this instance's shard is founded.
    pub fn founding_slots(&self) -> Option<&SlotSet> {
        Some(&self.member_with(self.myself()?.founder)?.1.founding_slots)
    }
    /// Is the source to be followed no more, and a member to become the primary?
    pub fn promotes(&self) -> bool {
        self.source.as_ref().is_some_and(|source| source.promote.is_some())
    }
    /// Has the source of replica mode this node id?
    pub fn is_source(&self, id: NodeId) -> bool {
        self.source.as_ref().is_some_and(|source| source.node_id == id)
    }
    /// The member with this node id.
    pub fn member_with(&self, id: NodeId) -> Option<(&InstanceName, &Member)> {
        self.members.iter().find(|(_, member)| member.node_id == id)
    }
}

/// The server's process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Process {
    /// Runs.
    Running {
        /// Which run.
        incarnation: Incarnation,
        /// Its process id, where that means something to the reader.
        pid: Option<u32>,
    },
    /// Does not run, and that is certain: never started here, or its end was seen.
    Down,
}

/// What the data directory says the server was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum DiskRole {
    /// Nothing readable: no nodes.conf, or a damaged one.
    Lost,
    /// A primary with slots (or none).
    Primary {
        /// With this configuration epoch.
        config_epoch: Epoch,
        /// Owning these.
        slots: SlotSet,
    },
    /// A replica.
    Replica {
        /// Of this node.
        of: NodeId,
    },
}

impl DiskRole {
    /// The slots that the server will own when it is started, if it will own any.
    pub fn claims(&self) -> Option<&SlotSet> {
        match self {
            Self::Primary { slots, .. } if !slots.is_empty() => Some(slots),
            Self::Primary { .. } | Self::Replica { .. } | Self::Lost => None,
        }
    }
}

/// Whether an instance's disk answers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum DiskAccess {
    /// The last look was answered, or is not late.
    #[default]
    Answers,
    /// A look is late, or a start that waits for the disk.
    Silent,
}

impl DiskAccess {
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
    fn answers(&self) -> bool {
        *self == Self::Answers
    }
}

/// What an agent knows of its instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AgentReport {
    /// Of this type.
    #[serde(default)]
    pub format: Format<1>,
    /// The order it obeys.
    pub generation: Generation,
    /// That order's.
    #[serde(rename = "whereabouts", default, skip_serializing_if = "Option::is_none")]
    pub addresses_hash: Option<AddressesHash>,
    /// Where its server answers.
    pub address: Address,
    /// The process.
    pub process: Process,
    /// What the disk says, as of the last look before a start.
    pub disk_role: DiskRole,
    /// Is there persisted data?
    pub has_data: bool,
    /// Does the disk answer? While it does not, what is said of it may be old.
    #[serde(default, skip_serializing_if = "DiskAccess::answers")]
    pub disk: DiskAccess,
    /// The copy of the shard's data on its disk; `None` by agents that keep no record of it, and before the first look.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub copy: Option<Box<HeldCopy>>,
    /// The server's own words.
    pub server: Observed<ServerView>,
    /// How its pod was made, as its platform knows; `None` without pods, and where nobody knows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod_template: Option<TemplateHash>,
    /// What it is doing beyond watching.
    pub activity: Activity,
    /// What it waits for, if anything.
    pub waiting: Option<Waiting>,
    /// Why the wanted password cannot be used; a server that runs keeps the one it has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<PasswordFault>,
    /// Why its server, which lives, does not let itself be looked at. `server` then has the last view for a moment, and after that
    /// a word that older controllers know too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub look_refused: Option<LookRefused>,
    /// The source, of a cluster that follows one, or has been promoted while this agent ran.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<Box<SourceReport>>,
    /// The Sentinels, as the agent of the primary sees them; nothing by the others.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub sentinels: BTreeMap<InstanceName, SentinelSeen>,
    /// How long ago the server was seen as `server` shows it, milliseconds; `None` by older agents, and before it was seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seen_ms_ago: Option<u64>,
    /// Of a replica on a host of its own: where its primary's stream was, as the primary's agent told it last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub primary_position: Option<SeenPosition>,
    /// Its server's data has not changed after this place of its stream; `None` also by older agents.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_write: Option<crate::Position>,
    /// In mode `standalone`, where the register is a seat: why it is not known to vote.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub register: Option<RegisterFault>,
}

/// How a server that lives refuses to be looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "because", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum LookRefused {
    /// It runs a script or a function, and refuses all other commands meanwhile.
    Busy,
    /// It takes new connections and carries out no command: `CLIENT PAUSE … ALL`, or more load than it can bear.
    HeldBack,
    /// The user `default` may not use a command.
    RightMissing {
        /// The command, as the engine's ACL rules name it: `cluster|nodes`.
        command: String,
    },
    /// It refuses for another reason.
    Other {
        /// In its own words.
        said: String,
    },
    /// What only a newer version knows.
    #[serde(untagged)]
    Newer(crate::Newer),
}

impl AgentReport {
    /// The server, if it answers.
    pub fn view(&self) -> Option<&ServerView> {
        self.server.known()
    }
    /// Certainly not running?
    pub fn is_down(&self) -> bool {
        self.process == Process::Down
    }
    /// The run, if running.
    pub fn incarnation(&self) -> Option<Incarnation> {
        match self.process {
            Process::Running { incarnation, .. } => Some(incarnation),
            Process::Down => None,
        }
    }
    /// Of a replica: has it caught up with its primary since it connected last? Older agents do not say, and count as if they did.
    pub fn is_caught_up(&self) -> bool {
        self.copy.as_ref().is_none_or(|copy| copy.caught_up)
    }
    /// The role by the server's own words.
    pub fn role(&self) -> Option<Role> {
        self.view().map(|view| view.replication.role())
    }
    /// Where each Sentinel sends clients; `None` of one that is not seen.
    pub fn sentinels_led_to(&self) -> BTreeMap<InstanceName, Option<Followed>> {
        let to = |seen: &SentinelSeen| match seen {
            SentinelSeen::Known(view) => Some(view.primary.clone()),
            SentinelSeen::Unseen(_) => None,
        };
        self.sentinels.iter().map(|(name, seen)| (name.clone(), to(seen))).collect()
    }
    /// Is something about its configuration or its password not as it should be, and stays so?
    pub fn is_misconfigured(&self) -> bool {
        let config = |view: &ServerView| {
            !(view.config_refused.is_empty()
                && view.config_invalid.is_empty()
                && view.config_by_hand.is_empty()
                && view.users_by_hand.is_empty())
        };
        self.password.is_some() || self.view().is_some_and(config)
    }
    /// The link, of a replica that answers.
    pub fn link(&self) -> Option<Link> {
        self.view().and_then(|view| view.replication.link())
    }
}

/// What an agent is doing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Activity {
    /// Watching.
    Watching,
    /// Starting its server.
    Starting,
    /// Its server, a primary, is dead: it promotes a replica.
    FailingOver,
    /// It asked for votes and got none: the controller may have to decide (law 4).
    WithoutVotes {
        /// The replica it would promote.
        successor: InstanceName,
        /// The run of it that was chosen: another one may hold less.
        incarnation: Incarnation,
    },
    /// It hands over to a replica.
    HandingOver,
    /// Stopping its server.
    Stopping,
    /// Down on purpose.
    Resting,
    /// What only a newer version knows.
    #[serde(untagged)]
    Newer(crate::Newer),
}

#[cfg(test)]
mod tests;
