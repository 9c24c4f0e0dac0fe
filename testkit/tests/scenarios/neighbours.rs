//! Addresses: clusters that move, and clusters that meet at one.

use std::fs;
use valkeeper_testkit::{Cluster, Manifest, Place, Traffic, process};

#[test]
fn all_instances_come_back_on_other_ports() {
    let place = Place::new();
    let cluster = Cluster::started(&place, Manifest::new("moved").roles_stay());
    let before = cluster.addresses();
    let traffic = Traffic::start(&cluster);
    traffic.more(200);
    let written = traffic.stop();
    let running = cluster.try_up(&["--base-port", "10100"]);
    cluster.check(running.code == Some(3), &format!("ports may move while servers run: {running:?}"));
    // Where they are already nothing moves.
    let running = cluster.status().processes();
    cluster.kill_supervisor();
    let same = cluster.try_up(&["--base-port", &place.first_port().to_string()]);
    let stayed = before == cluster.addresses() && running == cluster.status().processes();
    cluster.check(same.code == Some(0) && stayed, &format!("up on the same ports: {same:?}"));
    cluster.must(&["down"]);
    let elsewhere = (place.first_port() + 10).to_string();
    let said = cluster.try_up(&["--base-port", &elsewhere]);
    cluster.check(said.code == Some(0), &format!("up on other ports: {said:?}"));
    let after = cluster.addresses();
    let all_moved = before.iter().zip(&after).all(|(old, new)| old.0 == new.0 && old.1 != new.1);
    cluster.check(all_moved, &format!("{before:?} became {after:?}"));
    cluster.until_whole();
    written.read_back(&cluster, 0);
    // And once more with the roles swapped, back to where others were before: addresses mean nothing.
    cluster.must(&["switchover", "s0"]);
    cluster.must(&["down"]);
    let said = cluster.try_up(&["--base-port", &(place.first_port() + 3).to_string()]);
    cluster.check(said.code == Some(0), &format!("up on other ports: {said:?}"));
    cluster.until_whole();
    written.read_back(&cluster, 0);
    Traffic::start(&cluster).finish(0);
}

#[test]
fn two_clusters_never_merge_also_when_one_gets_the_others_addresses() {
    let place = Place::new();
    // Ports are kept apart by the state directory they share, so the second cluster gets one of its own.
    let one = Cluster::started(&place, Manifest::new("one").roles_stay());
    let traffic = Traffic::start(&one);
    traffic.more(100);
    let written = traffic.stop();
    let ports = one.addresses();

    // Both at once, side by side.
    let two = Cluster::at(&place, Manifest::new("two").roles_stay(), place.first_port() + 10);
    two.up();
    one.until_whole();
    two.until_whole();

    // The first goes down; the second is told to take its very ports.
    one.must(&["down"]);
    two.must(&["down"]);
    let taken = fs::read_to_string(one.dir().join("addresses.json")).unwrap();
    fs::write(two.dir().join("addresses.json"), taken.replace("one-", "two-")).unwrap();
    two.up();
    two.until_whole();
    let mine = Traffic::start(&two);
    mine.more(100);

    // The first comes back to find its addresses answered by others, with another password and other ids.
    let said = one.try_up(&["--timeout", "5"]);
    one.check(said.code == Some(4), &format!("it came up at addresses that others have: {said:?}"));
    let status = one.until_waits_for("StartFailed");
    one.check(
        status.reasons().contains("is taken by another process"),
        &format!("it waits for: {}", status.reasons()),
    );
    two.check(two.until_whole().healthy, "the second suffered");
    mine.finish(0);
    two.must(&["down"]);
    // The cause is gone: it comes up by itself, with its data.
    one.until_whole();
    one.check(one.addresses() == ports, "it moved");
    written.read_back(&one, 0);
}

/// One instance is down; its address answers as a member of another cluster that even has the same password.
#[test]
fn an_instance_whose_address_is_taken_waits_and_its_cluster_goes_on() {
    let place = Place::new();
    let one = Cluster::started(&place, Manifest::new("one").roles_stay());
    let two = Cluster::at(&place, Manifest::new("two").roles_stay(), place.first_port() + 10);
    two.up();
    // The same secret everywhere, as where one is given to all clusters.
    two.must(&["down"]);
    fs::copy(one.password_file(), two.password_file()).unwrap();
    let traffic = Traffic::start(&one);
    let replica = one.replica("s0");
    one.must(&["fence", &replica]);
    one.until("it is down", || one.status().instance(&replica).pid.is_none().then_some(()));
    let path = two.dir().join("addresses.json");
    let text = fs::read_to_string(&path).unwrap();
    let (mine, theirs) = (two.port("two-0"), one.port(&replica));
    let moved = text.replace(&format!(": {mine},"), &format!(": {theirs},"));
    let moved = moved.replace(&format!(": {}\n", mine + 10_000), &format!(": {}\n", theirs + 10_000));
    fs::write(&path, moved).unwrap();
    two.up();
    two.until_whole();
    one.must(&["unfence", &replica]);
    let status = one.until_waits_for("StartFailed");
    one.check(
        status.reasons().contains("is taken by another process"),
        &format!("it waits for: {}", status.reasons()),
    );
    traffic.more(200);
    let strangers: Vec<u16> =
        two.addresses().into_iter().map(|(_, port)| port).filter(|port| *port != theirs).collect();
    for instance in one.instance_names().iter().filter(|name| **name != replica) {
        let nodes: String = one.told(instance, &["CLUSTER", "NODES"]);
        let merged = strangers.iter().any(|port| nodes.contains(&format!(":{port}@")));
        one.check(!merged, &format!("{instance} knows members of the other cluster:\n{nodes}"));
    }
    two.until_whole();
    two.must(&["down"]);
    traffic.finish(0);
}

#[test]
fn the_data_of_another_cluster_is_refused() {
    let place = Place::new();
    let one = Cluster::started(&place, Manifest::new("one").roles_stay());
    let two = Cluster::at(&place, Manifest::new("two").roles_stay(), place.first_port() + 10);
    two.up();
    let traffic = Traffic::start(&one);
    traffic.more(100);
    one.must(&["fence", "one-3"]);
    one.until("it is down", || one.status().instance("one-3").pid.is_none().then_some(()));
    two.must(&["down"]);
    let kept = one.instance_dir("one-3").join("elsewhere");
    fs::rename(one.data_dir("one-3"), &kept).unwrap();
    fs::rename(two.data_dir("two-3"), one.data_dir("one-3")).unwrap();
    let theirs = fs::read(one.data_dir("one-3").join("nodes.conf")).unwrap();
    one.must(&["unfence", "one-3"]);
    let status = one.until_waits_for("StartFailed");
    one.check(status.reasons().contains("belongs to two-3"), &format!("it waits for: {}", status.reasons()));
    traffic.more(100);
    one.check(
        fs::read(one.data_dir("one-3").join("nodes.conf")).unwrap() == theirs,
        "foreign data was changed",
    );
    // Everybody gets their own again.
    fs::rename(one.data_dir("one-3"), two.data_dir("two-3")).unwrap();
    fs::rename(&kept, one.data_dir("one-3")).unwrap();
    one.until_whole();
    // A primary that dies over another's data is succeeded all the same.
    let kept = one.instance_dir("one-1").join("elsewhere");
    fs::rename(one.data_dir("one-1"), &kept).unwrap();
    fs::rename(two.data_dir("two-1"), one.data_dir("one-1")).unwrap();
    one.kill("one-1");
    one.until("its replica serves", || (one.primary_now("s1")? == "one-4").then_some(()));
    one.until_waits_for("StartFailed");
    fs::rename(one.data_dir("one-1"), two.data_dir("two-1")).unwrap();
    fs::rename(&kept, one.data_dir("one-1")).unwrap();
    one.until_whole();
    // The write that was in flight may be lost with the process.
    traffic.finish(1);
    two.up();
    two.until_whole();
}

/// A server of ours dies, and somebody else's process listens at its address before it is back.
#[test]
fn an_address_that_is_taken_while_a_primary_is_dead_costs_no_write() {
    let place = Place::new();
    let cluster = Cluster::started(&place, Manifest::new("squat").roles_stay());
    let traffic = Traffic::start(&cluster);
    traffic.more(50);
    let port = cluster.port("squat-0");
    let (supervisor, pid) = (cluster.supervisor(), cluster.pid("squat-0"));
    process::signal(supervisor, process::Signal::STOP);
    process::kill(pid);
    let squatter =
        cluster.until("the port is free", || std::net::TcpListener::bind(("127.0.0.1", port)).ok());
    process::signal(supervisor, process::Signal::CONT);
    let status = cluster.until_waits_for("StartFailed");
    cluster.check(status.reasons().contains(&format!("port {port} is taken")), &status.reasons());
    cluster.check(cluster.primary("s0") == "squat-3", "nobody took over");
    traffic.flowing();
    drop(squatter);
    cluster.until_back("squat-0", pid);
    traffic.finish(1);
}
