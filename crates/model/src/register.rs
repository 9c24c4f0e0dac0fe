//! The register: the seat that is no agent, in a cluster of mode `standalone` with an even number of instances. It keeps votes, and has no
//! server.

use crate::newer::NewerFields;
use crate::{ClusterId, Epoch, Format, NodeId, PrimaryTerm};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// What the register has stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RegisterRecord {
    /// Of this type.
    #[serde(default)]
    pub format: Format<1>,
    /// Whose register it is.
    pub cluster: ClusterId,
    /// How far it is, and what it knows.
    pub stage: RegisterStage,
    /// What a newer version has added.
    #[serde(flatten)]
    pub newer: NewerFields,
}

impl RegisterRecord {
    /// The newest format that is read.
    pub const FORMAT: u32 = 1;

    /// What was stored, from JSON.
    ///
    /// # Errors
    /// It is damaged, or a newer version has written it.
    pub fn read(text: &[u8]) -> Result<Self, crate::Unreadable> {
        crate::format::read(text, Self::FORMAT)
    }
}

/// A register that is made, also in the place of a lost one, has voted only for candidates whose own votes are on the disks of their agents: once
/// all agents have told it their votes since it was made, it knows of all that any register before it has given.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum RegisterStage {
    /// It is new, and votes for nobody before all agents have told it their votes.
    Gathering {
        /// Which register this is: what was told before it was made does not count.
        life: RegisterLife,
        /// What agents have told it.
        told: BTreeMap<NodeId, KnownVotes>,
    },
    /// It votes.
    Voting(RegisterVotes),
}

/// What a register that votes knows, and how it has voted.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RegisterVotes {
    /// As any seat.
    #[serde(flatten)]
    pub votes: KnownVotes,
    /// `None`: it has renewed no lease and given no vote.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub renewals: Option<Renewals>,
}

/// How often a register has let members take writes: by renewing their leases, and by voting for them. A number that has stayed the same for
/// longer than a lease lasts says, by the reader's own clock, that no lease rests on the register any more.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Renewals {
    /// Whose numbers these are: those of a register that was lost do not compare.
    pub life: RegisterLife,
    /// By member.
    pub counts: BTreeMap<NodeId, u64>,
}

/// Tells a register from those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RegisterLife(pub u64);

/// What a seat knows of primaries, and how it has voted.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct KnownVotes {
    /// The primary with the newest term that it knows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub known: Option<PrimaryTerm>,
    /// The term of its last vote.
    #[serde(default)]
    pub last_vote: Epoch,
    /// The candidates for whom it has voted since the known one was elected, and in which term last.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub voted: BTreeMap<NodeId, Epoch>,
}

impl KnownVotes {
    /// Hears of a primary.
    pub fn learn(&mut self, news: PrimaryTerm) {
        if self.known.is_none_or(|known| known.term < news.term) {
            self.known = Some(news);
            self.voted.retain(|_, term| *term > news.term);
        }
    }

    /// Takes over what another seat knows.
    pub fn merge(&mut self, other: &Self) {
        for (candidate, term) in &other.voted {
            let voted = self.voted.entry(*candidate).or_default();
            *voted = (*voted).max(*term);
        }
        self.last_vote = self.last_vote.max(other.last_vote);
        if let Some(news) = other.known {
            self.learn(news);
        }
        let since = self.known.map(|known| known.term).unwrap_or_default();
        self.voted.retain(|_, term| *term > since);
    }

    /// Who may be a primary.
    pub fn may_be_primary(&self) -> BTreeSet<NodeId> {
        self.known.map(|known| known.primary).into_iter().chain(self.voted.keys().copied()).collect()
    }
}

/// Why the register does not vote.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(tag = "fault", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum RegisterFault {
    /// The platform keeps none.
    None,
    /// It is new, and not all agents have told it their votes.
    Gathering,
    /// It has not answered in time.
    Silent,
    /// It cannot be reached.
    Unreachable {
        /// Why not.
        why: String,
    },
    /// What it has stored cannot be read.
    Unreadable {
        /// Why not.
        why: String,
    },
    /// It cannot store.
    NotWritten {
        /// Why not.
        why: String,
    },
    /// What only a newer version knows.
    #[serde(untagged)]
    Newer(crate::Newer),
}

impl fmt::Display for RegisterFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("there is none on this platform"),
            Self::Gathering => f.write_str("it is new, and not all agents have told it their votes yet"),
            Self::Silent => f.write_str("it does not answer"),
            Self::Unreachable { why } => write!(f, "it cannot be asked: {why}"),
            Self::Unreadable { why } => write!(
                f,
                "what it has stored cannot be read: {why}; once that is taken away, it is made anew from the votes of all agents"
            ),
            Self::NotWritten { why } => write!(f, "it cannot store: {why}"),
            Self::Newer(newer) => write!(f, "{newer}"),
        }
    }
}
