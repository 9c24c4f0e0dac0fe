//! Mode `standalone`: one primary and its replicas, whose agents vote.

use redis::{Commands as _, RedisResult};
use std::time::Duration;
use valkeeper_testkit::cluster::wipe;
use valkeeper_testkit::{Cluster, Manifest, Place, Traffic, process};

/// What `connect -o json` calls the port that leads to the primary: the seed's word.
const PRIMARY: &str = "leader";

fn started(place: &Place, instances: u32) -> Cluster<'_> {
    Cluster::started(place, Manifest::standalone("solo", instances))
}

fn full_syncs(cluster: &Cluster<'_>) -> u64 {
    cluster.instance_names().iter().map(|name| cluster.count(name, "stats", "sync_full")).sum()
}

/// Kills the primary again and again; the others and the one that comes back go on by a partial resync.
fn kill_the_primary(instances: u32, rounds: u64) {
    let place = Place::new();
    let cluster = started(&place, instances);
    let traffic = Traffic::start(&cluster);
    for round in 0..rounds {
        traffic.more(100);
        let old = cluster.primary("s0");
        cluster.until_saved(&old);
        let seen = cluster.events().len();
        let before: u64 = cluster
            .instance_names()
            .iter()
            .filter(|name| **name != old)
            .map(|name| cluster.count(name, "stats", "sync_full"))
            .sum();
        let pid = cluster.kill(&old);
        let event = cluster.until_event(seen, "FailedOver");
        cluster.check(event["from"].as_str() == Some(&*old), &format!("round {round}: {event}"));
        traffic.flowing();
        cluster.until_back(&old, pid);
        let status = cluster.until_whole();
        cluster.check(status.primary("s0") != Some(&*old), "the dead primary came back as primary");
        // The one that was killed has begun to count anew: it has sent nothing since.
        cluster.check(
            full_syncs(&cluster) == before,
            &format!("round {round}: somebody came back by a full sync"),
        );
    }
    traffic.finish(rounds);
}

#[test]
fn a_killed_primary_of_three_is_succeeded_by_vote_and_all_follow_by_partial_resync() {
    kill_the_primary(3, 2);
}

#[test]
fn a_killed_primary_of_two_is_succeeded() {
    kill_the_primary(2, 2);
}

#[test]
fn a_switchover_loses_nothing_and_refuses_nothing() {
    let place = Place::new();
    let cluster = started(&place, 3);
    let traffic = Traffic::start(&cluster);
    let before = full_syncs(&cluster);
    for _ in 0..6 {
        let to = cluster.replica("s0");
        traffic.more(100);
        cluster.must(&["switchover", "--to", &to]);
        let status = cluster.until_whole();
        cluster.check(status.primary("s0") == Some(&*to), &format!("{to} is not the primary"));
    }
    cluster.check(full_syncs(&cluster) == before, "somebody followed by a full sync");
    let report = traffic.finish(0);
    cluster.check(report.totals().failed == 0, &format!("clients saw errors: {:?}", report.totals()));
}

#[test]
fn a_restart_of_the_primary_hands_over_first() {
    let place = Place::new();
    let cluster = started(&place, 2);
    let traffic = Traffic::start(&cluster);
    traffic.more(100);
    let (old, heir) = (cluster.primary("s0"), cluster.replica("s0"));
    let pid = cluster.pid(&old);
    cluster.must(&["restart", &old]);
    cluster.until_back(&old, pid);
    let status = cluster.until_whole();
    cluster.check(status.primary("s0") == Some(&*heir), "it did not hand over");
    let report = traffic.finish(0);
    cluster.check(report.totals().failed == 0, &format!("clients saw errors: {:?}", report.totals()));
}

/// A single server that dies is started again with what it had, never a blank one in its place.
#[test]
fn a_single_server_comes_back_with_its_data() {
    let place = Place::new();
    let cluster = started(&place, 1);
    let traffic = Traffic::start(&cluster);
    for _ in 0..3 {
        traffic.more(100);
        let only = cluster.primary("s0");
        let pid = cluster.kill(&only);
        cluster.until_back(&only, pid);
        traffic.flowing();
    }
    traffic.finish(0);
}

#[test]
fn everybody_dies_at_once_and_the_supervisor_too() {
    let place = Place::new();
    let cluster = started(&place, 3);
    let traffic = Traffic::start(&cluster);
    traffic.more(200);
    // Not the one that was founded as the primary: the newest term counts, not the layout.
    cluster.must(&["switchover", "s0"]);
    cluster.until_whole();
    traffic.more(200);
    let written = traffic.stop();
    let running = cluster.status().processes();
    cluster.kill_supervisor();
    for (_, pid, _) in &running {
        process::kill(*pid);
    }
    cluster.up();
    cluster.until_whole();
    written.read_back(&cluster, 0);
}

#[test]
fn a_supervisor_that_dies_leaves_the_servers_and_the_next_one_adopts_them() {
    let place = Place::new();
    let cluster = started(&place, 3);
    cluster.must(&["switchover", "s0"]);
    let before = cluster.until_whole();
    let traffic = Traffic::start(&cluster);
    cluster.kill_supervisor();
    traffic.more(200);
    cluster.up();
    let after = cluster.until_whole();
    cluster.check(before.processes() == after.processes(), "a server was restarted");
    cluster.check(before.primary("s0") == after.primary("s0"), "the primary changed");
    let old = cluster.primary("s0");
    let (seen, pid) = (cluster.events().len(), cluster.kill(&old));
    cluster.until_event(seen, "FailedOver");
    cluster.until_back(&old, pid);
    traffic.finish(1);
}

/// What somebody types at a server is put right, and is no way to lose a write that the primary has acknowledged.
#[test]
fn roles_that_were_changed_by_hand_are_put_right() {
    let place = Place::new();
    let cluster = started(&place, 3);
    let traffic = Traffic::start(&cluster);
    traffic.more(100);
    let (primary, replica) = (cluster.primary("s0"), cluster.replica("s0"));
    let seen = cluster.events().len();
    let _: RedisResult<()> = cluster.ask(&replica, &["REPLICAOF", "NO", "ONE"]);
    cluster.until_event(seen, "Rewired");
    let status = cluster.until_whole();
    cluster.check(status.primary("s0") == Some(&*primary), "the primary changed");
    traffic.more(100);
    // The primary itself becomes a replica: it is made the primary again, since nobody was elected in its place.
    let port = cluster.port(&replica).to_string();
    let _: RedisResult<()> = cluster.ask(&primary, &["REPLICAOF", "127.0.0.1", &port]);
    cluster.until("writes flow again", || (cluster.until_whole().primary("s0").is_some()).then_some(()));
    traffic.finish(0);
}

#[test]
fn the_port_of_the_primary_leads_to_its_successor() {
    let place = Place::new();
    let cluster = started(&place, 3);
    let connect: serde_json::Value = serde_json::from_str(&cluster.must(&["connect", "-o", "json"])).unwrap();
    let at = |role: &str| connect[role].as_str().unwrap().to_owned();
    let (primary_port, replica_port) = (at(PRIMARY), at("replica"));
    let client = |at: &str| {
        let url = format!("redis://:{}@{at}/", cluster.password());
        redis::Client::open(url).unwrap().get_connection_with_timeout(Duration::from_secs(10))
    };
    let mut writer = client(&primary_port).unwrap();
    let () = writer.set("greeting", "hello").unwrap();
    let to = cluster.replica("s0");
    cluster.must(&["switchover", "--to", &to]);
    // The connection to the former primary ends, or says that it is none: never silence.
    let said: RedisResult<()> = writer.set("greeting", "again");
    cluster.check(said.is_err(), "a write went to a replica");
    let mut writer = client(&primary_port).unwrap();
    let () = writer.set("greeting", "once more").unwrap();
    let old = cluster.primary("s0");
    let pid = cluster.kill(&old);
    cluster.until("a write through the port of the primary", || {
        client(&primary_port).ok()?.set::<_, _, ()>("greeting", "for good").ok()
    });
    cluster.until_back(&old, pid);
    cluster.until_whole();
    cluster.until("the replica has it", || {
        let read: String = client(&replica_port).ok()?.get("greeting").ok()?;
        (read == "for good").then_some(())
    });
}

/// The vote of the register makes the majority: one of two agents cannot keep its own.
#[test]
fn a_primary_of_two_that_dies_with_its_disk_is_succeeded_and_rebuilt() {
    dies_with_its_disk(2);
}

/// A register that is lost is made anew from the votes of all agents, and then votes again.
#[test]
fn a_register_that_is_lost_is_made_anew() {
    let place = Place::new();
    let cluster = started(&place, 2);
    let file = cluster.dir().join("register.json");
    let (whole, damaged) = (std::fs::read_to_string(&file).unwrap(), "{}");
    std::fs::write(&file, damaged).unwrap();
    cluster.until("the status tells that it does not vote", || {
        cluster.status().waits_for("RegisterUnusable").then_some(())
    });
    std::fs::remove_file(&file).unwrap();
    cluster.until_whole();
    let anew = std::fs::read_to_string(&file).unwrap();
    cluster.check(anew.contains("voting") && whole.contains("voting"), "it does not vote");
    dies(&cluster);
}

/// Its agent cannot keep a vote, and does not stand in the way of the one that has the data.
#[test]
fn a_primary_that_dies_with_its_disk_is_succeeded_and_rebuilt() {
    dies_with_its_disk(3);
}

fn dies_with_its_disk(instances: u32) {
    let place = Place::new();
    dies(&started(&place, instances));
}

fn dies(cluster: &Cluster<'_>) {
    let traffic = Traffic::start(cluster);
    traffic.more(200);
    let old = cluster.primary("s0");
    let (pid, seen) = (cluster.pid(&old), cluster.events().len());
    process::signal(pid, process::Signal::STOP);
    wipe(&cluster.data_dir(&old));
    process::kill(pid);
    cluster.until_event(seen, "FailedOver");
    traffic.flowing();
    cluster.until_back(&old, pid);
    let status = cluster.until_whole();
    cluster.check(status.primary("s0") != Some(&*old), "the one that lost its data is primary");
    traffic.finish(1);
}

/// Run by `make test-long` only.
mod longest {
    use super::kill_the_primary;

    #[test]
    #[ignore = "long: thirty deaths, some seconds each"]
    fn thirty_primaries_of_three_are_killed_in_a_row() {
        kill_the_primary(3, 30);
    }
}

/// Between the least and the most, the number of replicas that writes need follows those that are attached.
#[test]
fn writes_go_on_with_fewer_replicas_and_count_on_them_again_when_they_are_back() {
    let place = Place::new();
    let manifest = Manifest::standalone("solo", 3).sync_replicas(1, 2);
    let cluster = Cluster::started(&place, manifest);
    let needs = |number: u32| {
        cluster.until(&format!("writes need {number}"), || {
            let primary = cluster.primary_now("s0")?;
            let set: RedisResult<Vec<String>> =
                cluster.ask(&primary, &["CONFIG", "GET", "min-replicas-to-write"]);
            (set.ok()?.get(1)? == &number.to_string()).then_some(())
        });
    };
    needs(2);
    let traffic = Traffic::start(&cluster);
    traffic.more(50);
    let away = cluster.replica("s0");
    cluster.must(&["fence", &away]);
    needs(1);
    traffic.more(50);
    cluster.must(&["unfence", &away]);
    needs(2);
    traffic.more(50);
    // Its successor needs as many.
    let old = cluster.primary("s0");
    cluster.until_saved(&old);
    let pid = cluster.kill(&old);
    cluster.until_back(&old, pid);
    needs(2);
    traffic.finish(1);
}
