//! Instances come and go in a cluster that runs.

use valkeeper_testkit::cluster::Status;
use valkeeper_testkit::{Cluster, Manifest, Place, Traffic};

fn apply(cluster: &Cluster<'_>, manifest: &Manifest, more: &[&str]) {
    let file = cluster.file();
    std::fs::write(&file, manifest.text()).unwrap();
    cluster.must(&[&["apply", "-f", file.to_str().unwrap()], more].concat());
}

fn names(status: &Status) -> Vec<String> {
    status.instances.iter().map(|one| one.name.clone()).collect()
}

/// Every server knows exactly those that there are: nobody who was removed is left in a table.
fn all_know_each_other_and_nobody_else(cluster: &Cluster<'_>) {
    let members = names(&cluster.status());
    for name in &members {
        let nodes: String = cluster.told(name, &["CLUSTER", "NODES"]);
        let known = nodes.lines().count();
        cluster
            .check(known == members.len(), &format!("{name} knows {known} of {}:\n{nodes}", members.len()));
    }
}

#[test]
fn replicas_come_and_go_and_come_again_in_the_middle() {
    let place = Place::new();
    let (one, two) = (Manifest::new("grow"), Manifest::new("grow").replicas(2));
    let cluster = Cluster::started(&place, one.clone());
    let before = cluster.status();
    let traffic = Traffic::start(&cluster);
    apply(&cluster, &two, &["--wait"]);
    let grown = cluster.status();
    cluster.check(grown.instances.len() == 9, &format!("{:?}", names(&grown)));
    let kept = |status: &Status| before.processes().iter().all(|one| status.processes().contains(one));
    cluster.check(kept(&grown), "a server was restarted");
    for shard in &grown.shards {
        let zones = grown.instances.iter().filter(|one| one.shard == shard.name).map(|one| &one.zone);
        let zones: std::collections::BTreeSet<_> = zones.collect();
        cluster.check(zones.len() == 3, &format!("{} is in {zones:?}", shard.name));
    }
    apply(&cluster, &one, &["--wait"]);
    cluster.check(names(&cluster.status()) == names(&before), &format!("{:?}", names(&cluster.status())));
    all_know_each_other_and_nobody_else(&cluster);
    cluster.check(cluster.data_dir("grow-6").exists(), "the data of one that was removed is gone");
    // Turned round in the middle, twice, and looked after by another supervisor in between.
    apply(&cluster, &two, &[]);
    cluster.kill_supervisor();
    cluster.up();
    apply(&cluster, &one, &[]);
    apply(&cluster, &two, &[]);
    apply(&cluster, &one, &[]);
    cluster.kill_supervisor();
    cluster.up();
    let after = cluster.until("three pairs are left", || {
        let status = cluster.status();
        (status.healthy && status.instances.len() == 6).then_some(status)
    });
    cluster.check(kept(&after), "a server was restarted");
    all_know_each_other_and_nobody_else(&cluster);
    let report = traffic.finish(0);
    cluster.check(report.totals().failed == 0, &format!("clients saw errors: {:?}", report.totals()));
}

#[test]
fn a_replica_a_primary_and_all_of_a_zone_are_replaced() {
    let place = Place::new();
    let cluster = Cluster::started(&place, Manifest::new("swap").roles_stay());
    let traffic = Traffic::start(&cluster);
    let (primary, replica) = (cluster.primary("s0"), cluster.replica("s1"));
    cluster.must(&["replace", &replica, "--wait"]);
    cluster.must(&["replace", &primary, "--wait"]);
    let status = cluster.status();
    let gone = |name: &String| status.instances.iter().all(|one| one.name != *name);
    cluster.check(gone(&primary) && gone(&replica), &format!("{:?}", names(&status)));
    let refused = cluster.run(&["replace", &replica]);
    cluster.check(refused.code == Some(3) && refused.err.contains("was removed"), &format!("{refused:?}"));
    cluster.must(&["zone", "drain", "a", "--wait"]);
    let status = cluster.status();
    cluster.check(status.instances.iter().all(|one| one.zone != "a"), &format!("{:?}", status.instances));
    let told = cluster.must(&["status"]);
    cluster.check(told.contains("cordoned zones: a"), &told);
    cluster.must(&["zone", "uncordon", "a"]);
    let told = cluster.must(&["status", "-o", "json"]);
    cluster.check(!told.contains("cordonedZones"), &told);
    all_know_each_other_and_nobody_else(&cluster);
    let report = traffic.finish(0);
    cluster.check(report.totals().failed == 0, &format!("clients saw errors: {:?}", report.totals()));
}
