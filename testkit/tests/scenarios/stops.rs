//! Servers that are told to stop.

use valkeeper_testkit::{Cluster, Manifest, Place, Traffic};

/// The engine forgets a SIGTERM that comes while it writes its first AOF: it is told again until it can end in order.
#[test]
fn a_server_that_forgets_to_stop_is_told_again() {
    let place = Place::new();
    let cluster = Cluster::started(&place, Manifest::new("deaf").roles_stay());
    let traffic = Traffic::start(&cluster);
    traffic.more(500);
    // Slow enough to be in the middle of it when it is told to stop.
    let keys: u64 = cluster.told("deaf-0", &["DBSIZE"]);
    let delay = (4_000_000 / keys.max(1)).to_string();
    let _: String = cluster.told("deaf-0", &["CONFIG", "SET", "rdb-key-save-delay", &delay]);
    let _: String = cluster.told("deaf-0", &["CONFIG", "SET", "appendonly", "no"]);
    cluster.until("it writes its first AOF", || {
        (cluster.info("deaf-0", "persistence", "aof_rewrite_in_progress") == "1").then_some(())
    });
    let written = traffic.stop();
    cluster.must(&["down"]);
    let log = std::fs::read_to_string(cluster.instance_dir("deaf-0").join("server.log")).unwrap();
    cluster.check(log.contains("Writing initial AOF, can't exit"), "it could stop at once");
    let last = log.lines().last().unwrap_or_default();
    cluster.check(last.contains("bye bye"), &format!("it did not end in order, its last words are: {last}"));
    cluster.up();
    cluster.until_healthy();
    written.read_back(&cluster, 0);
}
