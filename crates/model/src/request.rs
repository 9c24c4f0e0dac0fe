//! What users may ask of a running cluster, and why it may be refused.

use crate::{InstanceName, ShardName, Waiting};
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
    /// With what to do about it, for where there is one text only.
    pub fn with_hint(&self) -> String {
        let hint = self.hint().map(|hint| format!("\n  hint: {hint}")).unwrap_or_default();
        format!("{self}{hint}")
    }

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
            Self::CannotChange { .. } | Self::CannotShrink { .. } => {
                "put the old value back, or make a new cluster".to_owned()
            }
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
    /// Its append-only file does not hold everything yet.
    NotPersisted,
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
            Self::NotPersisted => "its append-only file does not hold all of its data yet",
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
