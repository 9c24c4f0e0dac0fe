//! A layout that is gone is put together from the pieces that its volumes carry.
//!
//! A piece is written whenever its shard changes. So of two pieces that claim a slot the newer one is right: the shard that got the slot has been
//! written since. A volume of a shard that was removed still carries the last piece of that shard, with slots that others have got.

use super::Piece;
use std::collections::BTreeMap;
use std::sync::Arc;
use valkeeper_model::{
    ClusterId, ClusterSpec, Format, Instance, InstanceName, Layout, Ledger, NewerFields, RetiredInstance,
    ServerConfig, Shard, ShardLife, ShardName, SlotSet,
};

/// Why pieces make no layout.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NoLayout {
    #[error("the volumes are of two clusters of this name, {0} and {1}: remove those that are not wanted")]
    TwoClusters(ClusterId, ClusterId),
    #[error(
        "the layout is gone, and no volume that is left holds slots {0}: it cannot be rebuilt until a volume of their shard is back"
    )]
    SlotsLost(SlotSet),
}

/// The layout that these pieces are of, with the newest word on each slot; none if there are no pieces.
///
/// What was under way is forgotten. A shard that was giving its slots away is one like any other again, and one that owns none has left: the manifest
/// says how many there are to be.
pub(crate) fn rebuild(
    pieces: &[Piece],
    spec: &ClusterSpec,
    config: ServerConfig,
) -> Result<Option<Layout>, NoLayout> {
    let Some(first) = pieces.first() else { return Ok(None) };
    if let Some(other) = pieces.iter().find(|piece| piece.cluster != first.cluster) {
        return Err(NoLayout::TwoClusters(first.cluster, other.cluster));
    }
    let newest = newest(pieces);
    let shards = shards(&newest);
    let held = shards.values().fold(SlotSet::empty(), |all, shard| all.union(&shard.slots));
    if held != SlotSet::all() {
        // Founding them anew would hide the loss.
        return Err(NoLayout::SlotsLost(SlotSet::all().minus(&held)));
    }
    let (stays, left): (Vec<&Piece>, Vec<&Piece>) =
        newest.values().copied().partition(|piece| shards.contains_key(&piece.name));
    let instances: BTreeMap<_, _> = stays.iter().flat_map(|piece| piece.instances.clone()).collect();
    let removed = left.iter().flat_map(|piece| &piece.instances).map(retired);
    let retired = newest.values().flat_map(|piece| piece.retired.clone()).chain(removed).collect();
    let newest_of_all = pieces.iter().max_by_key(|piece| piece.generation).unwrap_or(first);
    let stays_in_shard = |one: &&Instance| !one.life.leaves();
    let copies = |piece: &&Piece| piece.instances.values().filter(stays_in_shard).count();
    let widest = stays.iter().map(copies).max().unwrap_or(1);
    let layout = Layout {
        format: Format,
        cluster: spec.name.clone(),
        id: first.cluster,
        generation: newest_of_all.generation.next(),
        revision: 0,
        ordered: None,
        zones: spec.zones,
        config,
        version: None,
        pod_template: None,
        pod_templates: BTreeMap::new(),
        pod_versions: BTreeMap::new(),
        given_up: None,
        replicas_per_shard: u32::try_from(widest.saturating_sub(1)).unwrap_or(u32::MAX),
        shards: Arc::new(shards),
        instances: Arc::new(instances),
        sentinels: None,
        replica_mode: newest_of_all.replica_mode.clone(),
        hibernation: None,
        retired: Arc::new(retired),
        cordoned: Arc::default(),
        operations: BTreeMap::new(),
        ledger: Ledger::new(),
        newer: NewerFields::default(),
    };
    Ok(Some(if pieces.iter().any(|piece| piece.formed) { layout.founded() } else { layout }))
}

/// The newest piece of each shard.
fn newest(pieces: &[Piece]) -> BTreeMap<&ShardName, &Piece> {
    let mut newest: BTreeMap<&ShardName, &Piece> = BTreeMap::new();
    for piece in pieces {
        let known = newest.entry(&piece.name).or_insert(piece);
        if piece.generation > known.generation {
            *known = piece;
        }
    }
    newest
}

/// The shards that own slots, each with those that no newer piece claims.
fn shards(newest: &BTreeMap<&ShardName, &Piece>) -> BTreeMap<ShardName, Shard> {
    let mut newest_first: Vec<&Piece> = newest.values().copied().collect();
    newest_first.sort_by_key(|piece| std::cmp::Reverse(piece.generation));
    let mut taken = SlotSet::empty();
    let mut shards = BTreeMap::new();
    for piece in newest_first {
        let mut shard = piece.shard.clone();
        shard.slots = shard.slots.minus(&taken);
        if shard.slots.is_empty() {
            continue;
        }
        taken = taken.union(&shard.slots);
        if shard.life == ShardLife::Leaving {
            shard.life = ShardLife::Member;
        }
        shards.insert(piece.name.clone(), shard);
    }
    shards
}

/// An instance of a shard that has left: its name is given to nobody else.
fn retired((name, instance): (&InstanceName, &Instance)) -> (InstanceName, RetiredInstance) {
    (name.clone(), RetiredInstance::of(instance))
}

#[cfg(test)]
mod tests;
