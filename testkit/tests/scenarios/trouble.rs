//! What surrounds a cluster is not as it should be: it says so, loses nothing, and goes on when the cause is gone.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use valkeeper_testkit::mounts::{freeze, in_namespace, small, thaw};
use valkeeper_testkit::{Cluster, Manifest, Place, Said, Traffic, process, program};

/// An error as it should be: what, why, and what to do.
fn explains(cluster: &Cluster<'_>, said: &Said, code: i32, words: &[&str]) {
    cluster.check(said.code == Some(code), &format!("exit code {:?}, not {code}: {}", said.code, said.err));
    for word in words.iter().chain(&["error:", "hint:"]) {
        cluster.check(said.err.contains(word), &format!("`{word}` is not in: {}", said.err));
    }
}

#[test]
fn a_port_is_taken() {
    let place = Place::new();
    let cluster = Cluster::started(&place, Manifest::new("port").roles_stay());
    let traffic = Traffic::start(&cluster);
    traffic.more(100);
    let written = traffic.stop();
    cluster.must(&["down"]);
    // The port of a primary, and the bus port of a replica of another shard.
    let ports = [cluster.port("port-0"), cluster.port("port-4") + 10_000];
    let squatters = ports.map(|port| TcpListener::bind(("127.0.0.1", port)).unwrap());
    let said = cluster.try_up(&["--timeout", "4"]);
    explains(
        &cluster,
        &said,
        4,
        &[&format!("port {} is taken", ports[0]), &format!("port {} is taken", ports[1])],
    );
    drop(squatters);
    cluster.until_whole();
    written.read_back(&cluster, 0);
}

#[test]
fn the_disk_is_full() {
    in_namespace("trouble::the_disk_is_full", || {
        let place = Place::new();
        small(&place.state_dir(), 64 << 10);
        let cluster = Cluster::started(&place, Manifest::new("full").roles_stay());
        let traffic = Traffic::start(&cluster);
        traffic.more(200);
        let filler = place.state_dir().join("filler");
        fill(&filler);
        let status = cluster.until_waits_for("PersistenceFailing");
        cluster.check(status.reasons().contains("disk"), &status.reasons());
        let said = cluster.run(&["fence", "full-3"]);
        explains(&cluster, &said, 1, &["No space left", "make room on the disk"]);
        // A server that dies now cannot be started, but its replica can take over.
        let pid = cluster.kill("full-0");
        cluster.until("its replica is primary", || (cluster.primary_now("s0")? == "full-3").then_some(()));
        let status = cluster.until_waits_for("StartFailed");
        cluster.check(status.reasons().contains("No space left"), &status.reasons());
        fs::remove_file(&filler).unwrap();
        cluster.until_back("full-0", pid);
        traffic.finish(1);
    });
}

/// Only its primary's disk is full: the shard goes on with its replica, by itself.
#[test]
fn a_full_disk_of_a_primary_costs_no_writes_for_long() {
    in_namespace("trouble::a_full_disk_of_a_primary_costs_no_writes_for_long", || {
        let place = Place::new();
        let cluster = Cluster::new(&place, Manifest::new("lone").roles_stay());
        small(&cluster.data_dir("lone-0"), 32 << 10);
        cluster.up();
        cluster.until_healthy();
        let seen = cluster.events().len();
        let traffic = Traffic::start(&cluster);
        traffic.more(100);
        fill(&cluster.data_dir("lone-0").join("filler"));
        cluster.until_event(seen, "SwitchedOver");
        cluster.until("its replica is primary", || (cluster.primary_now("s0")? == "lone-3").then_some(()));
        traffic.more(100);
        let written = traffic.stop();
        written.read_back(&cluster, 0);
        cluster.check(cluster.events_since(seen, "FailedOver").is_empty(), "it was killed for it");
        // As a replica it crashes at each write, and starts again later each time. Why is told, also in between.
        let value = "x".repeat(256 << 10);
        cluster.until("the full disk is told", || {
            let _: Result<String, _> = cluster.ask("lone-3", &["SET", "{06S}large", &value]);
            let reasons = cluster.status().reasons();
            let why = "unable to write command to disk";
            (reasons.contains("lone-0: the server ended") && reasons.contains(why)).then_some(())
        });
        fs::remove_file(cluster.data_dir("lone-0").join("filler")).unwrap();
        cluster.until_healthy();
        cluster.check(cluster.events_since(seen, "SwitchedOver").len() == 1, "roles went to and fro");
        cluster.must(&["down"]);
    });
}

/// What cannot be saved is not waited for: `down` says whose data that is.
#[test]
fn a_full_disk_holds_up_no_down() {
    in_namespace("trouble::a_full_disk_holds_up_no_down", || {
        let place = Place::new();
        let cluster = Cluster::new(&place, Manifest::new("stuffed").persistence("rdb").roles_stay());
        small(&cluster.data_dir("stuffed-0"), 32 << 10);
        cluster.up();
        cluster.until_healthy();
        // A snapshot that is begun anew at each telling, and never fits.
        let value = "x".repeat(4 << 20);
        for n in 0..6 {
            let _: String = cluster.told("stuffed-0", &["SET", &format!("{{06S}}{n}"), &value]);
        }
        let _: String = cluster.told("stuffed-0", &["CONFIG", "SET", "rdbcompression", "no"]);
        fill(&cluster.data_dir("stuffed-0").join("filler"));
        let begun = std::time::Instant::now();
        let said = cluster.run(&["down"]);
        cluster.check(begun.elapsed().as_secs() < 12, &format!("down took {:?}", begun.elapsed()));
        cluster.check(said.code == Some(0) && said.err.contains("stuffed-0 could not save"), &said.err);
    });
}

/// Writes until nothing fits any more.
fn fill(path: &Path) {
    use std::io::Write as _;
    let mut file = fs::File::create(path).unwrap();
    for size in [1 << 20, 1 << 12, 1] {
        while file.write_all(&vec![0; size]).is_ok() {}
    }
}

#[test]
fn the_state_directory_is_read_only() {
    in_namespace("trouble::the_state_directory_is_read_only", || {
        let place = Place::new();
        small(&place.state_dir(), 64 << 10);
        let cluster = Cluster::new(&place, Manifest::new("frozen"));
        freeze(&place.state_dir());
        explains(&cluster, &cluster.try_up(&[]), 1, &["Read-only", "writable"]);
        thaw(&place.state_dir());
        cluster.up();
        let traffic = Traffic::start(&cluster);
        traffic.more(100);
        let written = traffic.stop();
        cluster.must(&["down"]);
        freeze(&place.state_dir());
        explains(&cluster, &cluster.try_up(&[]), 1, &["Read-only", "writable"]);
        cluster.check(cluster.status().phase == "Down", "status needs a writable directory");
        thaw(&place.state_dir());
        cluster.up();
        cluster.until_whole();
        written.read_back(&cluster, 0);
    });
}

fn script(path: &Path, says: &str) {
    fs::write(path, format!("#!/bin/sh\necho '{says}'\n")).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn the_server_program_is_missing_or_unfit() {
    let place = Place::new();
    let mut cluster = Cluster::new(&place, Manifest::new("program").roles_stay());
    let missing = place.path().join("missing-server");
    let not_executable = place.path().join("text");
    fs::write(&not_executable, "text").unwrap();
    let old = place.path().join("old-server");
    script(&old, "Redis server v=5.0.14 sha=00000000:0 malloc=libc bits=64 build=0");
    let other = place.path().join("other");
    script(&other, "something else 1.0");
    let liar = place.path().join("liar");
    script(&liar, "Valkey server v=9.1.2 sha=00000000:0 malloc=libc bits=64 build=0");
    let cases = [
        (&missing, "cannot be run"),
        (&not_executable, "cannot be run"),
        (&old, "too old"),
        (&other, "is not a Valkey or Redis server"),
        (&liar, "cannot be run"),
    ];
    for (path, word) in cases {
        path.clone_into(&mut cluster.server);
        explains(&cluster, &cluster.try_up(&[]), 1, &[word, "--server", path.to_str().unwrap()]);
        cluster.check(!cluster.dir().exists(), "something was made all the same");
    }
    let mut nothing_found = cluster.command(&["up"]);
    nothing_found.arg(cluster.file()).arg("--detach").env("PATH", place.path());
    let said = valkeeper_testkit::cluster::said(nothing_found);
    explains(&cluster, &said, 1, &["no valkey-server or redis-server", "VALKEEPER_SERVER"]);

    // It vanishes while the cluster runs.
    cluster.server = place.path().join("valkey-server");
    fs::copy(program::server(), &cluster.server).unwrap();
    cluster.up();
    let traffic = Traffic::start(&cluster);
    traffic.more(50);
    let hidden = place.path().join("hidden");
    fs::rename(&cluster.server, &hidden).unwrap();
    let pid = cluster.kill("program-1");
    let status = cluster.until_waits_for("StartFailed");
    cluster.check(status.reasons().contains("the server program cannot be run"), &status.reasons());
    traffic.flowing();
    fs::rename(&hidden, &cluster.server).unwrap();
    cluster.until_back("program-1", pid);
    traffic.finish(1);
}

/// Asking a program what it knows runs it as a server for a moment: also of one that is killed meanwhile nothing is left for long.
#[test]
fn a_program_that_is_killed_while_it_asks_leaves_no_server() {
    let place = Place::new();
    let cluster = Cluster::new(&place, Manifest::new("probe"));
    let temporary = place.path().join("tmp");
    fs::create_dir(&temporary).unwrap();
    // One that takes its time to tell what it knows.
    let slow = place.path().join("slow-server");
    let server = cluster.server.display();
    let text = format!("#!/bin/sh\n[ \"$1\" = --version ] && exec {server} --version\nexec sleep 600\n");
    fs::write(&slow, text).unwrap();
    fs::set_permissions(&slow, fs::Permissions::from_mode(0o755)).unwrap();
    let probes = || fs::read_dir(&temporary).unwrap().count();
    let child = |of: u32| {
        process::all()
            .find(|pid| process::parent(*pid) == Some(of) && process::arguments(*pid).contains("600"))
    };
    for signal in [process::Signal::KILL, process::Signal::TERM, process::Signal::INT] {
        let mut up = cluster.command(&["up"]);
        up.arg(cluster.file()).arg("--server").arg(&slow).env("TMPDIR", &temporary);
        let mut up =
            up.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null()).spawn().unwrap();
        let asked = cluster.until("the server is asked", || child(up.id()));
        process::signal(up.id(), signal);
        let _ = up.wait();
        cluster.until("the server is gone", || (!process::alive(asked)).then_some(()));
        // One that is told to end may have the time to remove its own.
        cluster.check(probes() <= 1, "the next run leaves the folder of the last");
    }
    let mut version = cluster.up_command(&["--timeout", "60"]);
    let said = valkeeper_testkit::cluster::said({
        version.env("TMPDIR", &temporary);
        version
    });
    cluster.check(said.code == Some(0), &said.err);
    cluster.check(probes() == 0, "folders of probes are left");
}

/// The servers' configuration is text.
#[test]
fn a_folder_whose_name_is_no_text_is_refused_at_once() {
    use std::os::unix::ffi::OsStrExt as _;
    let place = Place::new();
    let cluster = Cluster::new(&place, Manifest::new("latin"));
    let folder = place.path().join(std::ffi::OsStr::from_bytes(b"caf\xe9"));
    let mut up = std::process::Command::new(program::valkeeper());
    up.arg("--state-dir").arg(&folder).arg("up").arg(cluster.file()).arg("--detach");
    up.arg("--server").arg(&cluster.server);
    explains(&cluster, &valkeeper_testkit::cluster::said(up), 2, &["not UTF-8", "--state-dir"]);
}

/// Snapshots that a killed child did not finish are each as large as all data; others' files stay.
#[test]
fn unfinished_snapshots_are_removed_before_a_start() {
    let place = Place::new();
    let cluster = Cluster::started(&place, Manifest::new("unfinished").roles_stay());
    let data = cluster.data_dir("unfinished-3");
    let (unfinished, mine) = (data.join("temp-4711.rdb"), data.join("temp-mine.rdb"));
    for file in [&unfinished, &mine] {
        fs::write(file, "REDIS0011").unwrap();
    }
    let pid = cluster.kill("unfinished-3");
    cluster.until_back("unfinished-3", pid);
    cluster.check(!unfinished.exists(), "it is still there");
    cluster.check(mine.exists(), "a file of somebody else's was removed");
}

/// The supervisor finds servers that have another password than it is to use, brings it to them, and ends the former one when its time is
/// over; meanwhile both are accepted, and who starts anew finds the others.
#[test]
fn a_changed_password_reaches_servers_that_run() {
    let place = Place::new();
    let cluster = Cluster::started(&place, Manifest::new("secret").roles_stay());
    let before = cluster.status().processes();
    cluster.kill_supervisor();
    let former = cluster.password();
    fs::write(cluster.password_file(), "the\"next\\one'").unwrap();
    let said = cluster.try_up(&["--password-overlap", "40s"]);
    cluster.check(said.code == Some(0), &said.err);
    let let_in = |password: &str| -> usize {
        let ping = |port| valkeeper_testkit::cluster::ask::<String>(port, Some(password), &["PING"]);
        (0..6).filter(|n| ping(cluster.port(&format!("secret-{n}"))).is_ok()).count()
    };
    cluster.until("all accept the changed password", || (let_in(&cluster.password()) == 6).then_some(()));
    cluster.check(let_in(&former) == 6, "the former password is refused");
    cluster.check(running(&before), "a server was restarted");
    let traffic = Traffic::start(&cluster);
    cluster.kill("secret-0");
    cluster.until_whole();
    cluster.until("the former password is refused", || (let_in(&former) == 0).then_some(()));
    let follows =
        |n| cluster.told::<Vec<String>>(&format!("secret-{n}"), &["CONFIG", "GET", "masterauth"])[1].clone();
    cluster
        .check((0..6).all(|n| follows(n) == cluster.password()), "somebody follows with the former password");
    cluster.kill("secret-1");
    cluster.until_whole();
    traffic.finish(2);
    // The next supervisor finds another password wanted, and the one in the servers' files ended.
    cluster.kill_supervisor();
    fs::write(cluster.password_file(), "third").unwrap();
    let said = cluster.try_up(&["--password-overlap", "40s"]);
    cluster.check(said.code == Some(0), &said.err);
    cluster.until("all accept the third password", || (let_in("third") == 6).then_some(()));
}

/// Under a supervisor that lives: what it sets itself is not taken for somebody's hand, and who is started meanwhile turns no client away.
#[test]
fn a_server_restarted_while_the_password_changes_accepts_both() {
    let place = Place::new();
    let cluster = Cluster::new(&place, Manifest::new("rotated").roles_stay());
    let said = cluster.try_up(&["--password-overlap", "16s"]);
    cluster.check(said.code == Some(0), &said.err);
    let (former, seen) = (cluster.password(), cluster.events().len());
    fs::write(cluster.password_file(), "another").unwrap();
    let changed = std::time::Instant::now();
    let ping = |password| {
        valkeeper_testkit::cluster::ask::<String>(cluster.port("rotated-3"), Some(password), &["PING"])
            .is_ok()
    };
    // Once before anybody has noticed, and once after.
    for _ in 0..2 {
        cluster.must(&["restart", "rotated-3"]);
        let both = ping(&former) && ping("another");
        cluster.check(both, &format!("after {:?} it accepts only one password", changed.elapsed()));
        cluster.until("its agent has told of the change", || {
            (cluster.events_since(seen, "PasswordAdded").len() >= 5).then_some(())
        });
    }
    cluster.until("the former password is refused", || (!ping(&former)).then_some(()));
    cluster.check(ping("another"), "the changed password is refused");
    cluster.until_whole();
    let put_back = cluster.events_since(seen, "ConfigPutBack");
    cluster.check(put_back.is_empty(), &format!("it fights itself: {put_back:?}"));
}

#[test]
fn the_password_file_was_lost_while_nobody_watched() {
    let place = Place::new();
    let cluster = Cluster::started(&place, Manifest::new("secret").roles_stay());
    let traffic = Traffic::start(&cluster);
    let before = cluster.status().processes();
    cluster.kill_supervisor();
    let password = cluster.password();
    fs::write(cluster.password_file(), "").unwrap();
    explains(&cluster, &cluster.try_up(&[]), 1, &["password", "damaged"]);
    fs::remove_file(cluster.password_file()).unwrap();
    explains(&cluster, &cluster.try_up(&[]), 1, &["password", "server.conf"]);
    fs::write(cluster.password_file(), &password).unwrap();
    cluster.up();
    cluster.check(cluster.until_whole().processes() == before, "a server was restarted");
    let report = traffic.finish(0);
    cluster.check(report.totals().failed == 0, &format!("clients saw errors: {:?}", report.totals()));
}

fn running(processes: &[(String, u32, Option<u64>)]) -> bool {
    processes.iter().all(|(_, pid, start)| process::started_at(*pid) == *start)
}

#[test]
fn a_servers_password_was_changed_behind_our_back() {
    let place = Place::new();
    let cluster = Cluster::started(&place, Manifest::new("changed").roles_stay());
    let traffic = Traffic::start(&cluster);
    let before = cluster.status().processes();
    for instance in ["changed-3", "changed-1"] {
        let port = cluster.port(instance);
        let _: String = cluster.told(instance, &["CONFIG", "SET", "requirepass", "another"]);
        let kill = ["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"];
        let _: u64 = valkeeper_testkit::cluster::ask(port, Some("another"), &kill).unwrap();
        let status = cluster.until_waits_for("ServerUnknown");
        cluster.check(status.reasons().contains("password"), &status.reasons());
        let set = ["CONFIG", "SET", "requirepass", &cluster.password()];
        let _: String = valkeeper_testkit::cluster::ask(port, Some("another"), &set).unwrap();
        cluster.until_whole();
    }
    cluster.check(running(&before), "a server was restarted");
    traffic.finish(0);
}
