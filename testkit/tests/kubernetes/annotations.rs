//! What the annotations of a cluster ask for is done without a lost write, or not at all.

use valkeeper_testkit::kube::{Bed, KubeCluster, KubeTraffic, WHOLE};

const FENCED: &str = "redis.io/fencedInstances";
const HIBERNATION: &str = "redis.io/hibernation";

fn annotate(cluster: &KubeCluster<'_>, annotation: &str, value: &str) {
    let value = format!("{annotation}={value}");
    cluster.until_ok("the annotation is taken", || {
        match cluster.try_kubectl(&["annotate", "--overwrite", "rediscluster", &cluster.name, &value]) {
            Ok(_) => Ok(()),
            // Its operator is just being replaced.
            Err(error) if error.contains("failed calling webhook") => Err(error),
            Err(error) => cluster.fail(&error),
        }
    });
}

/// Is it kept down, by the status?
fn is_down(cluster: &KubeCluster<'_>, instance: &str) -> bool {
    let one = &cluster.object()["status"]["instancesStatus"][instance];
    one["fenced"] == true && one["connected"] == false
}

#[test]
fn annotated_instances_are_fenced_under_load_and_come_back() {
    let bed = Bed::with_operator();
    let cluster = KubeCluster::standing(&bed);
    let traffic = KubeTraffic::start(&cluster);
    let (primary, replica) = cluster.roles("s0");
    let (_, other) = cluster.roles("s1");

    // A primary hands over before it goes down.
    annotate(&cluster, FENCED, &format!(r#"["{primary}","{other}"]"#));
    cluster
        .until("both are down", || (is_down(&cluster, &primary) && is_down(&cluster, &other)).then_some(()));
    cluster.check(cluster.roles("s0").0 == replica, "nobody has taken over");
    cluster.until_waits_for("fenced by the annotation");
    let said = cluster.valkeeper(&["unfence", &primary]).err().unwrap_or_default();
    cluster.check(said.contains("hint: take"), &format!("unfence says {said}"));
    // Who is asked again has nothing to do, and what is fenced stays so.
    bed.kill_operator();
    traffic.flowing();

    // A whole shard is not taken down for a list of names: nothing of it is touched.
    annotate(&cluster, FENCED, &format!(r#"["{replica}","{primary}"]"#));
    cluster.until_waits_for("no instance of s0 would be left to take over");
    cluster.check(is_down(&cluster, &other), "a fence was lifted for an annotation that is not followed");
    annotate(&cluster, FENCED, r#"["cache-77"]"#);
    cluster.until_waits_for("there is no instance cache-77");
    let refused = cluster.try_kubectl(&[
        "annotate",
        "--overwrite",
        "rediscluster",
        "cache",
        &format!("{FENCED}=cache-0"),
    ]);
    cluster.check(
        refused.err().is_some_and(|said| said.contains("expected a JSON list")),
        "the webhook takes what is no list",
    );

    annotate(&cluster, FENCED, "[]");
    cluster.until_healthy();
    traffic.finish(0);
}

#[test]
fn a_cluster_hibernates_under_load_and_every_write_is_there_afterwards() {
    let bed = Bed::with_operator();
    let cluster = KubeCluster::describe(&bed, "hibernating", WHOLE, "");
    cluster.apply();
    cluster.until_healthy();
    let traffic = KubeTraffic::start(&cluster);
    let refused =
        cluster.try_kubectl(&["annotate", "rediscluster", "cache", &format!("{HIBERNATION}=maybe")]);
    cluster.check(
        refused.err().is_some_and(|said| said.contains("neither on nor off")),
        "the webhook takes any word",
    );

    annotate(&cluster, HIBERNATION, "on");
    // In the middle of it: what is under way stands in the layout.
    cluster.until("it is being stopped", || {
        let phase = cluster.object()["status"]["phase"].as_str().map(str::to_owned);
        phase.filter(|phase| phase.starts_with("Hibernat"))
    });
    bed.kill_operator();
    cluster.until("it hibernates", || {
        (cluster.object()["status"]["phase"] == "Hibernated" && cluster.pods().is_empty()).then_some(())
    });
    let written = traffic.stop();
    let claims = cluster.kubectl(&["get", "pvc", "-o", "name"]);
    cluster.check(claims.lines().count() == 6, &format!("volumes are gone: {claims}"));
    let status = cluster.said(&["status"]);
    eprintln!("{status}\n{}", cluster.said(&["events", "--since", "5m"]));
    cluster.check(status.contains("hibernated, its data is kept"), &status);
    let condition = cluster.condition("Hibernated");
    cluster.check(condition.is_some_and(|(status, _)| status == "True"), "no condition tells of it");

    // What is changed meanwhile waits for the end of it.
    let patch = r#"{"spec":{"redis":{"timeout":"77"}}}"#;
    cluster.kubectl(&["patch", "rediscluster", "cache", "--type=merge", "-p", patch]);
    cluster.until("a condition says so", || {
        cluster
            .condition("SpecValid")
            .filter(|(status, reason)| status == "False" && reason == "ChangeRefused")
    });
    bed.kill_operator();
    bed.operators(1);
    cluster.check(cluster.pods().is_empty(), "an operator that begins has made pods");

    annotate(&cluster, HIBERNATION, "off");
    cluster.until_healthy();
    let back = written.read_back(&cluster, 0);
    let totals = written.report.totals();
    eprintln!("{} acknowledged, {} read back, {} lost", totals.acknowledged, back.checked, back.lost);
    cluster.until("what was changed is followed", || {
        cluster.condition("SpecValid").filter(|(status, _)| status == "True")
    });
    let said = cluster.said(&["cli", "--", "CONFIG", "GET", "timeout"]);
    cluster.check(said.contains("77"), &format!("the changed configuration is not there: {said}"));
}
