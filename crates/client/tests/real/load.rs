//! The load: what it says must be so.

use crate::servers::{Fleet, SHORT, password, server_program};
use std::time::Duration;
use valkeeper_client::admin::FailoverMode;
use valkeeper_client::load::{Rate, Totals};
use valkeeper_client::{Load, LoadConfig};

const LONG: Duration = Duration::from_secs(10);

fn config(fleet: &Fleet) -> LoadConfig {
    LoadConfig { writers_per_shard: 2, ..LoadConfig::new(fleet.seeds(), Some(password())) }
}

async fn pass(time: u64) {
    tokio::time::sleep(Duration::from_millis(time)).await;
}

#[tokio::test]
async fn a_killed_primary_is_measured_and_loses_no_more_than_was_in_flight() {
    let mut fleet = Fleet::start(&server_program(), true).await;
    let load = Load::start(config(&fleet)).await.unwrap();
    load.flowing(LONG).await.unwrap();
    pass(300).await;
    let (replica, killed) = (fleet.server(12).admin(), load.mark("kill"));
    fleet.server_mut(2).kill();
    // The stream's last bytes are in the replica's socket; at this pace it has read them by now.
    pass(100).await;
    replica.failover(FailoverMode::Force, SHORT).await.unwrap();
    load.flowing(LONG).await.unwrap();
    pass(300).await;
    let report = load.stop().await.unwrap();
    let outages = report.outages("kill").unwrap();
    assert_eq!(report.mark("kill"), Some(killed));
    let hit = report.shards.iter().position(|shard| shard.totals.failed > 0).unwrap();
    assert_eq!(report.shards[hit].primary, crate::servers::node_id(2));
    let Totals { failed, retried, unknown, refused, .. } = report.shards[hit].totals;
    assert!(
        failed == 2 && retried >= failed && unknown == 0 && refused == 0,
        "{:?}",
        report.shards[hit].totals
    );
    let gap = outages[hit].gap;
    // How long it takes is the machine's affair. The gap begins with the last write before the mark.
    let recovered_after = outages[hit].recovered_after;
    assert!(gap > Duration::from_millis(100) && recovered_after > Duration::from_millis(100), "{outages:?}");
    for (shard, outage) in report.shards.iter().zip(&outages).filter(|(shard, _)| shard.totals.failed == 0) {
        assert!(shard.totals.acknowledged > 100, "{outage:?}");
    }
    let found = report.read_back(LONG).await.unwrap();
    assert_eq!(found.checked, report.totals().acknowledged);
    // The server answers its clients and feeds its replicas one socket after the other (docs/engine-facts.md): a SIGKILL in between loses
    // an answered write of each writer of the shard.
    assert!(found.lost <= 2 && found.altered == 0, "{found:?}");
    assert!(found.examples.iter().all(|lost| lost.shard == hit), "{found:?}");
}

#[tokio::test]
async fn a_switchover_fails_no_write() {
    let fleet = Fleet::start(&server_program(), true).await;
    let load = Load::start(config(&fleet)).await.unwrap();
    load.flowing(LONG).await.unwrap();
    load.mark("switchover");
    fleet.server(11).admin().failover(FailoverMode::Planned, SHORT).await.unwrap();
    pass(500).await;
    let report = load.stop().await.unwrap();
    let totals = report.totals();
    assert_eq!(
        (totals.failed, totals.retried, totals.unknown, totals.errors.len()),
        (0, 0, 0, 0),
        "{totals:?}"
    );
    assert!(totals.redirected >= 2, "{totals:?}");
    assert!(report.read_back(LONG).await.unwrap().is_whole());
    assert_eq!(report.remove(LONG).await.unwrap(), totals.acknowledged);
    assert_eq!(report.read_back(LONG).await.unwrap().lost, totals.acknowledged);
}

#[tokio::test]
async fn what_is_lost_is_found_out() {
    let fleet = Fleet::start(&server_program(), true).await;
    let load = Load::start(config(&fleet)).await.unwrap();
    load.flowing(LONG).await.unwrap();
    pass(200).await;
    let report = load.stop().await.unwrap();
    assert!(report.read_back(LONG).await.unwrap().is_whole());
    let third = report.shards.iter().position(|shard| shard.primary == crate::servers::node_id(3)).unwrap();
    let admin = fleet.server(3).admin();
    let valkeeper_client::Value::BulkString(key) = admin.raw(&["RANDOMKEY"], SHORT).await.unwrap() else {
        panic!()
    };
    admin.raw(&[b"APPEND", &key[..], b"x"], SHORT).await.unwrap();
    let found = report.read_back(LONG).await.unwrap();
    assert_eq!((found.lost, found.altered, found.examples[0].shard), (0, 1, third));
    assert_eq!(found.examples[0].key.as_bytes(), key);
    admin.raw(&[&b"DEL"[..], &key[..]], SHORT).await.unwrap();
    assert_eq!(report.read_back(LONG).await.unwrap().lost, 1);
    admin.raw(&["FLUSHALL"], SHORT).await.unwrap();
    let found = report.read_back(LONG).await.unwrap();
    assert_eq!((found.lost, found.altered), (report.shards[third].totals.acknowledged, 0));
}

#[tokio::test]
async fn a_slot_on_the_move_is_followed() {
    let fleet = Fleet::start(&server_program(), true).await;
    let load = Load::start(LoadConfig { writers_per_shard: 1, ..config(&fleet) }).await.unwrap();
    load.flowing(LONG).await.unwrap();
    // One writer writes to the middle of its shard.
    let (slot, from, to) = ("2730", fleet.server(1).admin(), fleet.server(2).admin());
    let ids = [from.myid(SHORT).await.unwrap().to_string(), to.myid(SHORT).await.unwrap().to_string()];
    // As many keys as are asked for below, however slow the machine is.
    while !matches!(
        from.raw(&["CLUSTER", "COUNTKEYSINSLOT", slot], SHORT).await.unwrap(),
        valkeeper_client::Value::Int(keys) if keys > 20
    ) {
        pass(20).await;
    }
    to.raw(&["CLUSTER", "SETSLOT", slot, "IMPORTING", &ids[0]], SHORT).await.unwrap();
    from.raw(&["CLUSTER", "SETSLOT", slot, "MIGRATING", &ids[1]], SHORT).await.unwrap();
    // What is acknowledged in the first shard from here on goes to that slot, each write by way of a redirect.
    let before = load.acknowledged()[0];
    while load.acknowledged()[0] < before + 100 {
        pass(20).await;
    }
    let view = from.cluster_nodes(SHORT).await.unwrap();
    assert_eq!(view.myself().unwrap().migrating.len(), 1);
    let mut moved = 0;
    let port = fleet.server(2).address.port.to_string();
    while let valkeeper_client::Value::Array(keys) =
        from.raw(&["CLUSTER", "GETKEYSINSLOT", slot, "100"], SHORT).await.unwrap()
        && !keys.is_empty()
    {
        let mut migrate: Vec<Vec<u8>> =
            ["MIGRATE", "127.0.0.1", &port, "", "0", "5000", "AUTH", password().reveal(), "KEYS"]
                .iter()
                .map(|word| word.as_bytes().to_vec())
                .collect();
        moved += keys.len();
        migrate.extend(keys.into_iter().map(|key| match key {
            valkeeper_client::Value::BulkString(key) => key,
            other => panic!("{other:?}"),
        }));
        from.raw(&migrate, LONG).await.unwrap();
    }
    to.raw(&["CLUSTER", "SETSLOT", slot, "NODE", &ids[1]], SHORT).await.unwrap();
    from.raw(&["CLUSTER", "SETSLOT", slot, "NODE", &ids[1]], SHORT).await.unwrap();
    pass(200).await;
    let report = load.stop().await.unwrap();
    let totals = report.totals();
    assert!(moved > 10 && totals.redirected > 50, "{moved} {totals:?}");
    assert_eq!((totals.failed, totals.unknown), (0, 0), "{totals:?}");
    let found = report.read_back(LONG).await.unwrap();
    assert!(found.is_whole() && found.checked == totals.acknowledged, "{found:?}");
}

#[tokio::test]
async fn without_retries_every_write_is_accounted_for() {
    let mut fleet = Fleet::start(&server_program(), true).await;
    let load = Load::start(LoadConfig { retry: false, ..config(&fleet) }).await.unwrap();
    load.flowing(LONG).await.unwrap();
    fleet.server_mut(1).kill();
    fleet.server_mut(11).kill();
    pass(100).await;
    let report = load.stop().await.unwrap();
    let totals = report.totals();
    assert!(totals.failed >= 2 && totals.retried == 0, "{totals:?}");
    assert_eq!(totals.failed, totals.refused + totals.unknown, "{totals:?}");
}

/// Figures on stderr: `cargo test --release -p valkeeper-client --test real full_speed -- --nocapture`.
#[tokio::test]
async fn at_full_speed_nothing_is_lost_either() {
    let fleet = Fleet::start(&server_program(), true).await;
    let rate = Rate::Saturated { in_flight: 32 };
    let load = Load::start(LoadConfig { rate, value_size: 64, ..config(&fleet) }).await.unwrap();
    load.flowing(LONG).await.unwrap();
    pass(1000).await;
    let report = load.stop().await.unwrap();
    for shard in &report.shards {
        let gap = shard.longest_gap(Duration::ZERO, report.duration).length();
        eprintln!("{} writes, longest gap {gap:?}", shard.totals.acknowledged);
        assert!(shard.totals.acknowledged > 5_000);
    }
    let start = std::time::Instant::now();
    let found = report.read_back(LONG).await.unwrap();
    eprintln!(
        "{:?} for {} writes; {} read back in {:?}",
        report.duration,
        report.totals().acknowledged,
        found.checked,
        start.elapsed()
    );
    assert!(found.is_whole() && found.checked == report.totals().acknowledged, "{found:?}");
}
