//! Commands to the whole cluster.

use crate::servers::{Fleet, SHORT, key_in, node_id, password, server_program};
use std::time::{Duration, Instant};
use valkeeper_client::admin::FailoverMode;
use valkeeper_client::{ClusterClient, ClusterError, Value};

const LONG: Duration = Duration::from_secs(10);

#[tokio::test]
async fn commands_go_where_their_keys_are() {
    let fleet = Fleet::start(&server_program(), true).await;
    // A replica as the only seed: everything else is found.
    let client = ClusterClient::new(vec![fleet.server(12).endpoint()], Some(password()));
    for n in 0..50 {
        let (key, value) = (format!("key{n}"), format!("value{n}"));
        assert_eq!(client.command(&["SET", &key, &value], LONG).await, Ok(Value::Okay));
        assert_eq!(client.command(&["GET", &key], LONG).await, Ok(Value::BulkString(value.into_bytes())));
    }
    // Keys that only the server can find in the arguments, no key, a wrong command, a wrong use, keys of two slots.
    assert_eq!(
        client.command(&["EVAL", "return redis.call('GET', KEYS[1])", "1", "key7"], LONG).await.unwrap(),
        Value::BulkString(b"value7".to_vec())
    );
    assert_eq!(client.command(&["PING"], LONG).await, Ok(Value::SimpleString("PONG".to_owned())));
    for (args, code) in
        [(&["NONSENSE", "x"][..], "ERR"), (&["SET", "x"], "ERR"), (&["MGET", "a", "b"], "CROSSSLOT")]
    {
        let Err(ClusterError::Reply(error)) = client.command(args, LONG).await else { panic!("{args:?}") };
        assert_eq!(error.code(), Some(code), "{args:?}");
    }
    assert!(matches!(client.command(&["subscribe", "c"], LONG).await, Err(ClusterError::Unsupported(_))));
    assert_eq!(client.command::<&str>(&[], LONG).await, Err(ClusterError::Empty));
}

#[tokio::test]
async fn a_broken_connection_leads_to_the_replica_at_once() {
    let mut fleet = Fleet::start(&server_program(), true).await;
    let client = ClusterClient::new(fleet.seeds(), Some(password()));
    let map = client.shard_map(SHORT).await.unwrap();
    assert!(map.is_complete());
    let shard = map.shards.iter().find(|shard| shard.primary.id == node_id(2)).unwrap();
    let key = key_in(&shard.slots);
    client.command(&["SET", &key, "1"], LONG).await.unwrap();
    fleet.server_mut(2).kill();
    let incr = ["INCR", &key];
    let promote = async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        fleet.server(12).admin().failover(FailoverMode::Force, SHORT).await.unwrap();
        Instant::now()
    };
    let (set, promoted) = tokio::join!(client.command(&incr, LONG), promote);
    assert_eq!(set, Ok(Value::Int(2)));
    assert!(promoted.elapsed() < Duration::from_millis(500), "{:?}", promoted.elapsed());
}

#[tokio::test]
async fn a_cluster_that_is_gone_is_an_error_in_time() {
    let mut fleet = Fleet::start(&server_program(), true).await;
    let client = ClusterClient::new(fleet.seeds(), Some(password()));
    client.command(&["SET", "k", "1"], LONG).await.unwrap();
    for n in [1, 2, 3, 11, 12, 13] {
        fleet.server_mut(n).kill();
    }
    let start = Instant::now();
    let error = client.command(&["GET", "k"], Duration::from_millis(300)).await.unwrap_err();
    assert!(matches!(error, ClusterError::NoServer(_) | ClusterError::Timeout { .. }), "{error}");
    assert!(start.elapsed() < Duration::from_millis(600));
}
