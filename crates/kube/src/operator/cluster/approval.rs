//! `redis.io/approve-primary-update: "true"` lets the roll that waits for it restart primaries: that one alone, so the annotation is taken away before.

use super::requests::Wish;
use crate::wire::Home;
use kube::api::{Patch, PatchParams};
use kube::{Api, Client};
use serde_json::json;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::oneshot;
use valkeeper_kube_api::RedisCluster;
use valkeeper_kube_api::names::{ANNOTATION_APPROVE, field_managers};
use valkeeper_model::{Layout, Request, Roll};

/// Approvals by annotation, each taken once.
#[derive(Debug, Clone, Default)]
pub(super) struct Approvals {
    /// Is one being taken, or taken and still to be seen in the object?
    taken: Arc<AtomicBool>,
}

impl Approvals {
    /// Takes the annotation away and approves, if it is there and a roll waits for it. An operator that dies in between has lost the approval:
    /// primaries wait on, and nobody approves of what came later.
    pub(super) fn look(
        &self,
        object: &RedisCluster,
        layout: Option<&Layout>,
        (client, home): (&Client, &Home),
        wish: &Wish,
    ) {
        if !is_given(object) {
            return self.taken.store(false, Ordering::Relaxed);
        }
        if !layout.is_some_and(is_wanted) || self.taken.swap(true, Ordering::Relaxed) {
            return;
        }
        // Of that very object: a cluster that was made again under its name is another.
        let patch = json!({
            "metadata": { "uid": object.metadata.uid, "annotations": { ANNOTATION_APPROVE: null } }
        });
        let (client, home, wish, taken) =
            (client.clone(), home.clone(), wish.clone(), Arc::clone(&self.taken));
        tokio::spawn(async move {
            let api: Api<RedisCluster> = Api::namespaced(client, &home.namespace);
            let params = PatchParams {
                field_manager: Some(field_managers::OBJECTS.to_owned()),
                ..PatchParams::default()
            };
            match api.patch(home.cluster.as_str(), &params, &Patch::Merge(patch)).await {
                Ok(_) => {
                    let (reply, _) = oneshot::channel();
                    let _ = wish.send((Request::ApprovePrimaries, reply));
                }
                Err(error) => {
                    tracing::warn!(%home, %error, "the annotation {ANNOTATION_APPROVE} cannot be taken away: nothing is approved");
                    taken.store(false, Ordering::Relaxed);
                }
            }
        });
    }
}

fn is_given(object: &RedisCluster) -> bool {
    let annotations = object.metadata.annotations.as_ref();
    annotations.and_then(|all| all.get(ANNOTATION_APPROVE)).is_some_and(|value| value == "true")
}

/// Is there a roll that asks before it restarts primaries?
fn is_wanted(layout: &Layout) -> bool {
    layout.roll().is_some_and(Roll::asks_before_primaries)
}
