//! Placement held against an oracle that knows nothing of how it is made: take a zone away and count.

use proptest::prelude::*;
use std::collections::BTreeMap;
use valkeeper_model::{ClusterSpec, Layout, Refusal, SlotSet, ZoneName, ZonePolicy};
use valkeeper_plan::controller::change;
use valkeeper_plan::lint;
use valkeeper_plan::placement::{Ids, Placing, found};

struct Counted(u32);

impl Ids for Counted {
    fn draw(&mut self) -> [u8; 20] {
        self.0 += 1;
        let mut id = [0; 20];
        id[..4].copy_from_slice(&self.0.to_be_bytes());
        id
    }
}

fn spec(shards: u32, replicas: u32, zones: ZonePolicy) -> ClusterSpec {
    let mut spec = ClusterSpec::new("c".parse().expect("a name"));
    (spec.shards, spec.replicas_per_shard, spec.zones) = (shards, replicas, zones);
    spec
}

fn zones(count: u32) -> Vec<ZoneName> {
    (0..count).map(|n| format!("z{n}").parse().expect("a name")).collect()
}

/// Whatever zone is lost: a majority of primaries is left, and a copy of each shard.
fn survives_any_zone(layout: &Layout, zones: &[ZoneName]) -> bool {
    zones.iter().all(|lost| {
        let left = |name| layout.instances.get(name).is_some_and(|instance| instance.zone != *lost);
        let primaries = layout.shards.values().filter(|shard| left(&shard.founder)).count();
        let mut copies: BTreeMap<_, usize> = BTreeMap::new();
        for instance in layout.instances.values().filter(|instance| instance.zone != *lost) {
            *copies.entry(&instance.shard).or_default() += 1;
        }
        primaries * 2 > layout.shards.len() && copies.len() == layout.shards.len()
    })
}

fn follow(layout: &Layout, spec: &ClusterSpec) -> Result<Layout, Refusal> {
    change::follow(layout, spec, None, &mut Placing { zones: &zones(3), ids: &mut Counted(1_000) })
}

proptest! {
    #[test]
    fn every_zone_may_be_lost_or_the_layout_is_refused(shards in 3u32..40, replicas in 1u32..4, count in 1u32..9) {
        let zones = zones(count);
        if let Ok(layout) = found(&spec(shards, replicas, ZonePolicy::Required), &zones, &mut Counted(0)) {
                prop_assert!(survives_any_zone(&layout, &zones));
                prop_assert_eq!(lint::layout(&layout), vec![]);
                prop_assert_eq!(u32::try_from(layout.instances.len()), Ok(shards * (1 + replicas)));
                let owned: u32 = layout.shards.values().map(|shard| u32::from(shard.slots.len())).sum();
                prop_assert_eq!(owned, 16384);
                let union = layout.shards.values().fold(SlotSet::empty(), |all, shard| all.union(&shard.slots));
                prop_assert_eq!(union, SlotSet::all());
        } else {
            // Refused only if no placement at all could do it: some zone must hold the share of a fair split.
                let fullest = shards.div_ceil(count);
                prop_assert!(count < 2 || (shards - fullest) * 2 <= shards);
        }
    }

    #[test]
    fn best_effort_is_never_refused(shards in 3u32..40, replicas in 0u32..4, count in 1u32..9) {
        let layout = found(&spec(shards, replicas, ZonePolicy::BestEffort), &zones(count), &mut Counted(0)).unwrap();
        prop_assert_eq!(lint::layout(&layout), vec![]);
    }

    #[test]
    fn following_the_same_spec_changes_nothing(shards in 3u32..10, replicas in 0u32..3, timeout in 500u64..60_000) {
        let mut spec = spec(shards, replicas, ZonePolicy::BestEffort);
        let layout = found(&spec, &zones(3), &mut Counted(0)).unwrap();
        prop_assert_eq!(&follow(&layout, &spec).unwrap(), &layout);
        spec.node_timeout_ms = timeout;
        let next = follow(&layout, &spec).unwrap();
        prop_assert_eq!(&follow(&next, &spec).unwrap(), &next);
        prop_assert_eq!(next != layout, timeout != layout.config.node_timeout_ms);
        // What a spec does not say is not touched (law 5).
        prop_assert_eq!(next.instances, layout.instances);
        prop_assert_eq!(next.shards, layout.shards);
    }
}

#[test]
fn shards_cannot_change_yet_and_replicas_not_before_the_cluster_is_founded() {
    let layout = found(&spec(3, 1, ZonePolicy::Required), &zones(3), &mut Counted(0)).unwrap();
    assert!(follow(&layout, &spec(4, 1, ZonePolicy::Required)).is_err());
    assert!(follow(&layout, &spec(3, 2, ZonePolicy::Required)).is_err());
    assert!(follow(&layout.founded(), &spec(3, 2, ZonePolicy::Required)).is_ok());
}
