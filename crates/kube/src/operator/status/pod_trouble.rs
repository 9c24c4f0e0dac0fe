//! Why pods do not run, as far as Kubernetes says. Pure.

use crate::operator::cache::{PodSeen, PodState, Seen};
use std::collections::BTreeSet;
use valkeeper_model::{InstanceName, Report, Waiting};

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

/// Why a pod does not run.
fn why_not(pod: &PodSeen, silent: &BTreeSet<String>) -> Option<String> {
    match pod.node.as_ref().filter(|node| silent.contains(*node)) {
        Some(node) if pod.state == PodState::Ending => Some(format!(
            "its node {node} is not ready, and the pod cannot end as long as nobody knows that the node is down: \
             if you do, `kubectl taint node {node} node.kubernetes.io/out-of-service=nodeshutdown:NoExecute`"
        )),
        Some(node) => Some(format!("its node {node} is not ready: Kubernetes does not hear of it")),
        None => pod.trouble.as_ref().map(ToString::to_string),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::operator::cache::pod_seen;
    use k8s_openapi::api::core::v1::Pod;
    use serde_json::{Value, json};

    pub(in super::super) fn pod(more: &Value) -> PodSeen {
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
}
