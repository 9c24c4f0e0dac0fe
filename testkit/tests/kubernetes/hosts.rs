//! Hosts are lost: no process is left there to say so. A zone is a node here, so that a lost node is a lost zone.

use std::time::{Duration, Instant};
use valkeeper_testkit::kube::{Bed, KubeCluster, KubeTraffic};

/// A lost host takes with it what had not left it: writes that were acknowledged before it was cut off and until its primary
/// refused more. The writers are on the other side of the cut, so that theirs are only those in flight.
const IN_FLIGHT: u64 = 1;
/// A client that waits for longer sees its own patience, not the failover.
const PATIENCE: Duration = Duration::from_millis(300);

#[test]
fn a_node_is_cut_off_and_comes_back() {
    let bed = Bed::with_operator();
    let cluster = KubeCluster::standing(&bed);
    let shard = shard_away_from_operator(&bed, &cluster);
    let (primary, _) = cluster.roles(&shard);
    let node = cluster.node_of(&primary);
    let traffic = KubeTraffic::with_patience(&cluster, PATIENCE);
    let cut = Instant::now();
    traffic.mark("cut");
    let off = bed.unlinked(&node);
    cluster.until("the status does not say Ready", || {
        cluster.condition("Ready").filter(|(status, _)| status == "False")
    });
    let told = cut.elapsed();
    cluster.until_other_primary(&shard, &primary);
    traffic.flowing();
    let flowing = cut.elapsed();
    eprintln!("not Ready after {told:?}, another primary and writes everywhere after {flowing:?}");
    off.mend();
    cluster.until_healthy();
    traffic.finish(IN_FLIGHT);
}

#[test]
fn a_node_is_frozen_and_goes_on() {
    let bed = Bed::with_operator();
    let cluster = KubeCluster::standing(&bed);
    let shard = shard_away_from_operator(&bed, &cluster);
    let (primary, _) = cluster.roles(&shard);
    let node = cluster.node_of(&primary);
    let traffic = KubeTraffic::with_patience(&cluster, PATIENCE);
    traffic.mark("frozen");
    let frozen = bed.frozen(&node);
    cluster.until_other_primary(&shard, &primary);
    traffic.flowing();
    frozen.mend();
    cluster.until_healthy();
    traffic.finish(IN_FLIGHT);
    // For its zone it gets its role back soon, from a majority that has just promised not to let it be primary for six seconds.
    let traffic = KubeTraffic::start(&cluster);
    cluster.until_spread();
    std::thread::sleep(Duration::from_secs(3));
    traffic.finish_unnoticed();
}

#[test]
fn a_kubelet_is_stopped_and_nobody_minds() {
    let bed = Bed::with_operator();
    let cluster = KubeCluster::standing(&bed);
    let before = cluster.all_roles();
    let node = cluster.node_of(&before[0].0);
    let traffic = KubeTraffic::start(&cluster);
    let stopped = bed.stopped(&format!("{node}-kubelet"));
    // Long enough for Kubernetes to call the node lost.
    cluster.until("Kubernetes calls the node lost", || {
        let ready = bed.kubectl(&["get", "node", &node, "--no-headers"]);
        ready.contains("NotReady").then_some(())
    });
    std::thread::sleep(Duration::from_secs(3));
    stopped.mend();
    cluster.until_healthy();
    let after = cluster.all_roles();
    cluster.check(before == after, &format!("roles have changed: {before:?} {after:?}"));
    traffic.finish_unnoticed();
}

#[test]
fn one_node_cannot_reach_the_apiserver() {
    let bed = Bed::with_operator();
    let cluster = KubeCluster::standing(&bed);
    let before = cluster.all_roles();
    let shard = shard_away_from_operator(&bed, &cluster);
    let node = cluster.node_of(&cluster.roles(&shard).0);
    let traffic = KubeTraffic::start(&cluster);
    let without = bed.without_api(&node);
    std::thread::sleep(Duration::from_secs(20));
    traffic.flowing();
    without.mend();
    cluster.until_healthy();
    let after = cluster.all_roles();
    cluster.check(before == after, &format!("roles have changed: {before:?} {after:?}"));
    traffic.finish_unnoticed();
}

/// A shard whose primary is not on the operator's node: what becomes of the status is another scenario.
fn shard_away_from_operator(bed: &Bed, cluster: &KubeCluster<'_>) -> String {
    let operator = bed.operator_node();
    let away = |shard: &&str| cluster.node_of(&cluster.roles(shard).0) != operator;
    let found = ["s0", "s1", "s2"].iter().find(|shard| away(shard)).copied();
    found.unwrap_or_else(|| cluster.fail("all primaries are on the operator's node")).to_owned()
}
