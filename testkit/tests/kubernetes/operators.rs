//! Operators come and go: data and roles do not mind.

use valkeeper_testkit::kube::{Bed, KubeCluster, KubeTraffic};

#[test]
fn two_operators_one_of_them_killed() {
    let bed = Bed::with_operator();
    bed.operators(2);
    let cluster = KubeCluster::create(&bed, "operators");
    let traffic = KubeTraffic::start(&cluster);
    bed.kill_operator();
    bed.operators(1);
    let (primary, _) = cluster.roles("s0");
    cluster.kubectl(&["delete", "pod", &primary, "--wait=false"]);
    cluster.until_other_primary("s0", &primary);
    cluster.until_healthy();
    traffic.finish_unnoticed();
    cluster.remove();
}

#[test]
fn what_was_taken_away_is_made_again() {
    let bed = Bed::with_operator();
    let cluster = KubeCluster::create(&bed, "taken-away");
    let traffic = KubeTraffic::start(&cluster);
    let password = cluster.password();
    for (kind, name) in [
        ("secret", "cache-auth"),
        ("configmap", "cache-layout"),
        ("service", "cache-cluster"),
        ("service", "cache-any"),
        ("secret", "cache-agent-tls"),
        ("secret", "cache-ca"),
        ("poddisruptionbudget", "cache"),
    ] {
        cluster.kubectl(&["delete", kind, name]);
        cluster.until(&format!("{kind} {name} is made again"), || {
            cluster.try_kubectl(&["get", kind, name]).ok()
        });
    }
    cluster.until_healthy();
    cluster.check(password == cluster.password(), "the password is another");
    bed.kill_operator();
    cluster.until_healthy();
    traffic.finish(0);
    cluster.remove();
}

#[test]
fn the_apiserver_is_stopped_and_nothing_happens_to_data_or_roles() {
    let bed = Bed::with_operator();
    let cluster = KubeCluster::create(&bed, "no-api");
    let before = cluster.all_roles();
    let traffic = KubeTraffic::start(&cluster);
    bed.stop("apiserver");
    std::thread::sleep(std::time::Duration::from_secs(15));
    traffic.flowing();
    bed.start("apiserver");
    cluster.until("the API server answers", || bed.try_kubectl(&["get", "nodes"]).ok());
    cluster.until_healthy();
    let after = cluster.all_roles();
    cluster.check(before == after, &format!("roles have changed: {before:?} {after:?}"));
    traffic.finish_unnoticed();
    cluster.remove();
}
