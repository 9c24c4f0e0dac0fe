//! Servers are restarted one after the other, by the cluster itself: for a directive that they cannot take while they run, and for another version.

use std::time::Duration;
use valkeeper_testkit::cluster::{Said, Status};
use valkeeper_testkit::process::{self, Signal};
use valkeeper_testkit::{Cluster, Manifest, Place, Traffic, program};

/// With the servers that images name; up.
fn started_with(place: &Place, manifest: Manifest) -> Cluster<'_> {
    let cluster = Cluster::new(place, manifest);
    for server in ["valkey-9.1.2/valkey-server", "valkey-9.0.0/valkey-server", "redis-7.0/redis-server"] {
        cluster.must(&["servers", "add", program::fetched(server).to_str().unwrap()]);
    }
    cluster.up();
    cluster
}

fn apply(cluster: &Cluster<'_>, manifest: &Manifest, more: &[&str]) -> Said {
    std::fs::write(cluster.file(), manifest.text()).unwrap();
    let file = cluster.file();
    cluster.run(&[&["apply", "-f", file.to_str().unwrap()][..], more].concat())
}

fn version(cluster: &Cluster<'_>, instance: &str) -> String {
    cluster.info(instance, "server", "valkey_version")
}

fn all_have(cluster: &Cluster<'_>, directive: &str, value: &str) {
    for instance in cluster.instance_names() {
        let shown: Vec<String> = cluster.told(&instance, &["CONFIG", "GET", directive]);
        cluster.check(shown == [directive, value], &format!("{instance} has {shown:?}"));
    }
}

/// Full copies that servers have sent in their present runs.
fn full_copies(cluster: &Cluster<'_>) -> u64 {
    cluster.instance_names().iter().map(|name| cluster.count(name, "stats", "sync_full")).sum()
}

fn database_5(cluster: &Cluster<'_>, instance: &str) -> redis::Connection {
    let url = format!("redis://:{}@127.0.0.1:{}/5", cluster.password(), cluster.port(instance));
    redis::Client::open(url).unwrap().get_connection().unwrap()
}

fn until_rolled(cluster: &Cluster<'_>) -> Status {
    cluster.until_event(0, "Rolled");
    cluster.until_whole()
}

#[test]
fn a_directive_that_needs_a_restart_is_rolled_while_the_supervisor_is_killed() {
    let place = Place::new();
    let manifest = || Manifest::new("roll").update("1s", "rolling");
    let mut cluster = Cluster::started(&place, manifest());
    let before = cluster.status().processes();
    cluster.change(manifest().directive("tcp-backlog", "300"));
    let plan = cluster.must(&["plan", "-f", cluster.file().to_str().unwrap()]);
    cluster.check(plan.contains("restarted in turn for tcp-backlog") && plan.contains("roll-5"), &plan);

    let traffic = Traffic::start(&cluster);
    let said = apply(&cluster, &manifest().directive("tcp-backlog", "300"), &[]);
    cluster.check(said.code == Some(0), &format!("{said:?}"));
    cluster.until_event(0, "Rolling");
    cluster.kill_supervisor();
    cluster.up();
    cluster.until_event(0, "CanaryWell");
    cluster.kill_supervisor();
    cluster.up();
    let status = until_rolled(&cluster);
    all_have(&cluster, "tcp-backlog", "300");
    let stayed = status.processes().into_iter().filter(|one| before.contains(one)).count();
    cluster.check(stayed == 0, &format!("{stayed} servers were not restarted"));
    let report = traffic.finish(0);
    cluster.check(report.totals().failed == 0, &format!("clients saw errors: {:?}", report.totals()));
}

#[test]
fn a_version_is_rolled_with_partial_copies_and_turned_round_in_the_middle() {
    let place = Place::new();
    let manifest = |version: &str| {
        Manifest::new("version").image(&format!("valkey/valkey:{version}")).update("1s", "rolling")
    };
    let cluster = started_with(&place, manifest("9.0.0"));
    let traffic = Traffic::start(&cluster);
    let said = apply(&cluster, &manifest("9.1.2"), &[]);
    cluster.check(said.code == Some(0), &format!("{said:?}"));
    cluster.until("one server has the new version", || {
        cluster.status().instances.iter().any(|one| one.version.as_deref() == Some("9.1.2")).then_some(())
    });
    // The way back, in the middle.
    let said = apply(&cluster, &manifest("9.0.0"), &["--wait"]);
    cluster.check(said.code == Some(0), &format!("{said:?}"));
    for instance in cluster.instance_names() {
        cluster.check(version(&cluster, &instance) == "9.0.0", &format!("{instance} did not go back"));
    }
    let said = apply(&cluster, &manifest("9.1.2"), &["--wait"]);
    cluster.check(said.code == Some(0), &format!("{said:?}"));
    for instance in cluster.instance_names() {
        cluster.check(version(&cluster, &instance) == "9.1.2", &format!("{instance} is not rolled"));
    }
    cluster.until_whole();
    // Every server is another than at the beginning, and whoever came back went on from where it was.
    cluster.check(full_copies(&cluster) == 0, "a former primary was copied whole");
    let report = traffic.finish(0);
    cluster.check(report.totals().failed == 0, &format!("clients saw errors: {:?}", report.totals()));

    for (image, words) in [
        ("redis:7.0", "redis 7.0.15 cannot read the data that valkey 9.1.2 writes"),
        ("valkey/valkey:8.8", "no server on this machine is what image valkey/valkey:8.8 says"),
    ] {
        let said = apply(&cluster, &manifest("9.1.2").image(image), &[]);
        let refused = said.code != Some(0) && said.err.contains(words) && said.err.contains("hint:");
        cluster.check(refused, &format!("{said:?}"));
    }
}

#[test]
fn a_canary_that_cannot_start_returns_by_itself() {
    let place = Place::new();
    let manifest = |databases: &str| {
        Manifest::standalone("canary", 3).update("1s", "rolling").directive("databases", databases)
    };
    let cluster = Cluster::started(&place, manifest("16"));
    // What a server with two databases cannot load, and no trial on an empty folder finds.
    let primary = cluster.primary("s0");
    let mut connection = database_5(&cluster, &primary);
    let () = redis::cmd("SET").arg("kept").arg("here").query(&mut connection).unwrap();
    let traffic = Traffic::start(&cluster);
    let before = cluster.pid(&primary);
    let said = apply(&cluster, &manifest("2"), &[]);
    cluster.check(said.code == Some(0), &format!("{said:?}"));
    cluster.until_event(0, "RollReturned");
    let status = cluster.until_waits_for("RollReturned");
    cluster.check(status.reasons().contains("given up: canary-1"), &status.reasons());
    cluster.until("all replicas are back", || {
        let status = cluster.status();
        (status.waiting.len() == 1 && status.instances.iter().all(|one| one.pid.is_some())).then_some(())
    });
    all_have(&cluster, "databases", "16");
    cluster.check(cluster.pid(&primary) == before, "the primary was disturbed");
    // The same again is refused, and another start of the supervisor does not try it either.
    let said = apply(&cluster, &manifest("2"), &[]);
    cluster.check(said.code == Some(3) && said.err.contains("given up"), &format!("{said:?}"));
    cluster.kill_supervisor();
    cluster.check(cluster.try_up(&["--timeout", "3s"]).code == Some(4), "it is not told");
    all_have(&cluster, "databases", "16");

    let said = apply(&cluster, &manifest("16"), &["--wait"]);
    cluster.check(said.code == Some(0), &format!("{said:?}"));
    std::thread::sleep(Duration::from_millis(500));
    cluster.check(cluster.pid(&primary) == before, "the primary was disturbed");
    let said = apply(&cluster, &manifest("20"), &["--wait"]);
    cluster.check(said.code == Some(0), &format!("{said:?}"));
    all_have(&cluster, "databases", "20");
    let report = traffic.finish(0);
    cluster.check(report.totals().failed == 0, &format!("clients saw errors: {:?}", report.totals()));
    let mut connection = database_5(&cluster, &cluster.primary("s0"));
    let kept: String = redis::cmd("GET").arg("kept").query(&mut connection).unwrap();
    cluster.check(kept == "here", "a write was lost");
}

/// With fewer databases an engine moves the keys of the others into the first one.
#[test]
fn a_server_that_dies_before_its_turn_comes_back_as_it_was() {
    let place = Place::new();
    let manifest = |databases: &str| {
        Manifest::new("turn").update("1h", "rolling").directive("cluster-databases", databases)
    };
    let cluster = Cluster::started(&place, manifest("16"));
    let (primary, replica) = (cluster.primary("s2"), cluster.replica("s2"));
    let mut connection = database_5(&cluster, &primary);
    // Keys of other shards are refused.
    let of_shard =
        |n: &u32| redis::cmd("SET").arg(format!("kept-{n}")).arg("here").query::<()>(&mut connection).is_ok();
    let key = format!("kept-{}", (0..1000).find(of_shard).expect("a key of this shard"));
    let traffic = Traffic::start(&cluster);
    let said = apply(&cluster, &manifest("2").directive("maxmemory", "200mb"), &[]);
    cluster.check(said.code == Some(0), &format!("{said:?}"));
    cluster.until_event(0, "Rolling");
    let has = |instance: &str, directive: &str| -> Option<String> {
        let shown: Vec<String> = cluster.ask(instance, &["CONFIG", "GET", directive]).ok()?;
        shown.get(1).cloned()
    };
    for dies in [&replica, &primary] {
        let before = cluster.pid(dies);
        process::signal(before, Signal::KILL);
        cluster.until("the killed server is back", || {
            let is_back =
                cluster.status().instances.iter().any(|one| one.name == *dies && one.pid != Some(before));
            (is_back && has(dies, "maxmemory").as_deref() == Some("209715200")).then_some(())
        });
        cluster.check(
            has(dies, "cluster-databases").as_deref() == Some("16"),
            "a server did not wait for its turn",
        );
    }
    let said = apply(&cluster, &manifest("16"), &["--wait"]);
    cluster.check(said.code == Some(0), &format!("{said:?}"));
    cluster.until_whole();
    all_have(&cluster, "cluster-databases", "16");
    let mut connection = database_5(&cluster, &cluster.primary("s2"));
    let kept: String = redis::cmd("GET").arg(&key).query(&mut connection).unwrap();
    cluster.check(kept == "here", "a key is in another database");
    traffic.finish(0);
}

#[test]
fn primaries_wait_for_an_approval() {
    let place = Place::new();
    let manifest = || Manifest::new("asked").update("0s", "rolling").supervised();
    let cluster = Cluster::started(&place, manifest());
    let refused = cluster.run(&["approve"]);
    cluster
        .check(refused.code == Some(3) && refused.err.contains("no update waits"), &format!("{refused:?}"));
    let traffic = Traffic::start(&cluster);
    let primaries = ["s0", "s1", "s2"].map(|shard| cluster.primary(shard));
    let pids = |cluster: &Cluster<'_>| primaries.clone().map(|primary| cluster.pid(&primary));
    let before = pids(&cluster);
    let changed = manifest().directive("tcp-backlog", "300");
    std::fs::write(cluster.file(), changed.text()).unwrap();
    let plan = cluster.must(&["plan", "-f", cluster.file().to_str().unwrap()]);
    cluster.check(plan.contains("primaries wait for `valkeeper approve`"), &plan);
    let said = apply(&cluster, &changed, &[]);
    cluster.check(said.code == Some(0), &format!("{said:?}"));
    let has = |instance: &str| -> Option<String> {
        let shown: Vec<String> = cluster.ask(instance, &["CONFIG", "GET", "tcp-backlog"]).ok()?;
        shown.get(1).cloned()
    };
    cluster.until("all that is left waits for an approval", || {
        cluster.run(&["status"]).out.contains("nobody has approved of that").then_some(())
    });
    let replicas = ["s0", "s1", "s2"].map(|shard| cluster.replica(shard));
    cluster.check(replicas.iter().all(|one| has(one).as_deref() == Some("300")), "a replica was left out");
    cluster.check(pids(&cluster) == before, "a primary was restarted, and nobody has approved of it");
    // Also by a supervisor that begins with it.
    cluster.kill_supervisor();
    cluster.check(cluster.try_up(&["--timeout", "2s"]).code == Some(4), "it is not told");
    cluster.must(&["approve"]);
    until_rolled(&cluster);
    all_have(&cluster, "tcp-backlog", "300");
    let report = traffic.finish(0);
    cluster.check(report.totals().failed == 0, &format!("clients saw errors: {:?}", report.totals()));
}
