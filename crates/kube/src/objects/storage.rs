//! Volume claims. They outlive their cluster, and each carries its piece of the layout: a cluster that is made again on its old
//! volumes, or whose layout was taken away, is put together from them.

use super::template::{Template, Volume};
use super::{Owner, label_instance};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use valkeeper_kube_api::names::{self, ANNOTATION_LAYOUT};
use valkeeper_model::{
    ClusterId, Generation, Instance, InstanceName, Layout, ServerConfig, Shard, ShardName, ZonePolicy,
};

/// What a volume claim says about where it belongs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Piece {
    /// The cluster's identity.
    pub(crate) cluster: ClusterId,
    /// The layout's generation when it was written.
    pub(crate) generation: Generation,
    /// Was the cluster whole by then?
    pub(crate) formed: bool,
    /// Whose volume it is.
    pub(crate) name: InstanceName,
    /// That instance.
    pub(crate) instance: Instance,
    /// The name of its shard is in there; this is the shard.
    pub(crate) shard: Shard,
}

impl Piece {
    pub(crate) fn of(layout: &Layout, name: &InstanceName, instance: &Instance) -> Option<Self> {
        Some(Self {
            cluster: layout.id,
            generation: layout.generation,
            formed: layout.formed,
            name: name.clone(),
            instance: instance.clone(),
            shard: layout.shards.get(&instance.shard)?.clone(),
        })
    }

    /// The piece that a claim's annotations carry.
    pub(crate) fn read(annotations: &BTreeMap<String, String>) -> Option<Self> {
        serde_json::from_str(annotations.get(ANNOTATION_LAYOUT)?).ok()
    }

    /// Says this piece anything that the other, older one does not? Generations alone are no news: every claim would be written
    /// at every change of the configuration.
    pub(crate) fn is_news_to(&self, older: Option<&Self>) -> bool {
        older.is_none_or(|older| Self { generation: older.generation, ..self.clone() } != *older)
    }
}

/// Why pieces make no layout.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NoLayout {
    #[error("volumes of two clusters of this name: {0} and {1}")]
    TwoClusters(ClusterId, ClusterId),
    #[error("no volume is left of {0}")]
    ShardLost(ShardName),
}

/// The layout that these pieces are of. Instances whose piece is missing are not in it, so that whoever adds them again founds
/// nothing: their volumes are lost ones.
pub(crate) fn rebuild(
    pieces: &[Piece],
    cluster: &valkeeper_model::ClusterName,
    zones: ZonePolicy,
    config: ServerConfig,
    replicas_per_shard: u32,
    wanted_shards: u32,
) -> Result<Option<Layout>, NoLayout> {
    let Some(first) = pieces.first() else { return Ok(None) };
    if let Some(other) = pieces.iter().find(|piece| piece.cluster != first.cluster) {
        return Err(NoLayout::TwoClusters(first.cluster, other.cluster));
    }
    let newest = pieces.iter().max_by_key(|piece| piece.generation).unwrap_or(first);
    let mut shards = BTreeMap::new();
    let mut by_generation: Vec<&Piece> = pieces.iter().collect();
    by_generation.sort_by_key(|piece| piece.generation);
    for piece in by_generation {
        shards.insert(piece.instance.shard.clone(), piece.shard.clone());
    }
    let missing = (0..wanted_shards).map(ShardName::nth).find(|shard| !shards.contains_key(shard));
    if let Some(missing) = missing {
        return Err(NoLayout::ShardLost(missing));
    }
    let instances: BTreeMap<_, _> =
        pieces.iter().map(|piece| (piece.name.clone(), piece.instance.clone())).collect();
    Ok(Some(Layout {
        cluster: cluster.clone(),
        id: first.cluster,
        generation: newest.generation.next(),
        formed: pieces.iter().any(|piece| piece.formed),
        zones,
        config,
        replicas_per_shard,
        shards: Arc::new(shards),
        instances: Arc::new(instances),
    }))
}

/// The claim of one instance; none without persistent storage.
pub(crate) fn claim(
    owner: &Owner,
    name: &InstanceName,
    instance: &Instance,
    layout: &Layout,
    template: &Template,
) -> Option<Value> {
    let Volume::Claim { size, class } = &template.volume else { return None };
    let mut metadata = owner.lasting_metadata(&names::volume_claim(&owner.home.cluster, name));
    if template.delete_volumes {
        metadata["ownerReferences"] = json!([owner.reference()]);
    }
    label_instance(&mut metadata, name, instance);
    let piece = serde_json::to_string(&Piece::of(layout, name, instance)?).ok()?;
    metadata["annotations"] = json!({ ANNOTATION_LAYOUT: piece });
    let mut spec = json!({
        "accessModes": ["ReadWriteOnce"],
        "resources": { "requests": { "storage": size } },
    });
    if let Some(class) = class {
        spec["storageClassName"] = json!(class);
    }
    Some(json!({ "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": metadata, "spec": spec }))
}
