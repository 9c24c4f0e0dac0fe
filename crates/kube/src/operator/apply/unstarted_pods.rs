//! Pods that have a node and are not begun there. A kubelet that hears of a pod before the API server's node authorizer has is refused
//! the pod's volumes, and looks at the pod again only after ten seconds, or when the pod changes.

use crate::operator::cache::{Placed, Seen};
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use valkeeper_kube_api::names::{self, ANNOTATION_TOUCHED, field_managers};
use valkeeper_model::InstanceName;

/// How long after a pod has got its node it is changed: the authorizer knows it by then. Once more, should the API server be slow.
const TOUCHED: [Duration; 2] = [Duration::from_millis(700), Duration::from_secs(3)];
/// A write that takes longer is given up.
const WITHIN: Duration = Duration::from_secs(5);

/// Those that are due, and when the next is.
fn due(
    placed: &BTreeMap<InstanceName, Placed>,
    now: Instant,
) -> (Vec<(&InstanceName, &Placed)>, Option<Instant>) {
    let at = |placed: &Placed| TOUCHED.get(placed.touched).map(|after| placed.since + *after);
    let due = placed.iter().filter(|(_, placed)| at(placed).is_some_and(|at| at <= now));
    let later = placed.values().filter_map(at).filter(|at| *at > now).min();
    (due.collect(), later)
}

fn touch(placed: &Placed) -> Value {
    let times = (placed.touched + 1).to_string();
    json!({ "metadata": { "uid": placed.uid, "annotations": { ANNOTATION_TOUCHED: times } } })
}

/// Touches them, for as long as the cluster is looked after.
pub(crate) async fn run(pods: Api<Pod>, seen: Arc<Seen>) {
    loop {
        let things = seen.all();
        let (due, later) = due(&things.placed, Instant::now());
        if due.is_empty() {
            let changed = seen.placed.notified();
            match later {
                Some(at) => _ = tokio::time::timeout_at(at.into(), changed).await,
                None => changed.await,
            }
            continue;
        }
        for (name, placed) in due {
            let params = PatchParams {
                field_manager: Some(field_managers::OBJECTS.to_owned()),
                ..PatchParams::default()
            };
            let (pod, patch) = (names::pod(name), Patch::Merge(touch(placed)));
            let written = tokio::time::timeout(WITHIN, pods.patch(&pod, &params, &patch)).await;
            if let Ok(Err(error)) = written {
                tracing::debug!(%name, %error, "a pod that is not begun cannot be touched");
            }
            seen.touched(name, &placed.uid);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pod_that_does_not_begin_is_touched_twice() {
        let since = Instant::now();
        let name: InstanceName = "demo-1".parse().unwrap();
        let placed =
            |touched| BTreeMap::from([(name.clone(), Placed { uid: "u".to_owned(), since, touched })]);
        let (first, second) = (since + TOUCHED[0], since + TOUCHED[1]);
        assert_eq!(due(&placed(0), since), (vec![], Some(first)));
        assert_eq!(due(&placed(0), first).0.len(), 1);
        assert_eq!(due(&placed(1), first), (vec![], Some(second)));
        assert_eq!(due(&placed(1), second).0.len(), 1);
        assert_eq!(due(&placed(2), second + Duration::from_secs(60)), (vec![], None));
        assert_eq!(touch(&placed(1)[&name])["metadata"]["annotations"][ANNOTATION_TOUCHED], "2");
    }
}
