//! Volume claims. They outlive their cluster, and each carries its piece of the layout: a cluster that is made again on its old
//! volumes, or whose layout was taken away, is put together from them.

mod rebuild;

use super::template::{Template, hash};
use super::{Owner, label_instance};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use valkeeper_kube_api::names::{self, ANNOTATION_LAYOUT, ANNOTATION_SPEC_HASH};
use valkeeper_model::{
    ClusterId, Generation, Instance, InstanceName, Layout, ReplicaMode, RetiredInstance, Shard, ShardName,
    Storage,
};

pub(crate) use rebuild::rebuild;

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
