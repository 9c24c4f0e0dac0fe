//! One primary and its replicas, without slots: clients find the primary by a Service.

use valkeeper_testkit::kube::{Bed, KubeCluster, SET, ThroughService};

/// What the writer may have in flight.
const IN_FLIGHT: u64 = 1;

#[test]
fn a_set_is_made_and_its_primarys_process_is_killed() {
    let bed = Bed::with_operator();
    let cluster = KubeCluster::describe(&bed, "set", SET, "");
    cluster.apply();
    cluster.until_healthy();
    let (primary, _) = cluster.roles("s0");
    let writer = ThroughService::start(&cluster, "leader");
    cluster.kill(cluster.process(&primary, true));
    writer.flowing();
    cluster.until_other_primary("s0", &primary);
    cluster.until_healthy();
    let (lost, _) = writer.finish();
    cluster.check(lost <= IN_FLIGHT, &format!("{lost} acknowledged writes are missing"));
}
