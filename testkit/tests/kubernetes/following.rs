//! `replicaMode`: a cluster follows the primary of another one through the Service that leads to it, and is promoted.

use serde_json::{Value, json};
use valkeeper_testkit::kube::{Bed, KubeCluster, Mode, SET, Shape, ThroughService, Written};

/// The first instance, and one more.
const PAIR: Shape = Shape { replicas: 1, ..SET };
/// One server alone.
const SINGLE: Shape = Shape { replicas: 0, ..SET };

/// With Sentinels.
const WATCHED: Shape = Shape { mode: Mode::Sentinel, ..SET };

/// The manifests of redis-operator's page on replica mode.
const SEED_SOURCE: &str = "apiVersion: redis.io/v1
kind: RedisCluster
metadata:
  name: prod-redis
  namespace: production
spec:
  instances: 3
  mode: sentinel
  storage:
    size: 100Gi
  authSecret:
    name: prod-redis-auth
";
const SEED_FOLLOWER: &str = include_str!("../../../crates/model/tests/manifests/good/seed-dr-cluster.yaml");

fn host(source: &KubeCluster<'_>) -> String {
    format!("{}-leader.{}.svc.cluster.local", source.name, source.namespace)
}

/// A cluster in another namespace that follows. Its source's password is not there yet.
fn following<'a>(bed: &'a Bed, namespace: &str, source: &KubeCluster<'_>, shape: Shape) -> KubeCluster<'a> {
    let replica_mode = format!(
        "  replicaMode:\n    enabled: true\n    source:\n      host: {}\n      port: 6379\n      clusterName: east\n      \
         authSecretName: east-auth\n",
        host(source)
    );
    KubeCluster::describe(bed, namespace, shape, &replica_mode)
}

/// Copies the source's password into the follower's namespace, as redis-operator's page says to.
fn give_password(west: &KubeCluster<'_>, password: &str) {
    let _ = west.try_kubectl(&["delete", "secret", "east-auth"]);
    west.kubectl(&[
        "create",
        "secret",
        "generic",
        "east-auth",
        &format!("--from-literal=password={password}"),
    ]);
}

fn patch(cluster: &KubeCluster<'_>, replica_mode: &Value) -> Result<String, String> {
    let patch = json!({ "spec": { "replicaMode": replica_mode } }).to_string();
    cluster.try_kubectl(&["patch", "rediscluster", &cluster.name, "--type=merge", "-p", &patch])
}

fn current_primary(cluster: &KubeCluster<'_>) -> Option<String> {
    cluster.object()["status"]["currentPrimary"].as_str().map(str::to_owned)
}

/// Waits until the Service leads to who is told to be the primary, or designated, and says who that is.
fn until_led(cluster: &KubeCluster<'_>) -> String {
    cluster.until("the Service leads to currentPrimary", || {
        let primary = current_primary(cluster)?;
        (cluster.behind_service("leader") == [primary.clone()]).then_some(primary)
    })
}

fn until_promoted(cluster: &KubeCluster<'_>) {
    let promoted = ("False".to_owned(), "Promoted".to_owned());
    cluster.until("it is promoted", || (cluster.condition("ReplicaMode")? == promoted).then_some(()));
}

fn until_come(west: &KubeCluster<'_>, written: &Written) {
    for service in ["leader", "replica"] {
        west.until(&format!("what was written has come to the {service}"), || {
            written.has_come(west, service).then_some(())
        });
    }
}

/// An instance's reply to a command, or its error, as text; nothing for nothing.
fn asked(cluster: &KubeCluster<'_>, instance: &str, command: &[&str]) -> String {
    let ip = cluster.kubectl(&["get", "pod", instance, "-o", "jsonpath={.status.podIP}"]);
    let client = redis::Client::open(format!("redis://:{}@{ip}:6379/", cluster.password()));
    let mut connection = client
        .and_then(|client| client.get_connection_with_timeout(std::time::Duration::from_secs(5)))
        .unwrap_or_else(|error| cluster.fail(&format!("{instance}: {error}")));
    let mut asked = redis::cmd(command.first().copied().unwrap_or_default());
    asked.arg(command.get(1..).unwrap_or_default());
    match asked.query::<Option<String>>(&mut connection) {
        Ok(reply) => reply.unwrap_or_default(),
        Err(error) => error.to_string(),
    }
}

#[test]
fn a_source_that_is_lost_is_replaced_by_an_apply_and_nothing_is_lost() {
    let bed = Bed::with_operator();
    let east = KubeCluster::standing_of(&bed, "standing-set", SET);
    let west = following(&bed, "west", &east, SET);
    west.apply();
    // What only the user can give is waited for, and taken up once it is there.
    west.until_waits_for("there is no such Secret");
    give_password(&west, &east.password());
    west.until_healthy();
    let condition = west.condition("ReplicaMode").map(|(status, reason)| format!("{status} {reason}"));
    west.check(condition.as_deref() == Some("True Enabled"), &format!("{condition:?}"));
    let message = west.condition_message("ReplicaMode");
    let expected = format!("Cluster is replicating from east ({}:6379)", host(&east));
    west.check(message.as_deref() == Some(&*expected), &format!("{message:?}"));
    west.check(until_led(&west) == "cache-0", "the first instance is not designated");
    let refused = asked(&west, "cache-0", &["SET", "a", "b"]);
    west.check(refused.contains("read only"), &format!("a write was taken: {refused}"));
    let page = west.said(&["status"]);
    west.check(page.contains("designated leader: cache-0;"), &page);
    // The source's primary dies, and the name leads to its successor.
    let writer = ThroughService::start(&east, "leader");
    let (primary, _) = east.roles("s0");
    east.kill(east.process(&primary, true));
    east.until_other_primary("s0", &primary);
    writer.flowing();
    let written = writer.end();
    until_come(&west, &written);
    west.until_healthy();
    // Its designated leader's pod is deleted: another takes its place until it is back.
    west.kubectl(&["delete", "pod", "cache-0", "--wait=true"]);
    west.until_healthy();
    west.check(until_led(&west) == "cache-0", "the first instance is not designated any more");
    let object = west.object();
    west.check(object["status"]["replicaMode"]["lagSeenAt"].is_string(), "nobody has seen the lag");
    let manifest = west.manifest().replace("    enabled: true\n", "    enabled: true\n    promote: true\n");
    bed.apply_text(&manifest, &[]);
    until_promoted(&west);
    let writer = ThroughService::start(&west, "leader");
    west.until_healthy();
    let message = west.condition_message("ReplicaMode").unwrap_or_default();
    let expected = "Cluster promoted to standalone (former source: east); 0 bytes behind";
    west.check(message.starts_with(expected), &message);
    until_led(&west);
    written.read_back_at(&west, "leader");
    // It is a cluster as any other now.
    west.delete_primary("s0");
    writer.finish(0);
    // The same again changes nothing, and nobody takes it back.
    bed.apply_text(&manifest, &[]);
    let refused = west.until_ok("the webhook judges", || match bed.try_apply_text(&west.manifest(), &[]) {
        Ok(_) => west.fail("a promotion was taken back"),
        Err(refused) if refused.contains("failed calling webhook") => Err(refused),
        Err(refused) => Ok(refused),
    });
    west.check(refused.contains("was promoted and takes writes"), &refused);
}

#[test]
fn a_promotion_goes_on_when_the_operator_dies() {
    let bed = Bed::with_operator();
    bed.operators(2);
    let east = KubeCluster::standing_of(&bed, "standing-set", SET);
    let west = following(&bed, "west-operator", &east, PAIR);
    give_password(&west, &east.password());
    west.apply();
    west.until_healthy();
    let writer = ThroughService::start(&east, "leader");
    let written = writer.end();
    until_come(&west, &written);
    west.until_ok("the promotion is wished", || patch(&west, &json!({ "promote": true })));
    west.until("the promotion is stored", || {
        let layout = west.try_kubectl(&["get", "configmap", "cache-layout", "-o", "yaml"]).ok()?;
        layout.contains("promot").then_some(())
    });
    bed.kill_operator();
    until_promoted(&west);
    west.until_healthy();
    until_led(&west);
    written.read_back_at(&west, "leader");
    bed.operators(1);
}

/// The rotation of the source's password, on both sides, while a pod has to log in anew.
#[test]
fn a_changed_password_of_the_source_is_taken_up() {
    let bed = Bed::with_operator();
    let east = KubeCluster::describe(&bed, "east-password", SINGLE, "");
    east.apply();
    east.until_healthy();
    let west = following(&bed, "west-password", &east, PAIR);
    give_password(&west, &east.password());
    west.apply();
    west.until_healthy();
    east.kubectl(&["patch", "secret", "cache-auth", "-p", r#"{"stringData": {"password": "the next"}}"#]);
    east.until("the source takes the changed password", || (east.let_in_with("the next") == 1).then_some(()));
    give_password(&west, "the next");
    // Every link ends, and everybody logs in anew.
    asked(&east, "cache-0", &["CLIENT", "KILL", "TYPE", "replica"]);
    west.kubectl(&["delete", "pod", "cache-1", "--wait=true"]);
    west.until_healthy();
    let written = ThroughService::start(&east, "leader").end();
    until_come(&west, &written);
}

#[test]
fn a_flush_of_the_source_leaves_one_copy_until_a_person_decides() {
    let bed = Bed::with_operator();
    let east = KubeCluster::describe(&bed, "east-flush", SINGLE, "");
    east.apply();
    east.until_healthy();
    let west = following(&bed, "west-flush", &east, PAIR);
    give_password(&west, &east.password());
    west.apply();
    west.until_healthy();
    let flushed = |key: &str| {
        asked(&east, "cache-0", &["SET", key, "1"]);
        west.until("it has come", || (asked(&west, "cache-1", &["GET", key]) == "1").then_some(()));
        asked(&east, "cache-0", &["FLUSHALL"]);
        west.until_waits_for("its copy is held back");
        west.until("the other has carried it out", || {
            asked(&west, "cache-0", &["GET", key]).is_empty().then_some(())
        });
        west.check(asked(&west, "cache-1", &["GET", key]) == "1", "no copy was kept");
    };
    flushed("given-up");
    west.said(&["accept-source"]);
    west.until_healthy();
    west.check(asked(&west, "cache-1", &["GET", "given-up"]).is_empty(), "it does not follow");
    flushed("kept");
    // It stays kept by whoever looks after it next.
    bed.kill_operator();
    west.until_waits_for("its copy is held back");
    // An operator whose lease has run out on a busy machine has a successor.
    west.until_ok("it is told to promote", || west.valkeeper(&["promote"]));
    until_promoted(&west);
    west.check(west.object()["spec"]["replicaMode"]["promote"] == true, "the promotion is not in the spec");
    west.until_healthy();
    west.check(until_led(&west) == "cache-1", "another copy was promoted");
    for instance in ["cache-0", "cache-1"] {
        west.check(asked(&west, instance, &["GET", "kept"]) == "1", &format!("{instance} has lost it"));
    }
    west.said(&["promote"]);
}

/// The whole story of redis-operator's page: its manifests, its names, its commands.
#[test]
fn the_manifests_of_the_seed_are_applied_as_they_are_written() {
    let bed = Bed::with_operator();
    let prod = KubeCluster::of_manifest(&bed, ("production", "prod-redis"), WATCHED, SEED_SOURCE);
    let password = |cluster: &KubeCluster<'_>, name: &str, text: &str| {
        cluster.kubectl(&["create", "secret", "generic", name, &format!("--from-literal=password={text}")]);
    };
    password(&prod, "prod-redis-auth", "of-production");
    prod.apply();
    prod.until_healthy();
    let dr = KubeCluster::of_manifest(&bed, ("production", "dr-redis"), SET, SEED_FOLLOWER);
    password(&dr, "dr-redis-auth", "of-dr");
    dr.apply();
    dr.until_healthy();
    dr.check(until_led(&dr) == "dr-redis-0", "the first pod is not the designated leader");
    let labelled =
        dr.kubectl(&["get", "pods", "-l", "redis.io/cluster=dr-redis,redis.io/role=primary", "-o", "name"]);
    dr.check(labelled.trim() == "pod/dr-redis-0", &labelled);
    let place = "prod-redis-leader.production.svc.cluster.local:6379";
    let message = dr.condition_message("ReplicaMode");
    let expected = format!("Cluster is replicating from prod-redis-us-east ({place})");
    dr.check(message.as_deref() == Some(&*expected), &format!("{message:?}"));
    let shown = asked(&dr, "dr-redis-0", &["INFO", "replication"]);
    dr.check(shown.contains("role:slave") && shown.contains("master_link_status:up"), &shown);
    let written = ThroughService::start(&prod, "leader").end();
    until_come(&dr, &written);
    // As its page promotes: without the name and the Secret of the source.
    let promoted = "apiVersion: redis.io/v1\nkind: RedisCluster\nmetadata:\n  name: dr-redis\n  namespace: production\nspec:\n  \
                    instances: 3\n  storage:\n    size: 100Gi\n  authSecret:\n    name: dr-redis-auth\n  replicaMode:\n    \
                    enabled: true\n    source:\n      host: prod-redis-leader.production.svc.cluster.local\n      port: 6379\n    \
                    promote: true\n";
    bed.apply_text(promoted, &[]);
    until_promoted(&dr);
    dr.until_healthy();
    let message = dr.condition_message("ReplicaMode").unwrap_or_default();
    let expected = "Cluster promoted to standalone (former source: prod-redis-us-east)";
    dr.check(message.starts_with(expected), &message);
    dr.check(current_primary(&dr).as_deref() == Some("dr-redis-0"), "another one was promoted");
    let shown = asked(&dr, "dr-redis-0", &["INFO", "replication"]);
    dr.check(shown.contains("role:master") && shown.contains("connected_slaves:2"), &shown);
    written.read_back_at(&dr, "leader");
    let refused = dr.until_ok("the webhook judges", || match patch(&dr, &json!({ "promote": false })) {
        Ok(_) => dr.fail("the promotion was taken back"),
        Err(refused) if refused.contains("failed calling webhook") => Err(refused),
        Err(refused) => Ok(refused),
    });
    dr.check(refused.contains("was promoted and takes writes"), &refused);
    // The way forward again is another field, and that is allowed.
    dr.until_ok("it is applied again", || patch(&dr, &json!({ "promote": true })));
    dr.check(
        dr.condition("SpecValid").is_some_and(|(status, _)| status == "True"),
        "the spec is not followed",
    );
}

/// The way back: one field on each side, with the token that the promoted side publishes.
#[test]
fn a_promoted_copy_is_followed_by_its_former_source_with_its_token() {
    let bed = Bed::with_operator();
    let east = KubeCluster::describe(&bed, "came-back", PAIR, "");
    east.apply();
    east.until_healthy();
    let west = following(&bed, "stays", &east, PAIR);
    west.apply();
    give_password(&west, &east.password());
    west.until_healthy();
    let written = ThroughService::start(&east, "leader").end();
    until_come(&west, &written);
    patch(&west, &json!({ "promote": true })).unwrap_or_else(|error| west.fail(&error));
    until_promoted(&west);
    west.until_healthy();
    let after = ThroughService::start(&west, "leader").end();
    let token = west.until("the token is published", || {
        west.object()["status"]["replicaMode"]["token"].as_str().map(str::to_owned)
    });
    give_password(&east, &west.password());
    let wish = |token: &Value| {
        let source = json!({ "host": host(&west), "port": 6379, "clusterName": "west", "authSecretName": "east-auth" });
        json!({ "enabled": true, "source": source, "token": token })
    };
    patch(&east, &wish(&Value::Null)).unwrap_or_else(|error| east.fail(&error));
    east.until("data is not given up without a word", || {
        let refused = east.condition("SpecValid")?.1 == "ChangeRefused";
        (refused && east.condition_message("SpecValid")?.contains("has data of its own")).then_some(())
    });
    written.read_back_at(&east, "leader");
    patch(&east, &wish(&json!(token))).unwrap_or_else(|error| east.fail(&error));
    east.until("it follows", || (east.condition("ReplicaMode")?.1 == "Enabled").then_some(()));
    east.until_healthy();
    until_come(&east, &after);
    let refused = asked(&east, &until_led(&east), &["SET", "a", "b"]);
    east.check(refused.contains("read only"), &format!("a write was taken: {refused}"));
    written.read_back_at(&west, "leader");
}
