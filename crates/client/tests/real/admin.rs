//! One server: what it answers, and what is made of it when it does not.

use crate::servers::{Fleet, SHORT, Server, fetched, node_id, password, server_program};
use std::path::Path;
use std::time::{Duration, Instant};
use valkeeper_client::admin::{EngineKind, FailoverMode, ReplicaState, ReplicationRole, ShutdownMode};
use valkeeper_client::{AdminConnection, AskError, Password, Value};
use valkeeper_model::{Link, Role, Unseen};

#[tokio::test]
async fn a_server_tells_of_itself() {
    let server = Server::alone(&server_program());
    let admin = server.admin();
    admin.ping(SHORT).await.unwrap();
    let info = admin.server_info(SHORT).await.unwrap();
    assert_eq!(info.engine, EngineKind::Valkey);
    assert!(info.version.starts_with('9') && info.run_id.len() == 40 && !info.cluster_enabled, "{info:?}");
    assert!(!info.loading && !info.aof_enabled && info.rdb_last_bgsave_ok && info.used_memory > 0);
    assert_eq!((info.keys, &info.replication.role), (0, &ReplicationRole::Primary { connected: Vec::new() }));
    admin.raw(&["SET", "k", "v"], SHORT).await.unwrap();
    assert_eq!(admin.raw(&["GET", "k"], SHORT).await, Ok(Value::BulkString(b"v".to_vec())));
    assert_eq!(admin.server_info(SHORT).await.unwrap().keys, 1);
    admin.config_set(&[("maxmemory", "100mb"), ("maxmemory-policy", "noeviction")], SHORT).await.unwrap();
    let found = admin.config_get("maxmemory*", SHORT).await.unwrap();
    assert_eq!(
        (found["maxmemory"].as_str(), found["maxmemory-policy"].as_str()),
        ("104857600", "noeviction")
    );
    admin.bgsave(SHORT).await.unwrap();
    let refused = admin.raw(&["NONSENSE"], SHORT).await.unwrap_err();
    assert_eq!(refused.code(), Some("ERR"));
    assert!(refused.alive());
}

#[tokio::test]
async fn a_wrong_password_is_told_from_a_dead_server() {
    let mut server = Server::alone(&server_program());
    let wrong = AdminConnection::new(server.endpoint(), Some(Password::new("wrong")));
    for admin in [&wrong, &AdminConnection::new(server.endpoint(), None)] {
        let error = admin.ping(SHORT).await.unwrap_err();
        assert_eq!(
            (&error, Unseen::from(&error), error.alive()),
            (&AskError::AuthRefused, Unseen::AuthRefused, true)
        );
    }
    wrong.set_password(Some(password()));
    wrong.ping(SHORT).await.unwrap();
    // A server that wants none takes any.
    wrong.config_set(&[("requirepass", "")], SHORT).await.unwrap();
    server.admin().ping(SHORT).await.unwrap();
    server.kill();
    let error = wrong.ping(SHORT).await.unwrap_err();
    assert_eq!((Unseen::from(&error), error.alive()), (Unseen::Unreachable, false));
    server.start_again();
    wrong.ping(SHORT).await.unwrap();
}

#[tokio::test]
async fn every_call_ends_in_its_time_and_the_connection_outlives_it() {
    let server = Server::alone(&server_program());
    let (admin, sleeper) = (server.admin(), server.admin());
    admin.ping(SHORT).await.unwrap();
    let before = admin.server_info(SHORT).await.unwrap().clients;
    let asleep = tokio::spawn(async move { sleeper.raw(&["DEBUG", "SLEEP", "0.6"], SHORT).await });
    tokio::time::sleep(Duration::from_millis(100)).await;
    let start = Instant::now();
    for _ in 0..3 {
        assert_eq!(admin.ping(Duration::from_millis(50)).await, Err(AskError::Timeout));
    }
    assert!(start.elapsed() < Duration::from_millis(500), "{:?}", start.elapsed());
    asleep.await.unwrap().unwrap();
    admin.ping(SHORT).await.unwrap();
    assert!(
        admin.server_info(SHORT).await.unwrap().clients <= before + 1,
        "a hung server is not piled with connections"
    );
}

#[tokio::test]
async fn a_busy_server_is_alive() {
    let server = Server::alone(&server_program());
    let admin = server.admin();
    admin.config_set(&[("busy-reply-threshold", "20")], SHORT).await.unwrap();
    let script = server.admin();
    let run =
        tokio::spawn(
            async move { script.raw(&["EVAL", "while true do end", "0"], Duration::from_secs(5)).await },
        );
    tokio::time::sleep(Duration::from_millis(200)).await;
    let error = admin.ping(SHORT).await.unwrap_err();
    assert_eq!((&error, error.alive()), (&AskError::Busy, true));
    admin.raw(&["SCRIPT", "KILL"], SHORT).await.unwrap();
    assert!(run.await.unwrap().is_err());
    admin.ping(SHORT).await.unwrap();
}

#[tokio::test]
async fn stopping_is_a_success_although_nothing_is_answered() {
    let mut server = Server::alone(&server_program());
    server.admin().shutdown(ShutdownMode::NoSave, SHORT).await.unwrap();
    assert!(server.ended(Duration::from_secs(2)));
    let error = server.admin().shutdown(ShutdownMode::NoSave, SHORT).await.unwrap_err();
    assert!(!error.alive(), "nobody was there to stop: {error}");
}

/// The rendered nodes.conf forms a cluster, its view is read, and orders to it work.
async fn forms_and_fails_over(program: &Path, with_aux: bool, modes: &[FailoverMode]) {
    let fleet = Fleet::start(program, with_aux).await;
    let (primary, replica) = (fleet.server(1).admin(), fleet.server(11).admin());
    let view = primary.cluster_nodes(SHORT).await.unwrap();
    let me = view.myself().unwrap();
    assert_eq!(
        (me.id, me.flags.role, me.slots.to_string()),
        (node_id(1), Some(Role::Primary), "0-5460".to_owned())
    );
    assert_eq!(view.node(node_id(11)).unwrap().primary, Some(node_id(1)));
    assert_eq!(replica.myid(SHORT).await, Ok(node_id(11)));
    let info = primary.cluster_info(SHORT).await.unwrap();
    assert_eq!((info.ok, info.size, info.known_nodes, info.slots_assigned), (true, 3, 6, 16384));
    let ReplicationRole::Primary { connected } = primary.replication(SHORT).await.unwrap().role else {
        panic!()
    };
    assert_eq!((connected.len(), connected[0].state), (1, ReplicaState::Online));
    assert_eq!(connected[0].endpoint, fleet.server(11).endpoint());
    assert_eq!(replica.replication(SHORT).await.unwrap().link(), Some(Link::Up));

    for mode in modes {
        let (old, new) = if primary.replication(SHORT).await.unwrap().link().is_none() {
            (&primary, &replica)
        } else {
            (&replica, &primary)
        };
        let history = old.replication(SHORT).await.unwrap().replid;
        new.failover(*mode, SHORT).await.unwrap();
        let start = Instant::now();
        loop {
            let done = new.replication(SHORT).await.unwrap().link().is_none();
            if done && old.replication(SHORT).await.unwrap().link() == Some(Link::Up) {
                break;
            }
            assert!(start.elapsed() < Duration::from_secs(10), "{mode:?}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert_eq!(new.replication(SHORT).await.unwrap().replid2, Some(history), "the history goes on");
    }
    primary.pause_writes(10_000, SHORT).await.unwrap();
    primary.unpause(SHORT).await.unwrap();
    let other = fleet.server(2).admin();
    other.replicate(node_id(3), SHORT).await.unwrap_err();
    other.forget(node_id(2), SHORT).await.unwrap_err();
    other.meet(&fleet.server(3).address, SHORT).await.unwrap();
}

const ALL: [FailoverMode; 3] = [FailoverMode::Planned, FailoverMode::Force, FailoverMode::Takeover];

#[tokio::test]
async fn the_engine_takes_the_rendered_file_and_orders() {
    forms_and_fails_over(&server_program(), true, &ALL).await;
}

#[tokio::test]
async fn valkey_9_0_takes_them_too() {
    forms_and_fails_over(&fetched("valkey-9.0.0/valkey-server"), true, &ALL).await;
}

#[tokio::test]
async fn redis_7_0_takes_them_too() {
    // Its voters give no second vote about one primary within twice the node timeout: no FORCE after the first.
    let modes = [FailoverMode::Planned, FailoverMode::Takeover];
    forms_and_fails_over(&fetched("redis-7.0/redis-server"), false, &modes).await;
}
