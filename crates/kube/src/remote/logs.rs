//! What a server says: its container's log, over restarts of the container and of the pod.

use super::error::RemoteError;
use super::reach::Remote;
use futures::io::{AsyncBufRead, AsyncBufReadExt as _};
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::LogParams;
use std::pin::Pin;
use std::time::Duration;
use valkeeper_kube_api::names::{self, LABEL_CLUSTER};
use valkeeper_model::InstanceName;

/// The container with the server.
pub(super) const CONTAINER: &str = "server";
/// Between looks for the next container.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// A log that is read.
pub struct LogRead {
    remote: Remote,
    pod: String,
    follow: bool,
    stream: Option<Pin<Box<dyn AsyncBufRead + Send>>>,
    container: Option<String>,
}

impl Remote {
    /// The last lines of an instance's log, and then what comes, if that is wanted.
    pub async fn logs(
        &self,
        instance: &InstanceName,
        follow: bool,
        lines: usize,
    ) -> Result<LogRead, RemoteError> {
        let pod = names::pod(instance);
        let mut log = LogRead { remote: self.clone(), pod, follow, stream: None, container: None };
        log.container = container(&log.look().await?.ok_or_else(|| RemoteError::NoPod(log.pod.clone()))?);
        log.open(Some(i64::try_from(lines).unwrap_or(i64::MAX))).await?;
        Ok(log)
    }

    pub(super) fn pods(&self) -> Api<Pod> {
        Api::namespaced(self.reach.client.clone(), &self.reach.namespace)
    }
}

impl LogRead {
    /// The next bytes; `None` at its end.
    pub async fn next(&mut self) -> Result<Option<Vec<u8>>, RemoteError> {
        loop {
            if let Some(stream) = &mut self.stream {
                match stream.fill_buf().await {
                    Ok([]) | Err(_) => self.stream = None,
                    Ok(bytes) => {
                        let bytes = bytes.to_vec();
                        stream.consume_unpin(bytes.len());
                        return Ok(Some(bytes));
                    }
                }
            } else if !self.follow {
                return Ok(None);
            } else {
                tokio::time::sleep(LOOK_EVERY).await;
                self.take_up().await?;
            }
        }
    }

    /// Opens the log of the next container, once there is one.
    async fn take_up(&mut self) -> Result<(), RemoteError> {
        let next = match self.look().await {
            Ok(pod) => pod.as_ref().and_then(container),
            Err(error) if error.passes() => None,
            Err(error) => return Err(error),
        };
        if next.is_some() && next != self.container {
            self.container = next;
            self.open(None).await?;
        }
        Ok(())
    }

    async fn look(&self) -> Result<Option<Pod>, RemoteError> {
        let pod = self.remote.pods().get_opt(&self.pod).await.map_err(|error| self.remote.failed(error))?;
        let ours = |pod: &Pod| {
            let label = pod.metadata.labels.as_ref().and_then(|labels| labels.get(LABEL_CLUSTER));
            label.is_some_and(|label| label == self.remote.name.as_str())
        };
        Ok(pod.filter(ours))
    }

    async fn open(&mut self, lines: Option<i64>) -> Result<(), RemoteError> {
        let params = LogParams {
            container: Some(CONTAINER.to_owned()),
            follow: self.follow,
            tail_lines: lines,
            ..LogParams::default()
        };
        match self.remote.pods().log_stream(&self.pod, &params).await {
            Ok(stream) => self.stream = Some(Box::pin(stream)),
            Err(error) => {
                let error = self.remote.failed(error);
                // A container that is about to start has no log yet.
                if !self.follow || !error.passes() {
                    return Err(error);
                }
                self.container = None;
            }
        }
        Ok(())
    }
}

/// Which container runs, or ran last.
fn container(pod: &Pod) -> Option<String> {
    let statuses = pod.status.as_ref()?.container_statuses.as_ref()?;
    statuses.iter().find(|status| status.name == CONTAINER)?.container_id.clone()
}
