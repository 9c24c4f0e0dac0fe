//! Operators come and go: data and roles do not mind.

use std::collections::BTreeMap;
use valkeeper_testkit::kube::{Bed, KubeCluster, KubeTraffic};

/// The program of the bed with a word more at its end (`xtask images`): to agents it is another version.
const NEXT: &str = "valkeeper/valkeeper:next";

#[test]
fn two_operators_one_of_them_killed() {
    let bed = Bed::with_operator();
    bed.operators(2);
    let cluster = KubeCluster::standing(&bed);
    let traffic = KubeTraffic::start(&cluster);
    bed.kill_operator();
    bed.operators(1);
    cluster.delete_primary("s0");
    traffic.finish_unnoticed();
}

#[test]
fn what_was_taken_away_is_made_again() {
    let bed = Bed::with_operator();
    let cluster = KubeCluster::standing(&bed);
    let traffic = KubeTraffic::start(&cluster);
    let password = cluster.password();
    for (kind, name) in [
        ("secret", "cache-auth"),
        ("configmap", "cache-layout"),
        ("service", "cache-cluster"),
        ("service", "cache-any"),
        ("secret", "cache-agent-tls"),
        ("secret", "cache-ca"),
        ("poddisruptionbudget", "cache"),
    ] {
        cluster.kubectl(&["delete", kind, name]);
        cluster.until(&format!("{kind} {name} is made again"), || {
            cluster.try_kubectl(&["get", kind, name]).ok()
        });
    }
    cluster.until_healthy();
    cluster.check(password == cluster.password(), "the password is another");
    bed.kill_operator();
    cluster.until_healthy();
    traffic.finish(0);
}

#[test]
fn the_apiserver_is_stopped_and_nothing_happens_to_data_or_roles() {
    let bed = Bed::with_operator();
    let cluster = KubeCluster::standing(&bed);
    let before = cluster.all_roles();
    let traffic = KubeTraffic::start(&cluster);
    let stopped = bed.stopped("apiserver");
    std::thread::sleep(std::time::Duration::from_secs(15));
    traffic.flowing();
    // Kubernetes' own controllers end when they cannot renew their lease. These have none, and would wait for minutes for what they have
    // missed.
    let controllers = bed.stopped("controllers");
    stopped.mend();
    cluster.until("the API server answers", || bed.try_kubectl(&["get", "nodes"]).ok());
    controllers.mend();
    cluster.until_healthy();
    cluster.until_judged();
    let after = cluster.all_roles();
    cluster.check(before == after, &format!("roles have changed: {before:?} {after:?}"));
    traffic.finish_unnoticed();
}

#[test]
fn an_operator_is_upgraded_and_no_server_is_restarted() {
    let bed = Bed::with_operator();
    let cluster = KubeCluster::standing(&bed);
    let traffic = KubeTraffic::start(&cluster);
    let names: Vec<String> = cluster.pods().into_keys().collect();
    let processes = || -> BTreeMap<&str, (u32, u32)> {
        let both = |name| (cluster.process(name, false), cluster.process(name, true));
        names.iter().map(|name| (name.as_str(), both(name))).collect()
    };
    let before = processes();
    let roles = cluster.all_roles();
    let length = |agent: u32| std::fs::metadata(format!("/proc/{agent}/exe")).map(|program| program.len());
    let old = length(before[names[0].as_str()].0).expect("the agent runs");
    let goes_on = |(agent, _): &(u32, u32)| length(*agent).is_ok_and(|now| now != old);
    bed.install_from(NEXT);
    // One after the other, seconds apart, while older and newer ones look after the cluster together.
    cluster
        .until("the first agent goes on as the new program", || before.values().any(goes_on).then_some(()));
    cluster.until("it is healthy with older and newer agents", || cluster.is_healthy().then_some(()));
    cluster.until("all agents go on as the new program", || before.values().all(goes_on).then_some(()));
    cluster.check(before == processes(), &format!("processes were replaced: {before:?} {:?}", processes()));
    cluster.until_healthy();
    cluster.check(roles == cluster.all_roles(), "roles have changed");
    traffic.finish_unnoticed();
    // Newer agents under the older operator.
    let traffic = KubeTraffic::start(&cluster);
    bed.install();
    cluster.delete_primary("s0");
    traffic.finish_unnoticed();
}

#[test]
fn an_operator_that_slept_acts_on_what_it_last_saw() {
    let bed = Bed::with_operator();
    bed.operators(2);
    let cluster = KubeCluster::standing(&bed);
    let traffic = KubeTraffic::start(&cluster);
    // The lease may still be that of one that was killed.
    let (sleeper, process) = cluster.until("an operator acts", || {
        let acting = bed.acting_operator();
        bed.operator_process(&acting).map(|process| (acting, process))
    });
    bed.signal("STOP", process);
    cluster.until("the other one acts", || {
        let acting = bed.acting_operator();
        (!acting.is_empty() && acting != sleeper).then_some(())
    });
    cluster.delete_primary("s0");
    bed.signal("CONT", process);
    // It finds that it does not lead, and ends; until then it acts.
    cluster.until("the one that slept has ended", || {
        (bed.operator_process(&sleeper) != Some(process)).then_some(())
    });
    cluster.until_healthy();
    bed.operators(1);
    traffic.finish_unnoticed();
}
