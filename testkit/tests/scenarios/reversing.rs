//! The way back after a promotion: a cluster with data of its own goes over to following, by the token of the promoted side, or at an accepted loss.

use std::process::{Child, Stdio};
use std::time::Duration;
use valkeeper_testkit::cluster::{Said, Status};
use valkeeper_testkit::ports::Ports;
use valkeeper_testkit::process::{self, Signal};
use valkeeper_testkit::{Cluster, Manifest, Place, Traffic};

fn primary_port(cluster: &Cluster<'_>) -> u16 {
    let connect: serde_json::Value = serde_json::from_str(&cluster.must(&["connect", "-o", "json"])).unwrap();
    connect["leader"].as_str().unwrap().rsplit_once(':').unwrap().1.parse().unwrap()
}

/// The token that it publishes.
fn token(cluster: &Cluster<'_>) -> String {
    cluster.until("it publishes a token", || {
        Some(cluster.status().replica_mode?.get("token")?.as_str()?.to_owned())
    })
}

fn full_syncs(cluster: &Cluster<'_>) -> u64 {
    cluster.instance_names().iter().map(|name| cluster.count(name, "stats", "sync_full")).sum()
}

/// A region: a cluster, its manifest without `replicaMode`, and where the other one finds it.
struct Region<'a> {
    cluster: Cluster<'a>,
    alone: Manifest,
    port: u16,
}

impl<'a> Region<'a> {
    fn started(place: &'a Place, name: &str, instances: u32, first_port: u16) -> Self {
        let alone = Manifest::standalone(name, instances);
        let cluster = Cluster::at(place, alone.clone(), first_port);
        cluster.up();
        let port = primary_port(&cluster);
        Self { cluster, alone, port }
    }

    fn following(&self, other: &Region<'_>) -> Manifest {
        self.alone.clone().following("127.0.0.1", other.port, &format!("{}-auth", other.cluster.name()))
    }

    fn apply(&mut self, manifest: Manifest, more: &[&str]) -> Said {
        self.cluster.change(manifest);
        let file = self.cluster.file();
        let args = [&["apply", "-f", file.to_str().unwrap()][..], more].concat();
        self.cluster.run(&args)
    }

    fn plan(&mut self, manifest: Manifest, more: &[&str]) -> Said {
        self.cluster.change(manifest);
        let file = self.cluster.file();
        let args = [&["plan", "-f", file.to_str().unwrap()][..], more].concat();
        self.cluster.run(&args)
    }

    /// Refused in these words, with a hint, and nothing was changed.
    fn refuses(&mut self, manifest: Manifest, words: &str, hint: &str) {
        let layout = || std::fs::read_to_string(self.cluster.dir().join("layout.json")).unwrap();
        let before = layout();
        for said in [self.plan(manifest.clone(), &[]), self.apply(manifest, &[])] {
            let told = said.code == Some(3) && said.err.contains(words) && said.err.contains(hint);
            self.cluster.check(told, &format!("expected `{words}` and `{hint}`: {said:?}"));
        }
        let after = std::fs::read_to_string(self.cluster.dir().join("layout.json")).unwrap();
        self.cluster.check(before == after, "its layout was changed");
        let primary = self.cluster.primary("s0");
        let () = self.cluster.told(&primary, &["SET", "still-primary", words]);
    }

    /// Follows the other by now, and has what that one has.
    fn until_follows(&self, other: &Region<'_>) -> Status {
        let status = self.cluster.until("it follows, and is healthy", || {
            let status = self.cluster.status();
            let follows = status.condition("ReplicaMode").is_some_and(|one| one.reason == "Enabled");
            (follows && status.healthy).then_some(status)
        });
        self.cluster.until("it has what the source has", || {
            let source = other.cluster.primary_now("s0")?;
            let offset = other.cluster.count(&source, "replication", "master_repl_offset");
            let equal =
                |name: &String| self.cluster.count(name, "replication", "master_repl_offset") == offset;
            self.cluster.instance_names().iter().all(equal).then_some(())
        });
        status
    }

    fn promoted(&mut self, other: &Region<'_>) {
        let said = self.apply(self.following(other).promoted(), &["--wait"]);
        self.cluster.check(said.code == Some(0), &said.err);
        self.cluster.until("it is promoted", || {
            (self.cluster.status().condition("ReplicaMode")?.reason == "Promoted").then_some(())
        });
        self.cluster.until_healthy();
    }

    fn reads(&self, key: &str) -> Vec<Option<String>> {
        self.cluster.instance_names().iter().map(|name| self.cluster.told(name, &["GET", key])).collect()
    }
}

/// Two regions, of which the second follows the first.
fn regions<'a>(place: &'a Place, ports: &'a Ports, [first, second]: [u32; 2]) -> (Region<'a>, Region<'a>) {
    let east = Region::started(place, "east", first, place.first_port());
    let alone = Manifest::standalone("west", second);
    let manifest = alone.clone().following("127.0.0.1", east.port, "east-auth");
    let cluster = Cluster::at(place, manifest, ports.first());
    cluster.up();
    let port = primary_port(&cluster);
    (east, Region { cluster, alone, port })
}

#[test]
fn two_regions_take_turns_three_times_and_nothing_is_lost() {
    let (place, ports) = (Place::new(), Ports::reserve());
    let (mut primary, mut follower) = regions(&place, &ports, [1, 2]);
    let mut written = Vec::new();
    for round in 0..6 {
        let traffic = Traffic::start(&primary.cluster);
        traffic.more(100);
        written.push(traffic.stop());
        follower.until_follows(&primary);
        follower.promoted(&primary);
        let token = token(&follower.cluster);
        // The former primary takes its place, by the token.
        let before = full_syncs(&follower.cluster);
        let said = primary.plan(primary.following(&follower).with_token(&token), &[]);
        primary
            .cluster
            .check(said.code == Some(0) && said.out.contains("no write is lost"), &format!("{said:?}"));
        let is_partial = said.out.contains("partial resynchronisation");
        let said = primary.apply(primary.following(&follower).with_token(&token), &[]);
        primary.cluster.check(said.code == Some(0), &said.err);
        primary.until_follows(&follower);
        // A primary without replicas has a stream that stands still: its way back is a partial one. One with replicas sends them a
        // `PING` now and then.
        if primary.cluster.instance_names().len() == 1 {
            primary.cluster.check(is_partial, &format!("round {round}: {}", said.out));
            follower.cluster.check(full_syncs(&follower.cluster) == before, "a full copy was made");
        }
        for one in &written {
            one.read_back(&primary.cluster, 0);
            one.read_back(&follower.cluster, 0);
        }
        // The same again changes nothing.
        let said = primary.apply(primary.following(&follower).with_token(&token), &[]);
        primary.cluster.check(said.code == Some(0), &said.err);
        std::mem::swap(&mut primary, &mut follower);
    }
}

#[test]
fn a_token_that_is_missing_or_wrong_is_refused_and_changes_nothing() {
    let (place, ports) = (Place::new(), Ports::reserve());
    let (mut east, mut west) = regions(&place, &ports, [1, 2]);
    let () = east.cluster.told("east-0", &["SET", "both", "1"]);
    west.until_follows(&east);
    west.promoted(&east);
    let first = token(&west.cluster);
    west.refuses(west.following(&east), "was promoted and takes writes", "spec.replicaMode.token");
    west.refuses(west.following(&east).with_token(&first), "is this cluster's own", "promote: true");
    let damaged = first.replacen("term=", "term=1", 1);
    east.refuses(east.following(&west).with_token(&damaged), "is damaged", "status -o json");
    // It takes the writes that `refuses` tries: they are not in the copy that was promoted.
    east.refuses(east.following(&west), "has data of its own", "--accept-data-loss");
    east.refuses(
        east.following(&west).with_token(&first),
        "does not have what was written here",
        "--accept-data-loss",
    );
    // With the loss accepted it follows, and what was written here alone is gone.
    let said = east.apply(east.following(&west).with_token(&first), &["--accept-data-loss"]);
    east.cluster.check(said.code == Some(0), &said.err);
    east.until_follows(&west);
    east.cluster.check(east.reads("still-primary") == west.reads("still-primary")[..1], "it has other data");
    east.cluster.check(east.reads("both") == [Some("1".to_owned())], "what both had is gone");
    // And back: the first token is of an older promotion from here on.
    east.promoted(&west);
    east.refuses(east.following(&west).with_token(&first), "is of an older promotion", "as it is now");
    // A third cluster's data never was in that history.
    let other = Ports::reserve();
    let mut third = Region::started(&place, "third", 1, other.first());
    let () = third.cluster.told("third-0", &["SET", "own", "1"]);
    let stranger = third.following(&east).with_token(&token(&east.cluster));
    third.refuses(stranger, "is of another cluster", "as it is now");
}

#[test]
fn a_cluster_with_data_begins_to_follow_only_at_an_accepted_loss() {
    let (place, ports) = (Place::new(), Ports::reserve());
    let east = Region::started(&place, "east", 1, place.first_port());
    let mut west = Region::started(&place, "west", 3, ports.first());
    let () = east.cluster.told("east-0", &["SET", "theirs", "1"]);
    let () = west.cluster.told(&west.cluster.primary("s0"), &["SET", "ours", "1"]);
    west.refuses(west.following(&east), "west-0 ", "redis.io/accept-data-loss");
    // An annotation that names other data accepts nothing.
    let wrong = west.following(&east).accepting_loss_of(&"a".repeat(40));
    west.refuses(wrong, "would replace", "redis.io/accept-data-loss");
    let said = west.plan(west.following(&east), &["--accept-data-loss"]);
    west.cluster.check(said.code == Some(0) && said.out.contains("full copy; lost is"), &format!("{said:?}"));
    west.cluster.check(west.reads("ours").iter().all(Option::is_some), "the plan has changed something");
    let replid: String = west.cluster.info(&west.cluster.primary("s0"), "replication", "master_replid");
    let said = west.apply(west.following(&east).accepting_loss_of(&replid), &[]);
    west.cluster.check(said.code == Some(0), &said.err);
    west.until_follows(&east);
    west.cluster.check(west.reads("ours").iter().all(Option::is_none), "it kept its own data");
    west.cluster.check(west.reads("theirs").iter().all(Option::is_some), "it does not follow");
}

/// A planned change of places: every write that was acknowledged on either side is on both, whatever the round.
#[test]
fn two_clusters_change_places_and_back_without_losing_a_write() {
    let (place, ports) = (Place::new(), Ports::reserve());
    let (east, west) = regions(&place, &ports, [2, 3]);
    west.until_follows(&east);
    for (round, (old, new)) in [(&east, &west), (&west, &east), (&east, &west)].into_iter().enumerate() {
        let before = full_syncs(&new.cluster);
        let traffic = Traffic::start(&old.cluster);
        traffic.more(200);
        let said = old.cluster.run(&["switch-region", "--to", new.cluster.name()]);
        old.cluster.check(said.code == Some(0), &format!("round {round}: {said:?}"));
        let written = traffic.stop();
        old.until_follows(new);
        written.read_back(&new.cluster, 0);
        let refused = old.cluster.ask::<String>(&old.cluster.instance_names()[0], &["SET", "a", "b"]);
        let is_replica = refused.is_err_and(|error| error.code() == Some("READONLY"));
        old.cluster.check(is_replica, "the former primary takes writes");
        new.cluster.check(
            full_syncs(&new.cluster) == before,
            &format!("round {round}: somebody came by a full copy"),
        );
        let traffic = Traffic::start(&new.cluster);
        traffic.more(50);
        traffic.finish(0);
    }
}

/// Given again, the command goes on from wherever it has died, and no write is lost meanwhile.
#[test]
fn a_change_of_places_goes_on_wherever_the_command_has_died() {
    let (place, ports) = (Place::new(), Ports::reserve());
    let (east, west) = regions(&place, &ports, [2, 2]);
    west.until_follows(&east);
    let (mut old, mut new) = (&east, &west);
    for alive_ms in [40, 80, 120, 200, 400] {
        let traffic = Traffic::start(&old.cluster);
        traffic.more(50);
        let mut command = begin_change(old, new);
        std::thread::sleep(Duration::from_millis(alive_ms));
        // It may be over already.
        let _ = command.kill();
        command.wait().unwrap();
        old.cluster.eventually(&["switch-region", "--to", new.cluster.name()]);
        let written = traffic.stop();
        old.until_follows(new);
        written.read_back(&new.cluster, 0);
        std::mem::swap(&mut old, &mut new);
    }
}

/// Begins to change places, and goes on meanwhile.
fn begin_change(old: &Region<'_>, new: &Region<'_>) -> Child {
    let (from, to) = (old.cluster.name(), new.cluster.name());
    let mut command = old.cluster.command(&["--cluster", from, "switch-region", "--to", to]);
    command.stderr(Stdio::null()).spawn().unwrap()
}

/// A copy that does not come to where writes end is not promoted, and writes go on: at the command's word, or, where that has died, at another's.
#[test]
fn a_copy_that_does_not_come_to_the_end_is_not_promoted() {
    let (place, ports) = (Place::new(), Ports::reserve());
    let (east, west) = regions(&place, &ports, [2, 1]);
    west.until_follows(&east);
    let refused = east.cluster.run(&["switch-region", "--cancel"]);
    let is_told = refused.err.contains("does not hand over");
    east.cluster.check(refused.code == Some(3) && is_told, &format!("{refused:?}"));
    let traffic = Traffic::start(&east.cluster);
    traffic.more(50);
    let frozen = west.cluster.pid("west-0");
    process::signal(frozen, Signal::STOP);
    let said = east.cluster.run(&["switch-region", "--to", "west"]);
    process::signal(frozen, Signal::CONT);
    let goes_on = said.err.contains("takes writes again");
    east.cluster.check(said.code == Some(1) && goes_on, &format!("{said:?}"));
    traffic.more(50);
    // The command dies while writes are held.
    west.until_follows(&east);
    let frozen = west.cluster.pid("west-0");
    process::signal(frozen, Signal::STOP);
    let mut command = begin_change(&east, &west);
    let is_held = || east.cluster.status().reasons().contains("holds writes back").then_some(());
    east.cluster.until("writes are held", is_held);
    command.kill().unwrap();
    command.wait().unwrap();
    east.cluster.must(&["switch-region", "--cancel"]);
    process::signal(frozen, Signal::CONT);
    traffic.more(50);
    east.cluster.until_whole();
    traffic.finish(0);
}
