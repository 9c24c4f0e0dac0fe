//! What to do about a refusal.

use super::{Refusal, Unfit};
use crate::CalledAs;

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
            Self::NotASuccessor { why: Unfit::Fenced, .. } => {
                format!("`{called} status` says what lets it run again")
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
            Self::Roll(refusal) => return refusal.hint(called),
            Self::ReplicaMode(refusal) => refusal.hint(called),
            Self::Hibernation(refusal) => refusal.hint(called),
            Self::Fence(refusal) => refusal.hint(called),
            Self::Resize(refusal) => return refusal.hint(called),
            Self::Slots(refusal) => return refusal.hint(called),
            Self::BeingPromoted => "leave `promote: true` there".to_owned(),
            Self::NothingToPromote => "remove `promote: true`; write it once the cluster follows its source".to_owned(),
            Self::ConfigInvalid { .. } => "correct the values in the manifest; nothing was changed".to_owned(),
            Self::PasswordUnusable { .. } => "put a usable password back; nothing was stopped".to_owned(),
            Self::Impossible(impossible) => return impossible.hint(called),
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
