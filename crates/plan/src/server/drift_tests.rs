use super::*;
use crate::server::config::{MIN_REPLICAS, NEVER_ENOUGH, refusing_writes};

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
        strays(Showing {
            shown,
            expected: Some(&expected),
            wanted: &wanted,
            own: &own,
            ours: &ours,
            policy: DriftPolicy::Keep,
        })
    };
    assert_eq!(of(&shown), Strays::default());
    shown.extend(map(&[("slowlog-max-len", "5")]));
    assert_eq!(of(&shown), Strays { by_hand: vec!["slowlog-max-len".to_owned()], ..Strays::default() });
    shown.extend(map(&[("hz", "50"), ("replica-priority", "1"), ("port", "1")]));
    let found = of(&shown);
    assert_eq!(found.dropped, list(&[("hz", "10")]));
    assert_eq!(found.altered, list(&[("port", "7101"), ("replica-priority", "100")]));
    let unknown = Showing {
        shown: &shown,
        expected: None,
        wanted: &wanted,
        own: &own,
        ours: &ours,
        policy: DriftPolicy::Correct,
    };
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
        policy: DriftPolicy::Correct,
    });
    assert_eq!(found, Strays::default());
}

/// A server that was started with these directives at time 0.
fn started(with: &[(&str, &str)]) -> RunningConfig {
    RunningConfig::new(Millis(0), Vec::new(), map(with), BTreeSet::new())
}

/// What a look finds that asks for what is ordered.
fn ordered(
    config: &mut RunningConfig,
    at: u64,
    wanted: &[(&str, &str)],
    shown: &[(&str, &str)],
) -> Differences {
    let (wanted, shown) = (list(wanted), map(shown));
    let (asked, extent) = (Millis(at), Extent::Ordered);
    config.differences(Look {
        asked,
        extent,
        wanted: &wanted,
        shown: &shown,
        expected: None,
        policy: DriftPolicy::Keep,
        knows: &|_| true,
    })
}

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

#[test]
fn a_value_in_another_form_differs_only_once_it_changes() {
    let mut config = started(&[("maxmemory", "1gb")]);
    let wanted = [("maxmemory", "1gb")];
    let shown = [("maxmemory", "1073741824")];
    assert_eq!(ordered(&mut config, 1, &wanted, &shown), Differences::default(), "it was started with it");
    let found = ordered(&mut config, 2, &wanted, &[("maxmemory", "5")]);
    assert_eq!((found.drift, found.altered), (names(&["maxmemory"]), names(&["maxmemory"])), "by somebody");
    let found = ordered(&mut config, 3, &[("maxmemory", "2gb")], &shown);
    assert_eq!((found.drift, found.altered), (names(&["maxmemory"]), Vec::new()), "by the order");
    let took = Took::Set("2147483648".to_owned());
    let set_live = config.told(Millis(4), &("maxmemory".to_owned(), "2gb".to_owned()), took);
    assert_eq!(set_live, None, "it is in the file");
    let found = ordered(&mut config, 5, &[("maxmemory", "2gb")], &[("maxmemory", "2147483648")]);
    assert_eq!(found, Differences::default());
}

#[test]
fn what_was_asked_before_something_was_set_accuses_nobody() {
    let mut config = started(&[("hz", "10")]);
    ordered(&mut config, 1, &[("hz", "10")], &[("hz", "10")]);
    let set = ("hz".to_owned(), "20".to_owned());
    config.begins_setting();
    config.told(Millis(5), &set, Took::Set("20".to_owned()));
    let before = ordered(&mut config, 6, &[("hz", "20")], &[("hz", "10")]);
    assert!(before.altered.is_empty(), "an order to set something is under way");
    config.ends_setting();
    assert!(ordered(&mut config, 5, &[("hz", "20")], &[("hz", "10")]).altered.is_empty());
    assert_eq!(ordered(&mut config, 6, &[("hz", "20")], &[("hz", "10")]).altered, names(&["hz"]));
}

#[test]
fn what_a_server_refuses_is_no_drift() {
    let mut config = started(&[("port", "1")]);
    let directive = |name: &str| (name.to_owned(), "2".to_owned());
    config.told(Millis(1), &directive("databases"), Took::Immutable);
    config.told(Millis(1), &directive("hz"), Took::Invalid("too little".to_owned()));
    let wanted = [("databases", "2"), ("hz", "2"), ("loadmodule", "/m.so")];
    let found = ordered(&mut config, 2, &wanted, &[("databases", "16"), ("hz", "10")]);
    // The server does not show what stands in its file only.
    assert_eq!(found.refused, names(&["databases", "loadmodule"]));
    let hz = InvalidDirective { name: Some("hz".to_owned()), why: "too little".to_owned() };
    assert_eq!((found.invalid, found.drift), (vec![hz], Vec::new()));
    let found = ordered(&mut config, 3, &[("databases", "3")], &[("databases", "16")]);
    assert_eq!(found.drift, names(&["databases"]), "another value may be taken");
}

#[test]
fn what_is_not_ordered_any_more_is_put_back_when_it_is_known_to_what() {
    let mut config = started(&[("hz", "50")]);
    assert_eq!(config.due(Millis(1), &list(&[("hz", "50")])), Extent::Ordered, "it comes up");
    assert_eq!(config.due(Millis(1), &[]), Extent::Whole, "something was dropped");
    assert_eq!(config.due(Millis(WHOLE_EVERY_MS), &list(&[("hz", "50")])), Extent::Whole);
    let (shown, default) = (map(&[("hz", "50")]), map(&[("hz", "10")]));
    let whole = |expected| Look {
        asked: Millis(2),
        extent: Extent::Whole,
        wanted: &[],
        shown: &shown,
        expected,
        policy: DriftPolicy::Keep,
        knows: &|_| true,
    };
    assert_eq!(config.differences(whole(None)).drift, names(&["hz"]));
    assert_eq!(config.back_to(&names(&["hz"])), [], "nobody knows to what");
    assert_eq!(config.due(Millis(3), &[]), Extent::Whole);
    assert_eq!(config.differences(whole(Some(&default))).drift, names(&["hz"]));
    assert_eq!(config.back_to(&names(&["hz"])), list(&[("hz", "10")]));
    assert_eq!(config.due(Millis(3), &[]), Extent::Ordered);
    config.told(Millis(4), &("hz".to_owned(), "10".to_owned()), Took::Set("10".to_owned()));
    assert_eq!(ordered(&mut config, 5, &[], &[]), Differences::default());
}

#[test]
fn a_directive_that_was_set_live_is_ours_from_then_on() {
    let mut config = started(&[]);
    let hz = ("hz".to_owned(), "50".to_owned());
    let set_live = config.told(Millis(1), &hz, Took::Set("50".to_owned())).cloned();
    assert_eq!(set_live, Some(BTreeSet::from(["hz".to_owned()])));
    assert_eq!(config.told(Millis(2), &hz, Took::Set("50".to_owned())), None, "it is known already");
    assert_eq!(config.due(Millis(3), &[]), Extent::Whole);
}
