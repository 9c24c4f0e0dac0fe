//! One fault stops one thing, and what somebody changed by hand is mended where the layout says how, or told.

use std::net::TcpListener;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use valkeeper_testkit::{Cluster, Manifest, Place, Traffic, program};

/// Keeps an instance from starting: somebody else listens on its port.
fn keep_down(cluster: &Cluster<'_>, instance: &str) -> TcpListener {
    cluster.must(&["fence", instance]);
    let squatter =
        cluster.until("its port is free", || TcpListener::bind(("127.0.0.1", cluster.port(instance))).ok());
    cluster.must(&["unfence", instance]);
    cluster.until_waits_for("StartFailed");
    squatter
}

fn node_id(cluster: &Cluster<'_>, instance: &str) -> String {
    cluster.told(instance, &["CLUSTER", "MYID"])
}

/// Two replicas a shard, one of which cannot start: everything else that a user or the zones ask for goes on.
#[test]
fn a_replica_that_cannot_start_stops_nothing_else() {
    let place = Place::new();
    let cluster = Cluster::started(&place, Manifest::new("stuck").replicas(2));
    let traffic = Traffic::start(&cluster);
    let broken = cluster.replica("s0");
    let squatter = keep_down(&cluster, &broken);
    let seen = cluster.events().len();
    // Of its own shard too, since another replica is in sync.
    cluster.must(&["switchover", "s0"]);
    // Meanwhile zones may be put right, which is a disturbance of its own and soon over.
    let goes = |what: &str, args: &dyn Fn() -> Option<Vec<String>>| {
        cluster.until(what, || {
            let args = args()?;
            let args: Vec<&str> = args.iter().map(String::as_str).collect();
            (cluster.run(&args).code == Some(0)).then_some(())
        });
    };
    let words = |all: &[&str]| Some(all.iter().map(|word| (*word).to_owned()).collect());
    goes("the primary of s1 is restarted", &|| words(&["restart", &cluster.primary_now("s1")?]));
    goes("the primary of s2 is restarted", &|| words(&["restart", &cluster.primary_now("s2")?]));
    let replica = cluster.replica("s1");
    goes("a replica is fenced", &|| words(&["fence", &replica]));
    cluster.must(&["unfence", &replica]);
    cluster.until("it is back", || cluster.status().instance(&replica).lag_bytes.map(drop));
    goes("s2 is failed over", &|| words(&["failover", "s2", "--force"]));
    // What the failover did to the zones is mended although the cluster is not whole. A user's own choice stands.
    cluster.until("no zone holds too many primaries", || {
        let status = cluster.status();
        (!status.waits_for("ZoneMajority") && !status.waits_for("ZoneShared")).then_some(())
    });
    cluster.check(cluster.status().waits_for("StartFailed"), "the broken one was mended");
    drop(squatter);
    cluster.until_whole();
    cluster.check(!cluster.events_since(seen, "SwitchedOver").is_empty(), "no switchover is told");
    traffic.finish(1);
}

#[test]
fn a_refused_step_is_told_with_the_answer_and_tried_later() {
    let place = Place::new();
    let cluster = Cluster::started(&place, Manifest::new("refused").roles_stay());
    let traffic = Traffic::start(&cluster);
    let (replica, elsewhere) = (cluster.replica("s0"), node_id(&cluster, &cluster.primary("s1")));
    // At once: it would be mended before the right is gone otherwise.
    let client = redis::Client::open(("127.0.0.1", cluster.port(&replica))).unwrap();
    let mut connection = client.get_connection().unwrap();
    redis::cmd("AUTH").arg(cluster.password()).exec(&mut connection).unwrap();
    let mut both = redis::pipe();
    both.cmd("CLUSTER").arg("REPLICATE").arg(elsewhere);
    both.cmd("ACL").arg("SETUSER").arg("default").arg("-cluster|replicate");
    both.exec(&mut connection).unwrap();
    let status = cluster.until_waits_for("StepRefused");
    cluster.check(
        status.reasons().contains("cluster|replicate")
            && status.reasons().contains(&format!("that {replica} follows")),
        &status.reasons(),
    );
    cluster.check(!cluster.events_since(0, "Rewired").is_empty(), "that somebody moved it is no event");
    let _: String = cluster.told(&replica, &["ACL", "SETUSER", "default", "+cluster|replicate"]);
    cluster.until_whole();
    traffic.finish(0);
}

/// `FLUSHSLOTS`, `DELSLOTSRANGE`, `RESET HARD`, `FAILOVER`, one after the other.
#[test]
fn what_was_changed_by_hand_is_mended() {
    let place = Place::new();
    let cluster = Cluster::started(&place, Manifest::new("hand").roles_stay());
    let all = cluster.instance_names();
    for instance in &all {
        // Only an empty server forgets all its slots.
        let _: String = cluster.told(instance, &["CLUSTER", "FLUSHSLOTS"]);
    }
    cluster.until_event(0, "SlotsTakenBack");
    cluster.until_whole();

    let traffic = Traffic::start(&cluster);
    traffic.more(100);
    let written = traffic.stop();
    let seen = cluster.events().len();
    for instance in &all {
        // Who knows the owner still tells those who have forgotten it.
        let _: Result<String, _> = cluster.ask(instance, &["CLUSTER", "DELSLOTSRANGE", "100", "200"]);
    }
    cluster.until_event(seen, "SlotsTakenBack");
    cluster.until_whole();
    written.read_back(&cluster, 0);
    let traffic = Traffic::start(&cluster);

    let replica = cluster.replica("s1");
    let before = (cluster.pid(&replica), node_id(&cluster, &replica));
    let seen = cluster.events().len();
    let _: String = cluster.told(&replica, &["CLUSTER", "RESET", "HARD"]);
    cluster.until_event(seen, "IdentityReset");
    cluster.until_back(&replica, before.0);
    cluster.check(node_id(&cluster, &replica) == before.1, "it has another node id");
    cluster.until_whole();

    let one = cluster.primary("s0");
    let (seen, rises, from) = (cluster.events().len(), cluster.replica("s2"), cluster.primary("s2"));
    let _: String = cluster.told(&rises, &["CLUSTER", "FAILOVER"]);
    let event = cluster.until_event(seen, "RoseByItself");
    cluster.check(event["instance"] == *rises && event["from"] == *from, &event.to_string());
    cluster.until_whole();
    for kind in ["FailedOver", "SwitchedOver", "TakenOver"] {
        cluster.check(
            cluster.events_since(seen, kind).is_empty(),
            &format!("{kind} is told as Valkeeper's doing"),
        );
    }
    // Its own doing is told as before, and not as somebody else's.
    let seen = cluster.events().len();
    cluster.must(&["switchover", "s2"]);
    cluster.until_event(seen, "SwitchedOver");
    let pid = cluster.kill(&cluster.primary("s0"));
    cluster.until_event(seen, "FailedOver");
    cluster.until_back(&one, pid);
    cluster.check(
        cluster.events_since(seen, "RoseByItself").is_empty(),
        "its own promotion is told as another's",
    );
    traffic.finish(1);
}

#[test]
#[ignore = "the engine bans a forgotten node for a minute"]
fn a_member_that_was_forgotten_by_hand_is_told_and_comes_back() {
    let place = Place::new();
    let cluster = Cluster::started(&place, Manifest::new("forgot").roles_stay());
    let traffic = Traffic::start(&cluster);
    let (one, other) = (cluster.primary("s0"), cluster.replica("s2"));
    let _: String = cluster.told(&one, &["CLUSTER", "FORGET", &node_id(&cluster, &other)]);
    let status = cluster.until_waits_for("MembersUnknown");
    cluster.check(status.reasons().contains(&other) && status.reasons().contains(&one), &status.reasons());
    // Whoever is met again is forgotten again by those who still ban it.
    let forgotten = Instant::now();
    let ban = Duration::from_secs(60);
    cluster
        .until("the ban is over", || (forgotten.elapsed() > ban || cluster.status().healthy).then_some(()));
    cluster.until_whole();
    traffic.finish(0);
}

/// A server of nobody's is met by hand. It is told who it is, nothing waits for it in vain, and one command removes it everywhere.
#[test]
fn a_node_that_is_no_member_is_told_and_forgotten() {
    let place = Place::new();
    let cluster = Cluster::started(&place, Manifest::new("foreign").roles_stay());
    let traffic = Traffic::start(&cluster);
    let port = place.first_port() + 10;
    let folder = place.path().join("stranger");
    std::fs::create_dir(&folder).unwrap();
    let mut server = Command::new(program::server());
    server.args(["--port", &port.to_string(), "--cluster-enabled", "yes", "--bind", "127.0.0.1"]);
    server.args(["--save", "", "--dir"]).arg(&folder).current_dir(&folder);
    let mut server = server.stdout(Stdio::null()).stdin(Stdio::null()).spawn().unwrap();
    let id: String = cluster
        .until("it answers", || valkeeper_testkit::cluster::ask(port, None, &["CLUSTER", "MYID"]).ok());
    let member = cluster.primary("s0");
    let _: String = cluster.told(&member, &["CLUSTER", "MEET", "127.0.0.1", &port.to_string()]);
    let status = cluster.until("all know it", || {
        Some(cluster.status()).filter(|status| status.reasons().contains("6 members know it"))
    });
    cluster.check(status.waits_for("ForeignNode"), &status.reasons());
    cluster.check(
        status.reasons().contains(&id) && status.reasons().contains(&format!("127.0.0.1:{port}")),
        &status.reasons(),
    );
    let began = Instant::now();
    let said = cluster.run(&["drill", "switchover", "--runs", "1"]);
    cluster.check(said.code == Some(1) && said.err.contains(&id), &format!("{said:?}"));
    // It waits for two minutes for what may mend itself.
    cluster.check(began.elapsed().as_secs() < 60, "a drill waits for what no waiting mends");

    let refused = |args: &[&str], code: i32, word: &str| {
        let said = cluster.run(args);
        cluster.check(said.code == Some(code) && said.err.contains(word), &format!("{args:?}: {said:?}"));
    };
    refused(&["forget", &node_id(&cluster, &member)], 3, "a member of this cluster");
    refused(&["forget", &"0".repeat(40)], 2, "no server knows");
    cluster.must(&["forget", &id]);
    cluster.check(cluster.status().healthy, &cluster.status().reasons());
    cluster.until_event(0, "Forgotten");
    server.kill().unwrap();
    server.wait().unwrap();
    traffic.finish(0);
}
