//! Volumes are lost.

use serde_json::Value;
use valkeeper_testkit::kube::{Bed, KubeCluster, KubeTraffic};

#[test]
fn a_primarys_volume_is_lost_with_its_pod() {
    let bed = Bed::with_operator();
    let cluster = KubeCluster::standing(&bed);
    let traffic = KubeTraffic::start(&cluster);
    let (primary, _) = cluster.roles("s0");
    let claim = primary.replace("cache-", "cache-data-");
    let object = cluster.kubectl(&["get", "pvc", &claim, "-o", "json"]);
    let object: Value = serde_json::from_str(&object).expect("json");
    let volume = object["spec"]["volumeName"].as_str().expect("bound").to_owned();
    // Killed so that nothing is handed over; its folder is emptied before it can start again.
    cluster.kubectl(&["delete", "pod", &primary, "--grace-period=0", "--force", "--wait=false"]);
    bed.wipe_volume(&volume);
    traffic.flowing();
    cluster.until_healthy();
    // A replica's claim is taken away with its pod: it gets another volume, an empty one.
    let (_, replica) = cluster.roles("s1");
    let claim = replica.replace("cache-", "cache-data-");
    let uid =
        |claim: &str| cluster.try_kubectl(&["get", "pvc", claim, "-o", "jsonpath={.metadata.uid}"]).ok();
    let before = uid(&claim);
    cluster.kubectl(&["delete", "pvc", &claim, "--wait=false"]);
    cluster.kubectl(&["delete", "pod", &replica, "--wait=false"]);
    cluster.until("it has another claim", || uid(&claim).filter(|now| Some(now) != before.as_ref()));
    cluster.until_healthy();
    traffic.finish(1);
}
