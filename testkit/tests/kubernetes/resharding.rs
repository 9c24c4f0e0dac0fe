//! The number of shards changes in a running cluster.

use valkeeper_testkit::kube::{Bed, KubeCluster, KubeTraffic};

fn ask_for(cluster: &KubeCluster<'_>, shards: usize) {
    let patch = format!(r#"{{"spec":{{"shards":{shards}}}}}"#);
    cluster.kubectl(&["patch", "rediscluster", &cluster.name, "--type=merge", "-p", &patch]);
}

/// Is it healthy with so many shards of two instances, each with slots, and is nothing under way any more?
fn has_shards(cluster: &KubeCluster<'_>, shards: usize) -> Option<()> {
    let status = cluster.object()["status"].clone();
    let told = status["shards"].as_object()?;
    let serves =
        |shard: &serde_json::Value| shard["slotRanges"].as_array().is_some_and(|ranges| !ranges.is_empty());
    let at_rest = status["progress"].as_array().is_none_or(Vec::is_empty);
    let come_about = told.len() == shards && told.values().all(serves) && cluster.pods().len() == 2 * shards;
    (come_about && at_rest && cluster.is_healthy()).then_some(())
}

#[test]
fn six_shards_and_three_again_and_the_layout_from_the_volumes() {
    let bed = Bed::with_operator();
    let cluster = KubeCluster::create(&bed, "shards");
    let traffic = KubeTraffic::start(&cluster);
    ask_for(&cluster, 6);
    cluster.until("there are pods of new shards", || (cluster.pods().len() > 6).then_some(()));
    bed.kill_operator();
    cluster.until("six shards serve", || has_shards(&cluster, 6));
    traffic.flowing();
    ask_for(&cluster, 3);
    cluster.until("three shards serve", || has_shards(&cluster, 3));
    let claims = cluster.kubectl(&["get", "pvc", "-o", "name"]);
    cluster
        .check(claims.lines().count() == 12, &format!("volumes of the shards that left are gone: {claims}"));
    // Those of the shards that have left tell of slots too, which others have got since.
    let instances: Vec<_> = cluster.pods().into_keys().collect();
    // An operator that runs would write down the one that it holds.
    bed.operators(0);
    cluster.kubectl(&["delete", "configmap", "cache-layout"]);
    bed.operators(1);
    cluster.until("three shards serve by the rebuilt layout", || has_shards(&cluster, 3));
    cluster.check(cluster.pods().into_keys().eq(instances), "others are there now");
    traffic.finish(0);
}
