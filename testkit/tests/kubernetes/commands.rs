//! The commands of the laptop, against a cluster in Kubernetes.

use serde_json::Value;
use std::collections::BTreeSet;
use valkeeper_testkit::kube::{Bed, KubeCluster, KubeTraffic};

#[test]
fn the_commands_of_the_laptop() {
    let bed = Bed::with_operator();
    let cluster = KubeCluster::create(&bed, "commands");
    let traffic = KubeTraffic::start(&cluster);
    let status: Value = serde_json::from_str(&cluster.said(&["status", "-o", "json"])).expect("json");
    cluster.check(status["healthy"] == true, "status does not say healthy");

    let (primary, replica) = cluster.roles("s0");
    cluster.said(&["switchover", "s0", "--to", &replica]);
    cluster.until("the roles are swapped", || (cluster.roles("s0").0 == replica).then_some(()));
    let unknown = cluster.valkeeper(&["switchover", "s9"]).err();
    cluster.check(unknown.is_some_and(|said| said.contains("hint:")), "an unknown shard is not explained");
    cluster.said(&["restart", &primary]);
    cluster.until_healthy();

    cluster.said(&["fence", &primary]);
    cluster
        .until("the status shows the fence", || cluster.said(&["status"]).contains("fenced").then_some(()));
    cluster.said(&["unfence", &primary]);
    cluster.until_healthy();

    cluster.said(&["cli", "--", "SET", "greeting", "two words"]);
    let said = cluster.said(&["cli", "--", "GET", "greeting"]);
    cluster.check(said.contains("two words"), &format!("cli says {said}"));
    cluster.check(!cluster.said(&["logs", &replica, "--tail", "5"]).is_empty(), "no log");
    cluster.check(cluster.said(&["connect"]).contains("cache-any"), "connect does not name the Service");
    let file = std::env::temp_dir().join(format!("plan-{}.yaml", std::process::id()));
    std::fs::write(&file, cluster.manifest()).expect("writable");
    cluster.said(&["plan", "-f", file.to_str().expect("text")]);
    std::fs::remove_file(&file).expect("it is there");
    traffic.finish_unnoticed();
    cluster.check(cluster.said(&["drill", "switchover", "--runs", "1"]).contains("switchover"), "no drill");

    let told = cluster.said(&["events"]);
    cluster.check(told.contains(&replica), &format!("the switchover is not among the events: {told}"));
    // Kubernetes has them too, an equal one once with a count.
    let listed = cluster.kubectl(&["get", "events.events.k8s.io", "-o", "json"]);
    let listed: Value = serde_json::from_str(&listed).expect("json");
    let ours = listed["items"].as_array().into_iter().flatten();
    let ours: Vec<String> = ours
        .filter(|event| event["regarding"]["kind"] == "RedisCluster")
        .map(|event| format!("{} {}", event["reason"], event["note"]))
        .collect();
    let different: BTreeSet<&String> = ours.iter().collect();
    cluster.check(!ours.is_empty(), "there are no events");
    cluster.check(different.len() == ours.len(), &format!("events stand twice: {ours:?}"));
}
