//! The number of shards changes under load: new ones are whole before they own slots, those that go have given theirs away, and no write is lost.

use std::path::PathBuf;
use valkeeper_testkit::cluster::{Shard, Status};
use valkeeper_testkit::process::{self, Signal};
use valkeeper_testkit::{Cluster, Manifest, Place, Traffic, program};

fn shards(number: u32) -> Manifest {
    Manifest::new("shards").shards(number)
}

fn apply(cluster: &Cluster<'_>, number: u32, more: &[&str]) {
    let file = cluster.file();
    std::fs::write(&file, shards(number).text()).unwrap();
    cluster.must(&[&["apply", "-f", file.to_str().unwrap()], more].concat());
}

fn sizes(status: &Status) -> Vec<u32> {
    let mut sizes: Vec<u32> = status.shards.iter().map(Shard::slot_count).collect();
    sizes.sort_unstable();
    sizes
}

/// So many shards with their even share, each with a replica in another zone.
fn until_there_are(cluster: &Cluster<'_>, number: u32) -> Status {
    cluster.until("the number of shards has come about", || {
        let status = cluster.try_status()?;
        (status.progress.is_empty() && status.shards.len() == number as usize).then_some(())
    });
    let status = cluster.until_whole();
    let sizes = sizes(&status);
    let even = sizes.len() == number as usize && sizes[sizes.len() - 1] - sizes[0] <= 1;
    cluster.check(even, &format!("{number} shards have {sizes:?} slots"));
    status
}

fn there_and_back(server: Option<PathBuf>) {
    let place = Place::new();
    let mut cluster = Cluster::new(&place, shards(3));
    if let Some(server) = server {
        cluster.server = server;
    }
    cluster.up();
    let before = cluster.until_whole().processes();
    // Functions are each server's own: a client has loaded them wherever there were slots.
    let code = "#!lua name=one\nredis.register_function('two', function() return 3 end)";
    for shard in ["s0", "s1", "s2"] {
        let _: String = cluster.told(&cluster.primary(shard), &["FUNCTION", "LOAD", code]);
    }
    let traffic = Traffic::start(&cluster);
    traffic.more(100);
    let file = cluster.file();
    std::fs::write(&file, shards(6).text()).unwrap();
    let plan = cluster.must(&["plan", "-f", file.to_str().unwrap()]);
    // Half of all slots, and no more, from each of the three to one of the new ones.
    let moved: u32 = plan
        .lines()
        .skip_while(|line| !line.starts_with("MOVE FROM"))
        .skip(1)
        .map_while(|line| line.split_whitespace().nth(2)?.parse::<u32>().ok())
        .sum();
    cluster.check(moved == 8_191 && plan.matches("primary").count() == 3, &plan);
    apply(&cluster, 6, &["--wait"]);
    let grown = until_there_are(&cluster, 6);
    cluster.check(grown.instances.len() == 12, "each shard has a replica");
    for shard in &grown.shards {
        let called: i64 = cluster.told(&cluster.primary(&shard.name), &["FCALL", "two", "0"]);
        cluster.check(called == 3, &format!("{} answers {called}", shard.name));
    }
    traffic.more(100);
    apply(&cluster, 3, &["--wait"]);
    let after = until_there_are(&cluster, 3);
    cluster.check(after.processes() == before, "a server was restarted");
    cluster.check(cluster.data_dir("shards-6").exists(), "the data of one that has left is gone");
    let report = traffic.finish(0);
    cluster.check(report.totals().failed == 0, &format!("clients saw errors: {:?}", report.totals()));
}

#[test]
fn six_shards_and_three_again() {
    there_and_back(None);
}

#[test]
#[ignore = "long: the same on another engine"]
fn six_shards_and_three_again_key_by_key() {
    there_and_back(Some(program::fetched("redis-7.0/redis-server")));
}

/// Turned round while slots move, with the supervisor, the primary that gives and the one that takes killed meanwhile.
#[test]
fn the_way_back_begins_in_the_middle_whoever_dies() {
    let place = Place::new();
    let cluster = Cluster::started(&place, shards(3));
    let traffic = Traffic::start(&cluster);
    traffic.more(100);
    let until_some_have_moved = |cluster: &Cluster<'_>, among: u32| {
        cluster.until("slots are on their way", || {
            let status = cluster.try_status()?;
            let sizes = sizes(&status);
            let between =
                sizes.len() == among as usize && sizes[0] > 0 && sizes[sizes.len() - 1] > sizes[0] + 1;
            between.then_some(status)
        })
    };
    apply(&cluster, 6, &[]);
    cluster.kill_supervisor();
    cluster.up();
    until_some_have_moved(&cluster, 6);
    cluster.kill(&cluster.primary("s0"));
    cluster.kill(&cluster.primary("s4"));
    cluster.kill_supervisor();
    cluster.up();
    apply(&cluster, 3, &[]);
    traffic.flowing();
    until_there_are(&cluster, 3);
    // What has begun to leave comes back, as another shard if it is gone already.
    apply(&cluster, 6, &["--wait"]);
    until_there_are(&cluster, 6);
    apply(&cluster, 3, &[]);
    apply(&cluster, 6, &[]);
    until_there_are(&cluster, 6);
    traffic.finish(2);
}

/// What owns nothing has nothing to lose: a lost directory is as good as a new one.
#[test]
fn a_new_shard_whose_primary_loses_its_disk_begins_again_and_leaves_without_its_replica() {
    let place = Place::new();
    let cluster = Cluster::started(&place, shards(3));
    let traffic = Traffic::start(&cluster);
    traffic.more(100);
    apply(&cluster, 6, &[]);
    let lost = cluster.until("its shard has a primary", || {
        let status = cluster.try_status()?;
        status.shards.iter().find(|one| one.name == "s3")?.primary.clone()
    });
    let (supervisor, pid) = (cluster.supervisor(), cluster.pid(&lost));
    process::signal(supervisor, Signal::STOP);
    process::signal(pid, Signal::KILL);
    wipe(&cluster.data_dir(&lost));
    process::signal(supervisor, Signal::CONT);
    until_there_are(&cluster, 6);
    // A replica of a shard that leaves may be away for long.
    let replica = cluster.replica("s4");
    cluster.must(&["fence", &replica]);
    apply(&cluster, 3, &[]);
    until_there_are(&cluster, 3);
    traffic.finish(1);
}

fn wipe(dir: &std::path::Path) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            std::fs::remove_dir_all(path).unwrap();
        } else {
            std::fs::remove_file(path).unwrap();
        }
    }
}
