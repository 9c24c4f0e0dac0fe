//! Who gets a command.

use crate::args::Recipients;
use crate::called::called;
use crate::failure::{Failure, Kind};
use std::collections::BTreeMap;
use std::future::Future;
use std::time::Duration;
use valkeeper_client::{ClusterClient, Endpoint};

/// Who.
pub(crate) enum To {
    /// The primary of its keys.
    Keys,
    /// These, by their names.
    These(Vec<(String, Endpoint)>),
}

impl To {
    pub(crate) async fn of(
        asked: &Recipients,
        client: &ClusterClient,
        names: &BTreeMap<Endpoint, String>,
        within: Duration,
    ) -> Result<Self, Failure> {
        let with_name = |(endpoint, name): (&Endpoint, &String)| (name.clone(), endpoint.clone());
        if let Some(instance) = &asked.instance {
            let found = names.iter().find(|(_, name)| *name == instance.as_str()).map(with_name);
            return found.map(|one| Self::These(vec![one])).ok_or_else(|| {
                let what = format!("there is no instance `{instance}`");
                Failure::new(Kind::Usage, what, format!("`{} status` lists them", called()))
            });
        }
        let mut these = if asked.all {
            names.iter().map(with_name).collect::<Vec<_>>()
        } else if asked.all_primaries {
            let map = client.shard_map(within).await.map_err(|error| super::failure(&error))?;
            let name = |endpoint: Endpoint| {
                (names.get(&endpoint).cloned().unwrap_or_else(|| endpoint.to_string()), endpoint)
            };
            map.shards.iter().map(|shard| name(shard.primary.endpoint.clone())).collect()
        } else {
            return Ok(Self::Keys);
        };
        these.sort();
        Ok(Self::These(these))
    }
}

/// All of them at once, in their order.
pub(crate) async fn all<T>(tasks: impl IntoIterator<Item = impl Future<Output = T>>) -> Vec<T> {
    let mut tasks: Vec<_> = tasks.into_iter().map(|task| (Box::pin(task), None)).collect();
    std::future::poll_fn(|context| {
        let mut waiting = false;
        for (task, done) in tasks.iter_mut().filter(|(_, done)| done.is_none()) {
            match task.as_mut().poll(context) {
                std::task::Poll::Ready(value) => *done = Some(value),
                std::task::Poll::Pending => waiting = true,
            }
        }
        if waiting { std::task::Poll::Pending } else { std::task::Poll::Ready(()) }
    })
    .await;
    tasks.into_iter().filter_map(|(_, done)| done).collect()
}
