//! What is written for people: the status, role labels, events. Written by tasks of their own, so that an API server that is slow or
//! away never holds up what is done for the cluster; only the newest status is written, and only when something has changed.

use super::making::told as told_of;
use super::world::{PodSeen, PodState, Seen};
use crate::objects::shape::merge_patch;
use crate::wire::Home;
use k8s_openapi::api::core::v1::{ObjectReference, Pod};
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, Client, ResourceExt as _};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, watch};
use valkeeper_kube_api::names::{ANNOTATION_HAPPENED, API_VERSION, LABEL_ROLE, field_managers};
use valkeeper_kube_api::{RedisCluster, RedisClusterStatus};
use valkeeper_model::{CalledAs, Happened, InstanceName, Report, Role, Waiting};

/// A write that takes longer is given up and tried again.
const WITHIN: Duration = Duration::from_secs(5);
/// Between two writes of one status: what changes more often is told in one.
const BREATH: Duration = Duration::from_millis(100);
/// After a write that failed, doubled up to the second.
const AGAIN: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(10));

/// What is to be told.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Told {
    pub(crate) status: Option<Arc<RedisClusterStatus>>,
    pub(crate) roles: BTreeMap<InstanceName, Role>,
}

/// Writes the newest, until nobody has anything to tell any more.
pub(crate) async fn write(
    client: Client,
    home: Home,
    seen: Arc<Seen>,
    written: Option<Arc<RedisClusterStatus>>,
    mut told: watch::Receiver<Told>,
) {
    let clusters: Api<RedisCluster> = Api::namespaced(client.clone(), &home.namespace);
    let pods: Api<Pod> = Api::namespaced(client, &home.namespace);
    let mut written = written;
    let mut pause = AGAIN.0;
    while told.changed().await.is_ok() {
        loop {
            let newest = told.borrow_and_update().clone();
            let result = tokio::time::timeout(WITHIN, async {
                roles(&pods, &seen, &newest.roles).await?;
                status(&clusters, (&home, &seen), newest.status.as_ref(), &mut written).await
            });
            let error = match result.await {
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

/// Has a pod another label than its role?
pub(super) fn differ(pods: &BTreeMap<InstanceName, PodSeen>, roles: &BTreeMap<InstanceName, Role>) -> bool {
    let differs = |pod: &PodSeen, role: &Role| pod.role.as_deref() != Some(role.to_string().as_str());
    roles.iter().any(|(name, role)| pods.get(name).is_some_and(|pod| differs(pod, role)))
}

async fn roles(
    pods: &Api<Pod>,
    seen: &Seen,
    roles: &BTreeMap<InstanceName, Role>,
) -> Result<(), kube::Error> {
    let there = seen.pods();
    for (name, role) in roles {
        let role = role.to_string();
        let Some(pod) = there.get(name).filter(|pod| pod.role.as_ref() != Some(&role)) else { continue };
        let patch = json!({ "metadata": { "uid": pod.uid, "labels": { LABEL_ROLE: role } } });
        let params =
            PatchParams { field_manager: Some(field_managers::ROLES.to_owned()), ..PatchParams::default() };
        match pods.patch(name.as_str(), &params, &Patch::Merge(patch)).await {
            Ok(_) => {}
            // Another pod of the name by now, or none.
            Err(kube::Error::Api(error)) if matches!(error.code, 404 | 409 | 422) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Equal events within this time are one, with a count.
const SERIES: Duration = Duration::from_secs(300);

/// Publishes events, one after the other. The client's own recorder takes two events of one reason for the same, so that of six
/// servers that start only one would be told.
pub(crate) async fn publish(
    client: Client,
    reporter: String,
    about: ObjectReference,
    mut happened: mpsc::Receiver<Happened>,
) {
    let namespace = about.namespace.clone().unwrap_or_default();
    let events: Api<Event> = Api::namespaced(client, &namespace);
    let mut series: BTreeMap<String, (String, i32, Instant)> = BTreeMap::new();
    while let Some(happened) = happened.recv().await {
        let event = event(&happened, &about, &reporter);
        let note = event.note.clone().unwrap_or_default();
        series.retain(|_, (_, _, last)| last.elapsed() < SERIES);
        let published = async {
            if let Some((name, count, last)) = series.get_mut(&note) {
                (*count, *last) = (count.saturating_add(1), Instant::now());
                let observed = MicroTime(jiff::Timestamp::now());
                let patch = json!({ "series": { "count": *count, "lastObservedTime": observed } });
                return events.patch(name, &PatchParams::default(), &Patch::Merge(patch)).await.map(drop);
            }
            let name = events.create(&PostParams::default(), &event).await?.name_any();
            series.insert(note, (name, 1, Instant::now()));
            Ok(())
        };
        match tokio::time::timeout(WITHIN, published).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "an event cannot be published"),
            Err(_) => tracing::warn!("an event cannot be published in time"),
        }
    }
}

fn event(happened: &Happened, about: &ObjectReference, reporter: &str) -> Event {
    let reason = serde_json::to_value(happened)
        .ok()
        .and_then(|value| value["event"].as_str().map(str::to_owned))
        .unwrap_or_else(|| "Happened".to_owned());
    let mut note = happened.told(CalledAs::KubectlValkeeper);
    // Kubernetes takes 1 kB.
    while note.len() > 1_000 {
        note.pop();
    }
    Event {
        metadata: ObjectMeta {
            generate_name: about.name.as_ref().map(|name| format!("{name}-")),
            namespace: about.namespace.clone(),
            // For programs, which must not take sentences apart.
            annotations: serde_json::to_string(happened)
                .ok()
                .map(|text| BTreeMap::from([(ANNOTATION_HAPPENED.to_owned(), text)])),
            ..ObjectMeta::default()
        },
        type_: Some(if is_trouble(happened) { "Warning" } else { "Normal" }.to_owned()),
        action: Some(reason.clone()),
        reason: Some(reason),
        note: Some(note),
        event_time: Some(MicroTime(jiff::Timestamp::now())),
        regarding: Some(about.clone()),
        reporting_controller: Some("valkeeper.io/operator".to_owned()),
        reporting_instance: Some(reporter.to_owned()),
        ..Event::default()
    }
}

fn is_trouble(happened: &Happened) -> bool {
    matches!(
        happened,
        Happened::Died { .. }
            | Happened::Unresponsive { .. }
            | Happened::SlowCommand { .. }
            | Happened::FailedOver { .. }
            | Happened::RoseByItself { .. }
            | Happened::Rewired { .. }
            | Happened::IdentityReset { .. }
            | Happened::SlotsTakenBack { .. }
            | Happened::BroughtHome { .. }
            | Happened::TakenOver { .. }
            | Happened::SwitchoverAbandoned { .. }
            | Happened::NodesConfRebuilt { .. }
            | Happened::PodDisrupted { .. }
            | Happened::LossAccepted { .. }
            | Happened::AofLost { .. }
            | Happened::StartFailed { .. }
            | Happened::BecameUnhealthy { .. }
    )
}

/// Which instances have no pod that runs, as far as Kubernetes says why.
pub(crate) fn not_running(seen: &Seen, silent: &BTreeSet<String>, report: &Report) -> Vec<Waiting> {
    let pods = seen.pods();
    let waiting =
        |instance: &InstanceName, why: String| Waiting::PodNotRunning { instance: instance.clone(), why };
    let troubles = pods.iter().filter_map(|(instance, pod)| Some(waiting(instance, why_not(pod, silent)?)));
    let lack = seen.lack();
    let missing = report.instances.iter().filter(|one| !pods.contains_key(&one.name));
    troubles.chain(missing.filter_map(|one| Some(waiting(&one.name, lack.clone()?)))).collect()
}

/// Pods that Kubernetes has begun to take away, each told once; `known` are those by their uid.
pub(super) fn disruptions(seen: &Seen, known: &mut BTreeSet<String>) -> Vec<Happened> {
    let pods = seen.pods();
    known.retain(|uid| pods.values().any(|pod| pod.uid == *uid));
    let new = pods.iter().filter_map(|(name, pod)| {
        let why = pod.disrupted.clone()?;
        known.insert(pod.uid.clone()).then(|| Happened::PodDisrupted { instance: name.clone(), why })
    });
    new.collect()
}

/// Why a pod does not run.
fn why_not(pod: &PodSeen, silent: &BTreeSet<String>) -> Option<String> {
    match pod.node.as_ref().filter(|node| silent.contains(*node)) {
        Some(node) if pod.state == PodState::Ending => Some(format!(
            "its node {node} is not ready, and the pod cannot end as long as nobody knows that the node is down: \
             if you do, `kubectl taint node {node} node.kubernetes.io/out-of-service=nodeshutdown:NoExecute`"
        )),
        Some(node) => Some(format!("its node {node} is not ready: Kubernetes does not hear of it")),
        None => pod.trouble.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::world::pod_seen;
    use super::*;

    fn pod(more: &Value) -> PodSeen {
        let mut pod = json!({
            "metadata": {
                "name": "demo-1", "namespace": "shop", "uid": "u1",
                "labels": { "redis.io/cluster": "demo", "redis.io/role": "primary" },
            },
            "spec": { "containers": [], "nodeName": "node1" },
        });
        for (key, value) in more.as_object().unwrap() {
            let before = pod[key].as_object().cloned().unwrap_or_default();
            pod[key] = before.into_iter().chain(value.as_object().unwrap().clone()).collect();
        }
        pod_seen(&serde_json::from_value::<Pod>(pod).unwrap()).unwrap().2
    }

    #[test]
    fn a_node_that_is_not_ready_is_named_and_what_frees_its_pods() {
        let silent = BTreeSet::from(["node1".to_owned()]);
        let alive = pod(&json!({}));
        assert_eq!(why_not(&alive, &BTreeSet::new()), None);
        assert!(why_not(&alive, &silent).unwrap().contains("node1 is not ready"));
        let ending = pod(&json!({ "metadata": { "deletionTimestamp": "2026-01-01T00:00:00Z" } }));
        assert!(why_not(&ending, &silent).unwrap().contains("out-of-service"));
    }

    #[test]
    fn a_pod_that_is_taken_away_is_told_once() {
        let seen = Seen::default();
        let condition = json!({
            "type": "DisruptionTarget", "status": "True", "reason": "PreemptionByScheduler", "message": "m",
        });
        let name: InstanceName = "demo-1".parse().unwrap();
        seen.saw_pod(name.clone(), Some(pod(&json!({ "status": { "conditions": [condition] } }))));
        let mut known = BTreeSet::new();
        let told = disruptions(&seen, &mut known);
        assert_eq!(
            told[0].to_string(),
            "the pod of demo-1 is taken away by Kubernetes: PreemptionByScheduler: m"
        );
        assert_eq!(disruptions(&seen, &mut known), []);
    }

    #[test]
    fn a_label_that_was_edited_differs() {
        let name: InstanceName = "demo-1".parse().unwrap();
        let pods = BTreeMap::from([(name.clone(), pod(&json!({})))]);
        assert!(!differ(&pods, &BTreeMap::from([(name.clone(), Role::Primary)])));
        assert!(differ(&pods, &BTreeMap::from([(name, Role::Replica)])));
    }

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
