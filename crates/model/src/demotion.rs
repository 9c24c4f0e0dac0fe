//! A cluster with data of its own goes over to following another: what may be replaced by the source's data, and what would be lost.

use crate::{InstanceName, Offset, Position, ReplicationId};
use serde::{Deserialize, Serialize};
use std::fmt;

/// What of its own data a cluster that goes over to following gives up. It holds until all members are in sync with the source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Demotion {
    /// Nothing: it holds no keys.
    Empty,
    /// What the source has too, by the token of its promotion.
    Covered {
        /// It has everything up to here.
        up_to: Position,
        /// The history in which it is, or which it has just come from.
        source_history: ReplicationId,
    },
    /// Everything: a person has accepted the loss.
    LossAccepted,
    /// Nothing: the source is a copy of this cluster that is about to be promoted (`switch-region`), and writes are held until it is.
    Handover,
}

/// Has a person accepted that data is lost?
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum DataLoss {
    /// No.
    #[default]
    Refused,
    /// Yes, whatever it is.
    Accepted,
    /// Of data in that history: a manifest that is applied again and again accepts no later loss.
    AcceptedOf(ReplicationId),
}

impl DataLoss {
    /// Is the loss of data in that history accepted? `None` where nobody knows in which history it is.
    pub fn accepts(self, history: Option<ReplicationId>) -> bool {
        match self {
            Self::Refused => false,
            Self::Accepted => true,
            Self::AcceptedOf(accepted) => history == Some(accepted),
        }
    }

    pub(crate) fn is_refused(&self) -> bool {
        *self == Self::Refused
    }
}

/// What keeps a primary from being demoted for the source.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(tag = "hold", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum DemotionHold {
    /// The source is not in the history that the token names.
    OtherSource {
        /// The history of the source.
        history: ReplicationId,
    },
    /// The server has taken writes that the source does not have.
    WrittenSince {
        /// So many bytes of its stream; `None` where that cannot be told.
        bytes: Option<u64>,
    },
    /// Writes are held, and the source is not promoted yet.
    AwaitsPromotion {
        /// Nothing was written after this.
        at: Offset,
    },
    /// The source was not promoted in time: the server takes writes again.
    NotPromotedInTime,
}

impl fmt::Display for DemotionHold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OtherSource { history } => write!(
                f,
                "the source is in the history {history}, which replicaMode.token does not name: another server, or one that has failed \
                 over since; take its token anew"
            ),
            Self::AwaitsPromotion { at } => {
                write!(f, "it holds writes back at offset {} until the source is promoted", at.0)
            }
            Self::NotPromotedInTime => f.write_str(
                "the source was not promoted in time, and it takes writes again; `switch-region` once more, or `switch-region --cancel`",
            ),
            Self::WrittenSince { bytes } => {
                write!(f, "it has taken writes that the source does not have{}", in_bytes(*bytes))
            }
        }
    }
}

fn in_bytes(bytes: Option<u64>) -> String {
    bytes.map_or_else(String::new, |bytes| format!(" ({bytes} bytes of its stream)"))
}

/// The data that an instance holds in memory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HeldData {
    /// Number of keys.
    pub keys: u64,
    /// Memory in use, bytes.
    pub memory_bytes: u64,
    /// Where its stream is.
    pub position: Position,
    /// Its data has not changed after this offset; a stream goes on without writes too (`PING`). `None` where that is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_write: Option<Offset>,
    /// The histories that its data went through before the present one, as far as they are known.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub former_histories: Vec<ReplicationId>,
}

/// What following a source would replace.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ReplacedData {
    /// The history in which it is; `None` if that was not seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub history: Option<ReplicationId>,
    /// What each instance holds; those that were not seen are left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub copies: Vec<ReplacedCopy>,
}

/// One instance's part of it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ReplacedCopy {
    /// Which.
    pub instance: InstanceName,
    /// Number of keys.
    pub keys: u64,
    /// Memory in use, bytes.
    pub memory_bytes: u64,
}

impl fmt::Display for ReplacedData {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.copies.is_empty() {
            return f.write_str("what its servers hold was not seen");
        }
        for (index, ReplacedCopy { instance, keys, memory_bytes }) in self.copies.iter().enumerate() {
            let separator = if index > 0 { ", " } else { "" };
            write!(f, "{separator}{instance} {keys} keys in {memory_bytes} bytes of memory")?;
        }
        Ok(())
    }
}

/// What a cluster would go through that goes over to following: told before anything happens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DemotionForecast {
    /// How the primary gets the source's data.
    pub resync: Resync,
    /// What is lost.
    pub lost: Lost,
}

/// How a former primary gets the source's data.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Resync {
    /// It goes on from that offset, if the source's backlog still reaches back to it.
    Partial {
        /// Its own offset.
        from: Offset,
    },
    /// A full copy: its stream has gone on by so many bytes after the promotion, and the engine goes back by none.
    FullBeyond {
        /// So many.
        bytes: u64,
    },
    /// A full copy: nothing tells that the source's history goes on where it is.
    Full,
}

/// What is lost when a cluster goes over to following.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Lost {
    /// No write.
    Nothing,
    /// What was written after the point that the token names.
    After {
        /// The point.
        offset: Offset,
        /// So many bytes of the stream; `None` where that cannot be told.
        bytes: Option<u64>,
    },
    /// All that the cluster holds and the source does not.
    All(ReplacedData),
}

impl fmt::Display for DemotionForecast {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.resync {
            Resync::Partial { from } => write!(
                f,
                "partial resynchronisation from offset {} on, if the source's backlog reaches back to it, else a full copy",
                from.0
            ),
            Resync::FullBeyond { bytes } => write!(
                f,
                "full copy: the stream here went on by {bytes} bytes after the promotion (PING every 10 s counts)"
            ),
            Resync::Full => f.write_str("full copy"),
        }?;
        match &self.lost {
            Lost::Nothing => f.write_str("; no write is lost"),
            Lost::After { offset, bytes } => write!(
                f,
                "; lost is what was written after offset {}{}",
                offset.0,
                bytes.map_or_else(|| ", which cannot be told".to_owned(), |_| in_bytes(*bytes))
            ),
            Lost::All(data) => write!(f, "; lost is what the source does not have of: {data}"),
        }
    }
}
