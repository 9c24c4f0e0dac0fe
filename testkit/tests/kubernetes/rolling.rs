//! Pods are replaced one after the other for another image or other resources.

use std::collections::BTreeMap;
use valkeeper_testkit::kube::{Bed, KubeCluster, KubeTraffic, WHOLE};

/// Each pod's uid, and the memory that its server's container asks for.
fn made(cluster: &KubeCluster<'_>) -> BTreeMap<String, (String, String)> {
    let of = |pod: &serde_json::Value| {
        let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
        let asks = &pod["spec"]["containers"][0]["resources"]["requests"]["memory"];
        (text(&pod["metadata"]["uid"]), text(asks))
    };
    cluster.pods().iter().map(|(name, pod)| (name.clone(), of(pod))).collect()
}

fn ask_for(cluster: &KubeCluster<'_>, memory: &str) {
    let patch = format!(r#"{{"spec":{{"resources":{{"requests":{{"memory":"{memory}"}}}}}}}}"#);
    cluster.kubectl(&["patch", "rediscluster", &cluster.name, "--type=merge", "-p", &patch]);
}

#[test]
fn other_resources_replace_each_pod_in_its_turn_and_no_write_is_lost() {
    let bed = Bed::with_operator();
    let cluster = KubeCluster::describe(&bed, "rolling", WHOLE, "  update:\n    canary: 1s\n");
    cluster.apply();
    cluster.until_healthy();
    let traffic = KubeTraffic::start(&cluster);
    let before = made(&cluster);
    ask_for(&cluster, "24Mi");
    cluster.until("the first pod is another", || {
        made(&cluster).iter().any(|(name, now)| before[name] != *now && now.1 == "24Mi").then_some(())
    });
    // What is under way stands in the layout.
    bed.kill_operator();
    traffic.flowing();
    cluster.until("all pods are others", || {
        let now = made(&cluster);
        (now.len() == 6 && now.iter().all(|(name, one)| one.1 == "24Mi" && one.0 != before[name].0))
            .then_some(())
    });
    cluster.until_healthy();
    an_image_that_nobody_has_is_given_up_at_its_first_pod(&cluster);
    primaries_wait_for_the_annotation(&cluster);
    traffic.finish(0);
}

/// Kubernetes says at once that nobody has the image: the one pod that was replaced for it comes back as it was.
fn an_image_that_nobody_has_is_given_up_at_its_first_pod(cluster: &KubeCluster<'_>) {
    let before = made(cluster);
    let patch = r#"{"spec":{"imageName":"valkey/valkey:none"}}"#;
    cluster.kubectl(&["patch", "rediscluster", &cluster.name, "--type=merge", "-p", patch]);
    cluster.until("a pod is replaced for it", || (made(cluster) != before).then_some(()));
    cluster.until("the roll is given up, and why", || {
        let status = cluster.object()["status"].to_string();
        (status.contains("does not start") && status.contains("valkey/valkey:none")).then_some(())
    });
    cluster.until("the pod is as it was", || {
        let images = cluster.pods();
        let asks = |pod: &serde_json::Value| pod["spec"].to_string().contains("valkey:none");
        (images.len() == 6 && !images.values().any(asks)).then_some(())
    });
    let now = made(cluster);
    let others = now.iter().filter(|(name, one)| before.get(*name).map(|one| &one.0) != Some(&one.0)).count();
    cluster.check(others == 1, &format!("{others} pods were replaced for an image that nobody has"));
    let patch = r#"{"spec":{"imageName":null}}"#;
    cluster.kubectl(&["patch", "rediscluster", &cluster.name, "--type=merge", "-p", patch]);
    cluster.until_healthy();
}

fn primaries_wait_for_the_annotation(cluster: &KubeCluster<'_>) {
    let name = cluster.name.as_str();
    let patch =
        r#"{"spec":{"primaryUpdateStrategy":"supervised","resources":{"requests":{"memory":"28Mi"}}}}"#;
    cluster.kubectl(&["patch", "rediscluster", name, "--type=merge", "-p", patch]);
    let made_anew = |cluster: &KubeCluster<'_>| made(cluster).values().filter(|one| one.1 == "28Mi").count();
    cluster.until("all replicas are made anew", || (made_anew(cluster) == 3).then_some(()));
    cluster.until("status says what is waited for", || {
        cluster.object()["status"]["progress"].to_string().to_lowercase().contains("approv").then_some(())
    });
    cluster.check(made_anew(cluster) == 3, "a primary was replaced that nobody approved of");
    cluster.kubectl(&["annotate", "rediscluster", name, "redis.io/approve-primary-update=true"]);
    cluster.until("the primaries follow", || (made_anew(cluster) == 6).then_some(()));
    cluster.until_healthy();
    let annotations = cluster.object()["metadata"]["annotations"].clone();
    cluster.check(annotations["redis.io/approve-primary-update"].is_null(), "the annotation is there still");
}
