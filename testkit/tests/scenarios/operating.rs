//! What a user does to a running cluster.

use std::io::Write;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Stdio;
use valkeeper_model::Request;
use valkeeper_testkit::{Cluster, Manifest, Place, Traffic, process};

fn refused(cluster: &Cluster<'_>, args: &[&str], code: i32, word: &str) {
    let said = cluster.run(args);
    cluster.check(
        said.code == Some(code),
        &format!("{args:?}: exit code {:?}, not {code}: {}", said.code, said.err),
    );
    cluster.check(said.err.contains(word), &format!("{args:?}: `{word}` is not in: {}", said.err));
}

#[test]
fn status_and_connect_tell_what_programs_rely_on() {
    let place = Place::new();
    let cluster = Cluster::started(&place, Manifest::new("told"));
    let json = |args: &[&str]| -> serde_json::Value { serde_json::from_str(&cluster.must(args)).unwrap() };
    let status = json(&["status", "-o", "json"]);
    cluster
        .check(cluster.run(&["status"]).code == Some(0), "a healthy cluster's status ends with another code");
    let fields = |value: &serde_json::Value, wanted: &[&str]| {
        for name in wanted {
            cluster.check(!value[name].is_null(), &format!("{name} is missing in {value}"));
        }
    };
    fields(&status, &["cluster", "phase", "healthy", "supervisorPid", "shards", "instances", "waiting"]);
    for shard in status["shards"].as_array().unwrap() {
        fields(shard, &["name", "slots", "primary", "replicas"]);
    }
    for instance in status["instances"].as_array().unwrap() {
        fields(instance, &["name", "shard", "zone", "role", "address", "pid", "version", "fenced"]);
        let replica = instance["role"] == "replica";
        cluster.check(instance["lagBytes"].is_u64() == replica, &format!("lagBytes: {instance}"));
        let pid = u32::try_from(instance["pid"].as_u64().unwrap()).unwrap();
        let (name, address) = (instance["name"].as_str().unwrap(), instance["address"].as_str().unwrap());
        cluster
            .check(cluster.info(name, "server", "process_id") == pid.to_string(), "another process answers");
        cluster.check(address.ends_with(&cluster.port(name).to_string()), "another address");
    }
    let slots: Vec<&str> =
        status["shards"].as_array().unwrap().iter().filter_map(|shard| shard["slots"].as_str()).collect();
    cluster.check(slots == ["0-5460", "5461-10921", "10922-16383"], &format!("{slots:?}"));
    let connect = json(&["connect", "-o", "json"]);
    fields(&connect, &["seeds", "username", "passwordFile"]);
    cluster.check(connect["seeds"].as_array().unwrap().len() == 6, "six seeds");
    cluster.check(
        Path::new(connect["passwordFile"].as_str().unwrap()) == cluster.password_file(),
        "password file",
    );
    // A reason is told with a word for programs and a sentence for people.
    cluster.must(&["fence", &cluster.replica("s0")]);
    let status = cluster.until_waits_for("Fenced");
    let page = cluster.run(&["status"]);
    cluster.check(page.code == Some(1) && page.err.is_empty(), &format!("{page:?}"));
    // The cause first, and under it what follows: the replica that is missing is no cause of its own.
    let causes: Vec<&str> = page.out.lines().filter(|line| line.starts_with("  - ")).collect();
    cluster.check(causes.len() == 1 && causes[0].contains("fenced"), &page.out);
    cluster.check(page.out.contains("      so: s0: 0 of 1 replicas in sync"), &page.out);
    cluster.check(!status.healthy && status.reasons().contains("unfence"), &status.reasons());
}

#[test]
fn a_switchover_fails_no_write() {
    let place = Place::new();
    let cluster = Cluster::started(&place, Manifest::new("swap").replicas(2).roles_stay());
    let traffic = Traffic::start(&cluster);
    traffic.more(100);
    cluster.must(&["switchover", "s0"]);
    let heir = cluster.primary("s0");
    cluster.check(heir != "swap-0", "the primary is the same");
    let before = cluster.status().processes();
    cluster.must(&["switchover", "--to", "swap-7"]);
    cluster.check(cluster.primary("s1") == "swap-7", "another was chosen than the one named");
    cluster.until_whole();
    cluster.check(cluster.status().processes() == before, "a server was restarted");
    refused(&cluster, &["switchover"], 2, "which shard");
    refused(&cluster, &["switchover", "s9"], 2, "no shard");
    refused(&cluster, &["switchover", "s1", "--to", "swap-7"], 3, "primary already");
    refused(&cluster, &["switchover", "s1", "--to", "swap-0"], 3, "another shard");
    // Law 2: only one in sync. Of the two replicas one is fenced, so that it is the other.
    let status = cluster.status();
    let shard = status.shards.iter().find(|shard| shard.name == "s2").unwrap();
    let [out, fit] = [0, 1].map(|n| shard.replicas[n].clone());
    cluster.must(&["fence", &out]);
    cluster.until("it is down", || cluster.status().instance(&out).pid.is_none().then_some(()));
    refused(&cluster, &["switchover", "--to", &out], 3, "fenced");
    cluster.must(&["switchover", "s2"]);
    cluster.check(cluster.primary("s2") == fit, "one that was not in sync was chosen");
    cluster.must(&["unfence", &out]);
    let report = traffic.finish(0);
    cluster.check(report.totals().failed == 0, &format!("clients saw errors: {:?}", report.totals()));
}

/// `up <(...) --detach`: what can be read only once reaches the supervisor all the same.
fn up_through_a_pipe(cluster: &Cluster<'_>) -> valkeeper_testkit::cluster::Said {
    let program = cluster.command(&["up", "--detach", "--timeout", "5", "--server"]);
    let mut shell = std::process::Command::new("bash");
    shell.args(["-c", r#"file=$1; shift; "$@" <(cat "$file")"#, "bash"]).arg(cluster.file());
    shell.arg(program.get_program()).args(program.get_args()).arg(&cluster.server);
    valkeeper_testkit::cluster::said(shell)
}

#[test]
fn a_fenced_instance_stays_down_until_it_is_unfenced() {
    let place = Place::new();
    let cluster = Cluster::started(&place, Manifest::new("fence").roles_stay());
    let traffic = Traffic::start(&cluster);
    traffic.more(50);
    // A primary hands over first; it is down when the command ends, which says so.
    let said = cluster.run(&["fence", "fence-0"]);
    let down = || cluster.status().instance("fence-0").pid.is_none().then_some(());
    cluster.check(said.code == Some(0) && down().is_some(), &format!("it ended before the server: {said:?}"));
    cluster.check(said.err.contains("fence-3 is primary in its place"), &said.err);
    cluster.check(cluster.primary("s0") == "fence-3", "it did not hand over");
    refused(&cluster, &["fence", "fence-3"], 3, "no replica of s0 can take over");
    refused(&cluster, &["restart", "fence-3"], 3, "no replica of s0 can take over");
    refused(&cluster, &["fence", "fence-9"], 2, "no instance");
    refused(&cluster, &["restart", "fence-0"], 3, "`valkeeper unfence fence-0`");
    refused(&cluster, &["unfence", "fence-1"], 0, "was not fenced: nothing was changed");
    refused(&cluster, &["switchover", "s1", "--to", "fence-3"], 3, "leave the shard out");
    refused(&cluster, &["events", "--shard", "s9"], 2, "no shard `s9`");
    refused(&cluster, &["events", "--instance", "nope"], 2, "no instance `nope`");
    // It survives the supervisor.
    cluster.kill_supervisor();
    let said = cluster.try_up(&["--timeout", "4"]);
    cluster.check(said.code == Some(4) && said.err.contains("fenced"), &format!("{said:?}"));
    traffic.more(50);
    cluster.check(down().is_some() && cluster.status().instance("fence-0").fenced, "the fence is gone");
    cluster.must(&["unfence", "fence-0"]);
    cluster.until_whole();
    let report = traffic.finish(0);
    cluster.check(report.totals().failed == 0, &format!("clients saw errors: {:?}", report.totals()));
    // All of it over a stop of everything.
    cluster.must(&["fence", "fence-4"]);
    cluster.must(&["down"]);
    refused(&cluster, &["connect"], 0, "cluster fence is down");
    let said = up_through_a_pipe(&cluster);
    cluster.check(said.code == Some(4) && said.err.contains("fenced"), &format!("{said:?}"));
    cluster.check(cluster.status().instance("fence-4").pid.is_none(), "the fence is gone");
    cluster.must(&["unfence", "fence-4"]);
    cluster.until_whole();
}

/// An unfence that comes while the server is still being stopped, at different moments of that.
#[test]
fn a_fence_that_is_lifted_at_once_leaves_nothing_down() {
    let place = Place::new();
    let cluster = Cluster::started(&place, Manifest::new("brief").roles_stay());
    let traffic = Traffic::start(&cluster);
    for later in [0, 20, 2_000, 2_030] {
        let primary = cluster.primary("s1");
        for instance in [cluster.replica("s0"), primary] {
            // Refused, rightly, while the shard is still busy with the last round (law 6).
            let mut fence = cluster.until("the fence is set", || {
                let mut fence = cluster.command(&["fence", &instance]);
                let mut fence = fence.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
                let fenced = cluster.until("it is fenced or refused", || {
                    let refused = fence.try_wait().unwrap().is_some_and(|ended| !ended.success());
                    let fenced = cluster.status().instance(&instance).fenced;
                    (refused || fenced).then_some(fenced)
                });
                fenced.then_some(fence)
            });
            std::thread::sleep(std::time::Duration::from_millis(later));
            cluster.must(&["unfence", &instance]);
            // It waited for the server to be down, or was overtaken: it ends either way.
            fence.wait().unwrap();
            cluster.until_whole();
        }
    }
    let report = traffic.finish(0);
    cluster.check(report.totals().failed == 0, &format!("clients saw errors: {:?}", report.totals()));
}

#[test]
fn restarts_fail_no_write() {
    let place = Place::new();
    let cluster = Cluster::started(&place, Manifest::new("restart").roles_stay());
    let traffic = Traffic::start(&cluster);
    for n in 0..6 {
        let instance = format!("restart-{n}");
        let pid = cluster.pid(&instance);
        traffic.more(30);
        cluster.must(&["restart", &instance]);
        cluster.check(cluster.pid(&instance) != pid, &format!("{instance} was not restarted"));
        cluster.until_whole();
    }
    let report = traffic.finish(0);
    cluster.check(report.totals().failed == 0, &format!("clients saw errors: {:?}", report.totals()));
}

#[test]
fn a_failover_of_a_primary_that_is_well_has_to_be_meant() {
    let place = Place::new();
    let cluster = Cluster::started(&place, Manifest::new("force").roles_stay());
    let traffic = Traffic::start(&cluster);
    let pid = cluster.pid("force-1");
    refused(&cluster, &["failover", "s1"], 3, "force-1 is well");
    cluster.check(cluster.pid("force-1") == pid, "it was killed all the same");
    cluster.must(&["failover", "s1", "--force"]);
    cluster.check(cluster.primary("s1") == "force-4", "its replica is not primary");
    cluster.until_back("force-1", pid);
    traffic.finish(1);
}

#[test]
fn a_changed_manifest_is_applied_live_or_says_what_needs_a_restart() {
    let place = Place::new();
    let manifest = || Manifest::new("apply").roles_stay();
    let mut cluster = Cluster::started(&place, manifest().directive("maxclients", "5000"));
    let before = cluster.status().processes();
    let file = cluster.file();
    let file = file.to_str().unwrap();
    cluster.change(manifest().directive("maxclients", "6000").directive("slowlog-max-len", "77"));
    let traffic = Traffic::start(&cluster);
    let plan = cluster.must(&["plan", "-f", file]);
    cluster.check(plan.contains("6000") && plan.contains("slowlog-max-len"), &plan);
    cluster.must(&["apply", "-f", file, "--wait"]);
    for instance in cluster.instance_names() {
        let shown: Vec<String> = cluster.told(&instance, &["CONFIG", "GET", "maxclients"]);
        cluster.check(shown == ["maxclients", "6000"], &format!("{instance} has {shown:?}"));
    }
    cluster.check(cluster.status().processes() == before, "a server was restarted");
    cluster.check(cluster.must(&["plan", "-f", file]).contains("nothing would change"), "it is not settled");
    let report = traffic.finish(0);
    cluster.check(report.totals().failed == 0, &format!("clients saw errors: {:?}", report.totals()));

    cluster.change(
        manifest().update("1s", "manual").directive("maxclients", "6000").directive("tcp-backlog", "300"),
    );
    let said = cluster.run(&["apply", "-f", file, "--wait", "--timeout", "4"]);
    cluster.check(said.code == Some(4) && said.err.contains("tcp-backlog"), &format!("{said:?}"));
    cluster.until_waits_for("RestartNeeded");
    for instance in cluster.instance_names() {
        cluster.must(&["restart", &instance]);
    }
    cluster.until_whole();
    let shown: Vec<String> = cluster.told("apply-0", &["CONFIG", "GET", "tcp-backlog"]);
    cluster.check(shown == ["tcp-backlog", "300"], &format!("{shown:?}"));

    cluster.change(Manifest::standalone("apply", 3));
    refused(&cluster, &["apply", "-f", file], 3, "spec.mode");
}

#[test]
fn data_is_deleted_only_when_told_to() {
    let place = Place::new();
    let cluster = Cluster::started(&place, Manifest::new("delete"));
    refused(&cluster, &["delete"], 3, "runs");
    refused(&cluster, &["delete", "--purge"], 3, "runs");
    cluster.kill_supervisor();
    refused(&cluster, &["delete", "--purge"], 3, "runs");
    refused(&cluster, &["down"], 1, "run, but no supervisor");
    cluster.up();
    cluster.must(&["down"]);
    cluster.must(&["down"]);
    refused(&cluster, &["delete"], 3, "--purge");
    cluster.check(cluster.data_dir("delete-0").join("nodes.conf").exists(), "data is gone");
    cluster.must(&["delete", "--purge"]);
    cluster.check(!cluster.dir().exists(), "something is left");
    refused(&cluster, &["status"], 2, "no cluster");
}

/// What `persistence: none` says is gone needs no word that it may go.
#[test]
fn a_cluster_that_persists_nothing_is_deleted_without_more_words() {
    let place = Place::new();
    let cluster = Cluster::started(&place, Manifest::new("nothing").persistence("none"));
    cluster.must(&["down"]);
    cluster.must(&["delete"]);
    cluster.check(!cluster.dir().exists(), "something is left");
}

/// Who has gone does not get what was asked for: a supervisor that did not listen finds the request when it listens again.
#[test]
fn a_request_whose_client_has_gone_is_not_begun() {
    let place = Place::new();
    let cluster = Cluster::started(&place, Manifest::new("gone").roles_stay());
    let (before, seen, supervisor) =
        (cluster.status().processes(), cluster.events().len(), cluster.supervisor());
    process::signal(supervisor, process::Signal::STOP);
    // As `valkeeper failover SHARD --force` asks once it has seen that the supervisor answers; then its user ends it. What it has sent lies in the
    // supervisor's socket.
    for shard in ["s0", "s1", "s2"] {
        let request =
            Request::Failover { shard: shard.parse().unwrap(), force: true, accept_data_loss: false };
        let mut socket = UnixStream::connect(cluster.dir().join("control.sock")).unwrap();
        socket.write_all(format!("{}\n", serde_json::json!({ "do": request })).as_bytes()).unwrap();
    }
    process::signal(supervisor, process::Signal::CONT);
    // A request that is carried out after them: so would they have been.
    cluster.must(&["restart", "gone-5"]);
    let after = cluster.until_healthy().processes();
    let changed = before.iter().filter(|one| !after.contains(one)).count();
    cluster.check(changed == 1, &format!("{before:?} became {after:?}"));
    cluster.check(cluster.events_since(seen, "FailedOver").is_empty(), "a primary was replaced");
}

#[test]
fn a_command_names_whom_it_is_about_and_what_it_has_done() {
    let place = Place::new();
    let mut cluster = Cluster::started(&place, Manifest::new("words").roles_stay());
    let said = cluster.run(&["switchover", "s0"]);
    let told = "s0 switched over from words-0 to words-3";
    cluster
        .check(said.code == Some(0) && said.out.is_empty() && said.err.contains(told), &format!("{said:?}"));

    // A command without a key is about one server; which, and how to ask others, is said.
    let said = cluster.run(&["cli", "--", "DBSIZE"]);
    cluster.check(
        said.out == "0\n" && said.err.contains("words-") && said.err.contains("--all"),
        &format!("{said:?}"),
    );
    let said = cluster.run(&["cli", "--all-primaries", "--", "DBSIZE"]);
    cluster.check(said.out == "words-1: 0\nwords-2: 0\nwords-3: 0\n", &format!("{said:?}"));
    cluster.must(&["cli", "--all", "--", "CONFIG", "SET", "slowlog-max-len", "77"]);
    for instance in cluster.instance_names() {
        let shown = cluster.must(&["cli", "--instance", &instance, "--", "CONFIG", "GET", "slowlog-max-len"]);
        cluster.check(shown == "slowlog-max-len\n77\n", &format!("{instance}: {shown}"));
    }
    refused(&cluster, &["cli", "--instance", "words-9", "--", "PING"], 2, "no instance");
    // Nine replicas are never there.
    let wait = ["cli", "--instance", "words-3", "--timeout", "200ms", "--", "WAIT", "9", "2000"];
    refused(&cluster, &wait, 4, "in time");

    // Events, by what they are about.
    let told = cluster.must(&["events", "--type", "switchedover", "--shard", "s0", "--since", "10m"]);
    cluster.check(told.lines().count() == 1 && told.contains("words-3"), &told);
    let none = cluster.run(&["events", "--type", "SwitchedOver", "--shard", "s1"]);
    cluster.check(none.code == Some(0) && none.out.is_empty(), &format!("{none:?}"));

    // A manifest is of one cluster, wherever it comes from.
    let file = cluster.file();
    for words in [["apply", "-f"], ["plan", "-f"]] {
        let mut other = cluster.command(&["--cluster", "other"]);
        other.args(words).arg(&file);
        let said = valkeeper_testkit::cluster::said(other);
        let told = said.code == Some(2) && said.err.contains("is of cluster `words`");
        cluster.check(told, &format!("{words:?}: {said:?}"));
    }
    cluster.change(Manifest::new("words").roles_stay().directive("maxclients", "6000"));
    let mut apply = cluster.command(&["apply", "-f", "-", "--wait", "--timeout", "60s"]);
    let stdin = std::fs::File::open(&file).unwrap();
    let done = apply.stdin(stdin).stdout(Stdio::null()).status().unwrap();
    cluster.check(done.success(), "a manifest on stdin is not applied");
    let shown: Vec<String> = cluster.told("words-1", &["CONFIG", "GET", "maxclients"]);
    cluster.check(shown == ["maxclients", "6000"], &format!("{shown:?}"));
    // An order that reaches everybody in a moment makes no cluster unhealthy.
    let told = cluster.must(&["events", "--type", "BecameUnhealthy"]);
    cluster.check(!told.contains("older order") && !told.contains("not set yet"), &told);
}
