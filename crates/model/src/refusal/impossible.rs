//! Why there is no layout for a spec.

use crate::{CalledAs, ZoneName};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// Why no layout can satisfy the spec (law 7).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, thiserror::Error)]
#[serde(tag = "impossible", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Impossible {
    /// Replicas need zones of their own.
    #[error(
        "{needed} zones are needed to keep replicas out of their primary's zone, {given} given{}",
        besides(.cordoned)
    )]
    TooFewZones {
        /// Given.
        given: usize,
        /// Needed.
        needed: usize,
        /// Besides these, in which nothing is placed by the user's wish.
        #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
        cordoned: BTreeSet<ZoneName>,
    },
    /// A zone's loss would lose the majority.
    #[error(
        "with {zones} zones, {shards} primaries cannot be placed so that every zone may be lost: one holds {worst}{}",
        besides(.cordoned)
    )]
    MajorityInOneZone {
        /// Zones.
        zones: usize,
        /// Shards.
        shards: u32,
        /// Primaries in the fullest zone.
        worst: u32,
        /// Besides these, in which nothing is placed by the user's wish.
        #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
        cordoned: BTreeSet<ZoneName>,
    },
}

fn named(zones: &BTreeSet<ZoneName>) -> String {
    zones.iter().map(ZoneName::as_str).collect::<Vec<_>>().join(", ")
}

fn besides(cordoned: &BTreeSet<ZoneName>) -> String {
    match cordoned.len() {
        0 => String::new(),
        1 => format!(" (and zone {} is cordoned)", named(cordoned)),
        _ => format!(" (and zones {} are cordoned)", named(cordoned)),
    }
}

impl Impossible {
    /// What to do about it.
    pub fn hint(&self, called: CalledAs) -> Option<String> {
        let more = "give more zones (locally `--zones a,b,c`, on Kubernetes the label `topology.kubernetes.io/zone` of nodes)";
        let (Self::TooFewZones { cordoned, .. } | Self::MajorityInOneZone { cordoned, .. }) = self;
        let back = cordoned
            .first()
            .map(|zone| format!("`{called} zone uncordon {zone}` lets instances be placed there again; or "));
        let more = format!("{}{more}", back.unwrap_or_default());
        Some(match self {
            // `besteffort` needs one as well.
            Self::TooFewZones { needed, .. } if *needed <= 1 => more,
            _ => format!("{more}, or accept the risk with `zones: besteffort`"),
        })
    }

    /// The same without that zone among the cordoned ones: it is this request itself that cordons it.
    #[must_use]
    pub fn but_for(mut self, zone: &ZoneName) -> Self {
        let (Self::TooFewZones { cordoned, .. } | Self::MajorityInOneZone { cordoned, .. }) = &mut self;
        cordoned.remove(zone);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cordoned_zones_are_named_and_the_way_back() {
        let zones = |names: &[&str]| names.iter().map(|zone| zone.parse().expect("a zone")).collect();
        let refused = |cordoned| Impossible::TooFewZones { given: 1, needed: 2, cordoned };
        let one = refused(zones(&["b"]));
        assert!(one.to_string().ends_with("1 given (and zone b is cordoned)"), "{one}");
        let two = refused(zones(&["b", "c"]));
        assert!(two.to_string().ends_with("(and zones b, c are cordoned)"), "{two}");
        let hint = one.hint(CalledAs::Valkeeper).expect("a hint");
        assert!(hint.starts_with("`valkeeper zone uncordon b`"), "{hint}");
        let none = two.but_for(&"b".parse().expect("a zone")).but_for(&"c".parse().expect("a zone"));
        assert!(!format!("{none} {:?}", none.hint(CalledAs::Valkeeper)).contains("cordon"), "{none}");
    }
}
