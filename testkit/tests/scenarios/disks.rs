//! Disks that hang: what needs that disk waits and says so; nothing else waits.

use valkeeper_testkit::mounts::{HangingDisk, in_namespace};
use valkeeper_testkit::{Cluster, Manifest, Place, Traffic, process};

#[test]
#[ignore = "long: two disks hang, one after the other"]
fn a_disk_that_hangs_stops_nothing_but_what_needs_it() {
    in_namespace("disks::a_disk_that_hangs_stops_nothing_but_what_needs_it", || {
        let place = Place::new();
        let manifest = Manifest::new("hung").roles_stay().unresponsive_after("2s");
        let cluster = Cluster::started(&place, manifest);
        cluster.must(&["down"]);
        let of_replica = HangingDisk::under(&cluster.data_dir("hung-3"), &place.path().join("disk-3"));
        let of_primary = HangingDisk::under(&cluster.data_dir("hung-1"), &place.path().join("disk-1"));
        cluster.up();
        let traffic = Traffic::start(&cluster);
        traffic.more(100);

        of_replica.hang();
        let status = cluster.until_waits_for("DiskSilent");
        cluster.check(status.reasons().contains("hung-3: its disk does not answer"), &status.reasons());
        // Another shard's primary dies: its agent replaces it, long before the engine would.
        let (seen, pid) = (cluster.events().len(), cluster.kill("hung-2"));
        cluster.until_event(seen, "FailedOver");
        cluster.check(cluster.primary("s2") == "hung-5", "nobody took over");
        cluster.until("hung-2 is back", || cluster.status().instance("hung-2").pid.filter(|new| *new != pid));
        of_replica.go_on();
        cluster.until_healthy();

        // A primary that waits for its disk is silent: it is killed, and dies when the disk answers. Nothing of it runs until then.
        let (seen, pid) = (cluster.events().len(), cluster.pid("hung-1"));
        of_primary.hang();
        cluster.until_event(seen, "Unresponsive");
        cluster.until_event(seen, "FailedOver");
        cluster.check(cluster.primary("s1") == "hung-4", "nobody took over");
        cluster.until_waits_for("DiskSilent");
        of_primary.go_on();
        cluster.until_back("hung-1", pid);
        cluster.check(!process::alive(pid), "the old primary lives");
        traffic.finish(2);
        cluster.must(&["down"]);
    });
}
