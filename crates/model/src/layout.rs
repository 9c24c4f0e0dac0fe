//! The layout: what the planner has chosen and the store holds. Everything is rendered from it, nothing from the spec (law 5).

use crate::format::{Format, Unreadable};
use crate::newer::NewerFields;
use crate::spec::{MaxMemoryPolicy, Mode, Persistence};
use crate::{
    ClusterId, ClusterName, DriftPolicy, FencedBy, Fences, Generation, InstanceLife, InstanceName, Kept,
    Ledger, NodeId, Operation, OperationName, RestartTurn, RetiredInstance, Roll, ServerSetup, ServerVersion,
    ShardId, ShardLife, ShardName, SlotSet, TemplateHash, ZoneName, ZonePolicy,
};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The chosen cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(remote = "Self", rename_all = "camelCase")]
pub struct Layout {
    /// Of this type.
    #[serde(default)]
    pub format: Format<{ Layout::FORMAT }>,
    /// Which cluster this is.
    pub cluster: ClusterName,
    /// Its identity; data of any other is refused (law 10).
    pub id: ClusterId,
    /// Counts changes of what agents are told. Agents refuse an order of an older generation.
    pub generation: Generation,
    /// Counts commits; 0 in what an older version has stored. A commit names the version that it follows.
    #[serde(default)]
    pub revision: u64,
    /// Since when agents are told what they are told now; `None` in what an older version has stored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ordered: Option<OrderedSince>,
    /// What zones must guarantee.
    pub zones: ZonePolicy,
    /// How servers are configured.
    pub config: ServerConfig,
    /// Their program; `None` where the platform chooses it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<ServerVersion>,
    /// How their pods are made; `None` where there are none, and in what an older version has stored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod_template: Option<TemplateHash>,
    /// The bodies of all pod templates that are named here.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub pod_templates: BTreeMap<TemplateHash, serde_json::Value>,
    /// The server programs in the images of those, as far as the images' names tell.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub pod_versions: BTreeMap<TemplateHash, ServerVersion>,
    /// What was wanted in place of that and given up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub given_up: Option<Box<crate::GivenUp>>,
    /// Replicas each shard is to have.
    pub replicas_per_shard: u32,
    /// The shards.
    pub shards: Arc<BTreeMap<ShardName, Shard>>,
    /// The instances.
    pub instances: Arc<BTreeMap<InstanceName, Instance>>,
    /// The Sentinels, in mode `sentinel`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sentinels: Option<Box<crate::Sentinels>>,
    /// The other cluster that this one follows, or did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replica_mode: Option<Box<crate::ReplicaMode>>,
    /// Its servers are stopped, and it has no pods, or will have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hibernation: Option<crate::Hibernation>,
    /// Instances that are none any more.
    #[serde(default, skip_serializing_if = "is_empty_map")]
    pub retired: Arc<BTreeMap<InstanceName, RetiredInstance>>,
    /// Zones in which no instance is placed.
    #[serde(default, skip_serializing_if = "is_empty_set")]
    pub cordoned: Arc<BTreeSet<ZoneName>>,
    /// Long work under way.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub operations: BTreeMap<OperationName, Operation>,
    /// What is disturbed on purpose.
    #[serde(default, skip_serializing_if = "Ledger::is_empty")]
    pub ledger: Ledger,
    /// What a newer version has added.
    #[serde(flatten)]
    pub newer: NewerFields,
}

/// Which layout a commit follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct LayoutVersion {
    /// Its generation.
    pub generation: Generation,
    /// Its revision.
    pub revision: u64,
}

/// The generations since which orders are the same but for their generation: an agent that obeys an order of that generation, or of a
/// later one, does what it should, and needs no other.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OrderedSince {
    /// The generation of the layout for which this was reckoned. In a layout of another one it says nothing: a version that does not know it
    /// has changed that layout.
    pub of: Generation,
    /// For all instances.
    pub all: Generation,
    /// For those whose order has changed since that.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub instances: BTreeMap<InstanceName, Generation>,
}

/// A shard: a home of slots.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Shard {
    /// The engine's id for it.
    pub id: ShardId,
    /// The slots it is to own.
    pub slots: SlotSet,
    /// Slots that it has given to other shards: an old file of one of its instances may hold keys of them.
    #[serde(default, skip_serializing_if = "SlotSet::is_empty")]
    pub gave: SlotSet,
    /// The instance that starts as its primary when the cluster is founded. Later roles are observed, never looked up here.
    pub founder: InstanceName,
    /// How far it is in its life.
    #[serde(default)]
    pub life: ShardLife,
    /// What a newer version has added.
    #[serde(flatten)]
    pub newer: NewerFields,
}

/// An instance: one server with a name, a place and an identity.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Instance {
    /// Its shard.
    pub shard: ShardName,
    /// Its zone.
    pub zone: ZoneName,
    /// Its node id, for life.
    pub node_id: NodeId,
    /// Who keeps it down.
    #[serde(flatten, with = "crate::fences")]
    pub fences: Fences,
    /// How far it is in its life.
    #[serde(default)]
    pub life: InstanceLife,
    /// What a newer version has added.
    #[serde(flatten)]
    pub newer: NewerFields,
}

impl Instance {
    /// Has somebody asked that this one be kept down?
    pub fn is_fenced_by_user(&self) -> bool {
        self.fences.has(&FencedBy::Request) || self.fences.has(&FencedBy::Annotation)
    }

    /// Is it kept down on purpose?
    pub fn is_fenced(&self) -> bool {
        self.fences.any()
    }
}

/// How servers are configured, apart from what is an instance's own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ServerConfig {
    /// What the servers are to each other. Older versions say nothing, and know mode `cluster` only.
    #[serde(default, skip_serializing_if = "Mode::is_cluster")]
    pub mode: Mode,
    /// `cluster-node-timeout`, milliseconds.
    pub node_timeout_ms: u64,
    /// A server that has not answered for this long is killed, milliseconds.
    pub unresponsive_after_ms: u64,
    /// What survives a restart.
    pub persistence: Persistence,
    /// `maxmemory`, bytes.
    pub max_memory: Option<u64>,
    /// `maxmemory-policy`.
    pub max_memory_policy: Option<MaxMemoryPolicy>,
    /// `min-replicas-to-write`.
    pub min_sync_replicas: u32,
    /// Up to so many of the attached replicas are counted on; not more than the number above: no others than those.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub max_sync_replicas: u32,
    /// The user's own directives.
    pub directives: BTreeMap<String, String>,
    /// What becomes of others that somebody has set by hand.
    #[serde(default, skip_serializing_if = "DriftPolicy::is_default")]
    pub drift: DriftPolicy,
    /// What a newer version has added.
    #[serde(flatten)]
    pub newer: NewerFields,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(number: &u32) -> bool {
    *number == 0
}

fn is_empty_map<K, V>(map: &Arc<BTreeMap<K, V>>) -> bool {
    map.is_empty()
}

fn is_empty_set<T>(set: &Arc<BTreeSet<T>>) -> bool {
    set.is_empty()
}

impl Layout {
    /// The newest format.
    pub const FORMAT: u32 = 1;

    /// Reads what was stored.
    pub fn read(text: &[u8]) -> Result<Self, Unreadable> {
        crate::format::read(text, Self::FORMAT)
    }

    /// Which layout the next one is of the same generation.
    pub fn next_version(&self) -> LayoutVersion {
        LayoutVersion { generation: self.generation, revision: self.revision + 1 }
    }

    /// Which layout this is.
    pub fn version(&self) -> LayoutVersion {
        LayoutVersion { generation: self.generation, revision: self.revision }
    }

    /// The oldest generation whose order is still right for this instance. While its cluster is founded, or its shard has no slots yet, every order
    /// counts: an agent that knows of a newer one begins nothing with an empty directory.
    pub fn ordered_since(&self, instance: &InstanceName) -> Generation {
        let begins = |one: &Instance| one.life == InstanceLife::Founding || self.lacks_slots(&one.shard);
        match &self.ordered {
            Some(since)
                if since.of == self.generation && !self.instances.get(instance).is_some_and(begins) =>
            {
                since.instances.get(instance).copied().unwrap_or(since.all)
            }
            _ => self.generation,
        }
    }

    /// Does that shard of a cluster with slots own none?
    fn lacks_slots(&self, shard: &ShardName) -> bool {
        self.config.mode.has_slots() && self.shards.get(shard).is_some_and(|shard| shard.slots.is_empty())
    }

    /// All that have a place of their own: instances and Sentinels.
    pub fn placed(&self) -> impl Iterator<Item = &InstanceName> {
        let sentinels = self.sentinels.iter().flat_map(|sentinels| sentinels.members.keys());
        self.instances.keys().chain(sentinels)
    }

    /// What servers are to run with.
    pub fn setup(&self) -> ServerSetup {
        ServerSetup {
            config: self.config.clone(),
            version: self.version.clone(),
            pod_template: self.pod_template.clone(),
        }
    }

    /// The same layout without the bodies of pod templates that nothing in it names any more.
    #[must_use]
    pub fn without_unused_templates(mut self) -> Self {
        let of_roll = self.roll().into_iter().flat_map(|roll| {
            let kept = roll.kept.values().filter_map(|kept| kept.pod_template.clone());
            kept.chain(roll.from.pod_template.clone())
        });
        let used: BTreeSet<TemplateHash> = of_roll.chain(self.pod_template.clone()).collect();
        self.pod_templates.retain(|hash, _| used.contains(hash));
        self.pod_versions.retain(|hash, _| used.contains(hash));
        self
    }

    /// The roll that is under way.
    pub fn roll(&self) -> Option<&Roll> {
        self.operations.get(&OperationName::roll()).and_then(Operation::roll)
    }

    /// The version with which that instance is to be started: in a roll it keeps the former one until its turn.
    pub fn version_of(&self, instance: &InstanceName) -> Option<&ServerVersion> {
        self.kept(instance).and_then(|kept| kept.version.as_ref()).or(self.version.as_ref())
    }

    /// How that instance's pod is to be made: in a roll it keeps the former way until its turn.
    pub fn pod_template_of(&self, instance: &InstanceName) -> Option<&TemplateHash> {
        self.kept(instance).and_then(|kept| kept.pod_template.as_ref()).or(self.pod_template.as_ref())
    }

    /// The server program that a setup brings, as far as that is known beforehand.
    pub fn program_of<'a>(&'a self, setup: &'a ServerSetup) -> Option<&'a ServerVersion> {
        setup.version.as_ref().or_else(|| self.pod_versions.get(setup.pod_template.as_ref()?))
    }

    /// The server program that an instance is ordered to run, as far as that is known.
    pub fn ordered_program(&self, instance: &InstanceName) -> Option<&ServerVersion> {
        self.version_of(instance).or_else(|| self.pod_versions.get(self.pod_template_of(instance)?))
    }

    /// Does a start of this instance's server bring all that is ordered?
    pub fn turn_of(&self, instance: &InstanceName) -> RestartTurn {
        self.kept(instance).map_or(RestartTurn::Come, |_| RestartTurn::Awaited)
    }

    fn kept(&self, instance: &InstanceName) -> Option<&Kept> {
        self.roll()?.kept.get(instance)
    }

    /// The instances of a shard.
    pub fn instances_of<'a>(
        &'a self,
        shard: &'a ShardName,
    ) -> impl Iterator<Item = (&'a InstanceName, &'a Instance)> + 'a {
        self.instances.iter().filter(move |(_, instance)| instance.shard == *shard)
    }
    /// The instance that has this node id.
    pub fn instance_with(&self, id: NodeId) -> Option<&InstanceName> {
        self.instances.iter().find(|(_, instance)| instance.node_id == id).map(|(name, _)| name)
    }
}
