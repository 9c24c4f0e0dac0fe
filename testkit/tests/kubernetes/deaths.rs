//! Processes and containers die.

use valkeeper_testkit::kube::{Bed, KubeCluster, KubeTraffic};

/// What one writer of the shard may have in flight.
const IN_FLIGHT: u64 = 1;

#[test]
fn a_primarys_process_is_killed() {
    let bed = Bed::with_operator();
    let cluster = KubeCluster::standing(&bed);
    let (primary, _) = cluster.roles("s0");
    let traffic = KubeTraffic::start(&cluster);
    traffic.mark("killed");
    cluster.kill(cluster.process(&primary, true));
    traffic.flowing();
    cluster.until_other_primary("s0", &primary);
    cluster.until_healthy();
    traffic.finish(IN_FLIGHT);
}

#[test]
fn a_primarys_process_is_killed_while_no_operator_runs() {
    let bed = Bed::with_operator();
    let cluster = KubeCluster::standing(&bed);
    let (primary, _) = cluster.roles("s1");
    bed.operators(0);
    let traffic = KubeTraffic::start(&cluster);
    traffic.mark("killed");
    cluster.kill(cluster.process(&primary, true));
    traffic.flowing();
    bed.operators(1);
    cluster.until_other_primary("s1", &primary);
    cluster.until_healthy();
    traffic.finish(IN_FLIGHT);
}

#[test]
fn a_primarys_container_is_killed_with_its_agent() {
    let bed = Bed::with_operator();
    let cluster = KubeCluster::standing(&bed);
    let (primary, _) = cluster.roles("s2");
    let traffic = KubeTraffic::start(&cluster);
    traffic.mark("killed");
    cluster.kill(cluster.process(&primary, false));
    traffic.flowing();
    cluster.until_healthy();
    traffic.finish(IN_FLIGHT);
}

#[test]
fn all_pods_at_once_come_back_elsewhere() {
    let bed = Bed::with_operator();
    let cluster = KubeCluster::standing(&bed);
    let written = KubeTraffic::start(&cluster).finish(0);
    let before = cluster.seeds();
    let label = "redis.io/workload=data";
    cluster.kubectl(&["delete", "pods", "-l", label, "--grace-period=0", "--force", "--wait=false"]);
    cluster.until("the old pods are gone", || {
        let now = cluster.seeds();
        now.iter().all(|endpoint| !before.contains(endpoint)).then_some(())
    });
    cluster.until_healthy();
    cluster.check_keys_of(&written);
    KubeTraffic::start(&cluster).finish(0);
}
