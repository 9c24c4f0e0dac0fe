//! The layout in a `ConfigMap` of its own, changed by compare-and-set on its version. When it was taken away, or the cluster is
//! made again on its old volumes, it is put together from the pieces that these carry.

use crate::objects::storage::{self, Piece};
use crate::objects::whose::{Marks, Whose};
use crate::objects::{Owner, layout_map};
use crate::operator::apply::object_writer::{NotDone, told};
use crate::operator::cache::Object;
use k8s_openapi::api::core::v1::{ConfigMap, PersistentVolumeClaim, Pod};
use kube::api::{ListParams, ObjectMeta, PartialObjectMeta, Patch, PatchParams, PostParams};
use kube::core::NamespaceResourceScope;
use kube::{Api, Client};
use serde::de::DeserializeOwned;
use serde_json::json;
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::net::IpAddr;
use valkeeper_engine::{Boxed, Store};
use valkeeper_kube_api::RedisCluster;
use valkeeper_kube_api::names::{self, LAYOUT_KEY, field_managers};
use valkeeper_model::{
    ClusterSpec, InstanceName, Layout, LayoutVersion, StorageFault, StoreError, Unreadable,
};
use valkeeper_plan::controller::CommitError;
use valkeeper_plan::placement::server_config;

/// The key of the addresses that instances were last seen at.
const ADDRESSES_KEY: &str = "addresses.json";

#[derive(Clone)]
pub(crate) struct LayoutStore {
    pub(crate) client: Client,
    pub(crate) owner: Owner,
    pub(crate) spec: ClusterSpec,
}

/// Addresses by instance, as they are kept.
pub(crate) type Kept = BTreeMap<InstanceName, IpAddr>;

impl LayoutStore {
    fn api(&self) -> Api<ConfigMap> {
        Api::namespaced(self.client.clone(), &self.owner.home.namespace)
    }

    fn name(&self) -> String {
        names::layout_config_map(&self.owner.home.cluster)
    }

    async fn stored(&self) -> Result<Option<(ConfigMap, Layout)>, StoreError> {
        let Some(object) = self.api().get_opt(&self.name()).await.map_err(|error| not_read(&error))? else {
            return Ok(None);
        };
        // Kubernetes removes what a deleted one owned in its own time. Its volumes may have been deleted as well: what is followed is on those
        // that are there.
        if self.is_left_over(&object.metadata) {
            let left_over = NotDone::Leaving(Object::new("ConfigMap", &self.name()));
            return Err(StoreError::LeftOver { why: left_over.to_string() });
        }
        if Marks::of(&object.metadata).whose(&self.owner) != Whose::Ours {
            let foreign = NotDone::Foreign(Object::new("ConfigMap", &self.name()));
            return Err(StoreError::Foreign { why: foreign.to_string() });
        }
        let text = object.data.as_ref().and_then(|data| data.get(LAYOUT_KEY));
        let unreadable =
            |why: Unreadable| StoreError::Unreadable { why: format!("ConfigMap {} {why}", self.name()) };
        let missing = || Unreadable::Damaged(format!("{LAYOUT_KEY} is missing"));
        let text = text.ok_or_else(|| unreadable(missing()))?;
        let layout = Layout::read(text.as_bytes()).map_err(unreadable)?;
        Ok(Some((object, layout)))
    }

    /// Owned by another one of this name, which is gone. What was left on purpose (`--cascade=orphan`) is owned by none.
    fn is_left_over(&self, object: &ObjectMeta) -> bool {
        let owners = object.owner_references.iter().flatten();
        let mut ours = owners.filter(|owner| owner.kind == RedisCluster::KIND).peekable();
        ours.peek().is_some() && ours.all(|owner| owner.uid != self.owner.uid)
    }

    /// Those of a kind that are its by their labels, as they are now: what the watch has seen may be older than the cluster.
    async fn of_it<K>(&self) -> kube::Result<Vec<PartialObjectMeta<K>>>
    where
        K: kube::Resource<Scope = NamespaceResourceScope, DynamicType = ()>
            + Clone
            + Debug
            + DeserializeOwned,
    {
        let all: Api<K> = Api::namespaced(self.client.clone(), &self.owner.home.namespace);
        let of_it = format!("{}={}", names::LABEL_CLUSTER, self.owner.home.cluster);
        Ok(all.list_metadata(&ListParams::default().labels(&of_it)).await?.items)
    }

    /// Creates it; `false` if there is one.
    async fn create(&self, layout: &Layout) -> Result<bool, StoreError> {
        let object = layout_map::config_map(&self.owner, layout).and_then(serde_json::from_value);
        let object: ConfigMap = object.map_err(not_rendered)?;
        match self.api().create(&PostParams::default(), &object).await {
            Ok(_) => Ok(true),
            Err(kube::Error::Api(error)) if error.code == 409 => Ok(false),
            Err(error) => Err(not_written(&error)),
        }
    }

    /// The layout in force, put together from the volumes if it is not there.
    pub(crate) async fn read(&self) -> Result<Option<Layout>, StoreError> {
        if let Some((_, layout)) = self.stored().await? {
            return Ok(Some(layout));
        }
        let pods = self.of_it::<Pod>().await.map_err(|error| not_read(&error))?;
        if let Some(names) = named(&pods, |pod| self.is_left_over(pod)) {
            let why = format!("pods are of a RedisCluster that was deleted, and will go: {names}");
            return Err(StoreError::LeftOver { why });
        }
        let claims = self.of_it::<PersistentVolumeClaim>().await;
        let claims = claims.map_err(|error| not_read(&error))?;
        if let Some(names) = named(&claims, |claim| claim.deletion_timestamp.is_some()) {
            let why = format!(
                "volumes are being deleted: {names}; what the others hold is looked at when they are gone"
            );
            return Err(StoreError::LeftOver { why });
        }
        let pieces = pieces(&claims)?;
        let spec = &self.spec;
        let rebuilt = storage::rebuild(&pieces, spec, server_config(spec))
            .map_err(|error| StoreError::Unreadable { why: error.to_string() })?;
        let Some(layout) = rebuilt else { return Ok(None) };
        if self.create(&layout).await? {
            tracing::info!(home = %self.owner.home, "the layout was put together from the volumes");
            return Ok(Some(layout));
        }
        Ok(self.stored().await?.map(|(_, layout)| layout))
    }

    async fn write(&self, layout: Layout, after: Option<LayoutVersion>) -> Result<(), CommitError> {
        let Some((mut object, stored)) = self.stored().await? else {
            // Taken away while we hold the newest: it is made again. Should another have been faster, that one counts.
            let created = self.create(&layout).await?;
            return if created { Ok(()) } else { Err(CommitError::Conflict) };
        };
        if Some(stored.version()) != after {
            return Err(CommitError::Conflict);
        }
        let text = serde_json::to_string(&layout).map_err(not_rendered)?;
        object.data.get_or_insert_default().insert(LAYOUT_KEY.to_owned(), text);
        // The object has the version it was read with: who has written it since is not overwritten.
        match self.api().replace(&self.name(), &PostParams::default(), &object).await {
            Ok(_) => Ok(()),
            Err(kube::Error::Api(error)) if error.code == 409 => Err(CommitError::Conflict),
            Err(error) => Err(not_written(&error).into()),
        }
    }

    /// Where instances were last.
    pub(crate) async fn addresses(&self) -> Result<Kept, StoreError> {
        let object = self.api().get_opt(&self.name()).await.map_err(|error| not_read(&error))?;
        let text = object.and_then(|object| object.data?.remove(ADDRESSES_KEY));
        // They are a help for those that cannot be seen, and nothing depends on them.
        Ok(text.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default())
    }

    /// Keeps where they are.
    pub(crate) async fn keep_addresses(&self, addresses: &Kept) -> Result<(), StoreError> {
        let text = serde_json::to_string(addresses).map_err(not_rendered)?;
        let patch = Patch::Merge(json!({ "data": { ADDRESSES_KEY: text } }));
        let params =
            PatchParams { field_manager: Some(field_managers::OBJECTS.to_owned()), ..PatchParams::default() };
        self.api().patch(&self.name(), &params, &patch).await.map(drop).map_err(|error| not_written(&error))
    }
}

impl Store for LayoutStore {
    fn load(&self) -> Boxed<Result<Option<Layout>, StoreError>> {
        let store = self.clone();
        Box::pin(async move { store.read().await })
    }

    fn commit(&self, layout: Layout, after: Option<LayoutVersion>) -> Boxed<Result<(), CommitError>> {
        let store = self.clone();
        Box::pin(async move { store.write(layout, after).await })
    }
}

fn not_read(error: &kube::Error) -> StoreError {
    StoreError::NotRead { fault: storage_fault(error), why: told(error) }
}

fn not_written(error: &kube::Error) -> StoreError {
    StoreError::NotWritten { fault: storage_fault(error), why: told(error) }
}

fn not_rendered(error: serde_json::Error) -> StoreError {
    StoreError::NotWritten { fault: StorageFault::Other, why: NotDone::Object(error).to_string() }
}

fn storage_fault(error: &kube::Error) -> StorageFault {
    match error {
        kube::Error::Api(status) if status.code == 403 => StorageFault::Forbidden,
        _ => StorageFault::Api,
    }
}

/// What volumes say. One that says something that cannot be read may be the only one of its shard: it is not taken for a new one.
fn pieces(claims: &[PartialObjectMeta<PersistentVolumeClaim>]) -> Result<Vec<Piece>, StoreError> {
    let said = |claim: &PartialObjectMeta<PersistentVolumeClaim>| {
        let text = claim.metadata.annotations.as_ref()?.get(names::ANNOTATION_LAYOUT)?;
        let name = claim.metadata.name.clone().unwrap_or_default();
        let key = names::ANNOTATION_LAYOUT;
        Some(Piece::read(text).map_err(|error| StoreError::Unreadable {
            why: format!("PersistentVolumeClaim {name}: its annotation {key} cannot be read: {error}"),
        }))
    };
    claims.iter().filter_map(said).collect()
}

/// The names of those of which that is so, if there are any.
fn named<K>(objects: &[PartialObjectMeta<K>], is_so: impl Fn(&ObjectMeta) -> bool) -> Option<String> {
    let names = objects.iter().map(|object| &object.metadata).filter(|metadata| is_so(metadata));
    let names: Vec<&str> = names.filter_map(|metadata| metadata.name.as_deref()).collect();
    (!names.is_empty()).then(|| names.join(", "))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that panics has failed, which is what it should do")]

    use super::*;

    fn carrying(piece: Option<&str>) -> PartialObjectMeta<PersistentVolumeClaim> {
        let annotations = piece.map(|piece| json!({ names::ANNOTATION_LAYOUT: piece }));
        serde_json::from_value(json!({
            "metadata": { "name": "demo-data-1", "annotations": annotations },
        }))
        .unwrap()
    }

    #[test]
    fn a_piece_that_cannot_be_read_is_not_as_good_as_none() {
        assert_eq!(pieces(&[carrying(None)]), Ok(vec![]));
        let error = pieces(&[carrying(None), carrying(Some("{\"cluster\": 7}"))]).unwrap_err().to_string();
        assert!(error.contains("demo-data-1") && error.contains(names::ANNOTATION_LAYOUT), "{error}");
    }
}
