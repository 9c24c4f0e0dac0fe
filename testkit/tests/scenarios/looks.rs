//! What is said of servers that live and cannot be seen, or that clients cannot use. Nothing is wrong with any process in these.

use redis::{Connection, FromRedisValue, RedisResult};
use std::time::Duration;
use valkeeper_testkit::{Cluster, Manifest, Place, Status};

/// A connection made before a fault: after it there may be no way in.
fn insider(cluster: &Cluster<'_>, instance: &str) -> Connection {
    let client = redis::Client::open(("127.0.0.1", cluster.port(instance))).unwrap();
    let mut connection = client.get_connection_with_timeout(Duration::from_secs(5)).unwrap();
    redis::cmd("AUTH").arg(cluster.password()).exec(&mut connection).unwrap();
    connection
}

fn say<T: FromRedisValue>(connection: &mut Connection, words: &[&str]) -> RedisResult<T> {
    words.iter().fold(redis::Cmd::new(), |mut command, word| command.arg(*word).to_owned()).query(connection)
}

fn done(connection: &mut Connection, words: &[&str]) {
    let _: String = say(connection, words).unwrap_or_else(|error| panic!("{words:?}: {error}"));
}

/// Makes a fault, sees it told with these words, and mends it.
fn told_and_mended(
    cluster: &Cluster<'_>,
    (instance, reason, words): (&str, &str, &str),
    fault: &[&str],
    cure: &[&str],
) -> Status {
    let mut connection = insider(cluster, instance);
    done(&mut connection, fault);
    let status = cluster.until_waits_for(reason);
    cluster.check(!status.healthy, &format!("{reason} is no reason not to be healthy"));
    let about = |waiting: &&valkeeper_testkit::cluster::Waiting| waiting.reason == reason;
    let told: Vec<_> = status.waiting.iter().filter(about).map(|waiting| waiting.message.as_str()).collect();
    cluster.check(
        told.iter().any(|message| message.starts_with(instance) && message.contains(words)),
        &format!("`{words}` of {instance} is not in: {told:?}"),
    );
    done(&mut connection, cure);
    cluster.until_healthy();
    status
}

#[test]
fn servers_that_nobody_can_look_at_or_reach_are_not_healthy() {
    let place = Place::new();
    let cluster = Cluster::started(&place, Manifest::new("seen").roles_stay().unresponsive_after("3s"));
    let (before, seen) = (cluster.status().processes(), cluster.events().len());

    for right in ["info", "cluster|nodes"] {
        let (fault, cure) = (format!("-{right}"), format!("+{right}"));
        let mut connection = insider(&cluster, "seen-1");
        done(&mut connection, &["ACL", "SETUSER", "default", &fault]);
        let status = cluster.until_waits_for("RightMissing");
        cluster.check(status.reasons().contains(&cure), &status.reasons());
        // What was seen last does not count for ever.
        cluster.until("its role is unknown", || {
            cluster.status().instance("seen-1").role.is_none().then_some(())
        });
        let said = cluster.run(&["switchover", "s1"]);
        cluster.check(said.err.contains(&cure), &said.err);
        done(&mut connection, &["ACL", "SETUSER", "default", &cure]);
        cluster.until_healthy();
    }

    let out = "ClientsKeptOut";
    let (off, on) = (["ACL", "SETUSER", "default", "off"], ["ACL", "SETUSER", "default", "on"]);
    told_and_mended(&cluster, ("seen-0", out, "`default` is off"), &off, &on);
    let password = cluster.password();
    let open = ["ACL", "SETUSER", "default", "nopass"];
    let shut = ["ACL", "SETUSER", "default", "resetpass", &format!(">{password}")];
    told_and_mended(&cluster, ("seen-3", out, "without a password"), &open, &shut);
    let (few, many) = (["CONFIG", "SET", "maxclients", "33"], ["CONFIG", "SET", "maxclients", "10000"]);
    let crowd: Vec<_> = (0..33).map(|_| insider(&cluster, "seen-5")).collect();
    told_and_mended(&cluster, ("seen-5", out, "`maxclients` in force is 33"), &few, &many);
    drop(crowd);

    let (from, to) = (5_461, 5_500);
    let slots = [from, to].map(|slot: u16| slot.to_string());
    let (lose, own) = (
        ["CLUSTER", "DELSLOTSRANGE", &slots[0], &slots[1]],
        ["CLUSTER", "ADDSLOTSRANGE", &slots[0], &slots[1]],
    );
    told_and_mended(&cluster, ("seen-1", "SlotsDisowned", "5461-5500"), &lose, &own);

    let pid_of = |status: &Status| status.processes();
    cluster.check(pid_of(&cluster.status()) == before, "a server was restarted");
    for kind in ["Unresponsive", "Died", "FailedOver", "SwitchedOver", "TakenOver"] {
        cluster.check(cluster.events_since(seen, kind).is_empty(), &format!("{kind} happened"));
    }
}

#[test]
fn busy_and_paused_servers_are_told_and_never_killed() {
    let place = Place::new();
    let manifest = Manifest::new("slow").roles_stay().unresponsive_after("2s");
    let cluster = Cluster::started(&place, manifest);
    let (before, seen) = (cluster.status().processes(), cluster.events().len());

    // A user's pause of writes is told, and no command ends it without a word.
    let mut primary = insider(&cluster, "slow-0");
    done(&mut primary, &["CLIENT", "PAUSE", "3600000", "WRITE"]);
    cluster.until_waits_for("ClientsPaused");
    let said = cluster.run(&["switchover", "s0"]);
    cluster.check(said.code == Some(3) && said.err.contains("CLIENT UNPAUSE"), &said.err);
    done(&mut primary, &["CLIENT", "UNPAUSE"]);
    cluster.until_healthy();

    // One of everything silences every server, for longer than the limit; each still answers strangers.
    for instance in ["slow-0", "slow-1", "slow-2", "slow-4"] {
        done(&mut insider(&cluster, instance), &["CLIENT", "PAUSE", "7000", "ALL"]);
    }
    let status = cluster.until_waits_for("CommandsHeldBack");
    cluster.check(status.reasons().contains("CLIENT PAUSE"), &status.reasons());
    cluster.until_healthy();

    // A script without end: BUSY comes before the limit, and lasts for longer than it.
    let script = std::thread::spawn({
        let mut connection = insider(&cluster, "slow-1");
        move || say::<redis::Value>(&mut connection, &["EVAL", "while true do end", "0"])
    });
    let status = cluster.until_waits_for("Busy");
    cluster.check(status.reasons().contains("SCRIPT KILL"), &status.reasons());
    cluster.until("s1 has no primary", || cluster.primary_now("s1").is_none().then_some(()));
    for command in [["switchover", "s1"], ["failover", "s1"], ["restart", "slow-1"]] {
        let said = cluster.run(&command);
        cluster.check(said.code == Some(3) && said.err.contains("SCRIPT KILL"), &said.err);
    }
    std::thread::sleep(Duration::from_secs(3));
    let ended: String = cluster.told("slow-1", &["SCRIPT", "KILL"]);
    cluster.check(ended == "OK" && script.join().unwrap().is_err(), "the script goes on");
    cluster.until_healthy();

    cluster.check(cluster.status().processes() == before, "a server was restarted");
    for kind in ["Unresponsive", "Died", "FailedOver", "SwitchedOver", "TakenOver"] {
        cluster.check(cluster.events_since(seen, kind).is_empty(), &format!("{kind} happened"));
    }
}

/// Without `psync` a replica follows by the old `SYNC` and does not know where in the stream it is.
#[test]
fn why_a_replica_is_missing_is_told() {
    let place = Place::new();
    let cluster = Cluster::started(&place, Manifest::new("lacks").roles_stay());
    cluster.must(&["fence", "lacks-4"]);
    cluster.until("the fenced replica is named", || {
        cluster.status().reasons().contains("lacks-4 is down").then_some(())
    });
    let mut primary = insider(&cluster, "lacks-0");
    done(&mut primary, &["ACL", "SETUSER", "default", "-psync"]);
    let _: u64 = say(&mut primary, &["CLIENT", "KILL", "TYPE", "replica"]).unwrap();
    cluster.until("the missing right is told", || {
        cluster.status().reasons().contains("lacks-3 may not use `psync`").then_some(())
    });
}

/// A replica that came up while its primary refused it `psync` connects anew by itself, and is in the stream once it may be.
#[test]
fn a_right_that_is_given_back_brings_the_replica_back() {
    let place = Place::new();
    let cluster = Cluster::started(&place, Manifest::new("back").roles_stay());
    let mut primary = insider(&cluster, "back-0");
    done(&mut primary, &["ACL", "SETUSER", "default", "-psync"]);
    // Without a history of before: its disk is new.
    cluster.must(&["fence", "back-3"]);
    valkeeper_testkit::cluster::wipe(&cluster.data_dir("back-3"));
    cluster.must(&["unfence", "back-3"]);
    cluster.until("the missing right is told", || {
        cluster.status().reasons().contains("back-3 may not use `psync`").then_some(())
    });
    let processes = cluster.status().processes();
    done(&mut primary, &["ACL", "SETUSER", "default", "+psync"]);
    cluster.until_healthy();
    cluster.check(cluster.status().processes() == processes, "a server was restarted");
}

/// Over `maxmemory` and with nothing to evict a primary refuses writes: that is told, replaces nobody, and holds up no other shard.
#[test]
fn a_primary_whose_memory_is_used_up_is_not_healthy() {
    let place = Place::new();
    let cluster = Cluster::started(&place, Manifest::new("ram").roles_stay());
    let (before, seen) = (cluster.status().processes(), cluster.events().len());
    let mut primary = insider(&cluster, "ram-0");
    done(&mut primary, &["CONFIG", "SET", "maxmemory", "1mb"]);
    let refused = say::<String>(&mut primary, &["SET", "{06S}", "value"]).unwrap_err();
    cluster.check(refused.code() == Some("OOM"), &refused.to_string());
    let status = cluster.until_waits_for("MemoryFull");
    cluster.check(!status.healthy, "it is healthy");
    for word in ["ram-0: refuses writes", "of 1048576 bytes", "memory.maxMemory"] {
        cluster.check(status.reasons().contains(word), &status.reasons());
    }
    cluster.must(&["switchover", "s1"]);
    cluster.must(&["switchover", "s1"]);
    cluster.check(cluster.primary("s1") == "ram-1", "no other shard can be switched");
    done(&mut primary, &["CONFIG", "SET", "maxmemory", "0"]);
    cluster.until_healthy();
    cluster.check(cluster.status().processes() == before, "a server was restarted");
    for kind in ["Unresponsive", "Died", "FailedOver", "TakenOver"] {
        cluster.check(cluster.events_since(seen, kind).is_empty(), &format!("{kind} happened"));
    }
}
