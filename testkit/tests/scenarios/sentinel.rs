//! Mode `sentinel`: real Sentinels that clients ask where the primary is. Who is the primary, agents decide.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpStream;
use std::time::Duration;
use valkeeper_testkit::cluster::ask;
use valkeeper_testkit::{Cluster, Manifest, Place, Traffic, process};

const NAME: &str = "watched";

fn started(place: &Place) -> Cluster<'_> {
    Cluster::started(place, Manifest::sentinel(NAME, 3))
}

fn told(port: u16, cluster: &Cluster<'_>, command: &[&str]) -> Option<Vec<String>> {
    ask(port, Some(&cluster.password()), command).ok()
}

/// Where a Sentinel sends clients.
fn answer_of(port: u16, cluster: &Cluster<'_>) -> Option<u16> {
    told(port, cluster, &["SENTINEL", "GET-MASTER-ADDR-BY-NAME", NAME])?.get(1)?.parse().ok()
}

fn ports(cluster: &Cluster<'_>) -> Vec<u16> {
    cluster.sentinels().into_iter().map(|(_, port)| port).collect()
}

/// Waits until every Sentinel sends clients to the primary.
fn until_all_lead_to_the_primary(cluster: &Cluster<'_>) {
    let sentinels = ports(cluster);
    cluster.check(sentinels.len() == 3, &format!("{sentinels:?}"));
    cluster.until("all Sentinels lead to the primary", || {
        let primary = cluster.port(&cluster.primary_now("s0")?);
        sentinels.iter().all(|port| answer_of(*port, cluster) == Some(primary)).then_some(())
    });
}

/// Listens for what a Sentinel tells clients.
fn subscribed(port: u16, cluster: &Cluster<'_>, channel: &str) -> BufReader<TcpStream> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("the Sentinel listens");
    stream.set_read_timeout(Some(Duration::from_secs(60))).expect("a time limit");
    write!(stream, "AUTH {}\r\nSUBSCRIBE {channel}\r\n", cluster.password()).expect("it is told");
    let mut reader = BufReader::new(stream);
    // OK, and the three parts of the subscription.
    lines(&mut reader, 7);
    reader
}

fn lines(reader: &mut BufReader<TcpStream>, count: usize) -> String {
    let mut text = String::new();
    for _ in 0..count {
        reader.read_line(&mut text).expect("a line in time");
    }
    text
}

#[test]
fn clients_are_led_to_each_successor_and_told_of_it() {
    let place = Place::new();
    let cluster = started(&place);
    until_all_lead_to_the_primary(&cluster);
    let traffic = Traffic::start(&cluster);
    let mut reader = subscribed(ports(&cluster)[1], &cluster, "+switch-master");
    for round in 0..3 {
        traffic.more(50);
        let old = cluster.primary("s0");
        cluster.until_saved(&old);
        let (seen, pid) = (cluster.events().len(), cluster.kill(&old));
        cluster.until_event(seen, "FailedOver");
        until_all_lead_to_the_primary(&cluster);
        let news = lines(&mut reader, 7);
        let (from, to) = (cluster.port(&old), cluster.port(&cluster.primary("s0")));
        let expected = format!("{NAME} 127.0.0.1 {from} 127.0.0.1 {to}");
        cluster.check(news.contains(&expected), &format!("round {round}: {news}, not {expected}"));
        cluster.until_back(&old, pid);
        cluster.until_whole();
    }
    let to = cluster.replica("s0");
    cluster.must(&["switchover", "--to", &to]);
    until_all_lead_to_the_primary(&cluster);
    cluster.check(lines(&mut reader, 7).contains(&cluster.port(&to).to_string()), "clients were not told");
    traffic.finish(3);
}

/// Sentinels may look and listen at servers. What a user asks of them, and what they come to by themselves, changes no role.
#[test]
fn a_sentinel_promotes_nobody_when_it_is_told_to() {
    let place = Place::new();
    let cluster = started(&place);
    until_all_lead_to_the_primary(&cluster);
    let traffic = Traffic::start(&cluster);
    let (primary, seen) = (cluster.primary("s0"), cluster.events().len());
    let asked = ports(&cluster)[0];
    // It needs to have seen the replicas.
    cluster.until("the Sentinel begins", || {
        let begun: redis::RedisResult<String> =
            ask(asked, Some(&cluster.password()), &["SENTINEL", "FAILOVER", NAME]);
        begun.is_ok().then_some(())
    });
    cluster.until("the Sentinel has told a replica to become the primary", || {
        let log = cluster.must(&["logs", &format!("{NAME}-sentinel-0"), "--lines", "1000"]);
        log.contains("+failover-state-wait-promotion").then_some(())
    });
    traffic.more(200);
    for name in cluster.instance_names() {
        let wanted = if name == primary { "master" } else { "slave" };
        let role = cluster.info(&name, "replication", "role");
        cluster.check(role == wanted, &format!("{name} is a {role}"));
    }
    for kind in ["FailedOver", "SwitchedOver", "RoseByItself", "Rewired"] {
        cluster.check(cluster.events_since(seen, kind).is_empty(), &format!("there was a {kind}"));
    }
    let report = traffic.finish(0);
    cluster.check(report.totals().failed == 0, &format!("clients saw errors: {:?}", report.totals()));
}

#[test]
fn a_sentinel_that_was_away_is_told_what_it_has_missed() {
    let place = Place::new();
    let cluster = started(&place);
    until_all_lead_to_the_primary(&cluster);
    let away = cluster.sentinel_pid(0);
    process::signal(away, process::Signal::STOP);
    cluster.until_waits_for("SentinelUnseen");
    let old = cluster.primary("s0");
    let (seen, pid) = (cluster.events().len(), cluster.kill(&old));
    cluster.until_event(seen, "FailedOver");
    cluster.until_back(&old, pid);
    // It goes on, or is killed for its silence and started again.
    process::signal(away, process::Signal::CONT);
    until_all_lead_to_the_primary(&cluster);
    cluster.until_whole();
}

#[test]
fn a_dead_sentinel_comes_back_as_the_same_one_with_its_file_and_without() {
    let place = Place::new();
    let cluster = started(&place);
    until_all_lead_to_the_primary(&cluster);
    // Not the one that was founded as the primary.
    cluster.must(&["switchover", "s0"]);
    until_all_lead_to_the_primary(&cluster);
    let port = ports(&cluster)[2];
    let id = || told_text(port, &cluster, &["SENTINEL", "MYID"]);
    let before = cluster.until("its id", id);
    for with_file in [true, false] {
        let pid = cluster.sentinel_pid(2);
        if !with_file {
            std::fs::remove_file(cluster.instance_dir(&format!("{NAME}-sentinel-2")).join("server.conf"))
                .expect("its file");
        }
        process::kill(pid);
        cluster.until("another process", || (cluster.sentinel_pid(2) != pid).then_some(()));
        until_all_lead_to_the_primary(&cluster);
        cluster.check(cluster.until("its id", id) == before, "it is another one");
    }
    for port in ports(&cluster) {
        cluster.until("nobody knows a ghost", || {
            let known = told_text(port, &cluster, &["SENTINEL", "CKQUORUM", NAME])?;
            known.contains("3 usable Sentinels").then_some(())
        });
    }
    cluster.until_whole();
}

fn told_text(port: u16, cluster: &Cluster<'_>, command: &[&str]) -> Option<String> {
    ask(port, Some(&cluster.password()), command).ok()
}

#[test]
fn sentinels_come_and_go_beside_servers_that_stay_as_they_are() {
    let place = Place::new();
    let mut cluster = Cluster::started(&place, Manifest::standalone(NAME, 3));
    let servers = cluster.until_whole().processes();
    let traffic = Traffic::start(&cluster);
    traffic.more(50);
    let written = traffic.stop();
    for _ in 0..2 {
        cluster.change(Manifest::sentinel(NAME, 3));
        let file = cluster.file();
        cluster.must(&["apply", &file.to_string_lossy(), "--wait"]);
        until_all_lead_to_the_primary(&cluster);
        let pids: Vec<u32> = (0..3).map(|n| cluster.sentinel_pid(n)).collect();
        cluster.change(Manifest::standalone(NAME, 3));
        cluster.must(&["apply", &file.to_string_lossy(), "--wait"]);
        cluster
            .until("the Sentinels have ended", || pids.iter().all(|pid| !process::alive(*pid)).then_some(()));
    }
    cluster.check(cluster.until_whole().processes() == servers, "a server was restarted");
    cluster.check(written.report.totals().failed == 0, "clients saw errors");
    written.read_back(&cluster, 0);
}

#[test]
fn a_supervisor_that_dies_leaves_the_sentinels_and_the_next_one_takes_them_over() {
    let place = Place::new();
    let cluster = started(&place);
    until_all_lead_to_the_primary(&cluster);
    let before: Vec<u32> = (0..3).map(|n| cluster.sentinel_pid(n)).collect();
    cluster.kill_supervisor();
    cluster.up();
    cluster.until_whole();
    let after: Vec<u32> = (0..3).map(|n| cluster.sentinel_pid(n)).collect();
    cluster.check(before == after, "a Sentinel was restarted");
    let old = cluster.primary("s0");
    let (seen, pid) = (cluster.events().len(), cluster.kill(&old));
    cluster.until_event(seen, "FailedOver");
    until_all_lead_to_the_primary(&cluster);
    cluster.until_back(&old, pid);
    cluster.must(&["down"]);
    cluster.check(before.iter().all(|pid| !process::alive(*pid)), "a Sentinel runs on");
}

/// Repeated for long; `make test-long` alone runs it.
mod longest {
    use super::*;
    use std::time::{Instant, SystemTime, UNIX_EPOCH};

    /// So long faults come.
    const AN_HOUR: Duration = Duration::from_secs(3_600);

    #[derive(Debug, Clone, Copy)]
    enum Fault {
        KillPrimary,
        SwitchOver,
        KillSentinel,
        FreezeSentinel,
        AskSentinelToFailOver,
        KillSupervisor,
    }

    const FAULTS: [Fault; 6] = [
        Fault::KillPrimary,
        Fault::SwitchOver,
        Fault::KillSentinel,
        Fault::FreezeSentinel,
        Fault::AskSentinelToFailOver,
        Fault::KillSupervisor,
    ];

    /// Agents and Sentinels undo nothing of each other's: after each fault all lead to the one primary, and no role changes but by a
    /// fault that has it change.
    #[test]
    #[ignore = "long: an hour of random faults"]
    fn an_hour_of_random_faults_reverses_nothing() {
        let place = Place::new();
        let cluster = started(&place);
        until_all_lead_to_the_primary(&cluster);
        let traffic = Traffic::start(&cluster);
        let start = SystemTime::now().duration_since(UNIX_EPOCH).map_or(1, |since| since.as_secs());
        eprintln!("seed {start}");
        let mut drawn = start;
        // Knuth's MMIX: which fault comes is all that is drawn.
        let mut draw = |of: usize| {
            drawn = drawn.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            usize::try_from(drawn >> 33).unwrap_or(0) % of
        };
        let (begun, mut killed) = (Instant::now(), 0);
        while begun.elapsed() < AN_HOUR {
            let fault = FAULTS[draw(FAULTS.len())];
            let sentinel = u32::try_from(draw(3)).unwrap_or(0);
            let (before, seen) = (cluster.primary("s0"), cluster.events().len());
            let moves = matches!(fault, Fault::KillPrimary | Fault::SwitchOver);
            match fault {
                Fault::KillPrimary => {
                    cluster.until_saved(&before);
                    let pid = cluster.kill(&before);
                    cluster.until_back(&before, pid);
                    killed += 1;
                }
                Fault::SwitchOver => cluster.eventually(&["switchover", "s0"]),
                Fault::KillSentinel => process::kill(cluster.sentinel_pid(sentinel)),
                Fault::FreezeSentinel => {
                    process::signal(cluster.sentinel_pid(sentinel), process::Signal::STOP);
                }
                Fault::AskSentinelToFailOver => {
                    // Refused while it is being started, or has just tried.
                    let port = ports(&cluster)[usize::try_from(sentinel).unwrap_or(0)];
                    let _ = told_text(port, &cluster, &["SENTINEL", "FAILOVER", NAME]);
                }
                Fault::KillSupervisor => {
                    cluster.kill_supervisor();
                    cluster.up();
                }
            }
            traffic.more(50);
            until_all_lead_to_the_primary(&cluster);
            cluster.until_whole();
            let reversals = cluster.events_since(seen, "RoseByItself").len();
            let after = cluster.primary("s0");
            cluster.check(
                reversals == 0 && (moves || after == before),
                &format!("start {start}, {fault:?}: {before} was the primary, then {after}; {reversals} rose by themselves"),
            );
        }
        traffic.finish(killed);
    }
}
