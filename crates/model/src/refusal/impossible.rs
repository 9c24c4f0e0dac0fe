//! Why there is no layout for a spec.

use serde::{Deserialize, Serialize};

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
