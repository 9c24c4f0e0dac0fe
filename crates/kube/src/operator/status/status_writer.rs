//! The status. Written by a task of its own, so that an API server that is slow or
//! away never holds up what is done for the cluster; only the newest status is written, and only when something has changed.

use crate::objects::shape::merge_patch;
use crate::operator::apply::object_writer::told as told_of;
use crate::operator::cache::Seen;
use crate::wire::Home;
use kube::api::{Patch, PatchParams};
use kube::{Api, Client};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use valkeeper_kube_api::names::{API_VERSION, field_managers};
use valkeeper_kube_api::{RedisCluster, RedisClusterStatus};

/// A write that takes longer is given up and tried again.
pub(super) const WITHIN: Duration = Duration::from_secs(5);
/// Between two writes of one status: what changes more often is told in one.
const BREATH: Duration = Duration::from_millis(100);
/// After a write that failed, doubled up to the second.
pub(super) const AGAIN: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(10));

/// Writes the newest, until nobody has anything to tell any more.
pub(crate) async fn write(
    client: Client,
    home: Home,
    seen: Arc<Seen>,
    written: Option<Arc<RedisClusterStatus>>,
    mut told: watch::Receiver<Option<Arc<RedisClusterStatus>>>,
) {
    let clusters: Api<RedisCluster> = Api::namespaced(client, &home.namespace);
    let mut written = written;
    let mut pause = AGAIN.0;
    while told.changed().await.is_ok() {
        loop {
            let newest = told.borrow_and_update().clone();
            let write = status(&clusters, (&home, &seen), newest.as_ref(), &mut written);
            let error = match tokio::time::timeout(WITHIN, write).await {
                Ok(Ok(())) => break,
                // It is gone: there is nobody to tell.
                Ok(Err(kube::Error::Api(error))) if error.code == 404 => break,
                Ok(Err(error)) => told_of(&error),
                Err(_) => "no answer in time".to_owned(),
            };
            tracing::warn!(%home, %error, "the status cannot be written");
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(AGAIN.1);
        }
        pause = AGAIN.0;
        tokio::time::sleep(BREATH).await;
    }
}

async fn status(
    clusters: &Api<RedisCluster>,
    (home, seen): (&Home, &Seen),
    status: Option<&Arc<RedisClusterStatus>>,
    written: &mut Option<Arc<RedisClusterStatus>>,
) -> Result<(), kube::Error> {
    let Some(status) = status else { return Ok(()) };
    if written.as_ref().is_some_and(|written| !status.differs_materially(written)) {
        return Ok(());
    }
    let object = json!({
        "apiVersion": API_VERSION,
        "kind": RedisCluster::KIND,
        "metadata": { "name": home.cluster },
        "status": status,
    });
    let params = PatchParams::apply(field_managers::STATUS).force();
    match clusters.patch_status(home.cluster.as_str(), &params, &Patch::Apply(object)).await {
        Ok(_) => seen.untold(&[]),
        // Server-side apply refuses all of a status of which the definition does not declare a field.
        Err(kube::Error::Api(error)) if matches!(error.code, 400 | 422 | 500) => {
            let untold = what_it_takes(clusters, home, status).await?;
            if untold.is_empty() {
                return Err(kube::Error::Api(error));
            }
            seen.untold(&untold);
        }
        Err(error) => return Err(error),
    }
    *written = Some(Arc::clone(status));
    Ok(())
}

/// Writes what the definition declares of a status, and says what it does not.
async fn what_it_takes(
    clusters: &Api<RedisCluster>,
    home: &Home,
    status: &RedisClusterStatus,
) -> Result<Vec<String>, kube::Error> {
    let as_json = |status: &RedisClusterStatus| serde_json::to_value(status).map_err(kube::Error::SerdeError);
    let wanted = as_json(status)?;
    let there = clusters.get(home.cluster.as_str()).await?.status.unwrap_or_default();
    let patch = merge_patch(&as_json(&there)?, &wanted).unwrap_or_else(|| json!({}));
    let params =
        PatchParams { field_manager: Some(field_managers::STATUS.to_owned()), ..PatchParams::default() };
    let patch = Patch::Merge(json!({ "status": patch }));
    let taken = clusters.patch_status(home.cluster.as_str(), &params, &patch).await?.status;
    let mut untold = Vec::new();
    lost("status", &wanted, &as_json(&taken.unwrap_or_default())?, &mut untold);
    untold.sort();
    untold.dedup();
    Ok(untold)
}

/// The fields that were sent and did not arrive.
fn lost(path: &str, sent: &Value, arrived: &Value, paths: &mut Vec<String>) {
    match (sent, arrived) {
        (Value::Object(sent), Value::Object(arrived)) => {
            for (key, value) in sent {
                let path = format!("{path}.{key}");
                match arrived.get(key) {
                    Some(arrived) => lost(&path, value, arrived, paths),
                    None => paths.push(path),
                }
            }
        }
        (Value::Array(sent), Value::Array(arrived)) => {
            for (sent, arrived) in sent.iter().zip(arrived) {
                lost(path, sent, arrived, paths);
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_older_definition_drops_is_named() {
        let sent = json!({ "phase": "Healthy", "more": 1, "list": [{ "a": 1, "b": 2 }], "map": { "x": { "new": 1 } } });
        let arrived = json!({ "phase": "Healthy", "list": [{ "a": 1 }], "map": { "x": {} } });
        let mut paths = Vec::new();
        lost("status", &sent, &arrived, &mut paths);
        assert_eq!(paths, ["status.list.b", "status.map.x.new", "status.more"]);
        paths.clear();
        lost("status", &sent, &sent, &mut paths);
        assert_eq!(paths, [""; 0]);
    }
}
