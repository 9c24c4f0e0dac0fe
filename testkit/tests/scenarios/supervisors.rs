//! Supervisors that die, and supervisors that are too many.

use rustix::fs::{CWD, Mode, OFlags, mkfifoat, open};
use std::io::Write as _;
use std::process::Stdio;
use std::time::Duration;
use valkeeper_testkit::cluster::said;
use valkeeper_testkit::mounts::unshare;
use valkeeper_testkit::{Cluster, Manifest, Place, Traffic, process, waiting};

#[test]
fn servers_outlive_their_supervisor_and_the_next_takes_them_over() {
    let place = Place::new();
    let cluster = Cluster::started(&place, Manifest::new("adopt").roles_stay());
    let traffic = Traffic::start(&cluster);
    for _ in 0..2 {
        let before = cluster.status().processes();
        cluster.kill_supervisor();
        let unwatched = cluster.status();
        cluster.check(unwatched.phase == "Unsupervised" && !unwatched.healthy, "status does not tell");
        cluster.check(unwatched.waits_for("NoSupervisor"), "status does not tell why");
        traffic.more(50);
        let seen = cluster.events().len();
        cluster.up();
        let after = cluster.until_whole().processes();
        cluster.check(before == after, &format!("{before:?} became {after:?}"));
        cluster.check(cluster.events_since(seen, "Adopted").len() == 6, "the adoptions are not told");
        for kind in ["Started", "Died", "FailedOver", "SwitchedOver", "Founded", "NodesConfRebuilt"] {
            cluster.check(cluster.events_since(seen, kind).is_empty(), &format!("{kind} happened"));
        }
    }
    let report = traffic.finish(0);
    cluster.check(report.totals().failed == 0, &format!("clients saw errors: {:?}", report.totals()));
}

/// The process that was recorded has ended, and its id belongs to somebody else by now.
#[test]
fn a_process_that_is_not_ours_is_never_taken_for_one() {
    let place = Place::new();
    let cluster = Cluster::started(&place, Manifest::new("stranger").roles_stay());
    let traffic = Traffic::start(&cluster);
    traffic.more(50);
    let replica = cluster.replica("s0");
    let pid = cluster.pid(&replica);
    cluster.kill_supervisor();
    process::kill(pid);
    waiting::until("the replica is gone", || (!process::alive(pid)).then_some(()));
    let mut sleeper = std::process::Command::new("sleep").arg("600").stdin(Stdio::null()).spawn().unwrap();
    let record = cluster.instance_dir(&replica).join("process.json");
    let text = std::fs::read_to_string(&record).unwrap();
    std::fs::write(&record, text.replace(&format!("\"pid\":{pid}"), &format!("\"pid\":{}", sleeper.id())))
        .unwrap();
    std::fs::write(cluster.instance_dir(&replica).join("server.pid"), sleeper.id().to_string()).unwrap();
    cluster.up();
    let status = cluster.until_back(&replica, sleeper.id());
    let unharmed = sleeper.try_wait().unwrap().is_none();
    let _ = sleeper.kill();
    let _ = sleeper.wait();
    cluster.check(unharmed, "a stranger's process was ended");
    cluster.check(status.healthy, "the replica is not back");
    traffic.finish(0);
}

/// `up` in the foreground with so many file descriptors: as many as it may take, colon, as many as it may be given.
/// From now on the supervisor may open no more files than that, and its connections to the servers are gone.
fn starve(cluster: &Cluster<'_>, supervisor: u32, limit: u32) {
    set_file_limit(supervisor, limit);
    for instance in cluster.instance_names() {
        let _: u32 = cluster.told(&instance, &["CLIENT", "KILL", "TYPE", "normal"]);
    }
}

/// The hard limit stays, so that the test needs no rights to give the files back.
fn set_file_limit(pid: u32, limit: u32) {
    let mut prlimit = std::process::Command::new("prlimit");
    let set = prlimit.args([format!("--pid={pid}"), format!("--nofile={limit}:")]).status().unwrap();
    assert!(set.success(), "prlimit failed: {set}");
}

/// What a supervisor cannot look at, because it has no file descriptor left, is not dead: it kills nobody, promotes nobody, and ends
/// its servers when told to, once it can look at them. (`up` refuses to begin with too few.)
#[test]
fn a_supervisor_without_file_descriptors_takes_no_server_for_dead() {
    let place = Place::new();
    let manifest = Manifest::new("starved").roles_stay().unresponsive_after("1s");
    let cluster = Cluster::started(&place, manifest);
    let traffic = Traffic::start(&cluster);
    let before = cluster.status();
    let seen = cluster.events().len();
    let supervisor = cluster.supervisor();
    for limit in [13, 17, 20] {
        starve(&cluster, supervisor, limit);
        // Longer than the limit after which a silent server is killed, and than a failover takes.
        std::thread::sleep(Duration::from_secs(3));
        cluster.check(process::alive(supervisor), &format!("with {limit} files the supervisor has ended"));
        set_file_limit(supervisor, 1024);
        let after = cluster.until_whole();
        cluster.check(
            before.processes() == after.processes(),
            &format!("{:?} became {:?}", before.processes(), after.processes()),
        );
        for shard in ["s0", "s1", "s2"] {
            cluster.check(before.primary(shard) == after.primary(shard), &format!("{shard} was failed over"));
        }
        for kind in ["Died", "Unresponsive", "FailedOver", "TakenOver", "StartFailed"] {
            cluster.check(cluster.events_since(seen, kind).is_empty(), &format!("{kind} happened"));
        }
    }
    // Told to end, it tells its servers to as soon as it can look at them.
    starve(&cluster, supervisor, 13);
    process::signal(supervisor, process::Signal::TERM);
    std::thread::sleep(Duration::from_secs(1));
    set_file_limit(supervisor, 1024);
    cluster.until("the supervisor has ended", || (!process::alive(supervisor)).then_some(()));
    let left: Vec<_> = before.processes().into_iter().filter(|(_, pid, _)| process::alive(*pid)).collect();
    cluster.check(left.is_empty(), &format!("these servers still run: {left:?}"));
    cluster.up();
    traffic.finish(0);
}

/// In a container it is process 1, for which the kernel drops a SIGTERM that has no handler yet.
#[test]
fn process_1_that_is_told_to_end_while_it_starts_ends() {
    let place = Place::new();
    let cluster = Cluster::new(&place, Manifest::new("first"));
    let text = std::fs::read(cluster.file()).unwrap();
    let pipe = place.path().join("pipe.yaml");
    mkfifoat(CWD, &pipe, Mode::RUSR | Mode::WUSR).unwrap();
    let program = cluster.command(&["up"]);
    let mut command = unshare(&["--pid", "--fork", "--kill-child"]);
    command.arg("--").arg(program.get_program()).args(program.get_args()).arg(&pipe);
    command.arg("--server").arg(&cluster.server).args(["--base-port", &place.first_port().to_string()]);
    let mut outside = command.stdin(Stdio::null()).current_dir(place.path()).spawn().unwrap();
    let first = waiting::until("process 1 runs", || {
        process::all().find(|pid| process::parent(*pid) == Some(outside.id()))
    });
    // Nobody opens it for reading before it has begun with the command.
    let mut manifest = waiting::until("the manifest is asked for", || {
        open(&pipe, OFlags::WRONLY | OFlags::NONBLOCK, Mode::empty()).ok().map(std::fs::File::from)
    });
    process::signal(first, process::Signal::TERM);
    manifest.write_all(&text).unwrap();
    drop(manifest);
    let ended = waiting::until("it has ended", || outside.try_wait().unwrap());
    assert!(ended.success(), "it did not end well: {ended}");
}

/// Kills a primary and, that many milliseconds later, the supervisor.
fn die_while_failing_over(cluster: &Cluster<'_>, shard: &str, later: u64) {
    let primary = cluster.primary(shard);
    let (supervisor, pid) = (cluster.supervisor(), cluster.pid(&primary));
    process::kill(pid);
    std::thread::sleep(Duration::from_millis(later));
    process::kill(supervisor);
    waiting::until("the supervisor is gone", || (!process::alive(supervisor)).then_some(()));
    let others: Vec<_> =
        cluster.status().processes().into_iter().filter(|(name, ..)| *name != primary).collect();
    cluster.up();
    let after = cluster.until_back(&primary, pid).processes();
    let same = others.iter().all(|one| after.contains(one));
    cluster.check(same, &format!("{later} ms: a server that ran was restarted: {others:?} became {after:?}"));
    cluster.until_whole();
}

#[test]
fn a_supervisor_that_dies_while_failing_over_is_followed_by_one_that_finishes() {
    let place = Place::new();
    let cluster = Cluster::started(&place, Manifest::new("between").roles_stay());
    let traffic = Traffic::start(&cluster);
    let moments = [0, 4, 12, 40];
    for (round, later) in moments.into_iter().enumerate() {
        die_while_failing_over(&cluster, &format!("s{}", round % 3), later);
    }
    traffic.finish(moments.len() as u64);
}

/// A failover takes less than 60 ms.
fn die_at_moments_of_a_failover(moments: u64) {
    let place = Place::new();
    let cluster = Cluster::started(&place, Manifest::new("moments").roles_stay());
    let traffic = Traffic::start(&cluster);
    for moment in 0..moments {
        die_while_failing_over(&cluster, &format!("s{}", moment % 3), moment * 60 / moments);
    }
    traffic.finish(moments);
}

#[test]
#[ignore = "long: ten moments of one failover"]
fn a_supervisor_dies_at_ten_moments_of_a_failover() {
    die_at_moments_of_a_failover(10);
}

mod longest {
    #[test]
    #[ignore = "longest: thirty moments of one failover"]
    fn a_supervisor_dies_at_every_moment_of_a_failover() {
        super::die_at_moments_of_a_failover(30);
    }
}

#[test]
fn a_second_supervisor_is_refused() {
    let place = Place::new();
    let cluster = Cluster::started(&place, Manifest::new("second").roles_stay());
    let before = cluster.status().processes();
    let first = cluster.supervisor();
    let detached = cluster.try_up(&[]);
    let mut command = cluster.command(&["up"]);
    command.arg(cluster.file()).arg("--server").arg(&cluster.server);
    let foreground = said(command);
    for refused in [detached, foreground] {
        cluster.check(refused.code == Some(3), &format!("not refused: {refused:?}"));
        let names = refused.err.contains(&first.to_string()) && refused.err.contains("hint:");
        cluster.check(names, &format!("it does not say who runs: {}", refused.err));
    }
    // Twenty at once on a state directory whose supervisor has died: one gets it.
    cluster.kill_supervisor();
    let racing: Vec<_> = (0..20)
        .map(|_| cluster.up_command(&[]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap())
        .collect();
    let codes: Vec<_> = racing.into_iter().map(|mut one| one.wait().unwrap().code()).collect();
    let (won, refused) =
        (codes.iter().filter(|code| **code == Some(0)), codes.iter().filter(|code| **code == Some(3)));
    cluster.check(won.count() == 1 && refused.count() == 19, &format!("twenty at once ended with {codes:?}"));
    cluster.check(cluster.until_whole().processes() == before, "a server was restarted");
    let supervisors = process::of_folder(place.path());
    let supervisors = supervisors.iter().filter(|(_, arguments)| arguments.contains("supervise")).count();
    cluster.check(supervisors == 1, &format!("{supervisors} supervisors run"));
}

/// What a cleaner of old files does, or a user who takes them for leftovers.
#[test]
fn a_supervisor_whose_socket_and_lock_are_removed_is_found_again_and_stays_the_only_one() {
    let place = Place::new();
    let cluster = Cluster::started(&place, Manifest::new("swept").roles_stay());
    let (first, before) = (cluster.supervisor(), cluster.status().processes());
    let (socket, lock) = (cluster.dir().join("control.sock"), cluster.dir().join("lock"));
    std::fs::remove_file(&socket).unwrap();
    cluster.check(cluster.status().supervisor_pid == Some(first), "it is not found again");
    std::fs::remove_file(&socket).unwrap();
    std::fs::write(&socket, "").unwrap();
    cluster
        .check(cluster.status().supervisor_pid == Some(first), "it is not found behind a file in its place");
    for replaced in [false, true] {
        let _ = std::fs::remove_file(&lock);
        if replaced {
            std::fs::write(&lock, "1").unwrap();
        }
        let second = cluster.try_up(&[]);
        cluster.check(second.code == Some(3), &format!("a second supervisor is not refused: {second:?}"));
    }
    cluster.until("the lock is there again", || {
        (std::fs::read_to_string(&lock).is_ok_and(|pid| pid == first.to_string())).then_some(())
    });
    // One that cannot do anything about it: whatever is asked, the answer is the same.
    process::signal(first, process::Signal::STOP);
    std::fs::remove_file(&socket).unwrap();
    for command in [cluster.run(&["status"]), cluster.try_up(&[]), cluster.run(&["down"])] {
        let told =
            command.err.contains(&format!("the supervisor (pid {first}) lives but does not answer at"))
                && command.err.contains(&*socket.to_string_lossy())
                && command.err.contains(&format!("hint: end it with `kill {first}`"));
        cluster.check(command.code == Some(4) && told, &format!("it is not told: {command:?}"));
    }
    process::signal(first, process::Signal::CONT);
    cluster.check(cluster.until_whole().processes() == before, "a server was restarted");
    cluster.must(&["down"]);
}
