//! The same on other servers than the newest.

use std::path::PathBuf;
use std::time::{Duration, Instant};
use valkeeper_testkit::{Cluster, Manifest, Place, Traffic, program};

fn lives_on(server: PathBuf, version: &str) {
    let place = Place::new();
    // Voters of older engines refuse to replace a primary again within twice this time.
    let manifest = Manifest::new("engine").roles_stay().node_timeout("3s").unresponsive_after("2s");
    let mut cluster = Cluster::new(&place, manifest);
    cluster.server = server;
    cluster.up();
    let status = cluster.until_whole();
    let fits =
        |version_of: &Option<String>| version_of.as_deref().is_some_and(|text| text.starts_with(version));
    cluster.check(status.instances.iter().all(|instance| fits(&instance.version)), "another version runs");
    let traffic = Traffic::start(&cluster);
    for shard in ["s0", "s1", "s2"] {
        traffic.more(50);
        let primary = cluster.primary(shard);
        cluster.until_saved(&primary);
        let pid = cluster.kill(&primary);
        cluster.until_back(&primary, pid);
        cluster.until_whole();
    }
    for shard in ["s0", "s1"] {
        cluster.eventually(&["switchover", shard]);
        cluster.until_whole();
    }
    for instance in cluster.instance_names() {
        cluster.eventually(&["restart", &instance]);
        cluster.until_whole();
    }
    let before = cluster.status().processes();
    cluster.kill_supervisor();
    cluster.up();
    cluster.check(cluster.until_whole().processes() == before, "a server was restarted");
    let written = {
        traffic.flowing();
        traffic.stop()
    };
    cluster.must(&["down"]);
    cluster.up();
    cluster.until_whole();
    written.read_back(&cluster, 3);
}

#[test]
#[ignore = "long: the life of a cluster on another engine"]
fn valkey_9_0() {
    lives_on(program::fetched("valkey-9.0.0/valkey-server"), "9.0.0");
}

#[test]
#[ignore = "long: the life of a cluster on another engine"]
fn redis_7_0() {
    lives_on(program::fetched("redis-7.0/redis-server"), "7.0");
}

/// A replica that has won an election is asked again before the engine would begin another one: Redis 7.0 makes it primary by the old votes, and
/// loses what it acknowledges until it hears of the newer claim.
#[test]
fn redis_7_0_does_not_win_by_the_votes_of_before() {
    let place = Place::new();
    let mut cluster = Cluster::new(&place, Manifest::new("votes").roles_stay().node_timeout("8s"));
    cluster.server = program::fetched("redis-7.0/redis-server");
    cluster.up();
    cluster.until_whole();
    let traffic = Traffic::start(&cluster);
    traffic.more(50);
    cluster.eventually(&["switchover", "s0"]);
    let won = Instant::now();
    let winner = cluster.primary("s0");
    cluster.until_whole();
    // Voters refuse to replace a shard's primary again within twice the node timeout, and the engine tells nobody when that time is over. Another
    // try within it would be an election of the other server.
    std::thread::sleep(Duration::from_secs(2 * 8 + 1).saturating_sub(won.elapsed()));
    cluster.must(&["switchover", "s0"]);
    cluster.until_whole();
    let primary = cluster.primary("s0");
    cluster.check(primary != winner, "it was not handed back");
    // Redis 7.0 tells the others with its next pings whom it follows.
    let said = cluster.until("all primaries know the former one as a replica", || {
        let said = cluster.run(&["switchover", "s0"]);
        (!said.err.contains("not all primaries know it yet")).then_some(said)
    });
    let late = won.elapsed() >= Duration::from_secs(4 * 8);
    cluster.check(!late, "the machine was too slow: the time after which the engine begins anew is over");
    cluster.check(said.code == Some(1) && said.err.contains("asked for votes lately"), &format!("{said:?}"));
    cluster.check(cluster.primary("s0") == primary, "it has taken over all the same");
    traffic.more(50);
    traffic.finish(0);
}
