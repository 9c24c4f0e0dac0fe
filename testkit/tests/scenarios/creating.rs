//! Creating a cluster: what it is like afterwards, and that it is finished by the next who tries.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use valkeeper_testkit::cluster::{Status, ask, said};
use valkeeper_testkit::{Cluster, Manifest, Place, Traffic, process, waiting};

#[test]
fn a_new_cluster_is_spread_over_zones_and_locked() {
    let place = Place::new();
    let cluster = Cluster::new(&place, Manifest::new("fresh").replicas(2));
    // What everybody on the machine sees of processes, all the while.
    let mut up = cluster.up_command(&[]).stdout(Stdio::null()).spawn().unwrap();
    let seen = cluster.until("up has ended", || {
        let password = cluster.password();
        let shown =
            !password.is_empty() && process::all().any(|pid| process::arguments(pid).contains(&password));
        (shown || up.try_wait().unwrap().is_some()).then_some(shown)
    });
    cluster.check(!seen, "the password stands in a process's arguments");
    cluster.check(up.wait().unwrap().success(), "up failed");
    let status = cluster.until_whole();
    zones_are_safe(&cluster, &status);

    let password = cluster.password();
    let fit = password.len() == 32 && password.bytes().all(|byte| byte.is_ascii_alphanumeric());
    cluster.check(fit, "the password is not 32 letters and digits");
    for path in [cluster.password_file(), cluster.instance_dir("fresh-0").join("server.conf")] {
        let mode = std::fs::metadata(&path).unwrap().permissions().mode() & 0o777;
        cluster.check(mode == 0o600, &format!("{} has mode {mode:o}", path.display()));
    }
    for instance in &status.instances {
        let refused = ask::<String>(cluster.port(&instance.name), None, &["SET", "k", "v"]);
        let code = refused.err().and_then(|error| error.code().map(str::to_owned));
        cluster.check(
            code.as_deref() == Some("NOAUTH"),
            &format!("{} answers everybody: {code:?}", instance.name),
        );
    }
    for name in ["events.jsonl", "supervisor.log"] {
        let text = std::fs::read_to_string(cluster.dir().join(name)).unwrap();
        cluster.check(!text.contains(&password), &format!("the password stands in {name}"));
    }
    let told =
        format!("{}{}", cluster.must(&["status", "-o", "json"]), cluster.must(&["connect", "-o", "json"]));
    cluster.check(!told.contains(&password), "the password is printed");
    Traffic::start(&cluster).finish(0);
}

/// Law 7.
fn zones_are_safe(cluster: &Cluster<'_>, status: &Status) {
    let mut primaries: BTreeMap<&str, usize> = BTreeMap::new();
    for shard in &status.shards {
        let primary = status.instance(shard.primary.as_deref().unwrap());
        *primaries.entry(&primary.zone).or_default() += 1;
        for replica in &shard.replicas {
            cluster.check(
                status.instance(replica).zone != primary.zone,
                &format!("{replica} shares a zone with its primary"),
            );
        }
    }
    cluster.check(
        primaries.values().all(|count| *count <= 1),
        &format!("zones hold so many primaries: {primaries:?}"),
    );
}

/// A supervisor in the foreground: one process to kill.
fn foreground(cluster: &Cluster<'_>) -> Child {
    let mut command = cluster.command(&["up"]);
    command.arg(cluster.file()).arg("--server").arg(&cluster.server).arg("--base-port");
    command.arg(cluster.place.first_port().to_string());
    command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

/// Kills a supervisor that creates a cluster after that time; the next must finish, and take over what runs.
fn killed_after(manifest: Manifest, time: Duration) {
    let place = Place::new();
    let cluster = Cluster::new(&place, manifest);
    let mut first = foreground(&cluster);
    std::thread::sleep(time);
    first.kill().unwrap();
    first.wait().unwrap();
    // By the name it gives itself, with its port; one that forks has the same for a moment, and the older is the server.
    let servers = |place: &Place| -> BTreeMap<String, (u32, Option<u64>)> {
        let mut all = process::of_folder(place.path());
        all.sort_by_key(|(pid, _)| std::cmp::Reverse(*pid));
        all.retain(|(_, arguments)| arguments.contains("-server 127.0.0.1:"));
        all.into_iter().map(|(pid, arguments)| (arguments, (pid, process::started_at(pid)))).collect()
    };
    // A server that has been started names itself before long.
    let running = waiting::until("nothing is half started", || {
        let all = process::of_folder(place.path());
        all.iter().all(|(_, arguments)| arguments.contains("127.0.0.1:")).then(|| servers(&place))
    });
    cluster.up();
    zones_are_safe(&cluster, &cluster.until_whole());
    let now = servers(&place);
    let kept = running.iter().all(|(name, one)| now.get(name) == Some(one));
    cluster.check(kept && now.len() == 6, &format!("killed after {time:?}: {running:?} became {now:?}"));
    Traffic::start(&cluster).finish(0);
}

#[test]
fn a_creation_that_is_cut_short_is_finished_by_the_next() {
    for time in [30, 120, 300, 900] {
        killed_after(Manifest::new("resumed"), Duration::from_millis(time));
    }
}

/// A terminal that is closed ends what runs in it: servers must not be left to nobody.
#[test]
fn a_supervisor_whose_terminal_is_closed_stops_its_servers() {
    let place = Place::new();
    let cluster = Cluster::new(&place, Manifest::new("closed"));
    let mut supervisor = foreground(&cluster);
    cluster.until("it is whole", || cluster.try_status().filter(|status| status.healthy));
    process::signal(supervisor.id(), process::Signal::HUP);
    let ended = supervisor.wait().unwrap();
    cluster.check(ended.success(), &format!("it ended with {ended}"));
    let left = process::of_folder(place.path());
    cluster.check(left.is_empty(), &format!("these still run: {left:?}"));
    let said = cluster.run(&["status"]);
    cluster.check(said.code == Some(1) && said.out.contains("(down)"), &format!("{said:?}"));
}

/// D2: a supervisor that may open too few files could neither watch its servers nor answer.
#[test]
fn too_few_files_are_told_before_anything_is_begun() {
    let place = Place::new();
    let cluster = Cluster::new(&place, Manifest::new("files"));
    let up = cluster.up_command(&[]);
    let mut limited = Command::new("sh");
    limited.args(["-c", "ulimit -n 17; exec \"$@\"", "sh"]).arg(up.get_program()).args(up.get_args());
    limited.envs(up.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let said = said(limited);
    let told = said.err.contains("17 files open; for 6 instances 80 are needed");
    cluster.check(said.code == Some(1) && told, &format!("{said:?}"));
    cluster.check(!cluster.dir().exists(), "something was begun");
}

/// Run by `make test-long` only.
mod longest {
    use super::*;

    #[test]
    #[ignore = "long: a creation is killed at sixty moments"]
    fn a_creation_is_cut_short_at_every_moment() {
        // Close together while files are written and processes started, then further apart.
        let moments = (0..40).map(|n| n * 10).chain((0..20).map(|n| 400 + n * 110));
        for moment in moments {
            killed_after(Manifest::new("resumed"), Duration::from_millis(moment));
        }
    }

    /// Killed again and again while creating: whatever each leaves behind is the next one's start.
    #[test]
    #[ignore = "long: many supervisors die over one creation"]
    fn a_creation_is_cut_short_many_times_over() {
        for step in [15, 40, 110] {
            let place = Place::new();
            let cluster = Cluster::new(&place, Manifest::new("often"));
            for n in 1..=12 {
                let mut supervisor = foreground(&cluster);
                std::thread::sleep(Duration::from_millis(step * n));
                supervisor.kill().unwrap();
                supervisor.wait().unwrap();
            }
            cluster.up();
            zones_are_safe(&cluster, &cluster.until_whole());
            Traffic::start(&cluster).finish(0);
        }
    }
}
