//! Why a cluster does not go over to following another.

use crate::{CalledAs, Offset, ReplacedData, TokenFault};
use serde::{Deserialize, Serialize};

/// Why a cluster with data of its own does not go over to following another just so.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, thiserror::Error)]
#[serde(tag = "refusal", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum ReplicaModeRefusal {
    /// Its data would be replaced by the source's.
    #[error("the cluster has data of its own, which following {source_name} would replace: {data}")]
    WouldReplaceData {
        /// The source's name.
        source_name: String,
        /// What would be lost.
        #[serde(default)]
        data: ReplacedData,
    },
    /// A cluster that was promoted does not follow again just so.
    #[error(
        "the cluster was promoted and takes writes; following {source_name} again would drop them: {data}"
    )]
    PromotedAlready {
        /// The source's name.
        source_name: String,
        /// What would be lost.
        #[serde(default)]
        data: ReplacedData,
    },
    /// The token cannot be used.
    #[error("spec.replicaMode.token {why}")]
    TokenRefused {
        /// Why not.
        why: TokenFault,
    },
    /// The token does not cover all that was written.
    #[error(
        "{source_name} was promoted at offset {} of this cluster's history, and does not have what was written here after that{}: {data}",
        .after.0, beyond(*.bytes)
    )]
    WrittenSincePromotion {
        /// The source's name.
        source_name: String,
        /// The place of its promotion in the history that both had.
        after: Offset,
        /// So many bytes of the stream were written after that; `None` if the server was started anew since, so that nobody knows.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        bytes: Option<u64>,
        /// What the cluster holds.
        #[serde(default)]
        data: ReplacedData,
    },
    /// The token was given, and nobody sees what it is to cover.
    #[error(
        "not all servers of the cluster are seen, so that it is not known what spec.replicaMode.token covers"
    )]
    DataNotSeen,
}

fn beyond(bytes: Option<u64>) -> String {
    bytes.map_or_else(
        || {
            " (its primary has begun another history since, so that nobody can tell how much that is)"
                .to_owned()
        },
        |bytes| format!(" ({bytes} bytes of its stream)"),
    )
}

impl ReplicaModeRefusal {
    /// What to do about it.
    pub fn hint(&self, called: CalledAs) -> String {
        match self {
            Self::TokenRefused { why } => why.hint().to_owned(),
            Self::DataNotSeen => {
                format!(
                    "start the cluster with the manifest that it had, and `{called} apply` this one when it is healthy"
                )
            }
            Self::PromotedAlready { data, .. } => format!(
                "leave `promote: true` there, or remove spec.replicaMode; once the source was promoted itself, spec.replicaMode.token takes \
                 the token that its `status -o json` shows; {}",
                accepting(data)
            ),
            Self::WouldReplaceData { data, .. } => format!(
                "if the source is a copy of this cluster that was promoted, spec.replicaMode.token takes the token that its `status -o json` \
                 shows; {}",
                accepting(data)
            ),
            Self::WrittenSincePromotion { data, .. } => accepting(data),
        }
    }
}

fn accepting(data: &ReplacedData) -> String {
    let annotation = data.history.map_or_else(
        || "redis.io/accept-data-loss with `master_replid` of its primary's INFO".to_owned(),
        |history| format!("redis.io/accept-data-loss: \"{history}\""),
    );
    format!(
        "to give that data up: `--accept-data-loss` with `apply` or `up`, or the annotation {annotation} in the manifest"
    )
}
