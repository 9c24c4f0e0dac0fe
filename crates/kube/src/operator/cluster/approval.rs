//! `redis.io/approve-primary-update: "true"` lets the roll that waits for it restart primaries: that one alone, so the annotation is taken away before.

use crate::wire::Home;
use kube::api::{Patch, PatchParams};
use kube::{Api, Client};
use serde_json::json;
use tokio::sync::{mpsc, oneshot};
use valkeeper_kube_api::RedisCluster;
use valkeeper_kube_api::names::{ANNOTATION_APPROVE, field_managers};
use valkeeper_model::{Layout, PrimaryUpdate, Refusal, Request};

/// A cluster with this annotation, at this version of the object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Approval {
    version: String,
}

impl Approval {
    /// What the object says.
    pub(super) fn given(object: &RedisCluster) -> Option<Self> {
        let annotations = object.metadata.annotations.as_ref()?;
        (annotations.get(ANNOTATION_APPROVE)? == "true").then_some(())?;
        Some(Self { version: object.metadata.resource_version.clone()? })
    }

    /// Takes it away and approves. An operator that dies in between has lost it: primaries wait on, and nobody approves of what came later.
    pub(super) fn take(
        &self,
        client: Client,
        home: Home,
        wish: mpsc::UnboundedSender<(Request, oneshot::Sender<Result<(), Refusal>>)>,
    ) {
        let patch = json!({
            "metadata": { "resourceVersion": self.version, "annotations": { ANNOTATION_APPROVE: null } }
        });
        tokio::spawn(async move {
            let api: Api<RedisCluster> = Api::namespaced(client, &home.namespace);
            let params = PatchParams {
                field_manager: Some(field_managers::OBJECTS.to_owned()),
                ..PatchParams::default()
            };
            match api.patch(&home.cluster.to_string(), &params, &Patch::Merge(patch)).await {
                Ok(_) => {
                    let (reply, _) = oneshot::channel();
                    let _ = wish.send((Request::ApprovePrimaries, reply));
                }
                Err(error) => {
                    tracing::warn!(%home, %error, "the annotation {ANNOTATION_APPROVE} cannot be taken away: nothing is approved");
                }
            }
        });
    }
}

/// Is there a roll that asks before it restarts primaries?
pub(super) fn is_wanted(layout: &Layout) -> bool {
    layout.roll().is_some_and(|roll| roll.target.primaries == PrimaryUpdate::Supervised)
}
