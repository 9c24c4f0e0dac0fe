//! Placement: shards, instances, zones. Pure, and minimal in what it guarantees: law 7.

pub mod by_weight;
pub mod rebalance;
pub mod resize;
pub mod shards;
pub mod zones;

pub use resize::Placing;

use crate::mode::{self, sentinel};
use crate::placement::zones::zones_needed;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use valkeeper_model::{
    ClusterId, ClusterSpec, Fences, Format, Generation, Impossible, Instance, InstanceLife, InstanceName,
    Layout, Ledger, NewerFields, NodeId, PodTemplate, ReplicaMode, ReplicaModeStage, ServerConfig, Shard,
    ShardId, ShardLife, ShardName, SlotSet, ZoneName, ZonePolicy,
};

/// Random bytes for ids, as data: the caller draws them.
pub trait Ids {
    /// Twenty bytes nobody has seen before.
    fn draw(&mut self) -> [u8; 20];
}

/// How servers are to be configured, taken from the spec.
pub fn server_config(spec: &ClusterSpec) -> ServerConfig {
    ServerConfig {
        mode: spec.mode,
        node_timeout_ms: spec.node_timeout_ms,
        unresponsive_after_ms: spec.unresponsive_after_ms,
        persistence: spec.persistence,
        max_memory: spec.max_memory.map(|memory| memory.bytes),
        max_memory_policy: spec.max_memory_policy,
        min_sync_replicas: spec.min_sync_replicas,
        max_sync_replicas: spec.max_sync_replicas,
        directives: spec.directives.clone(),
        drift: spec.drift,
        newer: NewerFields::default(),
    }
}

/// The first layout of a cluster. Instance `n` is the `n`-th of a round over shards first, then replicas: `0..shards` found
/// as primaries. The primary of shard `i` is in zone `i`, its replicas in the zones after it, so that zones fill evenly; a
/// replica shares its primary's zone only if there is no other zone.
pub fn found(spec: &ClusterSpec, zones: &[ZoneName], ids: &mut dyn Ids) -> Result<Layout, Impossible> {
    let zone_at = |n: u32| {
        let index = usize::try_from(n).unwrap_or(usize::MAX) % zones.len().max(1);
        zones.get(index).cloned()
    };
    let mut shards = BTreeMap::new();
    let mut instances = BTreeMap::new();
    for n in 0..spec.shards {
        let shard = ShardName::nth(n);
        let founder = InstanceName::nth(&spec.name, n);
        for replica in 0..=spec.replicas_per_shard {
            let Some(zone) = zone_at(n + zones_on(replica, zones.len())) else {
                return Err(Impossible::TooFewZones {
                    given: 0,
                    needed: zones_needed(spec.replicas_per_shard),
                    cordoned: BTreeSet::new(),
                });
            };
            let name = InstanceName::nth(&spec.name, n + replica * spec.shards);
            let node_id = NodeId::from_bytes(ids.draw());
            instances.insert(
                name,
                Instance {
                    shard: shard.clone(),
                    zone,
                    node_id,
                    fences: Fences::default(),
                    life: InstanceLife::Founding,
                    newer: NewerFields::default(),
                },
            );
        }
        let slots = SlotSet::part(n, spec.shards);
        shards.insert(
            shard,
            Shard {
                id: ShardId::from_bytes(ids.draw()),
                slots,
                gave: SlotSet::empty(),
                founder,
                life: ShardLife::Founding,
                newer: NewerFields::default(),
            },
        );
    }
    let id = ClusterId::from_bytes(ids.draw());
    let layout = Layout {
        format: Format,
        cluster: spec.name.clone(),
        id,
        generation: Generation(1),
        revision: 0,
        ordered: None,
        zones: spec.zones,
        config: server_config(spec),
        version: spec.version.clone(),
        pod_template: spec.pod_template.as_ref().map(|template| template.hash.clone()),
        pod_templates: PodTemplate::bodies(spec.pod_template.as_ref()),
        pod_versions: PodTemplate::versions(spec.pod_template.as_ref()),
        given_up: None,
        replicas_per_shard: spec.replicas_per_shard,
        shards: Arc::new(shards),
        instances: Arc::new(instances),
        sentinels: sentinel::place(spec.sentinel, &spec.name, id, zones, None).map(Box::new),
        replica_mode: spec.replica_mode.as_ref().map(|wanted| {
            Box::new(ReplicaMode {
                source: wanted.source.clone(),
                node_id: NodeId::from_bytes(ids.draw()),
                stage: ReplicaModeStage::Following,
                held_back: None,
                accepted: None,
                demotion: None,
                before_handover: None,
                used_token: None,
                automatic: wanted.automatic,
                witnesses: Vec::new(),
            })
        }),
        hibernation: None,
        retired: Arc::default(),
        cordoned: Arc::default(),
        operations: BTreeMap::new(),
        ledger: Ledger::new(),
        newer: NewerFields::default(),
    };
    if spec.zones == ZonePolicy::Required {
        refuse_unsafe_zones(spec, zones, &layout)?;
    }
    Ok(layout)
}

/// How many zones on from its primary's the `replica`-th is: round all the other zones.
fn zones_on(replica: u32, zones: usize) -> u32 {
    let others = u32::try_from(zones).unwrap_or(u32::MAX).saturating_sub(1);
    if replica == 0 || others == 0 { 0 } else { 1 + (replica - 1) % others }
}

fn refuse_unsafe_zones(spec: &ClusterSpec, zones: &[ZoneName], layout: &Layout) -> Result<(), Impossible> {
    let needed = zones_needed(spec.replicas_per_shard);
    if zones.len() < needed {
        return Err(Impossible::TooFewZones { given: zones.len(), needed, cordoned: BTreeSet::new() });
    }
    let founders = layout.shards.values().filter_map(|shard| layout.instances.get(&shard.founder));
    let mut zones_of_primaries = founders.map(|instance| Some(&instance.zone));
    if let Some((_, worst)) = mode::rules(spec.mode).zone_with_majority(&mut zones_of_primaries) {
        let worst = u32::try_from(worst).unwrap_or(u32::MAX);
        return Err(Impossible::MajorityInOneZone {
            zones: zones.len(),
            shards: spec.shards,
            worst,
            cordoned: BTreeSet::new(),
        });
    }
    Ok(())
}
