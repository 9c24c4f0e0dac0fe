//! The cluster as its operator tells it.

use super::error::RemoteError;
use super::reach::Remote;
use futures::StreamExt as _;
use futures::stream::BoxStream;
use kube::runtime::WatchStreamExt as _;
use kube::runtime::watcher::{self, watch_object};
use valkeeper_kube_api::RedisCluster;

impl Remote {
    /// The object, with the status that its operator has written last.
    pub async fn object(&self) -> Result<RedisCluster, RemoteError> {
        let object = self.reach.clusters().get_opt(self.name.as_str()).await;
        object.map_err(|error| self.failed(error))?.ok_or_else(|| self.gone())
    }

    /// The object now, and again whenever it changes.
    pub fn watch(&self) -> Watched {
        let stream = watch_object(self.reach.clusters(), self.name.as_str()).default_backoff().boxed();
        Watched { remote: self.clone(), stream }
    }
}

/// A cluster that is watched.
pub struct Watched {
    remote: Remote,
    stream: BoxStream<'static, Result<Option<RedisCluster>, watcher::Error>>,
}

impl Watched {
    /// The next change; an API server that is away is waited for.
    pub async fn next(&mut self) -> Result<RedisCluster, RemoteError> {
        loop {
            match self.stream.next().await {
                Some(Ok(Some(object))) => return Ok(object),
                Some(Ok(None)) | None => return Err(self.remote.gone()),
                Some(Err(error)) => {
                    let error = RemoteError::of_watch(&self.remote.reach.server, error);
                    if !error.passes() {
                        return Err(error);
                    }
                    tracing::warn!("{error}; it is tried again");
                }
            }
        }
    }
}
