//! Disks that are older than their siblings', another shard's, or emptied in part: the newest copy of the shard's own data
//! serves, whichever member has it.

use crate::engine;
use std::fs;
use std::path::{Path, PathBuf};
use valkeeper_testkit::{Batch, Cluster, Manifest, Place, cluster::wipe, process, waiting};

const SHARDS: [&str; 3] = ["s0", "s1", "s2"];

fn started<'a>(place: &'a Place, mode: &'static str, server: Option<PathBuf>) -> Cluster<'a> {
    let mut cluster = Cluster::new(place, Manifest::new("old").roles_stay().persistence(mode));
    if let Some(server) = server {
        cluster.server = server;
    }
    cluster.up();
    cluster.until_whole();
    cluster
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let (from, to) = (entry.path(), to.join(entry.file_name()));
        if from.is_dir() {
            copy(&from, &to);
        } else {
            fs::copy(from, to).unwrap();
        }
    }
}

fn put_back(from: &Path, to: &Path) {
    wipe(to);
    copy(from, to);
}

/// L2: a host's disk is restored from a snapshot of before. In the first shard it is the primary's, in the second the
/// replica's; in the third the primary's whole folder, with all that is kept beside the data.
fn folders_of_before(mode: &'static str, server: Option<PathBuf>) {
    let place = Place::new();
    let cluster = started(&place, mode, server);
    let gone: Vec<_> = SHARDS.iter().map(|shard| cluster.write(shard, "gone", 100)).collect();
    let mut kept: Vec<_> = SHARDS.iter().map(|shard| cluster.write(shard, "before", 500)).collect();
    let third = cluster.primary("s2");
    let folders = [
        cluster.data_dir(&cluster.primary("s0")),
        cluster.data_dir(&cluster.replica("s1")),
        cluster.instance_dir(&third),
    ];
    cluster.must(&["down"]);
    let saved: Vec<_> = (0..3).map(|n| place.path().join(format!("saved{n}"))).collect();
    folders.iter().zip(&saved).for_each(|(folder, saved)| copy(folder, saved));
    cluster.up();
    go_on(&cluster, &gone, &mut kept);
    cluster.must(&["down"]);
    folders.iter().zip(&saved).for_each(|(folder, saved)| put_back(saved, folder));
    cluster.up();
    cluster.until_whole();
    cluster.all_there("a folder of before was put back", &kept.iter().collect::<Vec<_>>());
    cluster.none_there("a folder of before was put back", &gone.iter().collect::<Vec<_>>());
}

#[test]
fn a_folder_of_before_is_no_newer_for_being_the_primarys() {
    folders_of_before("aof", None);
}

#[test]
#[ignore = "long: the same with rdb"]
fn a_folder_of_before_under_rdb() {
    folders_of_before("rdb", None);
}

/// The primary's disk is lost; of two replicas, one has a disk of before.
#[test]
#[ignore = "long: nine servers"]
fn the_newest_of_two_replicas_serves() {
    let place = Place::new();
    let cluster = Cluster::started(&place, Manifest::new("old").roles_stay().replicas(2));
    cluster.until_whole();
    let gone: Vec<_> = SHARDS.iter().map(|shard| cluster.write(shard, "gone", 100)).collect();
    let mut kept: Vec<_> = SHARDS.iter().map(|shard| cluster.write(shard, "before", 500)).collect();
    let shards = cluster.status().shards;
    cluster.must(&["down"]);
    // In one shard it is the first replica's, in another the second's, so that their order does not decide.
    let old = [cluster.data_dir(&shards[0].replicas[0]), cluster.data_dir(&shards[1].replicas[1])];
    let saved = ["first", "second"].map(|name| place.path().join(name));
    old.iter().zip(&saved).for_each(|(folder, saved)| copy(folder, saved));
    cluster.up();
    go_on(&cluster, &gone, &mut kept);
    cluster.lose_power();
    old.iter().zip(&saved).for_each(|(folder, saved)| put_back(saved, folder));
    for shard in &shards[..2] {
        wipe(&cluster.data_dir(shard.primary.as_deref().unwrap()));
    }
    cluster.up();
    cluster.until_whole();
    cluster.all_there("from the newer replica's disk", &kept.iter().collect::<Vec<_>>());
    cluster.none_there("from the newer replica's disk", &gone.iter().collect::<Vec<_>>());
}

/// L1: a shard with next to nothing has an AOF all the same, and it is the truth: over the older snapshot beside it, too.
fn little_data(server: Option<PathBuf>) {
    let place = Place::new();
    let cluster = started(&place, "aof", server);
    let gone = cluster.write("s1", "gone", 100);
    for instance in [cluster.primary("s1"), cluster.replica("s1")] {
        cluster.save(&instance);
    }
    cluster.remove(&gone);
    let kept = [cluster.write("s0", "counter", 1), cluster.write("s1", "counter", 1)];
    // In the third, everything was deleted: that is a data set too.
    let flushed = cluster.write("s2", "flushed", 100);
    for instance in [cluster.primary("s2"), cluster.replica("s2")] {
        cluster.save(&instance);
    }
    let _: String = cluster.told(&cluster.primary("s2"), &["FLUSHALL"]);
    for shard in SHARDS {
        cluster.until_replicated(shard);
    }
    for instance in cluster.instance_names() {
        cluster.rewrite(&instance);
    }
    cluster.lose_power();
    cluster.up();
    cluster.until_whole();
    cluster.all_there("after a power loss", &kept.iter().collect::<Vec<_>>());
    cluster.none_there("after a power loss", &[&gone, &flushed]);
}

#[test]
fn a_shard_with_next_to_nothing_starts_from_its_aof() {
    little_data(None);
}

/// L1: the engine saves the emptied data set with the offset of before.
fn flushed_beside_a_fenced_replica(mode: &'static str, server: Option<PathBuf>) {
    let place = Place::new();
    let cluster = started(&place, mode, server);
    let gone = cluster.write("s0", "gone", 30);
    cluster.until_replicated("s0");
    let (primary, replica) = (cluster.primary("s0"), cluster.replica("s0"));
    cluster.save(&primary);
    cluster.must(&["fence", &replica]);
    cluster.until("it is down", || cluster.status().instance(&replica).pid.is_none().then_some(()));
    let _: String = cluster.told(&primary, &["FLUSHALL"]);
    if mode == "aof" {
        cluster.rewrite(&primary);
    }
    cluster.lose_power();
    cluster.try_up(&["--timeout", "5"]);
    cluster.until("the primary serves", || (cluster.primary_now("s0")? == primary).then_some(()));
    cluster.must(&["unfence", &replica]);
    cluster.until_whole();
    cluster.none_there("on the primary", &[&gone]);
    // That the two differ is seen when both were looked at while they were at one offset.
    cluster.until(&format!("{replica} has none of the keys that were deleted"), || {
        cluster.ask::<u64>(&replica, &["DBSIZE"]).is_ok_and(|keys| keys == 0).then_some(())
    });
    cluster.until_whole();
    cluster.eventually(&["switchover", "s0"]);
    cluster.until_whole();
    cluster.none_there("after a switchover", &[&gone]);
}

#[test]
fn a_flushed_data_set_is_flushed_on_the_replica_too() {
    flushed_beside_a_fenced_replica("aof", None);
}

#[test]
#[ignore = "long: the same with rdb"]
fn a_flushed_data_set_is_flushed_on_the_replica_too_under_rdb() {
    flushed_beside_a_fenced_replica("rdb", None);
}

/// L18, and another shard's AOF in the place of its own.
fn aof_gone_or_foreign(server: Option<PathBuf>) {
    let place = Place::new();
    let cluster = started(&place, "aof", server);
    let gone: Vec<_> = SHARDS.iter().map(|shard| cluster.write(shard, "gone", 100)).collect();
    let mut kept: Vec<_> = SHARDS.iter().map(|shard| cluster.write(shard, "early", 500)).collect();
    let primaries = SHARDS.map(|shard| cluster.primary(shard));
    for primary in &primaries {
        cluster.save(primary);
    }
    for batch in &gone {
        cluster.remove(batch);
    }
    kept.extend(SHARDS.iter().map(|shard| cluster.write(shard, "late", 500)));
    for shard in SHARDS {
        cluster.until_replicated(shard);
    }
    cluster.lose_power();
    // An older snapshot beside an AOF that is gone, or that lost its manifest; another shard's AOF.
    fs::remove_dir_all(cluster.aof_dir(&primaries[0])).unwrap();
    let manifest =
        cluster.aof_files(&primaries[1]).into_iter().find(|path| path.ends_with("appendonly.aof.manifest"));
    fs::remove_file(manifest.unwrap()).unwrap();
    put_back(&cluster.aof_dir("old-3"), &cluster.aof_dir(&primaries[2]));
    cluster.up();
    cluster.until_whole();
    cluster.all_there("after a power loss", &kept.iter().collect::<Vec<_>>());
    cluster.none_there("after a power loss", &gone.iter().collect::<Vec<_>>());
}

#[test]
fn an_aof_that_is_gone_or_anothers_is_taken_from_the_replica() {
    aof_gone_or_foreign(None);
}

/// D1: under rdb the AOF on disk is of another time; the primary's disk is lost and the mode is changed back while all is down.
#[test]
#[ignore = "long: a mode changed twice"]
fn a_stale_aof_on_the_replica_is_no_copy() {
    let place = Place::new();
    let mut cluster = started(&place, "aof", None);
    let gone = cluster.write("s0", "gone", 100);
    let mut kept = vec![cluster.write("s0", "early", 500)];
    cluster.change(Manifest::new("old").roles_stay().persistence("rdb"));
    let file = cluster.file();
    cluster.must(&["apply", "--wait", "-f", &file.to_string_lossy()]);
    cluster.remove(&gone);
    kept.push(cluster.write("s0", "late", 500));
    let primary = cluster.primary("s0");
    cluster.must(&["down"]);
    wipe(&cluster.data_dir(&primary));
    cluster.change(Manifest::new("old").roles_stay());
    cluster.up();
    cluster.until_whole();
    cluster.all_there("from the replica's disk", &kept.iter().collect::<Vec<_>>());
    cluster.none_there("from the replica's disk", &[&gone]);
}

/// L17: nobody supervises; a replica is made to follow another shard's primary, and is perhaps elected there. Its own shard's
/// primary then dies, with everything on its disk.
fn followed_by_hand(meanwhile: Meanwhile) {
    let place = Place::new();
    let cluster = Cluster::started(&place, Manifest::new("old").roles_stay().node_timeout("2s"));
    cluster.until_whole();
    let kept: Vec<Batch> = SHARDS.iter().map(|shard| cluster.write(shard, "kept", 1_000)).collect();
    for shard in SHARDS {
        cluster.until_replicated(shard);
    }
    let (other, primary, replica) = (cluster.primary("s0"), cluster.primary("s1"), cluster.replica("s1"));
    let other_id: String = cluster.told(&other, &["CLUSTER", "MYID"]);
    let pid = cluster.pid(&primary);
    cluster.until_written(&primary);
    let supervisor = cluster.supervisor();
    match meanwhile {
        Meanwhile::Nothing | Meanwhile::Elected => cluster.kill_supervisor(),
        Meanwhile::HeldForFailed => process::signal(supervisor, process::Signal::STOP),
    }
    let _: String = cluster.told(&replica, &["CLUSTER", "REPLICATE", &other_id]);
    cluster.until("it follows the other shard's primary", || {
        let up = cluster.info(&replica, "replication", "master_link_status") == "up";
        let of_other =
            cluster.info(&replica, "replication", "master_port") == cluster.port(&other).to_string();
        (up && of_other).then_some(())
    });
    if meanwhile == Meanwhile::Elected {
        cluster.until("it is elected there", || {
            let _ = cluster.ask::<String>(&replica, &["CLUSTER", "FAILOVER"]);
            (cluster.info(&replica, "replication", "role") == "master").then_some(())
        });
    }
    process::kill(pid);
    waiting::until("the primary is dead", || (!process::alive(pid)).then_some(()));
    if meanwhile == Meanwhile::HeldForFailed {
        cluster.until_held_for_failed(&replica, &primary);
        process::signal(supervisor, process::Signal::CONT);
        cluster.until_back(&primary, pid);
        cluster.until_whole();
    } else {
        cluster.try_up(&["--timeout", "20"]);
    }
    cluster.until("its shard has a primary again", || cluster.primary_now("s1"));
    let own: Vec<_> = kept.iter().filter(|batch| batch.shard == "s1").collect();
    cluster.all_there("moved by hand", &own);
    cluster.until("every shard has a primary", || {
        SHARDS.iter().all(|shard| cluster.primary_now(shard).is_some()).then_some(())
    });
    cluster.until("it is healthy or says why not", || {
        let status = cluster.status();
        (status.healthy || !status.waiting.is_empty()).then_some(())
    });
    cluster.all_there("moved by hand", &kept.iter().collect::<Vec<_>>());
    if meanwhile != Meanwhile::Elected {
        cluster.until_whole();
    }
}

/// What follows while nobody supervises.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Meanwhile {
    Nothing,
    /// The replica is elected in the other shard.
    Elected,
    /// The dead primary is held for failed, and for a while after it is back: a replica that follows it then would be elected.
    HeldForFailed,
}

#[test]
#[ignore = "long: roles changed by hand"]
fn a_replica_that_was_moved_by_hand_is_no_copy() {
    followed_by_hand(Meanwhile::Nothing);
}

#[test]
#[ignore = "long: roles changed by hand"]
fn a_replica_that_was_moved_by_hand_and_elected_is_no_copy() {
    followed_by_hand(Meanwhile::Elected);
}

#[test]
#[ignore = "long: roles changed by hand"]
fn a_replica_that_is_put_back_is_not_elected_before_it_has_its_primarys_data() {
    followed_by_hand(Meanwhile::HeldForFailed);
}

engine::both! {
    folders_are_of_before(server) {
        folders_of_before("aof", Some(server));
    }
    little_data_is_in_the_aof(server) {
        little_data(Some(server));
    }
    flushed_is_flushed(server) {
        flushed_beside_a_fenced_replica("aof", Some(server));
    }
    the_aof_is_gone_or_foreign(server) {
        aof_gone_or_foreign(Some(server));
    }
}

/// What happens after a folder was copied: some of what it has is deleted, and more is written.
fn go_on(cluster: &Cluster<'_>, gone: &[Batch], kept: &mut Vec<Batch>) {
    for batch in gone {
        cluster.remove(batch);
    }
    kept.extend(SHARDS.iter().map(|shard| cluster.write(shard, "after", 1_000)));
    for shard in SHARDS {
        cluster.until_replicated(shard);
    }
}
