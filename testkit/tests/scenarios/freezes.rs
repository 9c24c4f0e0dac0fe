//! Servers that do not answer: frozen ones are killed, busy ones are left alone.

use valkeeper_testkit::process::{self, Signal};
use valkeeper_testkit::{Cluster, Manifest, Place, Traffic};

#[test]
fn a_frozen_primary_is_killed_then_succeeded() {
    let place = Place::new();
    let cluster = Cluster::started(&place, Manifest::new("frozen").roles_stay().unresponsive_after("1s"));
    let traffic = Traffic::start(&cluster);
    traffic.more(100);
    let seen = cluster.events().len();
    let pid = cluster.pid("frozen-0");
    process::signal(pid, Signal::STOP);
    let succeeded = || cluster.primary_now("s0").is_some_and(|primary| primary != "frozen-0");
    // The fence: nobody else serves while the frozen one could wake up and acknowledge what is in its sockets.
    cluster.until("another is primary", || {
        let another = succeeded();
        if another && process::alive(pid) {
            cluster.fail("a replica was promoted while the frozen primary could wake up");
        }
        another.then_some(())
    });
    cluster.until_back("frozen-0", pid);
    let told: Vec<String> = cluster
        .events()
        .into_iter()
        .skip(seen)
        .filter_map(|event| event["event"].as_str().map(str::to_owned))
        .filter(|event| event == "Unresponsive" || event == "FailedOver")
        .collect();
    cluster.check(told == ["Unresponsive", "FailedOver"], &format!("told: {told:?}"));
    traffic.finish(1);
}

#[test]
fn a_frozen_replica_is_killed_and_comes_back() {
    let place = Place::new();
    let cluster = Cluster::started(&place, Manifest::new("stiff").roles_stay().unresponsive_after("1s"));
    let traffic = Traffic::start(&cluster);
    let replica = cluster.replica("s1");
    let (seen, pid) = (cluster.events().len(), cluster.pid(&replica));
    process::signal(pid, Signal::STOP);
    cluster.until_back(&replica, pid);
    cluster.check(cluster.events_since(seen, "Unresponsive").len() == 1, "its kill is not told");
    cluster.check(cluster.events_since(seen, "FailedOver").is_empty(), "a primary was replaced");
    let report = traffic.finish(0);
    cluster.check(report.totals().failed == 0, &format!("clients saw errors: {:?}", report.totals()));
}

#[test]
fn busy_servers_below_the_limit_are_left_alone() {
    let place = Place::new();
    let manifest =
        Manifest::new("busy").roles_stay().unresponsive_after("6s").directive("enable-debug-command", "yes");
    let cluster = Cluster::started(&place, manifest);
    let traffic = Traffic::start(&cluster);
    let before = cluster.status().processes();
    let seen = cluster.events().len();
    let _: String = cluster.told("busy-0", &["DEBUG", "SLEEP", "2"]);
    // Busy for one to two seconds by the server's own clock.
    let script = "local t = redis.call('TIME')[1] + 1; while redis.call('TIME')[1] + 0 <= t do end; return 1";
    let _: u64 = cluster.told("busy-1", &["EVAL", script, "0"]);
    // A frozen one that wakes up in time.
    let pid = cluster.pid("busy-2");
    process::signal(pid, Signal::STOP);
    std::thread::sleep(std::time::Duration::from_millis(1_500));
    process::signal(pid, Signal::CONT);
    traffic.flowing();
    let status = cluster.until_whole();
    cluster.check(status.processes() == before, "a server was restarted");
    for kind in ["Unresponsive", "Died", "FailedOver", "SwitchedOver", "TakenOver"] {
        cluster.check(cluster.events_since(seen, kind).is_empty(), &format!("{kind} happened"));
    }
    traffic.finish(0);
}

/// Votes that do not come are no votes that cannot come: two of three primaries are frozen, for less than the limit, when the
/// third dies. Taking over without a vote would be wrong (law 4): they may have voted for somebody else.
#[test]
fn nobody_takes_over_while_silent_primaries_may_vote() {
    let place = Place::new();
    let cluster = Cluster::started(&place, Manifest::new("silent").roles_stay().unresponsive_after("10s"));
    let traffic = Traffic::start(&cluster);
    traffic.more(50);
    let seen = cluster.events().len();
    let pids = ["silent-0", "silent-1", "silent-2"].map(|name| cluster.pid(name));
    for pid in &pids[1..] {
        process::signal(*pid, Signal::STOP);
    }
    process::kill(pids[0]);
    cluster.until_event(seen, "Died");
    // Several votes are asked for in vain meanwhile.
    std::thread::sleep(std::time::Duration::from_secs(3));
    let early =
        cluster.events_since(seen, "TakenOver").len() + cluster.events_since(seen, "FailedOver").len();
    cluster.check(early == 0, "somebody was promoted without a vote");
    for pid in &pids[1..] {
        process::signal(*pid, Signal::CONT);
    }
    cluster.until_event(seen, "FailedOver");
    cluster.until_back("silent-0", pids[0]);
    cluster
        .check(cluster.events_since(seen, "TakenOver").is_empty(), "taken over although there was a quorum");
    cluster.check(
        cluster.pid("silent-1") == pids[1],
        "a server that was silent for less than the limit was killed",
    );
    traffic.finish(1);
}
