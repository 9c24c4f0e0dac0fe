//! Pods are asked to go: they hand over first, and no client sees an error.

use valkeeper_testkit::kube::{Bed, KubeCluster, KubeTraffic};

#[test]
fn a_primarys_pod_is_deleted() {
    let bed = Bed::with_operator();
    let cluster = KubeCluster::standing(&bed);
    let traffic = KubeTraffic::start(&cluster);
    traffic.mark("deleted");
    cluster.delete_primary("s0");
    traffic.finish_unnoticed();
}

#[test]
fn a_node_is_drained() {
    let bed = Bed::with_operator();
    let cluster = KubeCluster::standing(&bed);
    let (primary, _) = cluster.roles("s1");
    let node = cluster.node_of(&primary);
    let traffic = KubeTraffic::start(&cluster);
    traffic.mark("drained");
    let mut draining = bed.drain(&node, &primary);
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
}

/// Resolvers remember where a pod was. A primary's pod that has come back elsewhere gets its role back for its zone, as it would at once,
/// only when who asks for its name finds it: clients are sent on by name. Another shard's may be switched instead.
#[test]
fn no_role_is_switched_to_where_a_name_does_not_lead() {
    let bed = Bed::with_operator();
    let cluster = KubeCluster::standing(&bed);
    let (primary, other) = cluster.roles("s0");
    let name = format!("{primary}.cache-cluster.standing.svc.cluster.local");
    let was = cluster.pods()[&primary]["status"]["podIP"].as_str().expect("it has one").to_owned();
    let pinned = bed.name_pinned(&name, &was);
    let traffic = KubeTraffic::start(&cluster);
    cluster.delete_primary("s0");
    cluster.until("the status says where its name leads", || {
        cluster.object()["status"]["waiting"].to_string().contains("its name does not lead").then_some(())
    });
    cluster.until_healthy();
    // As long as it mostly takes to get the role back.
    std::thread::sleep(std::time::Duration::from_secs(8));
    cluster.check(cluster.roles("s0").0 == other, "the role was switched to where nobody finds it");
    pinned.mend();
    cluster.until_spread();
    traffic.finish_unnoticed();
}
