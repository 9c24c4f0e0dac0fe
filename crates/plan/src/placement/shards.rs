//! Another number of shards: new ones are laid out whole, with their replicas and without slots, and those that are too many give theirs away.
//!
//! What follows stands in the lives of shards and instances: a shard whose instances have all joined gets its even share of the slots, and one that
//! leaves and has none left is stopped (`operations::spread`).

use super::Placing;
use super::resize::{add_instance, next_number, refuse_too_few_zones, usable};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use valkeeper_model::{
    Fences, Impossible, Instance, InstanceLife, InstanceMoves, InstanceName, Layout, MoveCause, NewerFields,
    NodeId, Operation, OperationName, Report, ResizeOperation, Shard, ShardId, ShardLife, ShardName,
    SlotMoveStage, SlotSet, ZoneName,
};

/// The operation that brings the number of shards about.
pub fn operation_name() -> OperationName {
    OperationName::only("shards")
}

/// Is another number of shards being brought about?
pub fn is_under_way(layout: &Layout) -> bool {
    layout.operations.contains_key(&operation_name())
}

/// What the layout becomes if it is to have so many shards. Moves of slots that are under way end where they are: what is still to move is found anew
/// once they have ended.
pub fn with_shards(
    layout: &Layout,
    wanted: u32,
    report: Option<&Report>,
    placing: &mut Placing<'_>,
) -> Result<Layout, Impossible> {
    let mut next = layout.clone();
    let wanted = usize::try_from(wanted).unwrap_or(usize::MAX);
    while staying(&next).count() > wanted {
        let Some(last) = last_to_come(&next) else { break };
        set_life(&mut next, &last, ShardLife::Leaving);
    }
    while staying(&next).count() < wanted {
        match may_stay(&next) {
            Some(back) => set_life(&mut next, &back, ShardLife::Member),
            None => add_shard(&mut next, report, placing)?,
        }
    }
    if next.shards == layout.shards {
        return Ok(next);
    }
    refuse_too_few_zones(&next, placing.zones)?;
    for operation in next.operations.values_mut() {
        if let Operation::MoveSlots(slot_move) = operation {
            slot_move.checkpoint.stage = SlotMoveStage::Ending;
        }
    }
    note(&mut next, wanted);
    Ok(next)
}

fn staying(layout: &Layout) -> impl Iterator<Item = (&ShardName, &Shard)> {
    layout.shards.iter().filter(|(_, shard)| shard.life != ShardLife::Leaving)
}

fn set_life(layout: &mut Layout, shard: &ShardName, life: ShardLife) {
    if let Some(shard) = Arc::make_mut(&mut layout.shards).get_mut(shard) {
        shard.life = life;
    }
}

/// The shard that came last goes first: one that has no slots yet before one that serves.
fn last_to_come(layout: &Layout) -> Option<ShardName> {
    let last = staying(layout).max_by_key(|(name, shard)| (shard.life == ShardLife::Founding, number(name)));
    last.map(|(name, _)| name.clone())
}

/// A shard that is to leave and of which no instance has been told to: the one with the most slots.
fn may_stay(layout: &Layout) -> Option<ShardName> {
    let whole = |name: &ShardName| layout.instances_of(name).all(|(_, one)| one.life == InstanceLife::Member);
    let leaving =
        layout.shards.iter().filter(|(name, shard)| shard.life == ShardLife::Leaving && whole(name));
    leaving.max_by_key(|(_, shard)| shard.slots.len()).map(|(name, _)| name.clone())
}

/// Its name was never used before: a volume of a shard that has left may come back.
fn add_shard(
    next: &mut Layout,
    report: Option<&Report>,
    placing: &mut Placing<'_>,
) -> Result<(), Impossible> {
    let used = next.shards.keys().chain(next.retired.values().map(|gone| &gone.shard));
    let name = ShardName::nth(used.filter_map(number).max().map_or(0, |last| last.saturating_add(1)));
    let zone = zone_of_primary(next, report, placing.zones)?;
    let founder = InstanceName::nth(&next.cluster, next_number(next));
    let shard = Shard {
        id: ShardId::from_bytes(placing.ids.draw()),
        slots: SlotSet::empty(),
        gave: SlotSet::empty(),
        founder: founder.clone(),
        life: ShardLife::Founding,
        newer: NewerFields::default(),
    };
    Arc::make_mut(&mut next.shards).insert(name.clone(), shard);
    let primary = Instance {
        shard: name.clone(),
        zone,
        node_id: NodeId::from_bytes(placing.ids.draw()),
        fences: Fences::default(),
        life: InstanceLife::Joining,
        newer: NewerFields::default(),
    };
    Arc::make_mut(&mut next.instances).insert(founder, primary);
    for _ in 0..next.replicas_per_shard {
        add_instance(next, &name, None, report, placing)?;
    }
    Ok(())
}

/// The zone with the fewest primaries, of those with the fewest instances.
fn zone_of_primary(
    layout: &Layout,
    report: Option<&Report>,
    zones: &[ZoneName],
) -> Result<ZoneName, Impossible> {
    let mut primaries: BTreeMap<&ZoneName, usize> = BTreeMap::new();
    for (name, shard) in staying(layout) {
        let seen = report.and_then(|report| report.shards.iter().find(|one| one.name == *name));
        let primary = seen.and_then(|seen| seen.primary.as_ref()).unwrap_or(&shard.founder);
        if let Some(one) = layout.instances.get(primary) {
            *primaries.entry(&one.zone).or_default() += 1;
        }
    }
    let inside = |zone: &ZoneName| layout.instances.values().filter(|one| one.zone == *zone).count();
    let usable = usable(layout, zones);
    let rank = |zone: &&&ZoneName| (primaries.get(**zone).copied().unwrap_or_default(), inside(zone));
    let best = usable.iter().min_by_key(rank).map(|zone| (*zone).clone());
    best.ok_or(Impossible::TooFewZones { given: 0, needed: 1, cordoned: (*layout.cordoned).clone() })
}

fn number(name: &ShardName) -> Option<u32> {
    name.as_str().strip_prefix('s')?.parse().ok()
}

/// Notes who comes and goes for it, for those who look on.
fn note(next: &mut Layout, wanted: usize) {
    let of_shards = |life: ShardLife, layout: &Layout| -> BTreeSet<InstanceName> {
        let shards: BTreeSet<&ShardName> =
            layout.shards.iter().filter(|(_, shard)| shard.life == life).map(|(name, _)| name).collect();
        layout
            .instances
            .iter()
            .filter(|(_, one)| shards.contains(&one.shard))
            .map(|(name, _)| name.clone())
            .collect()
    };
    let cause = MoveCause::Shards { wanted: u32::try_from(wanted).unwrap_or(u32::MAX) };
    let (joining, leaving) = (of_shards(ShardLife::Founding, next), of_shards(ShardLife::Leaving, next));
    let moves = InstanceMoves { cause, joining, leaving, newer: NewerFields::default() };
    next.operations.insert(operation_name(), Operation::Resize(ResizeOperation::Move(moves)));
}
