//! A request as an object of its own, and the answer in its status.

use super::error::RemoteError;
use super::reach::Remote;
use futures::StreamExt as _;
use jiff::Timestamp;
use kube::api::{DeleteParams, PostParams};
use kube::runtime::WatchStreamExt as _;
use kube::runtime::watcher::watch_object;
use kube::{Api, ResourceExt as _};
use std::future::Future;
use std::time::Duration;
use valkeeper_kube_api::RedisClusterRequest;
use valkeeper_model::{Refusal, Request};

/// For taking the request away again.
const WITHDRAW_WITHIN: Duration = Duration::from_secs(5);

/// Why a request was not carried out.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// The planner's answer (law 12).
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// Nobody is there who would do it. It is taken back.
    #[error("no operator acts{}", ago(.since.as_ref()))]
    NobodyLeads {
        /// When one was there last.
        since: Option<Timestamp>,
    },
    /// No answer in time. Nobody begins it any more; what was begun goes on.
    #[error("no answer within {} s", .0.as_secs())]
    TimedOut(Duration),
    /// The user did not want to wait any longer.
    #[error("interrupted")]
    Interrupted,
    /// Somebody has deleted it before it was answered.
    #[error("the request was deleted before it was answered")]
    TakenAway,
    /// What was written into the object is not followed, in the operator's words.
    #[error("the operator does not follow the manifest: {0}")]
    NotFollowed(String),
    /// Kubernetes could not be asked.
    #[error(transparent)]
    Remote(#[from] RemoteError),
}

fn ago(time: Option<&Timestamp>) -> String {
    time.map(|time| format!(" since {time:.0}")).unwrap_or_default()
}

impl Remote {
    /// Asks, waits for the answer, and takes the request away again, however that ends: one that nobody waits for must not be
    /// carried out when an operator comes back hours later.
    pub async fn ask(
        &self,
        request: &Request,
        within: Duration,
        ended: impl Future<Output = ()>,
    ) -> Result<(), AskError> {
        let api: Api<RedisClusterRequest> = Api::namespaced(self.reach.client.clone(), &self.reach.namespace);
        let object = RedisClusterRequest::new(self.name.as_str(), &self.reach.namespace, request)
            .map_err(|error| RemoteError::Other(error.to_string()))?;
        let made = api.create(&PostParams::default(), &object).await.map_err(|error| self.failed(error))?;
        let name = made.name_any();
        let answer = tokio::select! {
            answer = self.answer(&api, &name) => answer,
            since = self.reach.nobody_leads() => Err(AskError::NobodyLeads { since }),
            () = tokio::time::sleep(within) => Err(AskError::TimedOut(within)),
            () = ended => Err(AskError::Interrupted),
        };
        let params = DeleteParams::default();
        match tokio::time::timeout(WITHDRAW_WITHIN, api.delete(&name, &params)).await {
            Ok(Ok(_)) => {}
            Ok(Err(kube::Error::Api(status))) if status.code == 404 => {}
            Ok(Err(error)) => {
                let error = self.failed(error);
                tracing::warn!("RedisClusterRequest {name} cannot be deleted: {error}");
            }
            Err(_) => tracing::warn!("RedisClusterRequest {name} cannot be deleted in time"),
        }
        answer
    }

    async fn answer(&self, api: &Api<RedisClusterRequest>, name: &str) -> Result<(), AskError> {
        let mut stream = std::pin::pin!(watch_object(api.clone(), name).default_backoff());
        loop {
            match stream.next().await {
                Some(Ok(Some(object))) => {
                    if let Some(status) = object.status.filter(|status| status.done) {
                        return status.refused.map_or(Ok(()), |refusal| Err(refusal.into()));
                    }
                }
                Some(Ok(None)) | None => return Err(AskError::TakenAway),
                Some(Err(error)) => {
                    let error = RemoteError::of_watch(&self.reach.server, error);
                    if !error.passes() {
                        return Err(error.into());
                    }
                    tracing::warn!("{error}; the answer is waited for all the same");
                }
            }
        }
    }
}
