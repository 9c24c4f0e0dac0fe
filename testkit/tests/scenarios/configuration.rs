//! The server's configuration: what is wrong with it is said before a server gets it, and what is set otherwise is put right.

use std::collections::BTreeMap;
use valkeeper_testkit::{Cluster, Manifest, Place};

/// A directive, a value that the server refuses, and what is said of it.
const WRONG: [(&str, &str, &str); 9] = [
    ("appendfsync", "sometimes", "must be one of"),
    ("io-threads", "9999", "must be between"),
    ("databases", "0", "must be between"),
    ("maxmemory-clients", "lots", "memory or percent"),
    ("client-output-buffer-limit", "normal 1 2", "number of arguments"),
    ("maxmemory", "256Mi", "memory value"),
    ("maxmemory", "100 mb", "number of arguments"),
    ("maxmemroy", "100mb", "Bad directive"),
    ("loadmodule", "/nowhere/module.so", "/nowhere/module.so"),
];

fn shown(cluster: &Cluster<'_>, instance: &str, name: &str) -> String {
    let pair: Vec<String> = cluster.told(instance, &["CONFIG", "GET", name]);
    pair.get(1).cloned().unwrap_or_default()
}

#[test]
fn a_value_that_the_server_refuses_reaches_no_server() {
    let place = Place::new();
    let manifest = || Manifest::new("wrong").roles_stay();
    let mut cluster = Cluster::new(&place, manifest());
    let refused = |cluster: &Cluster<'_>, args: &[&str], name: &str, why: &str| {
        let said = cluster.run(args);
        let told = said.err.contains(&format!("spec.redis.{name}: ")) && said.err.contains(why);
        cluster.check(said.code == Some(2) && told, &format!("{args:?} with {name}: {said:?}"));
        cluster.check(said.err.contains(".yaml:"), &format!("no line is named: {}", said.err));
    };
    let file = cluster.file();
    let file = file.to_str().unwrap();
    // A cluster that does not exist yet is not made.
    cluster.change(manifest().directive("appendfsync", "sometimes"));
    let mut plan = cluster.command(&["plan", "-f", file]);
    plan.env("VALKEEPER_SERVER", &cluster.server);
    let planned = valkeeper_testkit::cluster::said(plan);
    cluster.check(planned.code == Some(2) && planned.err.contains("appendfsync"), &format!("{planned:?}"));
    let said = cluster.try_up(&[]);
    cluster.check(said.code == Some(2) && said.err.contains("appendfsync"), &format!("{said:?}"));
    cluster.check(!cluster.dir().join("layout.json").exists(), "it was founded all the same");

    cluster.change(manifest());
    cluster.up();
    let (processes, events) = (cluster.status().processes(), cluster.events().len());
    for (name, value, why) in WRONG {
        cluster.change(manifest().directive(name, value));
        refused(&cluster, &["plan", "-f", file], name, why);
        refused(&cluster, &["apply", "-f", file, "--wait"], name, why);
    }
    // All that is wrong is said at once.
    cluster.change(manifest().directive("appendfsync", "sometimes").directive("databases", "0"));
    let said = cluster.run(&["apply", "-f", file]);
    cluster.check(said.err.contains("appendfsync") && said.err.contains("databases"), &said.err);
    // The Secret's name is no directive, and would be another password.
    cluster.change(manifest());
    let text = std::fs::read_to_string(file).unwrap();
    std::fs::write(file, format!("{text}  authSecret:\n    name: another\n")).unwrap();
    for args in [["plan", "-f", file], ["apply", "-f", file]] {
        let said = cluster.run(&args);
        cluster
            .check(said.code == Some(3) && said.err.contains("authSecret"), &format!("{args:?}: {said:?}"));
    }
    // A limit below what is in use takes effect at once: that is said first.
    cluster.change(manifest().directive("maxmemory", "1mb").directive("maxmemory-policy", "allkeys-lru"));
    let said = cluster.run(&["plan", "-f", file]);
    cluster.check(said.code == Some(0) && said.err.contains("would be evicted"), &format!("{said:?}"));
    let status = cluster.status();
    cluster.check(status.healthy && status.processes() == processes, "something was disturbed");
    cluster.check(cluster.events_since(events, "ConfigChanged").is_empty(), "something was stored");
    cluster.change(manifest().directive("maxmemory", "1gb"));
    cluster.must(&["apply", "-f", file, "--wait"]);
    cluster.check(shown(&cluster, "wrong-0", "maxmemory") == "1073741824", "what is right is not set");
}

#[test]
fn what_is_dropped_goes_back_and_what_is_set_by_hand_is_kept_or_put_back() {
    let place = Place::new();
    let manifest = || Manifest::new("drift").roles_stay();
    let mut cluster =
        Cluster::started(&place, manifest().directive("hz", "20").directive("maxmemory", "50mb"));
    let file = cluster.file();
    let file = file.to_str().unwrap();
    let names = cluster.instance_names();
    // One that came while the servers ran, and is known for ours by the next supervisor too.
    cluster
        .change(manifest().directive("hz", "20").directive("maxmemory", "50mb").directive("timeout", "77"));
    cluster.must(&["apply", "-f", file, "--wait"]);
    cluster.kill_supervisor();
    cluster.up();
    cluster.change(manifest());
    cluster.must(&["apply", "-f", file, "--wait"]);
    for instance in &names {
        for (name, default) in [("hz", "10"), ("maxmemory", "0"), ("timeout", "0")] {
            let is = shown(&cluster, instance, name);
            cluster.check(is == default, &format!("{instance}: {name} is {is}"));
        }
    }

    // What is nobody's is told, and left alone.
    let set = |instance: &str, name: &str, value: &str| {
        let _: String = cluster.told(instance, &["CONFIG", "SET", name, value]);
    };
    set("drift-1", "slowlog-max-len", "5");
    let status = cluster.until_waits_for("ConfigByHand");
    cluster.check(status.healthy && status.reasons().contains("slowlog-max-len"), &status.reasons());
    cluster.check(shown(&cluster, "drift-1", "slowlog-max-len") == "5", "it was not left alone");
    set("drift-1", "slowlog-max-len", "128");
    // A user too, whom the next primary of the shard would not know.
    let _: String = cluster.told("drift-1", &["ACL", "SETUSER", "bob", "on", "nopass", "+@all", "~*"]);
    let status = cluster.until_waits_for("UsersByHand");
    cluster.check(status.healthy && status.reasons().contains("drift-1: ACL users"), &status.reasons());
    let _: u64 = cluster.told("drift-1", &["ACL", "DELUSER", "bob"]);
    cluster.until("the user that is gone is not told any more", || {
        (!cluster.status().waits_for("UsersByHand")).then_some(())
    });

    // What is Valkeeper's is put back, with an event.
    let before = cluster.events().len();
    let replica = cluster.replica("s0");
    let reserved = [
        ("min-replicas-max-lag", "0"),
        ("replica-read-only", "no"),
        ("replica-priority", "7"),
        ("cluster-announce-hostname", "nowhere"),
        ("cluster-migration-barrier", "9"),
        ("cluster-require-full-coverage", "yes"),
        ("masterauth", "zzz"),
    ];
    let right: BTreeMap<&str, String> =
        reserved.iter().map(|(name, _)| (*name, shown(&cluster, &replica, name))).collect();
    for (name, wrong) in reserved {
        set(&replica, name, wrong);
    }
    for (name, _) in reserved {
        cluster.until(&format!("{name} is put back"), || {
            (shown(&cluster, &replica, name) == right[name]).then_some(())
        });
    }
    cluster.until_healthy();
    let told: Vec<String> =
        cluster.events_since(before, "ConfigPutBack").iter().map(ToString::to_string).collect();
    for (name, _) in reserved {
        cluster.check(told.iter().any(|event| event.contains(name)), &format!("{name} is not in {told:?}"));
    }
    cluster.check(!told.iter().any(|event| event.contains("zzz")), "an event tells a password");

    // Without `drift: keep` what is nobody's goes back too: what was set before, and what is set after.
    let _: String = cluster.told("drift-1", &["CONFIG", "SET", "slowlog-max-len", "5"]);
    cluster.until_waits_for("ConfigByHand");
    let before = cluster.events().len();
    cluster.change(manifest().corrected());
    cluster.must(&["apply", "-f", file, "--wait"]);
    cluster.until("what was set before goes back", || {
        (shown(&cluster, "drift-1", "slowlog-max-len") == "128").then_some(())
    });
    let _: String = cluster.told("drift-2", &["CONFIG", "SET", "maxmemory-policy", "allkeys-lru"]);
    cluster.until("what is set after goes back too", || {
        (shown(&cluster, "drift-2", "maxmemory-policy") == "noeviction").then_some(())
    });
    let told: Vec<String> =
        cluster.events_since(before, "ConfigPutBack").iter().map(ToString::to_string).collect();
    for name in ["slowlog-max-len", "maxmemory-policy"] {
        cluster.check(told.iter().any(|event| event.contains(name)), &format!("{name} is not in {told:?}"));
    }
}

#[test]
fn a_password_that_cannot_be_used_stops_nothing() {
    let place = Place::new();
    let cluster = Cluster::started(&place, Manifest::new("words").roles_stay());
    let good = std::fs::read(cluster.password_file()).unwrap();
    let processes = cluster.status().processes();
    let long = vec![b'x'; 513];
    let wrong: [(&[u8], &str); 3] =
        [(&long, "513 bytes"), (&[0xff, 0xfe], "not UTF-8"), (b" \n", "is empty")];
    for (bytes, why) in wrong {
        std::fs::write(cluster.password_file(), bytes).unwrap();
        let status = cluster.until_waits_for("PasswordUnusable");
        let told = cluster.until("it is told why", || {
            let reasons = cluster.status().reasons();
            reasons.contains(why).then_some(reasons)
        });
        cluster.check(!status.healthy && !told.contains("data directory"), &told);
        let said = cluster.run(&["restart", "words-0"]);
        cluster.check(said.code == Some(3) && said.err.contains(why), &format!("restart: {said:?}"));
    }
    // Blanks around it are not part of it.
    let mut padded = b"  ".to_vec();
    padded.extend(&good);
    padded.extend(b" \r\n");
    std::fs::write(cluster.password_file(), &padded).unwrap();
    cluster.until_healthy();
    cluster.check(cluster.status().processes() == processes, "a server was stopped");
    cluster.must(&["restart", "words-3"]);
    cluster.until_healthy();
}

/// Valkeeper pushes the announcement of a new primary out with a message that a client with a small limit must not get.
#[test]
fn a_subscriber_to_everything_stays_connected_over_a_switchover() {
    let place = Place::new();
    let manifest = Manifest::new("heard").roles_stay();
    let cluster =
        Cluster::started(&place, manifest.directive("client-output-buffer-limit", "pubsub 16kb 8kb 10"));
    let mut listening = Vec::new();
    for instance in cluster.instance_names() {
        let url = format!("redis://127.0.0.1:{}", cluster.port(&instance));
        let client = redis::Client::open(url).unwrap();
        let mut connection = client.get_connection().unwrap();
        let _: String =
            redis::cmd("AUTH").arg(cluster.password()).query(&mut connection).expect("it takes the password");
        redis::cmd("PSUBSCRIBE").arg("*").exec(&mut connection).unwrap();
        listening.push((instance, connection));
    }
    for shard in ["s0", "s1", "s2"] {
        cluster.must(&["switchover", shard]);
    }
    cluster.until_healthy();
    for (instance, _) in &listening {
        let clients: String = cluster.told(instance, &["CLIENT", "LIST", "TYPE", "pubsub"]);
        cluster.check(clients.lines().count() == 1, &format!("{instance} has dropped its subscriber"));
    }
}
