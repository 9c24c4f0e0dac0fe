//! Law 7: no zone holds a majority of the primaries, and no primary shares its zone with its replica.

use super::disruption::may_disturb;
use super::{Barred, Step, may_take_role};
use crate::mode;
use crate::placement::zones::quorum;
use crate::view::cluster_view::{ClusterView, InstanceView, ShardView};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use valkeeper_model::{Activity, Link, Observed, Unseen, ZoneName, ZonePolicy};

/// How long a zone that holds too many primaries is borne while an instance is on its way up: mostly it comes back where it was.
const RETURN_MS: u64 = 10_000;

/// After failovers primaries may have gathered in one zone. Then hand over towards zones that can take one more: the shortest chain of handovers from the full zone to one with room, its last link first, so that no zone
/// gets fuller than it may be in between.
/// Whatever else is wrong: a handover needs a replica in sync, and a majority of the primaries that is left alone (law 6).
pub(super) fn next(cluster_view: &ClusterView<'_>, barred: &Barred) -> Option<Step> {
    let layout = cluster_view.layout;
    if layout.is_founding() || layout.zones != ZonePolicy::Required {
        return None;
    }
    // A roll hands over each shard: what is put right in between would be handed to and fro.
    if layout.roll().is_some() {
        return None;
    }
    let mut held: BTreeMap<&ZoneName, usize> = BTreeMap::new();
    for zone in cluster_view.primary_zones().flatten() {
        *held.entry(zone).or_default() += 1;
    }
    let rules = mode::rules(cluster_view.layout.config.mode);
    let Some((full, _)) = rules.zone_with_majority(&mut cluster_view.primary_zones()) else {
        return leave_shared_zone(cluster_view, barred);
    };
    let voters = cluster_view.voters().count();
    let room = voters.saturating_sub(quorum(voters));
    let mut reached = BTreeSet::from([full]);
    let mut queue = VecDeque::from([full]);
    while let Some(zone) = queue.pop_front() {
        for shard in cluster_view.shards.values().filter(|shard| !barred.chosen.contains(shard.name)) {
            let Some(primary) = shard.primary().filter(|primary| primary.instance.zone == *zone) else {
                continue;
            };
            let fit = |replica: &&InstanceView<'_>| may_take_role(cluster_view, &primary, replica);
            for to in shard.instances.iter().filter(fit) {
                let step = switch(cluster_view, shard, &primary, to);
                if barred.refused.contains(&step.key()) || may_disturb(cluster_view, shard).is_err() {
                    continue;
                }
                if !reached.insert(&to.instance.zone) {
                    continue;
                }
                if held.get(&to.instance.zone).is_none_or(|held| *held < room) {
                    return Some(step);
                }
                queue.push_back(&to.instance.zone);
            }
        }
    }
    None
}

fn switch(
    cluster_view: &ClusterView<'_>,
    shard: &ShardView<'_>,
    from: &InstanceView<'_>,
    to: &InstanceView<'_>,
) -> Step {
    let returning = cluster_view.shards.values().flat_map(|shard| &shard.instances).any(on_its_way);
    Step::SwitchForZones {
        shard: shard.name.clone(),
        from: from.name.clone(),
        to: to.name.clone(),
        patience_ms: if returning { RETURN_MS } else { 1_000 },
    }
}

/// Is this instance about to be what it should be, or to be gone, by itself?
fn on_its_way(instance: &InstanceView<'_>) -> bool {
    let Some(report) = instance.report else { return false };
    let loads = report.server == Observed::Unknown(Unseen::Loading);
    let syncs = matches!(report.link(), Some(Link::Syncing | Link::NeverUp));
    match report.activity {
        Activity::Starting => report.waiting.is_none(),
        Activity::Watching => loads || syncs,
        Activity::Resting => false,
        Activity::FailingOver
        | Activity::WithoutVotes { .. }
        | Activity::HandingOver
        | Activity::Newer(_)
        | Activity::Stopping => true,
    }
}

/// A primary that shares its zone with one of its replicas hands over to one that shares its own with nobody, if the
/// majority of primaries then still survives any zone.
fn leave_shared_zone(cluster_view: &ClusterView<'_>, barred: &Barred) -> Option<Step> {
    let rules = mode::rules(cluster_view.layout.config.mode);
    cluster_view.shards.values().filter(|shard| !barred.chosen.contains(shard.name)).find_map(|shard| {
        let primary = shard.primary()?;
        let alone = |one: &InstanceView<'_>| {
            shard
                .instances
                .iter()
                .all(|other| other.name == one.name || other.instance.zone != one.instance.zone)
        };
        if alone(&primary) {
            return None;
        }
        let to = shard.instances.iter().find(|replica| {
            let mut after = cluster_view.shards.values().map(|shard| {
                let other = shard.primary()?;
                Some(if other.name == primary.name { &replica.instance.zone } else { &other.instance.zone })
            });
            let refused = barred.refused.contains(&switch(cluster_view, shard, &primary, replica).key());
            let survives = rules.zone_with_majority(&mut after).is_none();
            alone(replica) && !refused && may_take_role(cluster_view, &primary, replica) && survives
        })?;
        may_disturb(cluster_view, shard).ok()?;
        Some(switch(cluster_view, shard, &primary, to))
    })
}
