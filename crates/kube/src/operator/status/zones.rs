//! What the loss of a zone would cost, whether the manifest accepts that or not, and zones that have no node left. Pure.

use std::collections::{BTreeMap, BTreeSet};
use valkeeper_model::{InstanceName, Report, ShardReport, Waiting, ZoneName};
use valkeeper_plan::mode;

/// Why a zone must not be lost: it holds the majority of primaries, or all copies of a shard.
pub(crate) fn at_risk(report: &Report) -> Vec<Waiting> {
    let zones: BTreeMap<&InstanceName, &ZoneName> =
        report.instances.iter().map(|one| (&one.name, &one.zone)).collect();
    let zone_of = |shard: &ShardReport| shard.primary.as_ref().and_then(|name| zones.get(name).copied());
    let mut primaries = report.shards.iter().map(zone_of);
    let holder = mode::rules(report.mode).zone_with_majority(&mut primaries);
    let majority = holder.map(|(zone, primaries)| Waiting::ZoneMajority {
        zone: zone.clone(),
        primaries,
        of: report.shards.len(),
    });
    let shared = report.shards.iter().filter_map(|shard| {
        let zone = zone_of(shard)?;
        let of_it = report.instances.iter().filter(|one| one.shard == shard.name);
        let copies = of_it.clone().count();
        let all_there = copies > 1 && of_it.into_iter().all(|one| one.zone == *zone);
        all_there.then(|| Waiting::ZoneShared { shard: shard.name.clone(), zone: zone.clone() })
    });
    shared.chain(majority).collect()
}

/// Zones of instances in which no node is any more.
pub(crate) fn without_nodes(report: &Report, zones: &BTreeSet<ZoneName>) -> Vec<Waiting> {
    let used: BTreeSet<&ZoneName> = report.instances.iter().map(|one| &one.zone).collect();
    let gone = used.into_iter().filter(|zone| !zones.contains(zone));
    gone.map(|zone| Waiting::ZoneWithoutNodes { zone: zone.clone() }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use valkeeper_model::{InstanceReport, Phase, ShardName, SlotSet};

    /// Three shards with a replica each; primaries and replicas in these zones.
    fn report(primaries: [&str; 3], replicas: [&str; 3]) -> Report {
        let name = |n: u32| InstanceName::nth(&"c".parse().unwrap(), n);
        let instance = |n: u32, zone: &str| InstanceReport {
            name: name(n),
            shard: ShardName::nth(n % 3),
            zone: zone.parse().unwrap(),
            role: None,
            address: None,
            pid: None,
            version: None,
            engine: None,
            lag_bytes: None,
            fenced: false,
            keys: None,
            memory_bytes: None,
            data: None,
        };
        let shard = |n: u32| ShardReport {
            name: ShardName::nth(n),
            slots: SlotSet::part(n, 3),
            primary: Some(name(n)),
            replicas: vec![name(n + 3)],
            needed_replicas: None,
        };
        Report {
            mode: valkeeper_model::Mode::Cluster,
            phase: Phase::Healthy,
            healthy: true,
            shards: (0..3).map(shard).collect(),
            instances: (0..)
                .zip(primaries.into_iter().chain(replicas))
                .map(|(n, zone)| instance(n, zone))
                .collect(),
            waiting: Vec::new(),
            sentinels: Vec::new(),
            replica_mode: None,
            progress: Vec::new(),
            cordoned_zones: std::collections::BTreeSet::new(),
        }
    }

    #[test]
    fn on_two_zones_one_of_them_must_not_be_lost() {
        let words = |report: &Report| at_risk(report).iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(words(&report(["a", "b", "c"], ["b", "c", "a"])), [""; 0]);
        let two = words(&report(["a", "b", "a"], ["b", "a", "b"]));
        assert_eq!(two, ["zone a holds 2 of 3 primaries: losing it would lose the majority"]);
        let shared = words(&report(["a", "b", "c"], ["a", "c", "a"]));
        assert_eq!(shared, ["s0: primary and replica share zone a"]);
    }

    #[test]
    fn a_zone_without_a_node_is_named() {
        let zones = |names: &[&str]| names.iter().map(|name| name.parse().unwrap()).collect();
        let report = report(["a", "b", "c"], ["b", "c", "a"]);
        assert_eq!(without_nodes(&report, &zones(&["a", "b", "c", "d"])), []);
        let gone = Waiting::ZoneWithoutNodes { zone: "c".parse().unwrap() };
        assert_eq!(without_nodes(&report, &zones(&["a", "b"])), [gone]);
    }
}
