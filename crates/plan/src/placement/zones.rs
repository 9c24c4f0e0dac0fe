//! Law 7: no replica in its primary's zone, no zone whose loss loses the majority of primaries.

use std::collections::BTreeMap;
use valkeeper_model::ZoneName;

/// Zones needed so that every copy of a shard is in a zone of its own… of its primary's: two as soon as there is a replica.
/// Three at least are needed for the majority; [`majority_holder`] judges that.
pub fn zones_needed(replicas_per_shard: u32) -> usize {
    if replicas_per_shard == 0 { 1 } else { 2 }
}

/// The zone whose loss would lose the majority of slot-owning primaries, and how many of them it holds.
///
/// `primaries` are the zones of all slot-owning primaries; `None` for one that is not seen: it may be anywhere, and is one of them all
/// the same. Elections need `size / 2 + 1` votes of slot-owning primaries (Valkey cluster specification), so a zone may hold at most
/// `size - (size / 2 + 1)` of them.
pub fn majority_holder<'a>(
    primaries: impl Iterator<Item = Option<&'a ZoneName>>,
) -> Option<(&'a ZoneName, usize)> {
    let mut held: BTreeMap<&ZoneName, usize> = BTreeMap::new();
    let mut size = 0;
    for zone in primaries {
        size += 1;
        if let Some(zone) = zone {
            *held.entry(zone).or_default() += 1;
        }
    }
    let may_hold = size - quorum(size).min(size);
    held.into_iter().filter(|(_, count)| *count > may_hold).max_by_key(|(_, count)| *count)
}

/// Votes needed in a cluster of `size` slot-owning primaries.
pub fn quorum(size: usize) -> usize {
    size / 2 + 1
}
