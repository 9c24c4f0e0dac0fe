//! What users wish for and cannot have is said so, by the webhook or, without it, by a condition; nothing is touched.

use std::io::Write as _;
use std::process::Stdio;
use valkeeper_testkit::kube::{Bed, KubeCluster, KubeTraffic, Shape};

/// A value that would start another directive: no rule of the definition says so, only the reader.
const SMUGGLED: &str = "  redis:\n    timeout: \"5\\ndir /elsewhere\"\n";

#[test]
fn a_bad_manifest_is_refused_in_the_words_of_the_command_line() {
    let bed = Bed::with_operator();
    let cluster = KubeCluster::describe(&bed, "wish-bad", Shape { shards: 3, replicas: 1 }, SMUGGLED);
    let mut said = None;
    cluster.until("the webhook answers", || {
        let refused = bed.try_apply_text(&cluster.manifest(), &[]).err();
        said = refused.filter(|refused| !refused.contains("failed calling webhook"));
        said.as_ref().map(drop)
    });
    let said = said.unwrap_or_default();
    // What the command line says of the same file, but for the place in it.
    let mut plan = bed
        .program()
        .args(["--kubernetes", "plan", "-f", "/dev/stdin"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program runs");
    plan.stdin.take().expect("piped").write_all(cluster.manifest().as_bytes()).expect("it reads");
    let plan = plan.wait_with_output().expect("it ends");
    let plan = String::from_utf8_lossy(&plan.stderr).into_owned();
    let reason = plan.lines().find_map(|line| line.split_once("spec.redis")).map(|(_, reason)| reason.trim());
    let Some(reason) = reason else { cluster.fail(&format!("the command line accepts it: {plan}")) };
    cluster.check(said.contains(reason), &format!("the webhook says `{said}`, the command line `{reason}`"));
}

#[test]
fn without_the_webhook_a_bad_change_becomes_a_condition_and_nothing_is_touched() {
    let bed = Bed::with_operator();
    let cluster = KubeCluster::create(&bed, "wish-change");
    let traffic = KubeTraffic::start(&cluster);
    bed.kubectl(&["delete", "validatingwebhookconfiguration", "valkeeper"]);
    let pods = |cluster: &KubeCluster<'_>| -> Vec<String> {
        cluster.pods().values().map(|pod| pod["metadata"]["uid"].to_string()).collect()
    };
    let before = pods(&cluster);
    let patch = r#"{"spec":{"redis":{"timeout":"5\ndir /elsewhere"}}}"#;
    cluster.kubectl(&["patch", "redisclusters", "cache", "--type=merge", "-p", patch]);
    cluster.until("a condition says why", || {
        cluster.condition("SpecValid").filter(|(status, reason)| status == "False" && reason == "InvalidSpec")
    });
    cluster.check(cluster.is_healthy(), "the cluster is not healthy for it");
    // Also by an operator that begins with it.
    bed.kill_operator();
    bed.operators(1);
    cluster.until_healthy();
    cluster.check(before == pods(&cluster), "pods were replaced");
    let patch = r#"{"spec":{"redis":null}}"#;
    cluster.kubectl(&["patch", "redisclusters", "cache", "--type=merge", "-p", patch]);
    cluster.until("it recovers by itself", || {
        cluster.condition("SpecValid").filter(|(status, _)| status == "True")
    });
    bed.install();
    traffic.finish(0);
    cluster.remove();
}
