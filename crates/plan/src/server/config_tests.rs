use super::*;

fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn list(pairs: &[(&str, &str)]) -> Vec<Directive> {
    map(pairs).into_iter().collect()
}

#[test]
fn what_was_dropped_goes_back_what_is_reserved_too_and_the_rest_is_told() {
    let expected = map(&[
        ("hz", "10"),
        ("maxmemory", "0"),
        ("slowlog-max-len", "128"),
        ("replica-priority", "100"),
        ("port", "0"),
        ("timeout", "0"),
        ("masterauth", ""),
    ]);
    let mut shown = expected.clone();
    shown.extend(map(&[("port", "7101"), ("masterauth", "secret"), ("timeout", "5")]));
    let wanted = list(&[("timeout", "5")]);
    let own = list(&[("port", "7101")]);
    let ours = BTreeSet::from(["hz".to_owned(), "timeout".to_owned()]);
    let of = |shown: &BTreeMap<String, String>| {
        strays(Showing { shown, expected: Some(&expected), wanted: &wanted, own: &own, ours: &ours })
    };
    assert_eq!(of(&shown), Strays::default());
    shown.extend(map(&[("slowlog-max-len", "5")]));
    assert_eq!(of(&shown), Strays { by_hand: vec!["slowlog-max-len".to_owned()], ..Strays::default() });
    shown.extend(map(&[("hz", "50"), ("replica-priority", "1"), ("port", "1")]));
    let found = of(&shown);
    assert_eq!(found.dropped, list(&[("hz", "10")]));
    assert_eq!(found.altered, list(&[("port", "7101"), ("replica-priority", "100")]));
    let unknown = Showing { shown: &shown, expected: None, wanted: &wanted, own: &own, ours: &ours };
    let open = Strays { open: vec!["hz".to_owned()], ..Strays::default() };
    assert_eq!(strays(unknown), open, "nothing is set while nothing is known");
}

/// A server that is to refuse writes shows it under both names: putting the second one back would lift the fence.
#[test]
fn a_second_name_of_an_ordered_directive_is_never_put_back() {
    let expected = map(&[("min-replicas-to-write", "0"), ("min-slaves-to-write", "0")]);
    let shown = map(&[("min-replicas-to-write", NEVER_ENOUGH), ("min-slaves-to-write", NEVER_ENOUGH)]);
    let wanted = refusing_writes(list(&[(MIN_REPLICAS, "0")]));
    let found = strays(Showing {
        shown: &shown,
        expected: Some(&expected),
        wanted: &wanted,
        own: &[],
        ours: &BTreeSet::new(),
    });
    assert_eq!(found, Strays::default());
}

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
