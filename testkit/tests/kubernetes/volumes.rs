//! Volumes are lost, or are those of before.

use valkeeper_testkit::kube::{Bed, KubeCluster, KubeTraffic};
use valkeeper_testkit::process;

#[test]
fn a_primarys_volume_is_lost_with_its_pod() {
    let bed = Bed::with_operator();
    let cluster = KubeCluster::standing(&bed);
    let traffic = KubeTraffic::start(&cluster);
    let (primary, _) = cluster.roles("s0");
    let volume = cluster.volume_of(&primary);
    // Killed so that nothing is handed over; its folder is emptied before it can start again.
    cluster.kubectl(&["delete", "pod", &primary, "--grace-period=0", "--force", "--wait=false"]);
    bed.wipe_volume(&volume);
    traffic.flowing();
    cluster.until_healthy();
    // A replica's claim is taken away with its pod: it gets another volume, an empty one.
    let (_, replica) = cluster.roles("s1");
    let claim = replica.replace("cache-", "cache-data-");
    let uid =
        |claim: &str| cluster.try_kubectl(&["get", "pvc", claim, "-o", "jsonpath={.metadata.uid}"]).ok();
    let before = uid(&claim);
    cluster.kubectl(&["delete", "pvc", &claim, "--wait=false"]);
    cluster.kubectl(&["delete", "pod", &replica, "--wait=false"]);
    cluster.until("it has another claim", || uid(&claim).filter(|now| Some(now) != before.as_ref()));
    cluster.until_healthy();
    traffic.finish(1);
}

/// A primary that takes writes records its copy each 5 s, and its replica records each 5 s what it has seen of that: a volume from before is known
/// for one by then (docs/safety.md).
const RECORDED: std::time::Duration = std::time::Duration::from_secs(15);

/// L2: a snapshot of the primary's volume is put back while the whole shard is down. All that an agent keeps of its copy lies on the volume, so
/// that only its sibling knows that there was more.
#[test]
fn a_primarys_volume_is_put_back_from_an_old_copy() {
    let bed = Bed::with_operator();
    let cluster = KubeCluster::standing(&bed);
    let (primary, replica) = cluster.roles("s0");
    let volume = cluster.volume_of(&primary);
    let before = KubeTraffic::start(&cluster).stop();
    let copy = bed.snapshot_volume(&volume);
    let traffic = KubeTraffic::start(&cluster);
    std::thread::sleep(RECORDED);
    let after = traffic.stop();
    cluster.until_healthy();
    let shard = [&primary, &replica];
    let running: Vec<u32> =
        shard.iter().flat_map(|name| [true, false].map(|server| cluster.process(name, server))).collect();
    let cordoned = bed.cordoned();
    for name in shard {
        cluster.kubectl(&["delete", "pod", name, "--grace-period=0", "--force", "--wait=false"]);
    }
    cluster
        .until("nothing of the shard runs", || running.iter().all(|pid| !process::alive(*pid)).then_some(()));
    bed.put_back_volume(&volume, &copy);
    cordoned.mend();
    cluster.until_healthy();
    before.read_back(&cluster, 0);
    after.read_back(&cluster, 0);
}
