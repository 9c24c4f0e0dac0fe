//! Slots move from shard to shard under load: nothing that was acknowledged is lost, whoever dies meanwhile.

use std::path::PathBuf;
use valkeeper_testkit::cluster::Status;
use valkeeper_testkit::{Cluster, Manifest, Place, Traffic, program};

/// A move of so many takes a few goes.
const MANY: &str = "4000";

fn started(place: &Place, server: Option<PathBuf>) -> Cluster<'_> {
    let mut cluster = Cluster::new(place, Manifest::new("moving").roles_stay());
    if let Some(server) = server {
        cluster.server = server;
    }
    cluster.up();
    cluster.until_whole();
    cluster
}

fn slots_of(status: &Status, shard: &str) -> u32 {
    status.shards.iter().find(|one| one.name == shard).unwrap().slot_count()
}

fn counts(status: &Status) -> [u32; 3] {
    ["s0", "s1", "s2"].map(|shard| slots_of(status, shard))
}

/// Begins a move from s0 to s1.
fn begin(cluster: &Cluster<'_>) {
    cluster.must(&["slots", "move", "--from", "s0", "--to", "s1", "--count", MANY, "--no-wait"]);
}

fn until_moved(cluster: &Cluster<'_>) {
    cluster.until("the move has ended", || {
        cluster.try_status().filter(|status| status.progress.is_empty()).map(drop)
    });
    let status = cluster.until_whole();
    cluster.check(counts(&status) == [1_461, 9_461, 5_462], &format!("{:?}", counts(&status)));
}

fn there_and_back(server: Option<PathBuf>) {
    let place = Place::new();
    let cluster = started(&place, server);
    let traffic = Traffic::start(&cluster);
    traffic.more(100);
    cluster.must(&["slots", "move", "--from", "s0", "--to", "s1", "--count", MANY]);
    until_moved(&cluster);
    traffic.more(100);
    let planned = cluster.must(&["rebalance", "--plan"]);
    cluster.check(planned.contains("4000") && planned.contains("s1"), &planned);
    cluster.must(&["rebalance"]);
    let status = cluster.until_whole();
    cluster.check(counts(&status) == [5_461, 5_461, 5_462], &format!("{:?}", counts(&status)));
    let planned = cluster.must(&["rebalance", "--plan"]);
    cluster.check(planned.contains("nothing would move"), &planned);
    let report = traffic.finish(0);
    cluster.check(report.totals().failed == 0, &format!("clients saw errors: {:?}", report.totals()));
}

#[test]
fn slots_move_there_and_back_and_no_write_is_lost() {
    there_and_back(None);
}

#[test]
#[ignore = "long: the same on another engine"]
fn key_by_key_where_the_engine_has_nothing_better() {
    there_and_back(Some(program::fetched("redis-7.0/redis-server")));
}

/// A move goes on whoever of these dies in the middle.
fn goes_on_without(server: Option<PathBuf>) {
    let place = Place::new();
    let cluster = started(&place, server);
    let traffic = Traffic::start(&cluster);
    traffic.more(100);
    begin(&cluster);
    cluster.kill(&cluster.primary("s0"));
    cluster.kill_supervisor();
    cluster.up();
    cluster.kill(&cluster.primary("s1"));
    traffic.flowing();
    until_moved(&cluster);
    traffic.finish(2);
}

#[test]
fn a_move_goes_on_when_both_primaries_and_the_supervisor_die() {
    goes_on_without(None);
}

#[test]
#[ignore = "long: the same on another engine"]
fn a_move_goes_on_when_both_primaries_and_the_supervisor_die_key_by_key() {
    goes_on_without(Some(program::fetched("redis-7.0/redis-server")));
}

#[test]
fn a_move_is_cancelled_in_the_middle_and_what_is_refused_says_why() {
    let place = Place::new();
    // Key by key it takes some seconds, where the engine's own migration is over in one.
    let cluster = started(&place, Some(program::fetched("redis-7.0/redis-server")));
    let traffic = Traffic::start(&cluster);
    traffic.more(50);
    for (args, words) in [
        (&["--from", "s0", "--to", "s0", "--count", "1"][..], "s0 has them already"),
        (&["--from", "s0", "--to", "s1", "--count", "6000"][..], "s0 owns 5461 slots"),
        (&["--from", "s0", "--to", "s1", "5000-6000"][..], "s0 does not own slots 5461-6000"),
        (&["--from", "s0", "--to", "s9", "--count", "1"][..], "there is no shard `s9`"),
    ] {
        let said = cluster.run(&[&["slots", "move"][..], args].concat());
        cluster.check(said.code != Some(0) && said.err.contains(words), &format!("{said:?}"));
    }
    begin(&cluster);
    cluster.until("a part of the slots has moved", || {
        let status = cluster.try_status()?;
        cluster.check(!status.progress.is_empty() || slots_of(&status, "s0") > 1_461, "it is over already");
        status.progress.iter().any(|one| one["done"].as_u64() > Some(0)).then_some(())
    });
    cluster.must(&["slots", "cancel"]);
    let status = cluster.until_whole();
    let [first, second, third] = counts(&status);
    let moved = first > 1_461 && first < 5_461 && first + second == 10_922 && third == 5_462;
    cluster.check(moved && status.progress.is_empty(), &format!("{:?}", counts(&status)));
    cluster.must(&["rebalance"]);
    let status = cluster.until_whole();
    cluster.check(counts(&status) == [5_461, 5_461, 5_462], &format!("{:?}", counts(&status)));
    traffic.finish(0);
}
