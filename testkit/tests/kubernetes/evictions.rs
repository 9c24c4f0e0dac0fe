//! Pods are asked to go: they hand over first, and no client sees an error.

use std::process::Command;
use valkeeper_testkit::kube::{Bed, KubeCluster, KubeTraffic};

#[test]
fn a_primarys_pod_is_deleted() {
    let bed = Bed::with_operator();
    let cluster = KubeCluster::create(&bed, "evict-delete");
    let (primary, _) = cluster.roles("s0");
    let traffic = KubeTraffic::start(&cluster);
    traffic.mark("deleted");
    cluster.kubectl(&["delete", "pod", &primary, "--wait=false"]);
    cluster.until_other_primary("s0", &primary);
    cluster.until_healthy();
    traffic.finish_unnoticed();
    cluster.remove();
}

#[test]
fn a_node_is_drained() {
    let bed = Bed::with_operator();
    let cluster = KubeCluster::create(&bed, "evict-drain");
    let (primary, _) = cluster.roles("s1");
    let node = cluster.node_of(&primary);
    let traffic = KubeTraffic::start(&cluster);
    traffic.mark("drained");
    // Of two pods of the cluster on the node the budget lets one go, and which one goes first is chance.
    let selector = format!("--pod-selector=redis.io/instance={primary}");
    let drain = [
        "drain",
        &node,
        "--ignore-daemonsets",
        "--delete-emptydir-data",
        "--force",
        &selector,
        "--timeout=80s",
    ];
    let mut draining = Command::new("kubectl").args(drain).spawn().expect("kubectl is in the bed");
    cluster.until_other_primary("s1", &primary);
    // Volumes are the node's: the evicted pod waits for it.
    cluster.until("the status says why", || {
        let object = cluster.object();
        object["status"]["waiting"].to_string().contains("PodNotRunning").then_some(())
    });
    bed.kubectl(&["uncordon", &node]);
    cluster.until_healthy();
    traffic.finish_unnoticed();
    let _ = draining.kill();
    let _ = draining.wait();
    cluster.remove();
}
