//! Events: what has happened to a cluster, for people and for programs.

use super::status_writer::WITHIN;
use crate::operator::cache::Seen;
use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, Client, ResourceExt as _};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};
use tokio::sync::mpsc;
use valkeeper_kube_api::names::ANNOTATION_HAPPENED;
use valkeeper_model::{CalledAs, Happened};

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
            | Happened::CopyHeldBack { .. }
            | Happened::SourceAccepted { .. }
            | Happened::AofLost { .. }
            | Happened::StartFailed { .. }
            | Happened::BecameUnhealthy { .. }
    )
}

/// Pods that Kubernetes has begun to take away, each told once; `known` are those by their uid.
pub(crate) fn disruptions(seen: &Seen, known: &mut BTreeSet<String>) -> Vec<Happened> {
    let pods = seen.pods();
    known.retain(|uid| pods.values().any(|pod| pod.uid == *uid));
    let new = pods.iter().filter_map(|(name, pod)| {
        let why = pod.disrupted.clone()?;
        known.insert(pod.uid.clone()).then(|| Happened::PodDisrupted { instance: name.clone(), why })
    });
    new.collect()
}

#[cfg(test)]
mod tests {
    use super::super::pod_trouble::tests::pod;
    use super::*;
    use valkeeper_model::InstanceName;

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
}
