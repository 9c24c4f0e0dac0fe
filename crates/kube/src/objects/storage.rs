//! Volume claims. They outlive their cluster, and each carries its piece of the layout: a cluster that is made again on its old
//! volumes, or whose layout was taken away, is put together from them.

use super::template::{Template, hash};
use super::{Owner, label_instance};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use valkeeper_kube_api::names::{self, ANNOTATION_LAYOUT, ANNOTATION_SPEC_HASH};
use valkeeper_model::{
    ClusterId, ClusterSpec, Format, Generation, Instance, InstanceName, Layout, Ledger, NewerFields,
    ReplicaMode, RetiredInstance, ServerConfig, Shard, ShardName, SlotSet, Storage,
};

/// What a volume claim says about where it belongs: its shard, with all members, so that one volume of each shard suffices.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Piece {
    /// The cluster's identity.
    pub(crate) cluster: ClusterId,
    /// The layout's generation when it was written.
    pub(crate) generation: Generation,
    /// Was the cluster founded by then? What a version has written that knows no lives says so only here.
    pub(crate) formed: bool,
    /// The name of the shard.
    pub(crate) name: ShardName,
    /// The shard.
    pub(crate) shard: Shard,
    /// Its instances.
    pub(crate) instances: BTreeMap<InstanceName, Instance>,
    /// Of a cluster that follows another, or did: rebuilt without it, a cluster that follows would have nobody to follow, and elect a primary.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) replica_mode: Option<Box<ReplicaMode>>,
    /// Those that were removed from the shard: their names are given to nobody else.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) retired: BTreeMap<InstanceName, RetiredInstance>,
}

impl Piece {
    pub(crate) fn of(layout: &Layout, name: &ShardName) -> Option<Self> {
        let instances = layout.instances_of(name).map(|(name, instance)| (name.clone(), instance.clone()));
        let retired = layout.retired.iter().filter(|(_, gone)| gone.shard == *name);
        Some(Self {
            cluster: layout.id,
            generation: layout.generation,
            formed: !layout.is_founding(),
            name: name.clone(),
            shard: layout.shards.get(name)?.clone(),
            instances: instances.collect(),
            replica_mode: layout.replica_mode.clone(),
            retired: retired.map(|(name, gone)| (name.clone(), gone.clone())).collect(),
        })
    }

    /// The piece that a claim carries.
    pub(crate) fn read(annotation: &str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(annotation)
    }

    /// Does it say anything that the older one does not? Generations alone are no news: every claim would be written at every
    /// change of the configuration.
    pub(crate) fn is_news_to(&self, older: Option<&Self>) -> bool {
        older.is_none_or(|older| Self { generation: older.generation, ..self.clone() } != *older)
    }
}

/// Why pieces make no layout.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NoLayout {
    #[error("the volumes are of two clusters of this name, {0} and {1}: remove those that are not wanted")]
    TwoClusters(ClusterId, ClusterId),
    #[error("the layout is gone, and no volume is left of {0} to rebuild it from")]
    ShardLost(ShardName),
}

/// The layout that these pieces are of, with the newest word on each shard; none if there are no pieces.
pub(crate) fn rebuild(
    pieces: &[Piece],
    spec: &ClusterSpec,
    config: ServerConfig,
) -> Result<Option<Layout>, NoLayout> {
    let Some(first) = pieces.first() else { return Ok(None) };
    if let Some(other) = pieces.iter().find(|piece| piece.cluster != first.cluster) {
        return Err(NoLayout::TwoClusters(first.cluster, other.cluster));
    }
    let mut newest: BTreeMap<&ShardName, &Piece> = BTreeMap::new();
    for piece in pieces {
        let known = newest.entry(&piece.name).or_insert(piece);
        if piece.generation > known.generation {
            *known = piece;
        }
    }
    let shards: BTreeMap<_, _> =
        newest.iter().map(|(name, piece)| ((*name).clone(), piece.shard.clone())).collect();
    let served = shards.values().fold(SlotSet::empty(), |all, shard| all.union(&shard.slots));
    if served != SlotSet::all() {
        // The slots that are missing are of a shard of which no volume is left: founding it anew would hide the loss.
        let missing = (0..spec.shards).map(ShardName::nth).find(|name| !shards.contains_key(name));
        return Err(NoLayout::ShardLost(missing.unwrap_or_else(|| ShardName::nth(spec.shards))));
    }
    let instances: BTreeMap<_, _> = newest.values().flat_map(|piece| piece.instances.clone()).collect();
    let newest_of_all = pieces.iter().max_by_key(|piece| piece.generation).unwrap_or(first);
    let stays = |one: &&Instance| !one.life.leaves();
    let copies = |piece: &&Piece| piece.instances.values().filter(stays).count();
    let widest = newest.values().map(copies).max().unwrap_or(1);
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
        given_up: None,
        replicas_per_shard: u32::try_from(widest.saturating_sub(1)).unwrap_or(u32::MAX),
        shards: Arc::new(shards),
        instances: Arc::new(instances),
        sentinels: None,
        replica_mode: newest_of_all.replica_mode.clone(),
        retired: Arc::new(newest.values().flat_map(|piece| piece.retired.clone()).collect()),
        cordoned: Arc::default(),
        operations: BTreeMap::new(),
        ledger: Ledger::new(),
        newer: NewerFields::default(),
    };
    Ok(Some(if pieces.iter().any(|piece| piece.formed) { layout.founded() } else { layout }))
}

/// The claim of one instance; none without persistent storage.
pub(crate) fn claim(
    owner: &Owner,
    name: &InstanceName,
    instance: &Instance,
    layout: &Layout,
    template: &Template,
) -> Option<Value> {
    let Storage::Pvc { size, class } = &template.kubernetes.storage else { return None };
    let mut metadata = owner.lasting_metadata(&names::volume_claim(&owner.home.cluster, name));
    if template.kubernetes.delete_volumes {
        metadata["ownerReferences"] = json!([owner.reference()]);
    }
    label_instance(&mut metadata, name, instance);
    let piece = serde_json::to_string(&Piece::of(layout, &instance.shard)?).ok()?;
    let mut spec = json!({
        "accessModes": ["ReadWriteOnce"],
        "resources": { "requests": { "storage": size.text } },
    });
    if let Some(class) = class {
        spec["storageClassName"] = json!(class);
    }
    metadata["annotations"] = json!({ ANNOTATION_LAYOUT: piece, ANNOTATION_SPEC_HASH: hash(&spec) });
    Some(json!({ "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": metadata, "spec": spec }))
}
