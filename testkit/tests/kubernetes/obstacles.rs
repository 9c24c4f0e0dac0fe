//! What cannot be made, what is not the cluster's, and what was edited: each is told of, and keeps nobody else waiting.

use serde_json::Value;
use valkeeper_testkit::kube::{Bed, KubeCluster, KubeTraffic, WHOLE};

const QUOTA: &str = "apiVersion: v1\nkind: ResourceQuota\nmetadata: {name: few, namespace: obstacles}\nspec: {hard: {pods: \"5\"}}\n";
const FOREIGN: &str = "apiVersion: v1\nkind: Service\nmetadata: {name: cache-any, namespace: obstacles, labels: {mine: \"1\"}}\nspec: {selector: {app: web}, ports: [{port: 80}]}\n";

fn json(cluster: &KubeCluster<'_>, what: &[&str]) -> Value {
    let args: Vec<&str> = ["get"].iter().chain(what).chain(&["-o", "json"]).copied().collect();
    serde_json::from_str(&cluster.try_kubectl(&args).unwrap_or_default()).unwrap_or_default()
}

fn says(cluster: &KubeCluster<'_>, what: &str) {
    cluster.until(&format!("the status says `{what}`"), || {
        cluster.object()["status"]["waiting"].to_string().contains(what).then_some(())
    });
}

fn patch(cluster: &KubeCluster<'_>, what: &[&str], patch: &str) {
    let args: Vec<&str> =
        ["patch"].iter().chain(what).chain(&["--type=merge", "-p", patch]).copied().collect();
    cluster.kubectl(&args);
}

#[test]
fn what_is_in_the_way_is_named_and_keeps_nobody_waiting() {
    let bed = Bed::with_operator();
    let cluster = KubeCluster::describe(&bed, "obstacles", WHOLE, "");
    bed.apply_text(QUOTA, &[]);
    bed.apply_text(FOREIGN, &[]);
    cluster.apply();
    says(&cluster, "exceeded quota");
    says(&cluster, "Service cache-any was not made by Valkeeper");
    cluster.until("it serves without that replica", || {
        cluster.condition("Ready").filter(|(status, _)| status == "True")
    });
    cluster.check(!cluster.is_healthy(), "it is healthy without a replica and a Service");
    let foreign = json(&cluster, &["service", "cache-any"]);
    cluster.check(
        foreign["spec"]["selector"]["app"] == "web" && foreign["metadata"]["ownerReferences"].is_null(),
        &format!("a Service of a user's was taken over: {foreign}"),
    );
    cluster.kubectl(&["delete", "resourcequota", "few"]);
    cluster.kubectl(&["delete", "service", "cache-any"]);
    cluster.until_healthy();
    what_was_edited_is_put_right(&cluster);
    a_pod_that_cannot_be_made_freezes_nothing(&cluster);
    a_pod_that_never_ran_is_replaced(&cluster);
}

fn what_was_edited_is_put_right(cluster: &KubeCluster<'_>) {
    let (primary, _) = cluster.roles("s0");
    let things: [(&[&str], &str); 5] = [
        (&["service", "cache-any"], r#"{"spec":{"selector":{"no":"such"}}}"#),
        (&["service", "cache-cluster"], r#"{"spec":{"publishNotReadyAddresses":false}}"#),
        (&["poddisruptionbudget", "cache"], r#"{"spec":{"minAvailable":0}}"#),
        (&["networkpolicy", "cache"], r#"{"spec":{"ingress":[]}}"#),
        (
            &["pod", &primary],
            r#"{"metadata":{"labels":{"redis.io/role":"replica","redis.io/workload":"x"}}}"#,
        ),
    ];
    let content = |what: &[&str]| {
        let object = json(cluster, what);
        let labels = object["metadata"]["labels"].clone();
        if what[0] == "pod" { labels } else { object["spec"].clone() }
    };
    let before: Vec<Value> = things.iter().map(|(what, _)| content(what)).collect();
    for (what, edit) in &things {
        patch(cluster, what, edit);
    }
    for ((what, _), before) in things.iter().zip(&before) {
        cluster.until(&format!("{what:?} is put right"), || (content(what) == *before).then_some(()));
    }
}

fn a_pod_that_cannot_be_made_freezes_nothing(cluster: &KubeCluster<'_>) {
    let whole = ["redisclusters", "cache"];
    let traffic = KubeTraffic::start(cluster);
    patch(cluster, &whole, r#"{"spec":{"priorityClassName":"none-such"}}"#);
    let (_, replica) = cluster.roles("s0");
    cluster.kubectl(&["delete", "pod", &replica, "--wait=false"]);
    says(cluster, "none-such");
    cluster.check(!cluster.is_healthy(), "it is healthy without a pod");
    let shown = cluster.object()["status"]["instancesStatus"][&replica].clone();
    cluster.check(shown["connected"] != true, &format!("the missing one is shown as {shown}"));
    let (primary, _) = cluster.roles("s1");
    cluster.kill(cluster.process(&primary, true));
    let other = cluster.until_other_primary("s1", &primary);
    cluster.until("its label is its role", || {
        (cluster.pods()[&other]["metadata"]["labels"]["redis.io/role"] == "primary").then_some(())
    });
    // As a replica at first; its zone may have the role given back to it soon.
    cluster.until("it is back", || {
        let (serves, follows) = cluster.roles("s1");
        (serves == primary || follows == primary).then_some(())
    });
    // Once the one that came back is in sync.
    cluster.until_ok("s1 hands over", || cluster.valkeeper(&["switchover", "s1"]));
    traffic.finish(1);
}

fn a_pod_that_never_ran_is_replaced(cluster: &KubeCluster<'_>) {
    let whole = ["redisclusters", "cache"];
    patch(cluster, &whole, r#"{"spec":{"priorityClassName":null,"imageName":"valkey/valkey:none"}}"#);
    says(cluster, "valkey/valkey:none");
    let corrected = tempfile::NamedTempFile::with_suffix(".yaml").expect("a file");
    std::fs::write(corrected.path(), cluster.manifest()).expect("written");
    let planned = cluster.said(&["plan", "-f", &corrected.path().to_string_lossy()]);
    cluster.check(planned.contains("never started: cache-"), &format!("the plan forgets the pod: {planned}"));
    patch(cluster, &whole, r#"{"spec":{"imageName":null}}"#);
    cluster.until_healthy();
}
