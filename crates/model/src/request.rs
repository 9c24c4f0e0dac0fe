//! What users may ask of a running cluster, and why it may be refused.

mod replica_mode;

pub use replica_mode::ReplicaModeRefusal;

use crate::{
    CalledAs, InstanceName, InvalidDirective, NodeId, PasswordFault, ShardName, StoreError, Unseen, Waiting,
};
use serde::{Deserialize, Serialize};
use std::fmt;

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
    /// Remove nodes that are no members from every server's table.
    Forget {
        /// Which.
        nodes: Vec<NodeId>,
    },
    /// Follow the source no more: the designated member becomes the primary.
    Promote,
    /// Give up the copy that is held back, and take what the source has.
    AcceptSource,
    /// Hold writes until that copy of the cluster is promoted, and follow it then.
    HandOverTo {
        /// Where the copy is.
        copy: Box<crate::Source>,
    },
    /// Do not hand over to a copy any more: writes are taken again.
    CancelHandOver,
    /// Would this spec be followed? Nothing is changed.
    Check {
        /// The spec.
        spec: Box<crate::spec::ClusterSpec>,
    },
    /// A new spec.
    Apply {
        /// The spec.
        spec: Box<crate::spec::ClusterSpec>,
    },
}

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

impl Refusal {
    /// With what to do about it, for where there is one text only.
    pub fn with_hint(&self, called: CalledAs) -> String {
        let hint = self.hint(called).map(|hint| format!("\n  hint: {hint}")).unwrap_or_default();
        format!("{self}{hint}")
    }

    /// What to do about it; what to type stands there as people call the command line.
    pub fn hint(&self, called: CalledAs) -> Option<String> {
        Some(match self {
            Self::NoSuchShard { .. } | Self::NoSuchInstance { .. } | Self::ShardNotNamed => {
                format!("`{called} status` lists shards and instances")
            }
            Self::NoSuchNode { .. } => {
                "`valkeeper status` tells the ids of nodes that are no members".to_owned()
            }
            Self::IsMember { instance, .. } => format!("`valkeeper fence {instance}` stops it"),
            Self::FollowedByMember { .. } | Self::NotAllSeen { .. } => {
                "`valkeeper status` says what is the matter with them; try again when it is mended".to_owned()
            }
            Self::Fenced { instance } => format!("`{called} unfence {instance}` lets it run again"),
            Self::NotASuccessor { why: Unfit::OtherShard, .. } => {
                format!("leave the shard out, or name an instance of it: `{called} status` lists them")
            }
            Self::NotASuccessor { instance, why: Unfit::Fenced } => {
                format!("`{called} unfence {instance}` lets it run again")
            }
            Self::NoSuccessor { .. }
            | Self::Disrupted { .. }
            | Self::MajorityAtRisk { .. }
            | Self::NotASuccessor { .. } => {
                format!("`{called} status` says what the cluster waits for; try again when it is healthy")
            }
            Self::PrimaryIsWell { .. } => {
                format!("use `{called} switchover`, or `--force` if you mean it")
            }
            Self::CannotChange { .. } | Self::CannotShrink { .. } => {
                "put the old value back, or make a new cluster".to_owned()
            }
            Self::PasswordSecretChanged { .. } => {
                "put the old name back, and change the password by writing another one into that Secret (locally: the file that \
                 `valkeeper connect` names): servers take it while they run"
                    .to_owned()
            }
            Self::FollowsSource { .. } => {
                format!("`{called} promote`, or `promote: true` in spec.replicaMode, makes it a cluster of its own")
            }
            Self::ReplicaMode(refusal) => refusal.hint(called),
            Self::BeingPromoted => "leave `promote: true` there".to_owned(),
            Self::NothingToPromote => "remove `promote: true`; write it once the cluster follows its source".to_owned(),
            Self::ConfigInvalid { .. } => "correct the values in the manifest; nothing was changed".to_owned(),
            Self::PasswordUnusable { .. } => "put a usable password back; nothing was stopped".to_owned(),
            Self::Impossible(impossible) => return impossible.hint(),
            Self::TimedOut { .. } => {
                format!("what was begun goes on: see `{called} status` and `{called} events`")
            }
            Self::NotStored { error } => return error.hint(),
            Self::ChangedMeanwhile => format!("`{called} status` says how it is now; nothing was done, try again"),
            Self::UnfencedMeanwhile { .. }
            | Self::AlreadyPrimary { .. }
            | Self::NoPrimary { .. }
            | Self::SamePrimary { .. }
            | Self::NotYet { .. }
            | Self::NothingToAccept { .. }
            | Self::FollowsNobody
            | Self::NothingHeldBack
            | Self::HandoverOfCluster
            | Self::NoHandover
            | Self::HandoverNotSeen
            | Self::SourceNotSeen
            | Self::Newer(_)
            | Self::Failed { .. } => return None,
        })
    }
}

fn or_else(waiting: &[Waiting], otherwise: &str) -> String {
    let reasons: Vec<String> = waiting.iter().map(ToString::to_string).collect();
    if reasons.is_empty() { otherwise.to_owned() } else { reasons.join("; ") }
}

/// Why an instance may not succeed its primary (law 2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
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
    /// Starting, stopping or changing its role.
    Leaving,
    /// Its append-only file does not hold everything yet.
    NotPersisted,
}

impl Unfit {
    /// Is this over within a moment, as a rule? A look takes long on a busy machine, and a former primary needs a moment until it follows
    /// the new one. An append-only file takes as long as its data is large.
    pub fn may_pass_soon(self) -> bool {
        match self {
            Self::NotSeen | Self::NotItsReplica | Self::NotInSync | Self::OtherHistory => true,
            Self::OtherShard | Self::Fenced | Self::Leaving | Self::NotPersisted => false,
        }
    }
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
            Self::Leaving => "it is starting, stopping or changing its role",
            Self::NotPersisted => "its append-only file does not hold all of its data yet",
        })
    }
}

/// Why no layout can satisfy the spec (law 7).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, thiserror::Error)]
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
        let more = "give more zones (locally `--zones a,b,c`, on Kubernetes the label `topology.kubernetes.io/zone` of nodes)";
        Some(match self {
            // `besteffort` needs one as well.
            Self::TooFewZones { needed, .. } if *needed <= 1 => more.to_owned(),
            _ => format!("{more}, or accept the risk with `zones: besteffort`"),
        })
    }
}
