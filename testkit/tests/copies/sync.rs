//! Deaths while a copy is made: a replica in the middle of a full sync, an AOF in the middle of its first rewrite. Such a copy
//! is none, whatever its server says of itself.

use crate::engine;
use std::fs;
use std::net::TcpListener;
use std::path::PathBuf;
use std::time::{Duration, Instant};
use valkeeper_testkit::cluster::wipe;
use valkeeper_testkit::power::Slow;
use valkeeper_testkit::{Batch, Cluster, Manifest, Place, Traffic, process};

/// What a shard holds.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Data {
    /// Few keys, and servers that are as slow as with a hundred thousand times as much: microseconds a key.
    Slow(u32),
    /// Megabytes.
    Real(usize),
}

impl Data {
    fn write(self, cluster: &Cluster<'_>, shard: &str) -> Batch {
        match self {
            Self::Slow(_) => cluster.write(shard, "data", 3_000),
            Self::Real(megabytes) => cluster.write_big(shard, "data", megabytes),
        }
    }

    fn delay(self) -> u32 {
        match self {
            Self::Slow(us) => us,
            Self::Real(_) => 0,
        }
    }
}

fn started(place: &Place, server: Option<PathBuf>) -> Cluster<'_> {
    started_from(Manifest::new("sync"), place, server)
}

fn started_from(manifest: Manifest, place: &Place, server: Option<PathBuf>) -> Cluster<'_> {
    let manifest = manifest.roles_stay().unresponsive_after("3s");
    // Big values are all alike: compressed, nothing would be left of them.
    let mut cluster = Cluster::new(place, manifest.directive("rdbcompression", "no"));
    if let Some(server) = server {
        cluster.server = server;
    }
    cluster.up();
    cluster.until_whole();
    cluster
}

/// Stops a replica and takes its data away, so that it needs a full sync when it is let run again.
fn empty(cluster: &Cluster<'_>, replica: &str) {
    cluster.must(&["fence", replica]);
    cluster.until("it is down", || cluster.status().instance(replica).pid.is_none().then_some(()));
    let _ = fs::remove_dir_all(cluster.aof_dir(replica));
    let _ = fs::remove_file(cluster.data_dir(replica).join("dump.rdb"));
}

/// Where in its full sync a replica is.
#[derive(Debug, Clone, Copy)]
enum Stage {
    /// The snapshot is on its way.
    Transfer,
    /// The replica loads it.
    Load,
}

#[derive(Debug, Clone, Copy)]
enum End {
    Killed,
    /// Stopped: the product ends it.
    Silent,
}

fn dies_in(cluster: &Cluster<'_>, shard: &str, stage: Stage, end: End) {
    let data = cluster.write(shard, "data", 3_000);
    let (primary, replica) = (cluster.primary(shard), cluster.replica(shard));
    empty(cluster, &replica);
    let _slowed = match stage {
        Stage::Transfer => {
            cluster.slow(&primary, Slow::Saving(3_000));
            None
        }
        Stage::Load => {
            // The transfer takes long enough for the loading to be slowed before it begins.
            cluster.slow(&primary, Slow::Saving(300));
            Some(cluster.keep_slow(&replica, Slow::Loading(3_000)))
        }
    };
    let pid = cluster.pid(&primary);
    cluster.must(&["unfence", &replica]);
    cluster.until(&format!("{replica} is at {stage:?}"), || {
        let told: String = cluster.ask(&replica, &["INFO"]).ok()?;
        let is = |line: &str| told.lines().any(|one| one.trim() == line);
        match stage {
            Stage::Transfer => is("master_sync_in_progress:1") && !is("loading:1"),
            Stage::Load => is("loading:1"),
        }
        .then_some(())
    });
    let meanwhile = cluster.write(shard, "meanwhile", 2_000);
    cluster.until_written(&primary);
    match end {
        End::Killed => process::kill(pid),
        End::Silent => process::signal(pid, process::Signal::STOP),
    }
    cluster.until_back(&primary, pid);
    cluster.until_whole();
    cluster.all_there(&format!("{shard}: the primary was {end:?} in {stage:?}"), &[&data, &meanwhile]);
}

/// L17.
#[test]
fn a_primary_dies_while_its_replica_receives_its_data() {
    let place = Place::new();
    dies_in(&started(&place, None), "s0", Stage::Transfer, End::Killed);
}

#[test]
fn a_primary_dies_while_its_replica_loads_its_data() {
    let place = Place::new();
    dies_in(&started(&place, None), "s0", Stage::Load, End::Killed);
}

#[test]
#[ignore = "long: a server that is silent is waited for"]
fn a_primary_is_killed_as_silent_while_its_replica_synchronises() {
    let place = Place::new();
    let cluster = started(&place, None);
    dies_in(&cluster, "s0", Stage::Load, End::Silent);
    dies_in(&cluster, "s1", Stage::Transfer, End::Silent);
}

/// L17: a primary dies at so many moments of its replica's full sync, from its beginning to its end.
pub(crate) fn dies_in_full_sync(data: Data, moments: u32) {
    let place = Place::new();
    // `everysec` holds writes back for up to two seconds while the disk is busy (docs/engine-facts.md), and answers meanwhile: here a primary dies
    // under traffic, and nothing but its own file has what its replica has not yet.
    let cluster = started_from(Manifest::new("sync").directive("appendfsync", "always"), &place, None);
    data.write(&cluster, "s0");
    cluster.until_replicated("s0");
    let full_sync = || {
        let (primary, replica) = (cluster.primary("s0"), cluster.replica("s0"));
        empty(&cluster, &replica);
        cluster.slow(&primary, Slow::Saving(data.delay()));
        let slowed = cluster.keep_slow(&replica, Slow::Loading(data.delay()));
        cluster.must(&["unfence", &replica]);
        (primary, replica, slowed)
    };
    let begun = Instant::now();
    let (_, replica, slowed) = full_sync();
    cluster.until(&format!("{replica} is in sync"), || {
        let told: String = cluster.ask(&replica, &["INFO", "replication"]).ok()?;
        told.contains("master_link_status:up").then_some(())
    });
    let whole = begun.elapsed();
    drop(slowed);
    for moment in 0..moments {
        // Each full sync copies as much: what the traffic wrote before would make the next one longer.
        let _: String = cluster.told(&cluster.primary("s0"), &["FLUSHALL"]);
        let all = data.write(&cluster, "s0");
        cluster.until_whole();
        let traffic = Traffic::start(&cluster);
        let begun = Instant::now();
        let (primary, replica, slowed) = full_sync();
        // A copy that is not whole is found out by the writes that came meanwhile. Faults come at moments; what is waited for afterwards is a condition.
        traffic.more(20);
        std::thread::sleep((whole * moment / moments).saturating_sub(begun.elapsed()));
        let pid = cluster.kill(&primary);
        traffic.flowing();
        let written = traffic.stop();
        drop(slowed);
        cluster.slow(&replica, Slow::Loading(0));
        cluster.until_back(&primary, pid);
        // A replica that was in sync by then may lack the one write that was in flight.
        written.read_back(&cluster, 1);
        cluster.all_there(&format!("moment {moment} of {moments}, {whole:?}"), &[&all]);
    }
}

#[test]
#[ignore = "long: four deaths"]
fn a_primary_dies_at_four_moments_of_a_full_sync() {
    dies_in_full_sync(Data::Slow(1_000), 4);
}

/// A primary that was down for longer than `cluster-node-timeout` is held for failed for up to twice that time after it is back. Its replica, in sync
/// again by then, was elected beside it, and what it had acknowledged since was gone.
#[test]
fn a_replica_is_not_elected_beside_its_primary_that_is_back() {
    let place = Place::new();
    let manifest = Manifest::new("back").node_timeout("4s").directive("appendfsync", "always");
    let cluster = started_from(manifest, &place, None);
    let data = cluster.write("s0", "data", 1_000);
    cluster.until_replicated("s0");
    let (primary, replica) = (cluster.primary("s0"), cluster.replica("s0"));
    empty(&cluster, &replica);
    cluster.slow(&primary, Slow::Saving(5_000));
    cluster.must(&["unfence", &replica]);
    cluster.until(&format!("{replica} receives its data"), || {
        let told: String = cluster.ask(&replica, &["INFO", "replication"]).ok()?;
        told.contains("master_sync_in_progress:1").then_some(())
    });
    let seen = cluster.events().len();
    let traffic = Traffic::start(&cluster);
    // It cannot start again as long as somebody else has its port.
    let (supervisor, pid, port) = (cluster.supervisor(), cluster.pid(&primary), cluster.port(&primary));
    process::signal(supervisor, process::Signal::STOP);
    process::kill(pid);
    let taken = cluster.until("its port is free", || TcpListener::bind(("127.0.0.1", port)).ok());
    process::signal(supervisor, process::Signal::CONT);
    cluster.until_held_for_failed(&replica, &primary);
    drop(taken);
    cluster.until_back(&primary, pid);
    cluster.until_whole();
    traffic.stop().read_back(&cluster, 0);
    cluster.all_there("a primary was down for a while", &[&data]);
    let elected = cluster.events_since(seen, "RoseByItself");
    cluster.check(elected.is_empty(), &format!("elected beside its primary: {elected:?}"));
}

/// D1: a primary dies, comes back as a replica, and is primary again after the death of the other one; then the power is lost.
pub(crate) fn two_deaths(data: Data, server: Option<PathBuf>) {
    let place = Place::new();
    let cluster = started(&place, server);
    let gone = cluster.write("s0", "gone", 100);
    let mut kept = vec![data.write(&cluster, "s0")];
    cluster.until_replicated("s0");
    let (first, second) = (cluster.primary("s0"), cluster.replica("s0"));
    cluster.save(&first);
    let slowed = cluster.keep_slow(&first, Slow::Saving(data.delay()));
    let pid = cluster.kill(&first);
    cluster.until_back(&first, pid);
    // Healthy under aof: what is acknowledged from now on is on every disk that may serve.
    cluster.remove(&gone);
    kept.push(cluster.write("s0", "between", 1_000));
    cluster.until_replicated("s0");
    cluster.kill(&second);
    cluster.until("the first is primary again", || (cluster.primary_now("s0")? == first).then_some(()));
    kept.push(cluster.write("s0", "after", 1_000));
    cluster.lose_power();
    drop(slowed);
    cluster.up();
    cluster.until_whole();
    cluster.all_there("two deaths and a power loss", &kept.iter().collect::<Vec<_>>());
    cluster.none_there("two deaths and a power loss", &[&gone]);
}

#[test]
fn two_deaths_and_a_power_loss_lose_nothing() {
    two_deaths(Data::Slow(3_000), None);
}

/// D1: the AOF of a replica that was restarted is not complete when it becomes primary.
pub(crate) fn restart_and_switchover(data: Data, server: Option<PathBuf>) {
    let place = Place::new();
    let cluster = started(&place, server);
    let mut kept = vec![data.write(&cluster, "s0")];
    cluster.until_replicated("s0");
    let replica = cluster.replica("s0");
    cluster.save(&replica);
    kept.push(cluster.write("s0", "before", 1_000));
    cluster.until_replicated("s0");
    let slowed = cluster.keep_slow(&replica, Slow::Saving(data.delay()));
    cluster.must(&["restart", &replica]);
    cluster.eventually(&["switchover", "--to", &replica]);
    kept.push(cluster.write("s0", "after", 1_000));
    std::thread::sleep(Duration::from_millis(200));
    cluster.lose_power();
    drop(slowed);
    cluster.up();
    cluster.until_whole();
    cluster.all_there("a switchover to a restarted replica", &kept.iter().collect::<Vec<_>>());
}

#[test]
fn a_restarted_replica_has_everything_on_its_disk_before_it_is_primary() {
    restart_and_switchover(Data::Slow(3_000), None);
}

/// D1: healthy under aof, every member's disk is a copy, also that of a replica that has just come back.
#[test]
#[ignore = "long: a power loss that takes a disk with it"]
fn a_replica_that_came_back_is_a_copy_once_all_is_healthy() {
    let place = Place::new();
    let cluster = started(&place, None);
    let data = Data::Slow(3_000);
    let mut kept = vec![data.write(&cluster, "s0")];
    cluster.until_replicated("s0");
    let (primary, replica) = (cluster.primary("s0"), cluster.replica("s0"));
    cluster.save(&replica);
    kept.push(cluster.write("s0", "unsaved", 1_000));
    let slowed = cluster.keep_slow(&replica, Slow::Saving(data.delay()));
    let pid = cluster.kill(&replica);
    cluster.until_back(&replica, pid);
    kept.push(cluster.write("s0", "after", 1_000));
    cluster.until_replicated("s0");
    cluster.lose_power();
    drop(slowed);
    wipe(&cluster.data_dir(&primary));
    cluster.up();
    cluster.until_whole();
    cluster.all_there("the primary's disk is lost", &kept.iter().collect::<Vec<_>>());
}

engine::both! {
    a_primary_dies_in_the_transfer(server) {
        let place = Place::new();
        dies_in(&started(&place, Some(server)), "s0", Stage::Transfer, End::Killed);
    }
    a_primary_dies_in_the_load(server) {
        let place = Place::new();
        dies_in(&started(&place, Some(server)), "s0", Stage::Load, End::Killed);
    }
    two_deaths_then_power_loss(server) {
        two_deaths(Data::Slow(3_000), Some(server));
    }
    restart_then_switchover(server) {
        restart_and_switchover(Data::Slow(3_000), Some(server));
    }
}
