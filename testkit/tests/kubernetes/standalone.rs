//! One primary and its replicas, without slots: clients find the primary by a Service. A zone is a node here.

use std::time::{Duration, Instant};
use valkeeper_testkit::kube::{Bed, KubeCluster, SET, Shape, ThroughService};

/// What the writer may have in flight.
const IN_FLIGHT: u64 = 1;

/// The one set that all but the last scenario use.
fn standing(bed: &Bed) -> KubeCluster<'_> {
    KubeCluster::standing_of(bed, "standing-set", SET)
}

#[test]
fn services_lead_by_role() {
    let bed = Bed::with_operator();
    let cluster = standing(&bed);
    let (primary, _) = cluster.roles("s0");
    let object = cluster.object();
    cluster.check(object["status"]["currentPrimary"] == primary.as_str(), "currentPrimary is another");
    cluster.check(object["status"]["mode"] == "standalone", "the mode is another");
    let behind = |of: &str| cluster.behind_service(of);
    cluster.check(behind("leader") == [primary.clone()], "the Service leads to others than the primary");
    let replicas: Vec<String> = cluster.pods().into_keys().filter(|name| *name != primary).collect();
    cluster.until("the replicas are behind their Service", || (behind("replica") == replicas).then_some(()));
    cluster.check(behind("any").len() == 3, "not all are behind the Service for all");
    let connect: serde_json::Value =
        serde_json::from_str(&cluster.said(&["connect", "-o", "json"])).expect("json");
    for (field, service) in [("leader", "leader"), ("replica", "replica"), ("any", "any")] {
        let expected = format!("cache-{service}.{}.svc:6379", cluster.namespace);
        cluster.check(connect[field] == expected.as_str(), &format!("{connect}"));
    }
    ThroughService::start(&cluster, "leader").finish(0);
}

#[test]
fn a_primarys_process_is_killed() {
    let bed = Bed::with_operator();
    let cluster = standing(&bed);
    let (primary, _) = cluster.roles("s0");
    let writer = ThroughService::start(&cluster, "leader");
    cluster.kill(cluster.process(&primary, true));
    cluster.until_other_primary("s0", &primary);
    writer.flowing();
    cluster.until_healthy();
    writer.finish(IN_FLIGHT);
}

#[test]
fn a_primarys_pod_is_deleted() {
    let bed = Bed::with_operator();
    let cluster = standing(&bed);
    let writer = ThroughService::start(&cluster, "leader");
    cluster.delete_primary("s0");
    writer.finish(0);
}

/// Also what a user asks for otherwise: to keep a server down, and to start it again.
#[test]
fn a_switchover_a_fence_and_a_restart_lose_nothing() {
    let bed = Bed::with_operator();
    let cluster = standing(&bed);
    let writer = ThroughService::start(&cluster, "leader");
    let (old, to) = cluster.roles("s0");
    cluster.said(&["switchover", "--to", &to]);
    cluster.check(cluster.until_other_primary("s0", &old) == to, "another one is the primary");
    writer.flowing();
    cluster.until_healthy();
    cluster.said(&["fence", &to]);
    let heir = cluster.until_other_primary("s0", &to);
    writer.flowing();
    cluster.said(&["unfence", &to]);
    cluster.until_healthy();
    cluster.said(&["restart", &heir]);
    cluster.until_other_primary("s0", &heir);
    cluster.until_healthy();
    writer.finish(0);
}

/// Its primary takes no writes before another one does, and none when it is back.
#[test]
fn the_primarys_host_is_cut_off_and_then_frozen() {
    let bed = Bed::with_operator();
    let cluster = standing(&bed);
    for frozen in [false, true] {
        let (primary, _) = away_from_operator(&bed, &cluster);
        let node = cluster.node_of(&primary);
        let writer = ThroughService::start(&cluster, "leader");
        let lost_at = Instant::now();
        let fault = if frozen { bed.frozen(&node) } else { bed.unlinked(&node) };
        cluster.until_other_primary("s0", &primary);
        let told = lost_at.elapsed();
        writer.flowing();
        eprintln!(
            "frozen {frozen}: another primary after {told:?}, writes through the Service after {:?}",
            lost_at.elapsed()
        );
        fault.mend();
        cluster.until_healthy();
        writer.finish(IN_FLIGHT);
    }
}

/// No operator and no API server is needed for a successor: clients that know the pods write on. The labels follow when it is back.
#[test]
fn the_primary_dies_while_the_api_server_is_away() {
    let bed = Bed::with_operator();
    let cluster = standing(&bed);
    let (primary, _) = cluster.roles("s0");
    let process = cluster.process(&primary, true);
    let traffic = valkeeper_testkit::kube::KubeTraffic::start(&cluster);
    let away = bed.stopped("apiserver");
    std::thread::sleep(Duration::from_secs(1));
    cluster.kill(process);
    traffic.flowing();
    // What they missed while it was away they may wait for without end, and they end when it is not ready yet.
    let controllers = bed.stopped("controllers");
    away.mend();
    cluster.until("the API server is ready", || bed.try_kubectl(&["get", "--raw=/readyz"]).ok());
    controllers.mend();
    let heir = cluster.until_other_primary("s0", &primary);
    cluster.until("the Service leads to the successor", || {
        (cluster.behind_service("leader") == [heir.clone()]).then_some(())
    });
    cluster.until_healthy();
    traffic.finish(IN_FLIGHT);
}

#[test]
fn the_primarys_volume_is_lost_with_its_pod() {
    let bed = Bed::with_operator();
    let cluster = standing(&bed);
    let (primary, _) = cluster.roles("s0");
    let writer = ThroughService::start(&cluster, "leader");
    let volume = cluster.volume_of(&primary);
    cluster.kubectl(&["delete", "pod", &primary, "--grace-period=0", "--force", "--wait=false"]);
    bed.wipe_volume(&volume);
    cluster.until_other_primary("s0", &primary);
    cluster.until_healthy();
    writer.finish(IN_FLIGHT);
}

#[test]
fn a_single_server_comes_back_with_its_data() {
    let bed = Bed::with_operator();
    let cluster = KubeCluster::describe(&bed, "single", Shape { replicas: 0, ..SET }, "");
    cluster.apply();
    cluster.until_healthy();
    let writer = ThroughService::start(&cluster, "leader");
    let (primary, _) = cluster.roles("s0");
    cluster.kill(cluster.process(&primary, true));
    writer.flowing();
    cluster.kubectl(&["delete", "pod", &primary, "--wait=true"]);
    writer.flowing();
    cluster.until_healthy();
    writer.finish(0);
}

/// Of two servers: the one that is left is elected with the vote of the register, and the primary goes on without its replica, or without the API
/// server.
#[test]
fn two_servers_survive_the_loss_of_either_host() {
    let bed = Bed::with_operator();
    let cluster = KubeCluster::describe(&bed, "pair", Shape { replicas: 1, ..SET }, "");
    cluster.apply();
    cluster.until_healthy();
    for frozen in [false, true] {
        let (primary, _) = away_from_operator(&bed, &cluster);
        let node = cluster.node_of(&primary);
        let writer = ThroughService::start(&cluster, "leader");
        let lost_at = Instant::now();
        let fault = if frozen { bed.frozen(&node) } else { bed.unlinked(&node) };
        cluster.until_other_primary("s0", &primary);
        writer.flowing();
        eprintln!("of two, frozen {frozen}: writes through the Service after {:?}", lost_at.elapsed());
        fault.mend();
        cluster.until_healthy();
        writer.finish(IN_FLIGHT);
    }
    let (primary, replica) = away_from_operator(&bed, &cluster);
    let traffic = valkeeper_testkit::kube::KubeTraffic::start(&cluster);
    let fault = bed.unlinked(&cluster.node_of(&replica));
    // Far longer than a lease lasts: the register renews it.
    std::thread::sleep(Duration::from_secs(6));
    traffic.flowing();
    cluster.check(cluster.roles("s0").0 == primary, "another one is the primary");
    fault.mend();
    cluster.until_healthy();
    let away = bed.stopped("apiserver");
    std::thread::sleep(Duration::from_secs(6));
    traffic.flowing();
    away.mend();
    cluster.until_healthy();
    traffic.finish(0);
}

/// What becomes of the status is another scenario: a primary that is not on the operator's node, by a switchover if need be.
fn away_from_operator(bed: &Bed, cluster: &KubeCluster<'_>) -> (String, String) {
    let operator = bed.operator_node();
    let (primary, _) = cluster.roles("s0");
    if cluster.node_of(&primary) != operator {
        return cluster.roles("s0");
    }
    cluster.said(&["switchover"]);
    cluster.until_other_primary("s0", &primary);
    cluster.until_healthy();
    cluster.roles("s0")
}
