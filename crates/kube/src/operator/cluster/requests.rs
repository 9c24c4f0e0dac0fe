//! What users ask of a cluster: handed to its controller, and answered in the request's status.

use crate::wire::Home;
use kube::api::{Patch, PatchParams};
use kube::{Api, Client};
use serde_json::json;
use tokio::sync::{mpsc, oneshot};
use valkeeper_kube_api::names::{API_VERSION, field_managers};
use valkeeper_kube_api::{RedisClusterRequest, RequestStatus};
use valkeeper_model::{Refusal, Request};

/// Where the controller is asked for something, and where it answers.
pub(super) type Wish = mpsc::UnboundedSender<(Request, oneshot::Sender<Result<(), Refusal>>)>;

/// The cluster a request is about.
pub(crate) fn home_of(request: &RedisClusterRequest) -> Option<Home> {
    let namespace = request.metadata.namespace.clone()?;
    Some(Home { namespace, cluster: request.spec.cluster.parse().ok()? })
}

/// Hands it to the controller and writes the answer when there is one.
pub(crate) fn carry_out(client: Client, request: RedisClusterRequest, wish: &Wish) {
    let (reply, replied) = oneshot::channel();
    let asked = request.request();
    if let Ok(asked) = &asked {
        let _ = wish.send((asked.clone(), reply));
    }
    tokio::spawn(async move {
        let result = match asked {
            Ok(_) => replied.await.unwrap_or_else(|_| {
                Err(Refusal::Failed { why: "the operator was stopped before it was done".to_owned() })
            }),
            Err(error) => Err(Refusal::Failed { why: error.to_string() }),
        };
        answer(&client, &request, &result).await;
    });
}

/// There is no such cluster.
pub(crate) fn nobody(client: Client, request: RedisClusterRequest) {
    tokio::spawn(async move {
        let why = format!("there is no RedisCluster `{}` in this namespace", request.spec.cluster);
        answer(&client, &request, &Err(Refusal::Failed { why })).await;
    });
}

/// Writes the answer.
pub(crate) async fn answer(client: &Client, request: &RedisClusterRequest, result: &Result<(), Refusal>) {
    let (Some(namespace), Some(name)) = (&request.metadata.namespace, &request.metadata.name) else { return };
    let status = match result {
        Ok(()) => RequestStatus::succeeded("done"),
        Err(refusal) => RequestStatus::refused(refusal.clone()),
    };
    let object = json!({
        "apiVersion": API_VERSION,
        "kind": RedisClusterRequest::KIND,
        "metadata": { "name": name },
        "status": status,
    });
    let api: Api<RedisClusterRequest> = Api::namespaced(client.clone(), namespace);
    let params = PatchParams::apply(field_managers::STATUS).force();
    if let Err(error) = api.patch_status(name, &params, &Patch::Apply(object)).await {
        tracing::warn!(%error, request = name, "an answer cannot be written");
    }
}
