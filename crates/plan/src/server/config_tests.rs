use super::*;

#[test]
fn nothing_is_published_that_a_limit_could_end_a_connection_for() {
    let limits = |pubsub: &str| format!("normal 0 0 0 slave 268435456 67108864 60 pubsub {pubsub}");
    assert!(may_publish(&limits("33554432 8388608 60"), 66_000));
    assert!(may_publish(&limits("0 0 0"), 66_000));
    for tight in ["16384 0 0", "32768 8192 10", "0 8192 10", "100000 0 0", "lots 0 0"] {
        assert!(!may_publish(&limits(tight), 66_000), "{tight}");
    }
    assert!(!may_publish("", 66_000));
}

#[test]
fn a_limit_below_what_is_in_use_is_told() {
    let mut spec = valkeeper_model::ClusterSpec::new("demo".parse().unwrap());
    let used: BTreeMap<InstanceName, u64> =
        [("demo-0", 1 << 20), ("demo-1", 9 << 20)].map(|(name, used)| (name.parse().unwrap(), used)).into();
    let config = |spec: &valkeeper_model::ClusterSpec| crate::placement::server_config(spec);
    assert_eq!(above_limit(&config(&spec), &used), []);
    spec.directives.insert("maxmemory".to_owned(), "8mb".to_owned());
    let found = above_limit(&config(&spec), &used);
    assert_eq!(found.len(), 1);
    assert!(!found[0].evicts && found[0].instance.as_str() == "demo-1" && found[0].limit == 8 << 20);
    spec.directives.insert("maxmemory-policy".to_owned(), "allkeys-lru".to_owned());
    assert!(above_limit(&config(&spec), &used)[0].evicts);
    spec.directives.insert("maxmemory".to_owned(), "0".to_owned());
    assert_eq!(above_limit(&config(&spec), &used), [], "0 is no limit");
}
