//! Instances that come to a cluster that serves, and that are to go from it.
//!
//! [`add_instance`] lays one out that joins a shard; [`retire`] says of one that it is to leave. What follows on either stands in the instance's life: it
//! is built, or stopped once the shard has what it is to have without it (`operations::leave`).

use super::Ids;
use crate::placement::zones::zones_needed;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use valkeeper_model::{
    ClusterName, Fences, Impossible, Instance, InstanceLife, InstanceMoves, InstanceName, InstanceReport,
    Layout, MoveCause, NewerFields, NodeId, Operation, OperationName, Report, ResizeOperation, Role, Shard,
    ShardLife, ShardName, ZoneName, ZonePolicy,
};

/// What new instances are made of: the zones that there are, and ids.
pub struct Placing<'a> {
    /// The zones.
    pub zones: &'a [ZoneName],
    /// For node ids.
    pub ids: &'a mut dyn Ids,
}

/// Lays out another instance of that shard, which joins it. Its zone is not the primary's, and not a cordoned one; of those left it is the one with the fewest
/// instances of the shard, then with the fewest of all, then the first. It is `near` if that may be chosen. Its name was never used before.
///
/// `report` tells where the primary is; without it that is where the shard's founder is.
pub fn add_instance(
    layout: &mut Layout,
    shard: &ShardName,
    near: Option<&ZoneName>,
    report: Option<&Report>,
    placing: &mut Placing<'_>,
) -> Result<InstanceName, Impossible> {
    let zone = zone_for(layout, shard, near, report, placing.zones)?;
    let name = InstanceName::nth(&layout.cluster, next_number(layout));
    let instance = Instance {
        shard: shard.clone(),
        zone,
        node_id: NodeId::from_bytes(placing.ids.draw()),
        fences: Fences::default(),
        life: InstanceLife::Joining,
        newer: NewerFields::default(),
    };
    Arc::make_mut(&mut layout.instances).insert(name.clone(), instance);
    Ok(name)
}

/// Says of that instance that it is to leave. It hands over first if it is the primary, is stopped when its shard has what it is to have without it, is
/// forgotten by all servers, and its data is kept. One that leaves already goes on.
pub fn retire(layout: &mut Layout, instance: &InstanceName) {
    if let Some(one) = Arc::make_mut(&mut layout.instances).get_mut(instance)
        && !one.life.leaves()
    {
        one.life = InstanceLife::Leaving;
    }
}

/// What the layout becomes if shards are to have so many replicas: those that are too many leave, and what is missing joins. One that was to leave and is
/// still in sync stays, unless its zone is cordoned or it is replaced.
pub fn with_replicas(
    layout: &Layout,
    replicas: u32,
    report: Option<&Report>,
    placing: &mut Placing<'_>,
) -> Result<Layout, Impossible> {
    let mut next = Layout { replicas_per_shard: replicas, ..layout.clone() };
    let wanted = usize::try_from(replicas).unwrap_or(usize::MAX).saturating_add(1);
    let mut moved = false;
    let live = |shard: &Shard| shard.life != ShardLife::Leaving;
    for name in layout.shards.iter().filter(|(_, shard)| live(shard)).map(|(name, _)| name) {
        let surplus = worst(&next, name, wanted, report);
        moved |= !surplus.is_empty();
        for instance in &surplus {
            retire(&mut next, instance);
        }
        while staying(&next, name).count() < wanted {
            moved = true;
            if let Some(back) = may_stay(&next, name, report) {
                if let Some(one) = Arc::make_mut(&mut next.instances).get_mut(&back) {
                    one.life = InstanceLife::Member;
                }
            } else {
                add_instance(&mut next, name, None, report, placing)?;
            }
        }
    }
    if moved {
        note_moves(
            &mut next,
            layout,
            OperationName::only("replicas"),
            MoveCause::Replicas { wanted: replicas },
        );
    }
    Ok(next)
}

/// A new instance in the place of that one, in the same zone unless no instance may be placed there. For one that leaves already nobody else comes:
/// only the cause is noted.
pub fn replace(
    layout: &Layout,
    instance: &InstanceName,
    cause: MoveCause,
    report: Option<&Report>,
    placing: &mut Placing<'_>,
) -> Result<Layout, Impossible> {
    let mut next = layout.clone();
    replace_in(&mut next, instance, report, placing)?;
    note_moves(&mut next, layout, OperationName::of_instance("replace", instance), cause);
    Ok(next)
}

fn replace_in(
    next: &mut Layout,
    instance: &InstanceName,
    report: Option<&Report>,
    placing: &mut Placing<'_>,
) -> Result<(), Impossible> {
    let Some(one) = next.instances.get(instance).cloned() else { return Ok(()) };
    if !one.life.stays() {
        return Ok(());
    }
    retire(next, instance);
    add_instance(next, &one.shard, Some(&one.zone), report, placing)?;
    Ok(())
}

/// The layout in which nothing is placed in that zone.
pub fn cordon(layout: &Layout, zone: &ZoneName) -> Layout {
    let mut next = layout.clone();
    Arc::make_mut(&mut next.cordoned).insert(zone.clone());
    next
}

/// The layout in which instances may be placed in that zone again. What moves away from there goes on moving.
pub fn uncordon(layout: &Layout, zone: &ZoneName) -> Layout {
    let mut next = layout.clone();
    if next.cordoned.contains(zone) {
        Arc::make_mut(&mut next.cordoned).remove(zone);
    }
    next
}

/// All instances of that zone move to others.
pub fn drain(
    layout: &Layout,
    zone: &ZoneName,
    report: Option<&Report>,
    placing: &mut Placing<'_>,
) -> Result<Layout, Impossible> {
    // To let instances be placed there again is no way to drain it.
    drained(layout, zone, report, placing).map_err(|impossible| impossible.but_for(zone))
}

fn drained(
    layout: &Layout,
    zone: &ZoneName,
    report: Option<&Report>,
    placing: &mut Placing<'_>,
) -> Result<Layout, Impossible> {
    let mut next = cordon(layout, zone);
    refuse_too_few_zones(&next, placing.zones)?;
    let inside = layout.instances.iter().filter(|(_, one)| one.zone == *zone && one.life.stays());
    for name in inside.map(|(name, _)| name) {
        replace_in(&mut next, name, report, placing)?;
    }
    note_moves(
        &mut next,
        layout,
        OperationName::of_zone("drain", zone),
        MoveCause::Drain { zone: zone.clone() },
    );
    Ok(next)
}

/// With the zones that are left, could the primaries be placed so that each zone may be lost?
pub(super) fn refuse_too_few_zones(layout: &Layout, zones: &[ZoneName]) -> Result<(), Impossible> {
    if layout.zones != ZonePolicy::Required {
        return Ok(());
    }
    let left = usable(layout, zones);
    let needed = zones_needed(layout.replicas_per_shard);
    let cordoned = || (*layout.cordoned).clone();
    if left.len() < needed {
        return Err(Impossible::TooFewZones { given: left.len(), needed, cordoned: cordoned() });
    }
    let voters = layout.shards.values().filter(|shard| shard.life != ShardLife::Leaving).count();
    let fullest = voters.div_ceil(left.len().max(1));
    let mut spread = (0..voters).map(|n| left.get(n % left.len().max(1)).copied());
    let rules = crate::mode::rules(layout.config.mode);
    if rules.zone_with_majority(&mut spread).is_some() {
        let shards = u32::try_from(voters).unwrap_or(u32::MAX);
        let worst = u32::try_from(fullest).unwrap_or(u32::MAX);
        return Err(Impossible::MajorityInOneZone { zones: left.len(), shards, worst, cordoned: cordoned() });
    }
    Ok(())
}

pub(super) fn usable<'z>(layout: &Layout, zones: &'z [ZoneName]) -> Vec<&'z ZoneName> {
    zones.iter().filter(|zone| !layout.cordoned.contains(*zone)).collect()
}

/// The zones that instances of a cluster may be placed in, of those that are given: all of them, if its instances are in no others. Who looks after it
/// may have been started with other zones, or with none: then those of its instances.
pub fn zones_of(layout: &Layout, given: &[ZoneName]) -> Vec<ZoneName> {
    let used: BTreeSet<&ZoneName> = layout.instances.values().map(|one| &one.zone).collect();
    if used.iter().all(|zone| given.contains(zone)) {
        return given.to_vec();
    }
    used.into_iter().cloned().collect()
}

fn staying<'l>(
    layout: &'l Layout,
    shard: &'l ShardName,
) -> impl Iterator<Item = (&'l InstanceName, &'l Instance)> {
    layout.instances_of(shard).filter(|(_, one)| one.life.stays())
}

fn zone_for(
    layout: &Layout,
    shard: &ShardName,
    near: Option<&ZoneName>,
    report: Option<&Report>,
    zones: &[ZoneName],
) -> Result<ZoneName, Impossible> {
    let home = home_of(layout, shard, report);
    let usable = usable(layout, zones);
    let elsewhere: Vec<&ZoneName> =
        usable.iter().copied().filter(|zone| Some(*zone) != home.as_ref()).collect();
    let candidates = if elsewhere.is_empty() { &usable } else { &elsewhere };
    if let Some(near) = near.filter(|near| candidates.contains(near)) {
        return Ok(near.clone());
    }
    let needed = zones_needed(layout.replicas_per_shard);
    let too_few = || Impossible::TooFewZones {
        given: usable.len(),
        needed: needed.max(1),
        cordoned: (*layout.cordoned).clone(),
    };
    if elsewhere.is_empty() && layout.zones == ZonePolicy::Required && home.is_some() {
        return Err(too_few());
    }
    let own = |zone: &ZoneName| staying(layout, shard).filter(|(_, one)| one.zone == *zone).count();
    let all = |zone: &ZoneName| {
        layout.instances.values().filter(|one| one.life.stays() && one.zone == *zone).count()
    };
    let best = candidates.iter().min_by_key(|zone| (own(zone), all(zone)));
    best.map(|zone| (*zone).clone()).ok_or_else(too_few)
}

/// The zone of the shard's primary, unless that one is to leave.
fn home_of(layout: &Layout, shard: &ShardName, report: Option<&Report>) -> Option<ZoneName> {
    let seen = || report?.shards.iter().find(|one| one.name == *shard)?.primary.clone();
    let primary = seen().or_else(|| Some(layout.shards.get(shard)?.founder.clone()))?;
    let one = layout.instances.get(&primary).filter(|one| one.life.stays())?;
    Some(one.zone.clone())
}

/// One more than any number that was given.
pub(super) fn next_number(layout: &Layout) -> u32 {
    let given = layout.instances.keys().chain(layout.retired.keys());
    let numbers = given.filter_map(|name| number(&layout.cluster, name));
    numbers.max().map_or(0, |last| last.saturating_add(1))
}

fn number(cluster: &ClusterName, name: &InstanceName) -> Option<u32> {
    name.as_str().strip_prefix(cluster.as_str())?.strip_prefix('-')?.parse().ok()
}

/// Those of a shard that are too many: first who is not in sync, then who shares a zone with most of the others, then the newest. Never the primary
/// while another is left.
fn worst(layout: &Layout, shard: &ShardName, wanted: usize, report: Option<&Report>) -> Vec<InstanceName> {
    let mut left: BTreeMap<&InstanceName, &Instance> = staying(layout, shard).collect();
    let seen = report.and_then(|report| report.shards.iter().find(|one| one.name == *shard));
    let primary = seen.and_then(|seen| seen.primary.as_ref());
    let primary = primary.or_else(|| layout.shards.get(shard).map(|shard| &shard.founder));
    let home = primary.and_then(|name| layout.instances.get(name)).map(|one| &one.zone);
    let mut surplus = Vec::new();
    while left.len() > wanted {
        let rank = |(name, one): (&&InstanceName, &&Instance)| {
            let crowd = left.values().filter(|other| other.zone == one.zone).count();
            (
                Some(*name) != primary,
                one.life == InstanceLife::Joining,
                report.is_some() && !is_in_sync(report, name),
                layout.cordoned.contains(&one.zone),
                Some(&one.zone) == home,
                crowd,
                number(&layout.cluster, name),
            )
        };
        let Some(worst) = left.iter().max_by_key(|one| rank(*one)).map(|(name, _)| (*name).clone()) else {
            break;
        };
        left.remove(&worst);
        surplus.push(worst);
    }
    surplus
}

/// One that was to leave and may stay as well: it is told to stop by nobody yet, is in sync, and nobody wanted that very one to go.
fn may_stay(layout: &Layout, shard: &ShardName, report: Option<&Report>) -> Option<InstanceName> {
    let replaced: BTreeSet<&InstanceName> = layout
        .operations
        .values()
        .filter_map(Operation::moves)
        .filter_map(|moves| match &moves.cause {
            MoveCause::Replace { instance, .. } => Some(instance),
            MoveCause::Replicas { .. } | MoveCause::Drain { .. } | MoveCause::Shards { .. } => None,
        })
        .collect();
    let mut leaving = layout.instances_of(shard).filter(|(name, one)| {
        one.life == InstanceLife::Leaving
            && !layout.cordoned.contains(&one.zone)
            && !replaced.contains(name)
            && is_in_sync(report, name)
    });
    leaving.next().map(|(name, _)| name.clone())
}

/// A primary, or a replica of which it is known how far it is behind: it is in sync.
fn is_in_sync(report: Option<&Report>, name: &InstanceName) -> bool {
    let sound = |one: &InstanceReport| one.role == Some(Role::Primary) || one.lag_bytes.is_some();
    report.is_some_and(|report| report.instances.iter().any(|one| one.name == *name && sound(one)))
}

/// Notes in the layout which instances come and go by that change, for those who look on.
fn note_moves(next: &mut Layout, before: &Layout, name: OperationName, cause: MoveCause) {
    let earlier = next.operations.get(&name).and_then(Operation::moves);
    let mut joining: BTreeSet<InstanceName> =
        next.instances.keys().filter(|name| !before.instances.contains_key(*name)).cloned().collect();
    let changed = |(name, one): &(&InstanceName, &Instance)| {
        one.life.leaves() && before.instances.get(*name).is_some_and(|before| before.life.stays())
    };
    let mut leaving: BTreeSet<InstanceName> =
        next.instances.iter().filter(changed).map(|(name, _)| name.clone()).collect();
    if let Some(earlier) = earlier {
        joining.extend(earlier.joining.iter().cloned());
        leaving.extend(earlier.leaving.iter().cloned());
        joining.retain(|name| next.instances.get(name).is_some_and(|one| one.life == InstanceLife::Joining));
        leaving.retain(|name| next.instances.get(name).is_some_and(|one| one.life.leaves()));
    }
    // It may have left before, for another reason: what is known of its host now is noted for it all the same.
    if let Some(gone) = cause.gone_for_good()
        && next.instances.get(gone).is_some_and(|one| one.life.leaves())
    {
        leaving.insert(gone.clone());
    }
    let moves = InstanceMoves { cause, joining, leaving, newer: NewerFields::default() };
    next.operations.insert(name, Operation::Resize(ResizeOperation::Move(moves)));
}
