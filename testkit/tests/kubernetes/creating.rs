//! A cluster comes to be, whatever happens to its operator meanwhile.

use serde_json::Value;
use std::time::Duration;
use valkeeper_testkit::kube::{Bed, KubeCluster, KubeTraffic, WHOLE};

#[test]
fn three_shards_over_three_zones() {
    let bed = Bed::with_operator();
    let cluster = KubeCluster::create(&bed, "create");
    let pods = cluster.pods();
    for shard in ["s0", "s1", "s2"] {
        let (primary, replica) = cluster.roles(shard);
        let zone = |name: &str| pods[name]["spec"]["nodeName"].clone();
        cluster.check(zone(&primary) != zone(&replica), &format!("{shard} is in one zone"));
        let label = pods[&primary]["metadata"]["labels"]["redis.io/role"].clone();
        cluster.check(label == "primary", &format!("{primary} is labelled {label}"));
    }
    cluster.check(
        cluster.condition("Ready").is_some_and(|(status, _)| status == "True"),
        "the condition Ready is not true",
    );
    KubeTraffic::start(&cluster).finish(0);
}

#[test]
fn its_operator_killed_ten_times_while_it_is_made() {
    let bed = Bed::with_operator();
    let cluster = KubeCluster::describe(&bed, "create-killed", WHOLE, "");
    cluster.apply();
    for kill in 0..10_u64 {
        std::thread::sleep(Duration::from_millis(137 * kill % 1_009));
        bed.kill_operator();
    }
    cluster.until_healthy();
    KubeTraffic::start(&cluster).finish(0);
}

#[test]
fn two_clusters_of_one_name_know_nothing_of_each_other() {
    let bed = Bed::with_operator();
    let one = KubeCluster::create(&bed, "twin-a");
    let other = KubeCluster::create(&bed, "twin-b");
    one.check(one.password() != other.password(), "they share a password");
    let traffic = (KubeTraffic::start(&one), KubeTraffic::start(&other));
    one.kubectl(&["delete", "redisclusters", "cache", "--wait=true"]);
    traffic.1.finish(0);
    other.until_healthy();
}

/// A volume that nobody can give keeps one pod from its node; the others do not wait for it.
#[test]
fn a_replica_that_finds_no_place_keeps_nobody_waiting() {
    let bed = Bed::with_operator();
    let cluster = KubeCluster::describe(&bed, "placeless", WHOLE, "");
    let claim = "apiVersion: v1\nkind: PersistentVolumeClaim\nmetadata:\n  name: cache-data-5\n  namespace: placeless\n  labels: {redis.io/cluster: cache, redis.io/instance: cache-5}\nspec:\n  storageClassName: nowhere\n  accessModes: [ReadWriteOnce]\n  resources:\n    requests:\n      storage: 1Gi\n";
    bed.apply_text(claim, &[]);
    cluster.apply();
    cluster.until("it serves without that replica", || {
        cluster.condition("Ready").filter(|(status, _)| status == "True")
    });
    cluster.check(cluster.object()["status"]["phase"] == "Degraded", "it does not tell that it lacks one");
    let traffic = KubeTraffic::start(&cluster);
    let told = cluster.said(&["status"]);
    cluster.check(told.contains("cache-5") && told.contains("cannot be scheduled"), &told);
    cluster.kubectl(&["delete", "pvc", "cache-data-5", "--wait=false"]);
    cluster.until_healthy();
    traffic.finish(0);
}

/// Its volumes go when its pods have gone, and what Kubernetes collects goes some time after: neither may be taken for a cluster to come
/// back, which would wait for data that nobody has.
#[test]
fn made_again_while_all_that_was_left_of_it_is_being_deleted() {
    let bed = Bed::with_operator();
    let cluster = KubeCluster::create(&bed, "anew");
    KubeTraffic::start(&cluster).finish(0);
    cluster.kubectl(&["delete", "redisclusters", "cache", "--wait=false"]);
    cluster.kubectl(&["delete", "pvc", "--all", "--wait=false"]);
    cluster.check(!cluster.pods().is_empty(), "its pods have gone too early to show anything");
    cluster.apply();
    cluster.until_healthy();
    let owner = cluster.object()["metadata"]["uid"].clone();
    let of_it = |pod: &Value| pod["metadata"]["ownerReferences"][0]["uid"] == owner;
    cluster.check(cluster.pods().values().all(of_it), "it is healthy on pods that will be collected");
    KubeTraffic::start(&cluster).finish_unnoticed();
}

#[test]
fn deleted_while_it_is_made_and_made_again_on_its_volumes() {
    let bed = Bed::with_operator();
    let cluster = KubeCluster::describe(&bed, "again", WHOLE, "");
    cluster.apply();
    cluster.until("its first pod is there", || (!cluster.pods().is_empty()).then_some(()));
    cluster.kubectl(&["delete", "redisclusters", "cache", "--wait=true"]);
    cluster.until("its pods are gone", || cluster.pods().is_empty().then_some(()));
    cluster.apply();
    cluster.until_healthy();
    let traffic = KubeTraffic::start(&cluster);
    traffic.flowing();
    let written = traffic.finish(0);
    cluster.kubectl(&["delete", "redisclusters", "cache", "--wait=true"]);
    cluster.until("its pods are gone", || cluster.pods().is_empty().then_some(()));
    cluster.apply();
    cluster.until_healthy();
    // It has another password by now, so that the keys are counted, not read by the load.
    cluster.check_keys_of(&written);
}
