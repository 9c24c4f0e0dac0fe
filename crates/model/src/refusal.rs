//! Why what users ask is refused, and what to do about it.

mod fencing;
mod hibernation;
mod hint;
mod impossible;
mod replica_mode;
mod resizing;
mod roll;
mod slots;
mod unfit;

pub use fencing::FenceRefusal;
pub use hibernation::HibernationRefusal;
pub use impossible::Impossible;
pub use replica_mode::ReplicaModeRefusal;
pub use resizing::ResizeRefusal;
pub use roll::RollRefusal;
pub use slots::SlotRefusal;
pub use unfit::Unfit;

use crate::{InstanceName, InvalidDirective, NodeId, PasswordFault, ShardName, StoreError, Unseen, Waiting};
use serde::{Deserialize, Serialize};

/// Why a request was not carried out (law 12). `hint` tells what to do.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, thiserror::Error)]
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
    /// No server knows such a node.
    #[error("no server knows a node `{node}`")]
    NoSuchNode {
        /// The id given.
        node: NodeId,
    },
    /// Members are not forgotten.
    #[error("node {node} is {instance}, a member of this cluster")]
    IsMember {
        /// The id given.
        node: NodeId,
        /// Whose it is.
        instance: InstanceName,
    },
    /// A member follows that node: the engine forgets no node's own primary, and what the member holds is that node's data.
    #[error("{instance} follows node {node}, so that it cannot forget it")]
    FollowedByMember {
        /// The id given.
        node: NodeId,
        /// Who follows it.
        instance: InstanceName,
    },
    /// Who does not forget tells all others again.
    #[error("{} cannot be told to forget it, and would tell the others of it again", list(.unseen))]
    NotAllSeen {
        /// Whose servers run, or may run, and do not answer.
        unseen: Vec<InstanceName>,
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
        waiting: Box<Waiting>,
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
    #[error("{shard} has no primary now: {}", or_else(.waiting, "it is being failed over already"))]
    NoPrimary {
        /// Which.
        shard: ShardName,
        /// Why it has none; empty while it is being failed over.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        waiting: Vec<Waiting>,
    },
    /// The primary was ended, and nobody could succeed it.
    #[error("{primary} was ended and is the primary of {shard} again: no replica could take over")]
    SamePrimary {
        /// Of which shard.
        shard: ShardName,
        /// The primary before and after.
        primary: InstanceName,
    },
    /// The shard has no other primary yet. It still gets one when what it waits for comes true.
    #[error("{shard} has no other primary yet: {}", or_else(.waiting, "nobody has taken over"))]
    NotYet {
        /// Which.
        shard: ShardName,
        /// What the cluster waits for.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        waiting: Vec<Waiting>,
    },
    /// A field that cannot change in a running cluster (yet).
    #[error("{field} cannot change in a running cluster yet")]
    CannotChange {
        /// The field.
        field: String,
    },
    /// Another Secret would be another password, which servers that run do not have.
    #[error("spec.authSecret.name cannot change from {} to {} in a running cluster", named(from.as_ref()), named(to.as_ref()))]
    PasswordSecretChanged {
        /// The Secret that is named now; `None` if Valkeeper made it.
        from: Option<String>,
        /// The one that is wanted.
        to: Option<String>,
    },
    /// A cluster that follows another takes no writes, and has no roles to be changed.
    #[error("the cluster follows {source_name}, so that it has no primary of its own")]
    FollowsSource {
        /// The source's name.
        source_name: String,
    },
    /// It follows nobody.
    #[error("the cluster follows no other one, so that there is nothing to promote")]
    FollowsNobody,
    /// No copy is held back.
    #[error("no copy is held back from what the source does")]
    NothingHeldBack,
    /// Slots belong to several primaries.
    #[error("a cluster of mode cluster has no copy that could take its place")]
    HandoverOfCluster,
    /// There is nothing to cancel.
    #[error("the cluster does not hand over to a copy")]
    NoHandover,
    /// The copy may be promoted by now.
    #[error("the cluster's primary is not seen: it may follow the promoted copy already")]
    HandoverNotSeen,
    /// The source cannot be seen, so that nobody knows what would be accepted.
    #[error("the source is not seen, so that it is not known what would be accepted")]
    SourceNotSeen,
    /// It is on its way, and may be done in the next moment.
    #[error("the cluster is being promoted")]
    BeingPromoted,
    /// Nothing has been followed yet that could be promoted.
    #[error("spec.replicaMode.promote is set, and this cluster has never followed a source")]
    NothingToPromote,
    /// The server program does not take the configuration.
    #[error("the server program refuses the configuration: {}", crate::trial::list(directives))]
    ConfigInvalid {
        /// What it refuses.
        directives: Vec<InvalidDirective>,
    },
    /// A server that was stopped could not be started again.
    #[error("the password cannot be used: {why}")]
    PasswordUnusable {
        /// Why.
        why: PasswordFault,
    },
    /// A volume cannot shrink.
    #[error("{field} cannot shrink from {from} to {to}: a volume only grows")]
    CannotShrink {
        /// The field.
        field: String,
        /// As it was written.
        from: String,
        /// As it is written now.
        to: String,
    },
    /// It stays down whatever it is told, until the fence is lifted.
    #[error("{instance} is fenced, so that it does not run")]
    Fenced {
        /// Which.
        instance: InstanceName,
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
    /// Somebody lifted the fence before the server was down.
    #[error("{instance} was unfenced before it was down")]
    UnfencedMeanwhile {
        /// Which.
        instance: InstanceName,
    },
    /// It was begun, and is not over yet; what was begun goes on.
    #[error("not done within {} s: {instance} {why}", .within_ms / 1_000)]
    TimedOut {
        /// Who was asked.
        instance: InstanceName,
        /// How long it was waited for, milliseconds.
        within_ms: u64,
        /// What is known of the one that was asked.
        why: Unseen,
    },
    /// The new layout could not be stored, so that nothing was done.
    #[error("the new state could not be stored: {error}")]
    NotStored {
        /// Why not.
        #[serde(flatten)]
        error: StoreError,
    },
    /// Another controller has stored a layout meanwhile, so that nothing was done.
    #[error("another controller has just changed the cluster")]
    ChangedMeanwhile,
    /// The cluster does not go over to following another just so.
    #[error(transparent)]
    #[serde(untagged)]
    ReplicaMode(#[from] ReplicaModeRefusal),
    /// Instances do not come and go just so.
    #[error(transparent)]
    #[serde(untagged)]
    Resize(#[from] ResizeRefusal),
    /// Slots are not moved.
    #[error(transparent)]
    #[serde(untagged)]
    Slots(#[from] SlotRefusal),
    /// What servers run with is not changed, or not yet.
    #[error(transparent)]
    #[serde(untagged)]
    Roll(#[from] RollRefusal),
    /// The cluster hibernates, or does not yet.
    #[error(transparent)]
    #[serde(untagged)]
    Hibernation(#[from] HibernationRefusal),
    /// Fences stay as they are.
    #[error(transparent)]
    #[serde(untagged)]
    Fence(#[from] FenceRefusal),
    /// What only a newer version knows.
    #[error("{0}")]
    #[serde(untagged)]
    Newer(crate::Newer),
}

fn list(names: &[InstanceName]) -> String {
    names.iter().map(InstanceName::as_str).collect::<Vec<_>>().join(", ")
}

/// A Secret's name, for a sentence.
fn named(secret: Option<&String>) -> String {
    secret.map_or_else(|| "the one that Valkeeper made".to_owned(), |name| format!("`{name}`"))
}

fn or_else(waiting: &[Waiting], otherwise: &str) -> String {
    let reasons: Vec<String> = waiting.iter().map(ToString::to_string).collect();
    if reasons.is_empty() { otherwise.to_owned() } else { reasons.join("; ") }
}
