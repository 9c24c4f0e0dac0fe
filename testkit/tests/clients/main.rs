//! What applications see of planned and unplanned changes: real clients on their defaults, none of them told anything but
//! seeds and a password. Their figures go into docs/clients.md (`cargo xtask clients --report`).
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test says what it expects by unwrapping")]

mod application;
mod figures;

use application::{Application, BUSY, CLIENTS, CLOSED_LOOP, RARE, SENTINEL_CLIENTS};
use figures::Table;
use std::sync::{Mutex, PoisonError};
use std::thread::sleep;
use std::time::Duration;
use valkeeper_client::load::Rate;
use valkeeper_client::{Load, LoadConfig, Password};
use valkeeper_testkit::{Cluster, Manifest, Place};

const SHARDS: [&str; 3] = ["s0", "s1", "s2"];
/// Between two events, so that each is one for every application, also for those that write rarely.
const BREATH: Duration = Duration::from_millis(2_500);

/// Six servers and ten applications fill a small machine: their gaps would be each other's.
static ALONE: Mutex<()> = Mutex::new(());

/// Five clients, each in a busy application and in one that writes rarely.
fn applications<'a>(cluster: &'a Cluster<'a>) -> Vec<Application<'a>> {
    let pairs = CLIENTS.into_iter().flat_map(|client| [(client, BUSY), (client, RARE)]);
    let all: Vec<_> = pairs.map(|(client, habit)| Application::start(cluster, client, habit)).collect();
    all.iter().for_each(Application::until_ready);
    sleep(BREATH);
    all
}

/// Swaps the roles of a shard. What a switchover makes of the zones the planner may mend by further ones, and while one of
/// those is under way ours is refused (law 6).
fn switch_over(cluster: &Cluster<'_>, shard: &str) {
    let seen = cluster.events().len();
    cluster.until(&format!("{shard} switches over"), || {
        let said = cluster.run(&["switchover", shard]);
        cluster.check(matches!(said.code, Some(0 | 3)), &format!("{shard} does not switch over: {said:?}"));
        (said.code == Some(0)).then_some(())
    });
    let swapped = cluster.events_since(seen, "SwitchedOver");
    cluster.check(swapped.iter().any(|event| event["shard"] == shard), &format!("{shard}: {swapped:?}"));
}

/// Lets `happen` happen while all write; no application may see an error, and nothing may be lost.
fn unseen_by_applications(event: &str, name: &str, happen: impl Fn(&Cluster<'_>)) {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let place = Place::new();
    let cluster = Cluster::started(&place, Manifest::new(name));
    let mut all = applications(&cluster);
    let mut table = Table::new(event);
    for one in &mut all {
        one.phase("before");
    }
    happen(&cluster);
    cluster.until_whole();
    sleep(BREATH);
    for one in &mut all {
        let figures = one.phase("event");
        table.note(one, &figures);
    }
    for one in all {
        let (client, habit) = (one.client, one.habit);
        table.note_end(client, habit, &one.end());
    }
    table.publish();
    cluster.check(table.errors() == 0, &format!("applications saw errors:\n{table}"));
    cluster.check(table.lost() == 0, &format!("acknowledged writes are gone:\n{table}"));
}

#[test]
#[ignore = "long: other people's clients (`cargo xtask clients`), half a minute"]
fn switchovers_round_all_shards_are_unseen() {
    unseen_by_applications("switchover, 9 round the shards", "switched", |cluster| {
        for shard in SHARDS.repeat(3) {
            switch_over(cluster, shard);
            cluster.until_whole();
            sleep(BREATH);
        }
    });
}

#[test]
#[ignore = "long: other people's clients (`cargo xtask clients`), half a minute"]
fn a_rolling_restart_is_unseen() {
    unseen_by_applications("`restart` of all six in turn", "rolled", |cluster| {
        for instance in cluster.instance_names() {
            let before = cluster.pid(&instance);
            cluster.must(&["restart", &instance]);
            cluster.until_back(&instance, before);
            cluster.until_whole();
            sleep(BREATH);
        }
    });
}

#[test]
#[ignore = "long: other people's clients (`cargo xtask clients`), half a minute"]
fn every_client_recovers_from_killed_primaries() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let place = Place::new();
    let cluster = Cluster::started(&place, Manifest::new("killed"));
    let mut all = applications(&cluster);
    let mut table = Table::new("kill -9 of each primary in turn");
    for one in &mut all {
        one.phase("before");
    }
    for shard in SHARDS {
        let primary = cluster.primary(shard);
        let pid = cluster.kill(&primary);
        cluster.until_back(&primary, pid);
        cluster.until_whole();
        sleep(BREATH);
    }
    for one in &mut all {
        let figures = one.phase("event");
        table.note(one, &figures);
    }
    // Whoever has not found the new primaries by now would go on failing here.
    sleep(2 * BREATH);
    let after: Vec<_> = all.iter_mut().map(|one| (one.client, one.habit.name, one.phase("after"))).collect();
    for one in all {
        let (client, habit) = (one.client, one.habit);
        table.note_end(client, habit, &one.end());
    }
    table.publish();
    for (client, habit, figures) in after {
        let recovered = figures.acked > 0 && figures.errors.is_empty();
        cluster.check(recovered, &format!("{client}, {habit}, has not recovered: {figures:?}\n{table}"));
    }
    // Each writer has one write in flight when its shard's primary dies, and that may have been acknowledged and not replicated.
    let may_be_lost = SHARDS.len() as u64 * u64::from(BUSY.writers());
    for row in table.rows() {
        cluster.check(
            row.lost <= may_be_lost && row.unreadable == 0,
            &format!("{}: more is gone than was in flight:\n{table}", row.client),
        );
    }
}

/// Clients that ask Sentinels, on their defaults: the primary is killed, and roles are swapped.
#[test]
#[ignore = "long: other people's clients (`cargo xtask clients`), half a minute"]
fn clients_that_ask_sentinels_follow_the_primary() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let place = Place::new();
    let cluster = Cluster::started(&place, Manifest::sentinel("asked", 3));
    let mut all: Vec<_> =
        SENTINEL_CLIENTS.into_iter().map(|client| Application::start(&cluster, client, BUSY)).collect();
    all.iter().for_each(Application::until_ready);
    let mut table = Table::new("by Sentinels: kill -9 of the primary, switchover");
    for one in &mut all {
        one.phase("before");
    }
    let primary = cluster.primary("s0");
    let pid = cluster.kill(&primary);
    cluster.until_back(&primary, pid);
    cluster.until_whole();
    sleep(BREATH);
    switch_over(&cluster, "s0");
    cluster.until_whole();
    sleep(2 * BREATH);
    for one in &mut all {
        let figures = one.phase("event");
        table.note(one, &figures);
    }
    sleep(2 * BREATH);
    let after: Vec<_> = all.iter_mut().map(|one| (one.client, one.phase("after"))).collect();
    for one in all {
        let (client, habit) = (one.client, one.habit);
        table.note_end(client, habit, &one.end());
    }
    table.publish();
    for (client, figures) in after {
        let recovered = figures.acked > 0 && figures.errors.is_empty();
        cluster.check(recovered, &format!("{client} has not recovered: {figures:?}\n{table}"));
    }
    // What was in flight to the killed primary.
    let may_be_lost = u64::from(BUSY.writers());
    for row in table.rows() {
        cluster.check(
            row.lost <= may_be_lost && row.unreadable == 0,
            &format!("{}: more is gone than was in flight:\n{table}", row.client),
        );
    }
}

#[test]
#[ignore = "long: saturates the machine for some seconds"]
fn a_switchover_of_saturated_primaries_fails_no_write() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let place = Place::new();
    let cluster = Cluster::started(&place, Manifest::new("saturated"));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut config = LoadConfig::new(cluster.seeds(), Some(Password::new(cluster.password())));
    config.writers_per_shard = 2;
    config.rate = Rate::Saturated { in_flight: 64 };
    let load = runtime.block_on(Load::start(config)).unwrap();
    let mut probe = Application::start(&cluster, "redis-rs", CLOSED_LOOP);
    probe.until_ready();
    runtime.block_on(load.flowing(Duration::from_secs(10))).unwrap();
    sleep(Duration::from_secs(1));

    let mut table = Table::new("switchover of each primary, saturated");
    probe.phase("before");
    for shard in SHARDS {
        load.mark(shard);
        switch_over(&cluster, shard);
        sleep(Duration::from_secs(1));
    }
    let figures = probe.phase("event");
    table.note(&probe, &figures);
    runtime.block_on(load.flowing(Duration::from_secs(10))).unwrap();
    let report = runtime.block_on(load.stop()).unwrap();
    cluster.until_whole();
    table.note_end(probe.client, probe.habit, &probe.end());
    let back = runtime.block_on(report.read_back(Duration::from_secs(180))).unwrap();

    let totals = report.totals();
    let gaps = SHARDS.iter().enumerate().map(|(index, mark)| report.outages(mark).unwrap()[index].gap);
    let gap = gaps.max().unwrap_or_default().as_secs_f64() * 1_000.0;
    table.note_load(&totals, gap, back.checked, back.lost + back.altered);
    table.publish();
    cluster.check(totals.failed == 0, &format!("{totals:?}\n{table}"));
    cluster.check(back.is_whole() && back.checked == totals.acknowledged, &format!("{back:?} of {totals:?}"));
    cluster.check(table.errors() == 0 && table.lost() == 0, &format!("the probe saw it:\n{table}"));
}
