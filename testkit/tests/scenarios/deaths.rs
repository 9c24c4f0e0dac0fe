//! Processes that die: a primary, a replica, both, the majority, everybody.

use std::time::Duration;
use valkeeper_testkit::{Cluster, Manifest, Place, Traffic, process};

/// Kills the primaries of the shards in turn; each comes back as a replica that goes on where it was.
fn kill_primaries_in_turn(rounds: usize) {
    let place = Place::new();
    let cluster = Cluster::started(&place, Manifest::new("deaths").roles_stay());
    let traffic = Traffic::start(&cluster);
    for round in 0..rounds {
        let shard = format!("s{}", round % 3);
        let (old, heir) = (cluster.primary(&shard), cluster.replica(&shard));
        traffic.more(100);
        cluster.until_saved(&old);
        let (full, partial) = syncs(&cluster, &heir);
        let (seen, port) = (cluster.events().len(), cluster.port(&old));
        let pid = cluster.kill(&old);
        let event = cluster.until_event(seen, "FailedOver");
        let parts = (event["shard"].as_str(), event["from"].as_str(), event["to"].as_str());
        let wanted = (Some(&*shard), Some(&*old), Some(&*heir));
        cluster.check(parts == wanted, &format!("{parts:?} is not {wanted:?}"));
        traffic.flowing();
        cluster.until_back(&old, pid);
        let status = cluster.until_whole();
        cluster
            .check(status.primary(&shard) == Some(&*heir), &format!("round {round}: {heir} is not primary"));
        cluster.check(cluster.port(&old) == port, "it came back at another address");
        let now = syncs(&cluster, &heir);
        cluster.check(
            now == (full, partial + 1),
            &format!("round {round}: {old} came back by a full sync: {:?} became {now:?}", (full, partial)),
        );
        cluster.check(
            cluster.events_since(seen, "TakenOver").is_empty(),
            "taken over although there was a quorum",
        );
    }
    // Per death, each of the shard's writers (one) may lose the write that it has in flight.
    traffic.finish(rounds as u64);
}

fn syncs(cluster: &Cluster<'_>, primary: &str) -> (u64, u64) {
    (cluster.count(primary, "stats", "sync_full"), cluster.count(primary, "stats", "sync_partial_ok"))
}

#[test]
fn a_killed_primary_is_succeeded_and_comes_back_as_replica_by_partial_resync() {
    kill_primaries_in_turn(4);
}

/// Its last look showed it alone: the replica has connected since, and is in sync.
#[test]
fn a_primary_that_dies_right_after_a_switchover_is_succeeded() {
    let place = Place::new();
    let cluster = Cluster::started(&place, Manifest::new("haste").roles_stay());
    let traffic = Traffic::start(&cluster);
    let rounds = 4;
    for _ in 0..rounds {
        cluster.must(&["switchover", "s0"]);
        cluster.until_healthy();
        let (primary, seen) = (cluster.primary("s0"), cluster.events().len());
        let pid = cluster.kill(&primary);
        cluster.until_event(seen, "Died");
        cluster.until_back(&primary, pid);
        cluster.check(cluster.events_since(seen, "FailedOver").len() == 1, "the dead primary was waited for");
    }
    traffic.finish(rounds);
}

#[test]
fn a_killed_replica_comes_back_and_no_client_notices() {
    let place = Place::new();
    let cluster = Cluster::started(&place, Manifest::new("replica").roles_stay());
    let traffic = Traffic::start(&cluster);
    let (primary, replica) = (cluster.primary("s1"), cluster.replica("s1"));
    traffic.more(100);
    let (before, seen) = (syncs(&cluster, &primary), cluster.events().len());
    let pid = cluster.kill(&replica);
    cluster.until_back(&replica, pid);
    let status = cluster.until_whole();
    cluster.check(status.primary("s1") == Some(&*primary), "the primary changed");
    cluster.check(syncs(&cluster, &primary) == (before.0, before.1 + 1), "it came back by a full sync");
    cluster.check(cluster.events_since(seen, "Died").len() == 1, "its death is not told");
    let report = traffic.finish(0);
    cluster.check(report.totals().failed == 0, &format!("clients saw errors: {:?}", report.totals()));
}

#[test]
fn a_primary_and_its_only_replica_die_together() {
    let place = Place::new();
    let cluster = Cluster::started(&place, Manifest::new("both").roles_stay());
    let traffic = Traffic::start(&cluster);
    traffic.more(300);
    let both = [cluster.primary("s2"), cluster.replica("s2")];
    let pids = both.each_ref().map(|name| cluster.pid(name));
    for pid in pids {
        process::kill(pid);
    }
    for (name, pid) in both.iter().zip(pids) {
        cluster.until_back(name, pid);
    }
    // A killed process has written its AOF before it answered.
    traffic.finish(0);
}

/// Kills all servers at once.
fn power_loss(cluster: &Cluster<'_>) {
    let running = cluster.status().processes();
    for (_, pid, _) in &running {
        process::kill(*pid);
    }
    cluster.until("everybody is back", || {
        let now = cluster.status();
        let back = |(name, pid, _): &(String, u32, _)| now.instance(name).pid.is_some_and(|new| new != *pid);
        (now.healthy && running.iter().all(back)).then_some(())
    });
}

#[test]
fn power_loss_with_aof_loses_nothing() {
    let place = Place::new();
    let cluster = Cluster::started(&place, Manifest::new("aof").roles_stay());
    for _ in 0..2 {
        let traffic = Traffic::start(&cluster);
        traffic.more(300);
        power_loss(&cluster);
        traffic.finish(0);
    }
}

#[test]
fn power_loss_with_rdb_keeps_what_was_saved() {
    let place = Place::new();
    let cluster = Cluster::started(&place, Manifest::new("rdb").roles_stay().persistence("rdb"));
    let traffic = Traffic::start(&cluster);
    traffic.more(300);
    let saved = traffic.stop();
    for shard in ["s0", "s1", "s2"] {
        let _: String = cluster.told(&cluster.primary(shard), &["SAVE"]);
    }
    let unsaved = Traffic::start(&cluster);
    unsaved.more(100);
    power_loss(&cluster);
    unsaved.flowing();
    cluster.until_whole();
    drop(unsaved);
    saved.read_back(&cluster, 0);
}

#[test]
fn power_loss_without_persistence_leaves_an_empty_cluster_that_works() {
    let place = Place::new();
    let cluster = Cluster::started(&place, Manifest::new("memory").roles_stay().persistence("none"));
    let traffic = Traffic::start(&cluster);
    traffic.more(100);
    drop(traffic);
    power_loss(&cluster);
    cluster.until_whole();
    let traffic = Traffic::start(&cluster);
    traffic.more(100);
    traffic.finish(0);
}

#[test]
fn without_persistence_a_dead_primary_never_empties_its_replica() {
    let place = Place::new();
    let cluster = Cluster::started(&place, Manifest::new("erase").roles_stay().persistence("none"));
    let traffic = Traffic::start(&cluster);
    traffic.more(300);
    let pid = cluster.kill("erase-0");
    cluster.until_back("erase-0", pid);
    let written = {
        traffic.flowing();
        cluster.until_whole();
        traffic.stop()
    };
    written.read_back(&cluster, 1);

    // The same with nobody watching: the next supervisor finds a dead primary and a replica that holds the only copy.
    let (primary, replica) = (cluster.primary("s0"), cluster.replica("s0"));
    let pid = cluster.pid(&primary);
    cluster.kill_supervisor();
    process::kill(pid);
    let copies: u64 = cluster.told(&replica, &["DBSIZE"]);
    cluster.up();
    let status = cluster.until_back(&primary, pid);
    cluster.check(status.primary("s0") == Some(&*replica), "the replica that had the data is not primary");
    written.read_back(&cluster, 1);
    let kept: u64 = cluster.told(&replica, &["DBSIZE"]);
    cluster.check(kept >= copies, &format!("{copies} keys became {kept}"));
}

#[test]
fn a_majority_killed_at_once_is_taken_over_once() {
    let place = Place::new();
    let cluster = Cluster::started(&place, Manifest::new("majority").roles_stay());
    let traffic = Traffic::start(&cluster);
    traffic.more(100);
    let seen = cluster.events().len();
    let pids = ["majority-0", "majority-1"].map(|name| cluster.pid(name));
    for pid in pids {
        process::kill(pid);
    }
    for (name, pid) in ["majority-0", "majority-1"].into_iter().zip(pids) {
        cluster.until_back(name, pid);
    }
    let taken = cluster.events_since(seen, "TakenOver");
    cluster.check(taken.len() == 1, &format!("{} takeovers, not one", taken.len()));
    cluster.check(taken[0]["alive"] == 1 && taken[0]["needed"] == 2, "its event tells other numbers");
    let mut shards: Vec<String> = cluster
        .events_since(seen, "FailedOver")
        .iter()
        .map(|event| event["shard"].as_str().unwrap_or_default().to_owned())
        .collect();
    shards.sort();
    cluster.check(shards == ["s0", "s1"], &format!("failed over: {shards:?}"));
    traffic.finish(2);
}

/// Run by `make test-long` only.
mod longest {
    use super::*;

    #[test]
    #[ignore = "long: thirty deaths, some seconds each"]
    fn thirty_primaries_are_killed_in_a_row() {
        kill_primaries_in_turn(30);
    }

    #[test]
    #[ignore = "long: a majority dies ten times, in different ways"]
    fn majorities_die_again_and_again() {
        let place = Place::new();
        let cluster = Cluster::started(&place, Manifest::new("again").roles_stay());
        let traffic = Traffic::start(&cluster);
        let mut deaths = 0;
        for round in 0..10_u64 {
            traffic.more(50);
            let shards: &[&str] = if round % 3 == 2 { &["s0", "s1", "s2"] } else { &["s0", "s2"] };
            let dead: Vec<(String, u32)> = shards
                .iter()
                .map(|shard| cluster.primary(shard))
                .map(|name| (cluster.pid(&name), name))
                .map(|(pid, name)| (name, pid))
                .collect();
            for (_, pid) in &dead {
                process::kill(*pid);
                std::thread::sleep(Duration::from_millis(round));
            }
            deaths += dead.len() as u64;
            for (name, pid) in &dead {
                cluster.until_back(name, *pid);
            }
            cluster.until_whole();
        }
        traffic.finish(deaths);
    }
}
