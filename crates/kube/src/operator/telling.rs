//! What is written for people: the status, role labels, events. Written by tasks of their own, so that an API server that is slow or
//! away never holds up what is done for the cluster; only the newest status is written, and only when something has changed.

use super::world::Seen;
use crate::wire::Home;
use k8s_openapi::api::core::v1::{ObjectReference, Pod};
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, Client, ResourceExt as _};
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, watch};
use valkeeper_kube_api::names::{API_VERSION, LABEL_ROLE, field_managers};
use valkeeper_kube_api::{RedisCluster, RedisClusterStatus};
use valkeeper_model::{Happened, InstanceName, Report, Role, Waiting};

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
                status(&clusters, &home, newest.status.as_ref(), &mut written).await
            });
            let error = match result.await {
                Ok(Ok(())) => break,
                // It is gone: there is nobody to tell.
                Ok(Err(kube::Error::Api(error))) if error.code == 404 => break,
                Ok(Err(error)) => error.to_string(),
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
    home: &Home,
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
    clusters.patch_status(home.cluster.as_str(), &params, &Patch::Apply(object)).await?;
    *written = Some(Arc::clone(status));
    Ok(())
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
    let mut note = happened.to_string();
    // Kubernetes takes 1 kB.
    while note.len() > 1_000 {
        note.pop();
    }
    Event {
        metadata: ObjectMeta {
            generate_name: about.name.as_ref().map(|name| format!("{name}-")),
            namespace: about.namespace.clone(),
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
            | Happened::FailedOver { .. }
            | Happened::RoseByItself { .. }
            | Happened::Rewired { .. }
            | Happened::IdentityReset { .. }
            | Happened::SlotsTakenBack { .. }
            | Happened::TakenOver { .. }
            | Happened::SwitchoverAbandoned { .. }
            | Happened::NodesConfRebuilt { .. }
            | Happened::LossAccepted { .. }
            | Happened::StartFailed { .. }
            | Happened::BecameUnhealthy { .. }
    )
}

/// Which instances have no pod that runs, as far as Kubernetes says why.
pub(crate) fn not_running(seen: &Seen, report: &Report) -> Vec<Waiting> {
    let pods = seen.pods();
    let waiting =
        |instance: &InstanceName, why: String| Waiting::PodNotRunning { instance: instance.clone(), why };
    let troubles = pods.iter().filter_map(|(instance, pod)| Some(waiting(instance, pod.trouble.clone()?)));
    let lack = seen.lack();
    let missing = report.instances.iter().filter(|one| !pods.contains_key(&one.name));
    troubles.chain(missing.filter_map(|one| Some(waiting(&one.name, lack.clone()?)))).collect()
}
