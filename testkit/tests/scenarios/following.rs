//! `replicaMode`: a cluster that follows the primary of another one, and is promoted.

use redis::RedisResult;
use valkeeper_testkit::cluster::Status;
use valkeeper_testkit::ports::Ports;
use valkeeper_testkit::{Cluster, Manifest, Place, Traffic, process};

/// The cluster that is followed, and how many servers it has.
fn source(place: &Place, instances: u32) -> Cluster<'_> {
    Cluster::started(place, Manifest::standalone("east", instances))
}

fn port_of(cluster: &Cluster<'_>, role: &str) -> u16 {
    let connect: serde_json::Value = serde_json::from_str(&cluster.must(&["connect", "-o", "json"])).unwrap();
    connect[role].as_str().unwrap().rsplit_once(':').unwrap().1.parse().unwrap()
}

/// A cluster that follows, in the same state directory as its source, on ports of its own.
fn following<'a>(place: &'a Place, ports: &Ports, port: u16, instances: u32) -> (Cluster<'a>, Manifest) {
    let manifest = Manifest::standalone("west", instances).following("127.0.0.1", port, "east-auth");
    let cluster = Cluster::at(place, manifest.clone(), ports.first());
    cluster.up();
    (cluster, manifest)
}

fn offset(cluster: &Cluster<'_>, instance: &str) -> u64 {
    cluster.count(instance, "replication", "master_repl_offset")
}

fn full_syncs(cluster: &Cluster<'_>) -> u64 {
    cluster.instance_names().iter().map(|name| cluster.count(name, "stats", "sync_full")).sum()
}

/// Waits until all of the follower's servers have what the source's primary has.
fn until_equal(east: &Cluster<'_>, west: &Cluster<'_>) {
    west.until("everybody has what the source has", || {
        let source = offset(east, &east.primary_now("s0")?);
        let equal = |name: &String| offset(west, name) == source;
        west.instance_names().iter().all(equal).then_some(())
    });
}

/// What is lost is told by the last look at the source, which is made each second.
fn until_seen_equal(east: &Cluster<'_>, west: &Cluster<'_>) {
    until_equal(east, west);
    west.until("the last look has seen so", || {
        west.must(&["status"]).contains("; 0 bytes behind, seen").then_some(())
    });
}

fn promote(west: &mut Cluster<'_>, manifest: Manifest) -> Status {
    west.change(manifest.promoted());
    let file = west.file();
    west.must(&["apply", "-f", file.to_str().unwrap(), "--wait"]);
    west.until("it is promoted and healthy", || {
        let status = west.status();
        let promoted = status.condition("ReplicaMode").is_some_and(|one| one.reason == "Promoted");
        (promoted && status.healthy).then_some(status)
    })
}

/// Its conditions hold, for these reasons.
fn says(cluster: &Cluster<'_>, status: &Status, reasons: [&str; 3]) {
    for (kind, reason) in ["Ready", "PrimaryAvailable", "ReplicationHealthy"].into_iter().zip(reasons) {
        let condition = status.condition(kind).unwrap();
        cluster.check(condition.status == "True" && condition.reason == reason, &format!("{condition:?}"));
    }
}

#[test]
fn a_source_that_dies_is_replaced_by_the_cluster_that_follows_it_and_nothing_is_lost() {
    let (place, ports) = (Place::new(), Ports::reserve());
    let east = source(&place, 2);
    let traffic = Traffic::start(&east);
    traffic.more(100);
    let (mut west, manifest) = following(&place, &ports, port_of(&east, "leader"), 3);
    let status = west.until_healthy();
    let condition = status.condition("ReplicaMode").unwrap();
    let place_of_source = format!("127.0.0.1:{}", port_of(&east, "leader"));
    west.check(
        condition.status == "True"
            && condition.reason == "Enabled"
            && condition.message == format!("Cluster is replicating from east ({place_of_source})"),
        &format!("{condition:?}"),
    );
    says(&west, &status, ["ReplicaModeReady", "ReplicaLeaderAvailable", "ExternalReplicationHealthy"]);
    west.check(status.current_primary.as_deref() == Some("west-0"), "the first instance is not designated");
    // Nobody writes here, and everybody may read.
    let refused: RedisResult<()> = west.ask("west-0", &["SET", "a", "b"]);
    west.check(refused.is_err_and(|error| error.code() == Some("READONLY")), "a write was taken");
    let said = west.run(&["cli", "--", "SET", "a", "b"]);
    west.check(said.code == Some(1) && said.err.contains("READONLY"), &said.err);
    // The source's primary dies: its successor is followed by a partial resynchronisation.
    let (before, old) = (full_syncs(&east), east.primary("s0"));
    let pid = east.kill(&old);
    east.until_back(&old, pid);
    traffic.more(200);
    let written = traffic.stop();
    until_seen_equal(&east, &west);
    west.check(full_syncs(&east) <= before, "a follower came back by a full copy");
    // The region is lost.
    east.kill_supervisor();
    for (_, pid, _) in east.status().processes() {
        process::kill(pid);
    }
    west.until_waits_for("SourceUnusable");
    let (seen, before) = (west.events().len(), full_syncs(&west));
    let status = promote(&mut west, manifest.clone());
    west.check(status.current_primary.as_deref() == Some("west-0"), "another leader was promoted");
    says(&west, &status, ["ClusterReady", "PrimaryRunning", "ReplicasConnected"]);
    west.check(full_syncs(&west) == before, "the others followed by a full copy");
    let told = west.until_event(seen, "ReplicaClusterPromoted");
    west.check(told["loss"]["behindBytes"] == 0, &format!("{told}"));
    let message = &status.condition("ReplicaMode").unwrap().message;
    west.check(
        message.starts_with("Cluster promoted to standalone (former source: east); 0 bytes behind"),
        message,
    );
    written.read_back(&west, 0);
    // It is a cluster as any other now.
    let traffic = Traffic::start(&west);
    traffic.more(100);
    let pid = west.kill("west-0");
    west.until_back("west-0", pid);
    traffic.finish(1);
    // The same manifest again changes nothing; the one before it is refused.
    let file = west.file();
    west.must(&["apply", "-f", file.to_str().unwrap()]);
    west.change(manifest);
    let said = west.run(&["apply", "-f", file.to_str().unwrap()]);
    west.check(said.code == Some(3) && said.err.contains("was promoted and takes writes"), &said.err);
}

#[test]
fn a_promotion_beside_a_living_source_takes_what_it_has_first() {
    let (place, ports) = (Place::new(), Ports::reserve());
    let east = source(&place, 1);
    let (west, _) = following(&place, &ports, port_of(&east, "leader"), 3);
    let traffic = Traffic::start(&east);
    traffic.more(300);
    let written = traffic.stop();
    let seen = west.events().len();
    west.must(&["promote"]);
    let told = west.until_event(seen, "ReplicaClusterPromoted");
    west.check(told["loss"]["behindBytes"] == 0, &format!("{told}"));
    west.until_healthy();
    written.read_back(&west, 0);
    west.must(&["promote"]);
}

/// The designated member is not there, and a member is down while the cluster is promoted.
#[test]
fn the_best_replica_is_promoted_where_the_first_is_not_there_and_who_was_away_follows_it() {
    let (place, ports) = (Place::new(), Ports::reserve());
    let east = source(&place, 1);
    let (west, _) = following(&place, &ports, port_of(&east, "leader"), 3);
    let traffic = Traffic::start(&east);
    traffic.more(100);
    let written = traffic.stop();
    until_equal(&east, &west);
    west.must(&["fence", "west-0"]);
    west.must(&["promote"]);
    let status = west.status();
    let designated = status.current_primary.clone().unwrap();
    west.check(designated != "west-0", "who is down is the primary");
    let () = west.told(&designated, &["SET", "after", "1"]);
    // Its file names the source, which lives and is followed no more.
    west.must(&["unfence", "west-0"]);
    let status = west.until_healthy();
    west.check(status.primary("s0") == Some(&*designated), "the primary changed");
    let read: String = west.told("west-0", &["GET", "after"]);
    west.check(read == "1", "it does not follow the new primary");
    written.read_back(&west, 0);
}

#[test]
fn a_promotion_goes_on_when_the_supervisor_dies() {
    let (place, ports) = (Place::new(), Ports::reserve());
    let east = source(&place, 1);
    let (mut west, manifest) = following(&place, &ports, port_of(&east, "leader"), 3);
    let traffic = Traffic::start(&east);
    traffic.more(100);
    let written = traffic.stop();
    until_equal(&east, &west);
    west.change(manifest.promoted());
    let mut asked = west.command(&["--cluster", "west", "apply", "-f"]).arg(west.file()).spawn().unwrap();
    west.until("the promotion is stored", || {
        let layout = std::fs::read_to_string(west.dir().join("layout.json")).unwrap_or_default();
        layout.contains("promot").then_some(())
    });
    west.kill_supervisor();
    let _ = asked.wait();
    west.up();
    west.until("it is promoted", || {
        let status = west.status();
        (status.condition("ReplicaMode")?.reason == "Promoted").then_some(())
    });
    west.until_healthy();
    written.read_back(&west, 0);
}

/// What cannot be followed is told, with what to do, and nothing is lost.
#[test]
fn a_source_that_cannot_be_followed_is_told_and_touches_nothing() {
    let (place, ports) = (Place::new(), Ports::reserve());
    let east = source(&place, 1);
    let port = port_of(&east, "leader");
    let (mut west, manifest) = following(&place, &ports, port, 2);
    let () = east.told("east-0", &["SET", "kept", "1"]);
    until_equal(&east, &west);
    let mut becomes = |manifest: Manifest, words: &str| {
        west.change(manifest);
        let file = west.file();
        west.must(&["apply", "-f", file.to_str().unwrap()]);
        west.until(&format!("status says: {words}"), || {
            west.status().reasons().contains(words).then_some(())
        });
        for name in west.instance_names() {
            let read: String = west.told(&name, &["GET", "kept"]);
            west.check(read == "1", &format!("{name} has lost it"));
        }
    };
    let at =
        |host: &str, port: u16, secret: &str| Manifest::standalone("west", 2).following(host, port, secret);
    becomes(at("no-such-host.invalid", port, "east-auth"), "cannot be resolved");
    becomes(at("127.0.0.1", port, "no-such-secret"), "the password in `no-such-secret` cannot be used");
    let own = ports.first();
    becomes(at("127.0.0.1", own, "west-auth"), "a member of this cluster");
    east.must(&["down"]);
    becomes(at("127.0.0.1", port, "east-auth"), "does not answer");
    // It comes back with a history of its own, as an engine does that loads its append-only file: one copy is kept until that is accepted.
    east.up();
    becomes(manifest, "its copy is held back");
    west.must(&["accept-source"]);
    west.until_healthy();
    west.check(get(&west, "west-1", "kept").as_deref() == Some("1"), "it was lost");
}

#[test]
fn an_engine_that_cannot_read_the_sources_data_is_told_before_anything_is_lost() {
    let (place, ports) = (Place::new(), Ports::reserve());
    let east = source(&place, 1);
    let manifest =
        Manifest::standalone("west", 1).following("127.0.0.1", port_of(&east, "leader"), "east-auth");
    let mut west = Cluster::at(&place, manifest, ports.first());
    west.server = valkeeper_testkit::program::fetched("redis-7.0/redis-server");
    let said = west.try_up(&["--timeout", "6"]);
    west.check(said.code == Some(4) && said.err.contains("cannot read"), &format!("{said:?}"));
}

fn get(west: &Cluster<'_>, instance: &str, key: &str) -> Option<String> {
    west.told(instance, &["GET", key])
}

/// Somebody flushes the source: one copy is kept, and can be made the primary.
#[test]
fn a_flush_of_the_source_leaves_one_copy() {
    let (place, ports) = (Place::new(), Ports::reserve());
    let east = source(&place, 1);
    let (west, _) = following(&place, &ports, port_of(&east, "leader"), 3);
    let () = east.told("east-0", &["SET", "kept", "1"]);
    until_equal(&east, &west);
    // The one that keeps it comes back as any other.
    let pid = west.pid("west-2");
    west.must(&["restart", "west-2"]);
    west.until_back("west-2", pid);
    let seen = west.events().len();
    let () = east.told("east-0", &["FLUSHALL"]);
    west.until_event(seen, "CopyHeldBack");
    west.until_waits_for("CopyHeldBack");
    west.until("the others have carried it out", || {
        (get(&west, "west-0", "kept").is_none() && get(&west, "west-1", "kept").is_none()).then_some(())
    });
    west.check(get(&west, "west-2", "kept").as_deref() == Some("1"), "no copy was kept");
    // Whoever watches next keeps it too.
    west.kill_supervisor();
    let said = west.try_up(&["--timeout", "3"]);
    west.check(said.code == Some(4), &format!("{said:?}"));
    west.until_waits_for("CopyHeldBack");
    west.must(&["promote"]);
    let status = west.until_healthy();
    west.check(status.primary("s0") == Some("west-2"), "another copy was promoted");
    for name in west.instance_names() {
        west.check(get(&west, &name, "kept").as_deref() == Some("1"), &format!("{name} has lost it"));
    }
}

/// The name leads to another, empty server: one copy is kept until a person gives it up.
#[test]
fn an_empty_source_in_the_place_of_the_former_leaves_one_copy_until_it_is_accepted() {
    let (place, ports, more) = (Place::new(), Ports::reserve(), Ports::reserve());
    let east = source(&place, 1);
    let empty = Cluster::at(&place, Manifest::standalone("empty", 1), more.first());
    empty.up();
    let (mut west, _) = following(&place, &ports, port_of(&east, "leader"), 2);
    let () = east.told("east-0", &["SET", "kept", "1"]);
    until_equal(&east, &west);
    let refused = west.run(&["accept-source"]);
    west.check(refused.code == Some(3) && refused.err.contains("no copy is held back"), &refused.err);
    let seen = west.events().len();
    west.change(Manifest::standalone("west", 2).following(
        "127.0.0.1",
        port_of(&empty, "leader"),
        "empty-auth",
    ));
    let file = west.file();
    west.must(&["apply", "-f", file.to_str().unwrap()]);
    let told = west.until_event(seen, "CopyHeldBack");
    west.check(told["why"]["keys"] == 0, &format!("{told}"));
    west.until("the other has what the source has", || get(&west, "west-0", "kept").is_none().then_some(()));
    west.check(get(&west, "west-1", "kept").as_deref() == Some("1"), "no copy was kept");
    west.must(&["accept-source"]);
    west.until_healthy();
    west.check(get(&west, "west-1", "kept").is_none(), "it does not follow");
}

/// The seed's `CronJob` done right: by several agents, after a time, once, and told.
#[test]
fn a_source_that_is_out_of_reach_of_two_agents_for_long_is_replaced_without_a_person() {
    let (place, ports) = (Place::new(), Ports::reserve());
    let east = source(&place, 2);
    let port = port_of(&east, "leader");
    let manifest =
        Manifest::standalone("west", 3).following("127.0.0.1", port, "east-auth").promoted_by_witnesses("5s");
    let west = Cluster::at(&place, manifest, ports.first());
    west.up();
    let traffic = Traffic::start(&east);
    traffic.more(200);
    // One that fails over is followed on. (A single one that is restarted begins another history.)
    let (seen, old) = (west.events().len(), east.primary("s0"));
    east.until_saved(&old);
    let pid = east.kill(&old);
    east.until_back(&old, pid);
    traffic.more(100);
    let written = traffic.stop();
    until_seen_equal(&east, &west);
    west.check(west.events_since(seen, "SourceOutOfReach").is_empty(), "a failover was taken for a loss");
    // The region is lost.
    east.kill_supervisor();
    for (_, pid, _) in east.status().processes() {
        process::kill(pid);
    }
    let told = west.until_event(seen, "SourceOutOfReach");
    let witnesses = told["witnesses"].as_array().cloned().unwrap_or_default();
    let waited = |witness: &serde_json::Value| witness["unseenMs"].as_u64().is_some_and(|ms| ms >= 5_000);
    west.check(witnesses.len() >= 2 && witnesses.iter().all(waited), &format!("{told}"));
    let promoted = west.until_event(seen, "ReplicaClusterPromoted");
    west.check(promoted["loss"]["behindBytes"] == 0, &format!("{promoted}"));
    west.until("it is promoted and healthy", || {
        let status = west.status();
        let is_promoted = status.condition("ReplicaMode").is_some_and(|one| one.reason == "Promoted");
        (is_promoted && status.healthy).then_some(())
    });
    written.read_back(&west, 1);
    // The same manifest again is no wish to follow again.
    let file = west.file();
    west.must(&["apply", "-f", file.to_str().unwrap(), "--wait"]);
    let events = west.events_since(seen, "SourceOutOfReach");
    west.check(events.len() == 1, &format!("it was promoted {} times", events.len()));
}

/// Waits until all Sentinels of the cluster send clients to that instance.
fn until_sentinels_lead_to(cluster: &Cluster<'_>, instance: &str) {
    let (password, port) = (cluster.password(), cluster.port(instance).to_string());
    cluster.until("the Sentinels lead to the primary", || {
        let leads = |at: u16| {
            let ask = ["SENTINEL", "GET-MASTER-ADDR-BY-NAME", cluster.name()];
            let told: RedisResult<Vec<String>> = valkeeper_testkit::cluster::ask(at, Some(&password), &ask);
            told.is_ok_and(|told| told.get(1) == Some(&port))
        };
        cluster.sentinels().iter().all(|(_, at)| leads(*at)).then_some(())
    });
}

/// The source is where most of its Sentinels say: also after a failover, and while one of them says nothing.
#[test]
fn a_source_with_sentinels_is_followed_where_they_say_and_its_follower_may_have_sentinels_too() {
    let (place, ports) = (Place::new(), Ports::reserve());
    let east = Cluster::started(&place, Manifest::sentinel("east", 3));
    until_sentinels_lead_to(&east, &east.primary("s0"));
    let traffic = Traffic::start(&east);
    traffic.more(50);
    let sentinels: Vec<u16> = east.sentinels().into_iter().map(|(_, port)| port).collect();
    let manifest = Manifest::sentinel("west", 3).following_by_sentinels(&sentinels, "east", "east-auth");
    let mut west = Cluster::at(&place, manifest.clone(), ports.first());
    west.up();
    let message = west.until_healthy().condition("ReplicaMode").unwrap().message.clone();
    west.check(
        message.starts_with("Cluster is replicating from east (east of the Sentinels 127.0.0.1:"),
        &message,
    );
    // One Sentinel is silent while the source fails over.
    let silent = east.sentinel_pid(0);
    process::signal(silent, process::Signal::STOP);
    let old = east.primary("s0");
    let pid = east.kill(&old);
    east.until_back(&old, pid);
    until_sentinels_lead_to(&east, &east.primary("s0"));
    traffic.more(100);
    let written = traffic.stop();
    until_equal(&east, &west);
    let status = promote(&mut west, manifest);
    let promoted = status.current_primary.unwrap();
    until_sentinels_lead_to(&west, &promoted);
    written.read_back(&west, 0);
    // A cluster with Sentinels as any other.
    let traffic = Traffic::start(&west);
    traffic.more(50);
    let pid = west.kill(&promoted);
    west.until_back(&promoted, pid);
    until_sentinels_lead_to(&west, &west.primary("s0"));
    traffic.finish(1);
}

#[test]
fn sentinels_that_do_not_know_the_source_are_told_by_their_words() {
    let (place, ports) = (Place::new(), Ports::reserve());
    let east = Cluster::started(&place, Manifest::sentinel("east", 2));
    let sentinels: Vec<u16> = east.sentinels().into_iter().map(|(_, port)| port).collect();
    let manifest = Manifest::standalone("west", 2).following_by_sentinels(&sentinels, "other", "east-auth");
    let west = Cluster::at(&place, manifest, ports.first());
    let said = west.try_up(&["--timeout", "10"]);
    west.check(said.code != Some(0) && said.err.contains("it knows no primary other"), &said.err);
}

/// A drill has a source and a copy of its own, and leaves nothing of them.
#[test]
fn a_drill_of_a_promotion_tells_what_it_took() {
    let (place, ports) = (Place::new(), Ports::reserve());
    let cluster = Cluster::at(&place, Manifest::standalone("unused", 1), ports.first());
    let (port, server) = (ports.first().to_string(), cluster.server.to_str().unwrap().to_owned());
    let drill = ["drill", "promote", "--runs", "1", "--base-port", &port, "--server", &server, "-o", "json"];
    let told: serde_json::Value = serde_json::from_str(&cluster.must(&drill)).unwrap();
    let run = &told["runs"][0];
    cluster.check(
        run["lost"] == 0 && run["fullSyncs"] == 0 && run["writesMs"].as_f64().is_some(),
        &format!("{told}"),
    );
}
