//! Data directories that are wiped, and files in them that are damaged.

use std::fs;
use std::path::PathBuf;
use valkeeper_testkit::cluster::wipe;
use valkeeper_testkit::power::{Outcome, Slow};
use valkeeper_testkit::{Cluster, Manifest, Place, Traffic, process, waiting};

#[test]
fn a_running_replicas_data_is_wiped() {
    let place = Place::new();
    let cluster = Cluster::started(&place, Manifest::new("wiped").roles_stay());
    let traffic = Traffic::start(&cluster);
    traffic.more(200);
    let (primary, replica) = (cluster.primary("s0"), cluster.replica("s0"));
    let pid = cluster.pid(&replica);
    wipe(&cluster.data_dir(&replica));
    cluster.until_back(&replica, pid);
    let status = cluster.until_whole();
    cluster.check(status.primary("s0") == Some(&*primary), "the primary changed");
    cluster.check(cluster.data_dir(&replica).join("nodes.conf").exists(), "it has no nodes.conf again");
    let report = traffic.finish(0);
    cluster.check(report.totals().failed == 0, &format!("clients saw errors: {:?}", report.totals()));
}

#[test]
fn a_running_primarys_data_is_wiped() {
    let place = Place::new();
    let cluster = Cluster::started(&place, Manifest::new("wiped").roles_stay());
    let traffic = Traffic::start(&cluster);
    traffic.more(200);
    let (primary, replica) = (cluster.primary("s1"), cluster.replica("s1"));
    let (pid, seen) = (cluster.pid(&primary), cluster.events().len());
    wipe(&cluster.data_dir(&primary));
    cluster.until_back(&primary, pid);
    let status = cluster.until_whole();
    cluster.check(status.primary("s1") == Some(&*replica), "its replica is not primary");
    cluster.check(cluster.events_since(seen, "SwitchedOver").len() == 1, "it did not hand over first");
    let report = traffic.finish(0);
    cluster.check(report.totals().failed == 0, &format!("clients saw errors: {:?}", report.totals()));
}

/// The server goes on as if nothing had happened, and says so: without a look at its disk all would be lost with the power.
#[test]
fn an_aof_that_is_lost_under_a_running_server_is_written_anew() {
    let place = Place::new();
    let cluster = Cluster::started(&place, Manifest::new("unlinked").roles_stay());
    cluster.until_whole();
    let kept = cluster.write("s0", "kept", 500);
    cluster.until_replicated("s0");
    let seen = cluster.events().len();
    let both = [cluster.primary("s0"), cluster.replica("s0")];
    for instance in &both {
        fs::remove_dir_all(cluster.aof_dir(instance)).unwrap();
    }
    for instance in &both {
        cluster.until("its AOF is there again", || {
            let files = cluster.aof_files(instance);
            let base = |file: &PathBuf| file.to_string_lossy().contains(".base.");
            files.iter().any(base).then_some(())
        });
    }
    cluster.check(cluster.events_since(seen, "AofLost").len() == 2, "nobody was told");
    cluster.until_whole();
    let late = cluster.write("s0", "late", 500);
    cluster.lose_power();
    cluster.up();
    cluster.until_whole();
    cluster.all_there("after a power loss", &[&kept, &late]);
}

/// The snapshots that are left are older, and nobody is to take them for the data.
#[test]
fn a_power_loss_before_a_lost_aof_is_written_anew_waits_for_a_word() {
    let place = Place::new();
    let cluster = Cluster::started(&place, Manifest::new("undone").roles_stay());
    cluster.until_whole();
    let kept = cluster.write("s0", "kept", 500);
    cluster.until_replicated("s0");
    let both = [cluster.primary("s0"), cluster.replica("s0")];
    for instance in &both {
        cluster.save(instance);
    }
    let late = cluster.write("s0", "late", 500);
    cluster.until_replicated("s0");
    for instance in &both {
        // A rewrite of 1,000 keys takes minutes.
        cluster.slow(instance, Slow::Saving(200_000));
        fs::remove_dir_all(cluster.aof_dir(instance)).unwrap();
    }
    cluster.until("both say that a loss of power loses writes", || {
        let reasons = cluster.status().reasons();
        both.iter()
            .all(|name| reasons.contains(&format!("{name}: its append-only file does not hold all")))
            .then_some(())
    });
    cluster.until("both records say so", || {
        let record = |name| fs::read_to_string(cluster.data_dir(name).join("valkeeper-copy.json"));
        both.iter().all(|name| record(name).is_ok_and(|text| text.contains("\"lost\""))).then_some(())
    });
    cluster.lose_power();
    cluster.check(cluster.comes_up() == Outcome::Waits, "older snapshots are served, and nobody was asked");
    cluster.accept_loss("s0");
    cluster.until_whole();
    cluster.all_there("after the loss was accepted", &[&kept]);
    cluster.none_there("after the loss was accepted", &[&late]);
}

/// Nobody else has its data: it is not stopped, and writes everything again into the directory.
#[test]
fn a_running_server_without_a_replica_fills_its_emptied_directory_again() {
    let place = Place::new();
    let cluster = Cluster::started(&place, Manifest::new("sole").replicas(0));
    cluster.until_whole();
    let kept = cluster.write("s0", "kept", 500);
    let sole = cluster.primary("s0");
    let pid = cluster.pid(&sole);
    let marker = cluster.data_dir(&sole).join("valkeeper.json");
    cluster.check(marker.exists(), "its directory has no mark to begin with");
    wipe(&cluster.data_dir(&sole));
    cluster.until("the directory is its own again", || marker.exists().then_some(()));
    cluster.check(cluster.pid(&sole) == pid, "the only copy was stopped");
    cluster.until_whole();
    cluster.lose_power();
    cluster.up();
    cluster.until_whole();
    cluster.all_there("after a power loss", &[&kept]);
}

#[test]
fn killed_and_wiped_servers_come_back_with_the_others_data() {
    let place = Place::new();
    let cluster = Cluster::started(&place, Manifest::new("lost").roles_stay());
    let traffic = Traffic::start(&cluster);
    traffic.more(200);
    for instance in [cluster.replica("s0"), cluster.primary("s1")] {
        let pid = cluster.pid(&instance);
        // Removed as a whole, as a disk that is gone.
        fs::remove_dir_all(cluster.data_dir(&instance)).unwrap();
        process::kill(pid);
        cluster.until_back(&instance, pid);
        cluster.until_whole();
    }
    traffic.finish(1);
}

#[test]
fn a_primary_whose_data_is_lost_while_all_is_down_waits_for_its_replicas_copy() {
    let place = Place::new();
    let cluster = Cluster::started(&place, Manifest::new("cold").roles_stay());
    let traffic = Traffic::start(&cluster);
    traffic.more(200);
    let written = traffic.stop();
    let (primary, replica) = (cluster.primary("s0"), cluster.replica("s0"));
    cluster.must(&["down"]);
    wipe(&cluster.data_dir(&primary));
    cluster.up();
    cluster.until_whole();
    cluster.check(cluster.primary("s0") == replica, "the one that has the data is not primary");
    written.read_back(&cluster, 0);
}

/// A cluster that serves has data, also before it is whole for the first time.
#[test]
fn a_primary_whose_data_is_lost_before_the_cluster_was_ever_whole_takes_its_replicas_copy() {
    let place = Place::new();
    let cluster = Cluster::new(&place, Manifest::new("young").roles_stay());
    // In the way of a directory: this replica does not come up, and the cluster is not whole.
    let obstacle = cluster.data_dir("young-5");
    fs::create_dir_all(cluster.instance_dir("young-5")).unwrap();
    fs::write(&obstacle, "").unwrap();
    let said = cluster.try_up(&["--timeout", "4"]);
    cluster.check(said.err.contains("young-5"), &said.err);
    cluster.until("s0 has its replica", || {
        cluster.status().shards.iter().any(|one| one.name == "s0" && !one.replicas.is_empty()).then_some(())
    });
    let traffic = Traffic::start(&cluster);
    traffic.more(200);
    let written = traffic.stop();
    let (primary, replica) = (cluster.primary("s0"), cluster.replica("s0"));
    let pid = cluster.pid(&primary);
    cluster.kill_supervisor();
    process::kill(pid);
    waiting::until("the primary is gone", || (!process::alive(pid)).then_some(()));
    wipe(&cluster.data_dir(&primary));
    fs::remove_file(&obstacle).unwrap();
    cluster.up();
    cluster.until_whole();
    cluster.check(cluster.primary("s0") == replica, "the one that has the data is not primary");
    written.read_back(&cluster, 0);
}

#[test]
fn a_shard_whose_every_copy_is_gone_comes_back_only_when_told_to() {
    let place = Place::new();
    let cluster = Cluster::started(&place, Manifest::new("gone").roles_stay());
    let traffic = Traffic::start(&cluster);
    traffic.more(100);
    drop(traffic);
    let both = [cluster.primary("s2"), cluster.replica("s2")];
    cluster.must(&["down"]);
    let kept = both.each_ref().map(|name| cluster.instance_dir(name).join("elsewhere"));
    for (name, kept) in both.iter().zip(&kept) {
        fs::rename(cluster.data_dir(name), kept).unwrap();
    }
    let early = cluster.try_up(&["--timeout", "5"]);
    cluster.check(early.code == Some(4), &format!("it came up without its data: {early:?}"));
    let status = cluster.until_waits_for("AllCopiesMissing");
    cluster.check(status.reasons().contains("--accept-data-loss"), "it does not say what can be done");
    cluster
        .check(status.primary("s0").is_some() && status.primary("s1").is_some(), "the others do not serve");
    cluster.check(
        cluster.run(&["failover", "s0", "--accept-data-loss"]).code == Some(3),
        "an unasked-for loss was accepted",
    );
    // The disks are mounted again: nothing was lost.
    for (name, kept) in both.iter().zip(&kept) {
        let _ = fs::remove_dir_all(cluster.data_dir(name));
        fs::rename(kept, cluster.data_dir(name)).unwrap();
    }
    cluster.until_whole();
    let keys: u64 = cluster.told(&cluster.primary("s2"), &["DBSIZE"]);
    cluster.check(keys >= 100, &format!("{keys} keys are left"));
    // They are gone for good.
    cluster.must(&["down"]);
    for name in &both {
        fs::remove_dir_all(cluster.data_dir(name)).unwrap();
    }
    let early = cluster.try_up(&["--timeout", "5"]);
    cluster.check(early.code == Some(4), &format!("it came up without its data: {early:?}"));
    cluster.until_waits_for("AllCopiesMissing");
    cluster.eventually(&["failover", "s2", "--accept-data-loss"]);
    cluster.until_whole();
    Traffic::start(&cluster).finish(0);
}

/// Cuts an instance's nodes.conf while it is dead: no supervisor may start it in between.
fn cut(cluster: &Cluster<'_>, instance: &str, keep: impl Fn(&str) -> String) -> u32 {
    let pid = cluster.pid(instance);
    let path = cluster.data_dir(instance).join("nodes.conf");
    // The last moment at which the file is whole and nobody writes it.
    let supervisor = cluster.supervisor();
    process::signal(supervisor, process::Signal::STOP);
    process::kill(pid);
    cluster.until("it is dead", || (!process::alive(pid)).then_some(()));
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, keep(&text)).unwrap();
    process::signal(supervisor, process::Signal::CONT);
    pid
}

fn nodes_conf_is_cut(cuts: &[fn(&str) -> String]) {
    let place = Place::new();
    let cluster = Cluster::started(&place, Manifest::new("cut").roles_stay());
    let traffic = Traffic::start(&cluster);
    for (round, keep) in cuts.iter().enumerate() {
        let shard = format!("s{}", round % 3);
        for instance in [cluster.replica(&shard), cluster.primary(&shard)] {
            traffic.more(50);
            let id: String = cluster.told(&instance, &["CLUSTER", "MYID"]);
            let pid = cut(&cluster, &instance, keep);
            cluster.until_back(&instance, pid);
            cluster.until_whole();
            let now: String = cluster.told(&instance, &["CLUSTER", "MYID"]);
            cluster.check(now == id, "it came back as somebody else");
        }
    }
    traffic.finish(cuts.len() as u64);
}

fn nothing(_: &str) -> String {
    String::new()
}
fn half(text: &str) -> String {
    text[..text.len() / 2].to_owned()
}
fn without_trailer(text: &str) -> String {
    text[..text.rfind("vars").unwrap_or(0)].to_owned()
}
fn in_a_line(text: &str) -> String {
    text[..text.find("myself").unwrap_or(0) + 3].to_owned()
}
fn without_last_newline(text: &str) -> String {
    text.trim_end().to_owned()
}
fn zeros(text: &str) -> String {
    "\0".repeat(text.len())
}
fn in_the_last_number(text: &str) -> String {
    text.trim_end().trim_end_matches(|c: char| c.is_ascii_digit()).to_owned()
}

#[test]
fn a_truncated_nodes_conf_is_rebuilt() {
    nodes_conf_is_cut(&[half, without_trailer]);
}

#[test]
#[ignore = "long: seven ways to damage a file, on six servers"]
fn nodes_conf_is_damaged_in_every_way() {
    nodes_conf_is_cut(&[
        nothing,
        half,
        without_trailer,
        in_a_line,
        without_last_newline,
        zeros,
        in_the_last_number,
    ]);
}

#[test]
fn a_nodes_conf_that_is_damaged_while_all_is_down_is_rebuilt_from_the_others() {
    let place = Place::new();
    let cluster = Cluster::started(&place, Manifest::new("offline").roles_stay());
    let traffic = Traffic::start(&cluster);
    traffic.more(100);
    let written = traffic.stop();
    let (primary, replica) = (cluster.primary("s1"), cluster.replica("s2"));
    cluster.must(&["down"]);
    for instance in [&primary, &replica] {
        let path = cluster.data_dir(instance).join("nodes.conf");
        let text = fs::read_to_string(&path).unwrap();
        fs::write(&path, half(&text)).unwrap();
    }
    cluster.up();
    cluster.until_whole();
    written.read_back(&cluster, 0);
}

/// What a server has left on its disk is known although it stays down: nothing was read from that disk since before its first start.
#[test]
fn the_copy_of_a_fenced_replica_is_waited_for_when_the_primarys_is_lost() {
    let place = Place::new();
    let cluster = Cluster::started(&place, Manifest::new("fenced").roles_stay());
    let data = cluster.write("s0", "data", 1_000);
    cluster.until_replicated("s0");
    let (primary, replica) = (cluster.primary("s0"), cluster.replica("s0"));
    cluster.must(&["fence", &replica]);
    // With the directory's name the copy of the memory is lost at the moment of the death.
    fs::rename(cluster.data_dir(&primary), cluster.instance_dir(&primary).join("elsewhere")).unwrap();
    cluster.kill(&primary);
    let status = cluster.until_waits_for("CopyOnSibling");
    cluster.check(status.reasons().contains(&replica), "it does not say which instance has the data");
    let accepted = cluster.run(&["failover", "s0", "--accept-data-loss", "--timeout", "5"]);
    cluster.check(accepted.code != Some(0), &format!("data that is there was given up: {accepted:?}"));
    cluster.must(&["unfence", &replica]);
    cluster.until_whole();
    cluster.all_there("the fenced replica had the data", &[&data]);
}
