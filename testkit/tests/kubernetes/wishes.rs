//! What users wish for and cannot have is said so, by the webhook or, without it, by a condition; nothing is touched.

use std::io::Write as _;
use std::process::Stdio;
use valkeeper_testkit::kube::{Bed, KubeCluster, KubeTraffic, WHOLE};

/// A value that would start another directive: no rule of the definition says so, only the reader.
const SMUGGLED: &str = "  redis:\n    timeout: \"5\\ndir /elsewhere\"\n";

/// A password that would start another directive as well, if it were put into a server's file as it is.
const AWKWARD: &str = "s3 \"cr'et\\#\nport 1";

#[test]
fn a_bad_manifest_is_refused_in_the_words_of_the_command_line() {
    let bed = Bed::with_operator();
    let cluster = KubeCluster::describe(&bed, "wish-bad", WHOLE, SMUGGLED);
    let said =
        cluster.until_ok("the webhook answers", || match bed.try_apply_text(&cluster.manifest(), &[]) {
            Ok(_) => cluster.fail("it was accepted"),
            Err(refused) if refused.contains("failed calling webhook") => Err(refused),
            Err(refused) => Ok(refused),
        });
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
    let cluster = KubeCluster::standing(&bed);
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
    // What only Kubernetes knows, too: no volume gets smaller.
    let sized = |size: &str| {
        let patch = format!(r#"{{"spec":{{"storage":{{"size":"{size}"}}}}}}"#);
        cluster.kubectl(&["patch", "redisclusters", "cache", "--type=merge", "-p", &patch]);
    };
    sized("512Mi");
    let refused = || cluster.condition("SpecValid").filter(|(_, reason)| reason == "ChangeRefused");
    cluster.until("a smaller volume is refused", refused);
    bed.kill_operator();
    bed.operators(1);
    cluster.until_healthy();
    cluster.until("an operator that begins with it refuses it", refused);
    sized("1Gi");
    cluster.until("what is there is followed", || {
        cluster.condition("SpecValid").filter(|(status, _)| status == "True")
    });
    cluster.check(before == pods(&cluster), "pods were replaced");
    bed.install();
    traffic.finish(0);
}

#[test]
fn a_nodes_label_is_taken_away_and_given_back() {
    let bed = Bed::with_operator();
    let cluster = KubeCluster::standing(&bed);
    let traffic = KubeTraffic::start(&cluster);
    bed.kubectl(&["label", "node", "node3", "topology.kubernetes.io/zone-"]);
    let other = KubeCluster::describe(&bed, "wish-label-new", WHOLE, "");
    other.apply();
    other.until("a condition says why", || {
        other.condition("SpecValid").filter(|(status, _)| status == "False")
    });
    other.check(other.pods().is_empty(), "pods were made");
    cluster.until("the zone without a node is named", || {
        cluster.condition("ZoneLossTolerated").filter(|(status, _)| status == "False")
    });
    cluster.check(cluster.is_healthy(), "the one that runs is not healthy");
    bed.kubectl(&["label", "node", "node3", "topology.kubernetes.io/zone=z3"]);
    other.until_healthy();
    traffic.finish_unnoticed();
}

#[test]
fn the_definition_is_taken_away_and_comes_back() {
    let bed = Bed::with_operator();
    let cluster = KubeCluster::standing(&bed);
    let written = KubeTraffic::start(&cluster).finish(0);
    // Kubernetes removes all clusters with it, and what they own. Their volumes are nobody's.
    bed.kubectl(&["delete", "crd", "redisclusters.redis.io"]);
    cluster.until("its pods are gone", || cluster.pods().is_empty().then_some(()));
    bed.install();
    cluster.until("the definition is taken up", || bed.try_apply_text(&cluster.manifest(), &[]).ok());
    cluster.until_healthy();
    cluster.check_keys_of(&written);
}

#[test]
fn the_users_secret_is_missing_wrong_and_taken_away() {
    let bed = Bed::with_operator();
    let extra = "  authSecret:\n    name: mine\n";
    let cluster = KubeCluster::describe(&bed, "wish-secret", WHOLE, extra);
    let says = |what: &str| {
        cluster.until(&format!("the status says `{what}`"), || {
            cluster.object()["status"]["waiting"].to_string().contains(what).then_some(())
        });
    };
    let give = |key: &str| {
        cluster.kubectl(&["create", "secret", "generic", "mine", &format!("--from-literal={key}={AWKWARD}")]);
    };
    cluster.apply();
    says("the Secret mine of spec.authSecret.name does not exist");
    give("passwort");
    says("the Secret mine of spec.authSecret.name has no key password");
    cluster.check(cluster.pods().is_empty(), "pods were made");
    cluster.kubectl(&["delete", "secret", "mine"]);
    give("password");
    cluster.until_healthy();
    let traffic = KubeTraffic::with_password(&cluster, AWKWARD);
    cluster.kubectl(&["delete", "secret", "mine"]);
    let (primary, replica) = cluster.roles("s0");
    cluster.kubectl(&["delete", "pod", &replica, "--wait=false"]);
    says("the Secret mine of spec.authSecret.name does not exist");
    cluster.check(cluster.roles("s0").0 == primary, "the primary is another");
    traffic.flowing();
    give("password");
    cluster.until_healthy();
    traffic.finish_unnoticed();
}

/// Nobody is refused meanwhile, neither who has heard of it nor who has not; that the former one ends, a local scenario shows.
#[test]
fn a_changed_password_reaches_servers_that_run() {
    let bed = Bed::with_operator();
    let cluster = KubeCluster::create(&bed, "wish-password");
    let processes =
        || -> Vec<u32> { cluster.pods().into_keys().map(|name| cluster.process(&name, true)).collect() };
    let (former, before) = (cluster.password(), processes());
    let traffic = KubeTraffic::start(&cluster);
    let change = r#"{"stringData": {"password": "the next"}}"#;
    cluster.kubectl(&["patch", "secret", "cache-auth", "-p", change]);
    cluster.until("all servers accept the changed password", || {
        (cluster.let_in_with("the next") == 6).then_some(())
    });
    cluster.check(cluster.let_in_with(&former) == 6, "the former password is refused");
    cluster.check(processes() == before, "servers were restarted");
    traffic.finish_unnoticed();
    let traffic = KubeTraffic::with_password(&cluster, "the next");
    // Who starts now knows the changed one only, and the others have it beside the former.
    let replica = cluster.roles("s0").1;
    let uid = || cluster.pods().get(&replica).map(|pod| pod["metadata"]["uid"].clone());
    let was = uid();
    cluster.kubectl(&["delete", "pod", &replica, "--wait=false"]);
    cluster.until("the replica's pod is another", || uid().filter(|uid| Some(uid) != was.as_ref()));
    cluster.until_healthy();
    cluster.delete_primary("s0");
    traffic.finish_unnoticed();
}
