use super::*;
use proptest::prelude::*;

#[test]
fn each_metric_is_explained_once_and_what_is_said_twice_is_told_once() {
    let mut exposition = Exposition::default();
    let of = |name: &str| Labels::default().with("instance", name);
    exposition.add(Metric::Up, of("b"), Value::Flag(true));
    exposition.add(Metric::Up, of("a"), Value::Flag(true));
    exposition.add(Metric::ReplicationLagAgeSeconds, of("a"), Value::Millis(61_007));
    exposition.add(Metric::Up, of("b").with("instance", "a"), Value::Flag(false));
    exposition.add(Metric::PrimaryOffset, Labels::default(), Value::Count(u64::MAX));
    let (up, offset, age) =
        (Metric::Up.help(), Metric::PrimaryOffset.help(), Metric::ReplicationLagAgeSeconds.help());
    let expected = format!(
        "# HELP redis_up {up}\n# TYPE redis_up gauge\nredis_up{{instance=\"a\"}} 0\nredis_up{{instance=\"b\"}} 1\n\
         # HELP redis_master_repl_offset {offset}\n# TYPE redis_master_repl_offset gauge\nredis_master_repl_offset 18446744073709551615\n\
         # HELP redis_replication_lag_age_seconds {age}\n# TYPE redis_replication_lag_age_seconds gauge\n\
         redis_replication_lag_age_seconds{{instance=\"a\"}} 61.007\n"
    );
    assert_eq!(exposition.text(), expected);
}

#[test]
fn what_a_label_must_not_hold_is_escaped() {
    let mut exposition = Exposition::default();
    let labels = Labels::default().with("redis_version", "a\"b\\c\nd}é{,=").with("cluster", "");
    exposition.add(Metric::InstanceInfo, labels, Value::Flag(true));
    let last = exposition.text().lines().last().map(str::to_owned);
    let expected = r#"redis_instance_info{redis_version="a\"b\\c\nd}é{,=",cluster=""} 1"#;
    assert_eq!(last.as_deref(), Some(expected));
}

/// A sample as a reader sees it: name, labels, value.
type Read = (String, Vec<(String, String)>, String);

/// Reads a line as the format's description says, by itself: nothing of the writer is used.
fn read(line: &str) -> Option<Read> {
    let name_ends = line.find(['{', ' '])?;
    let (name, mut rest) = line.split_at(name_ends);
    let mut labels = Vec::new();
    if rest.starts_with('{') {
        rest = &rest[1..];
        loop {
            let (label, after) = rest.split_once("=\"")?;
            let mut value = String::new();
            let mut characters = after.chars();
            loop {
                match characters.next()? {
                    '"' => break,
                    '\\' => value.push(match characters.next()? {
                        'n' => '\n',
                        same @ ('\\' | '"') => same,
                        _ => return None,
                    }),
                    other => value.push(other),
                }
            }
            labels.push((label.to_owned(), value));
            rest = characters.as_str();
            match rest.as_bytes().first()? {
                b',' => rest = &rest[1..],
                b'}' => break,
                _ => return None,
            }
        }
        rest = &rest[1..];
    }
    let value = rest.strip_prefix(' ')?;
    value.parse::<f64>().ok()?;
    Some((name.to_owned(), labels, value.to_owned()))
}

fn metric() -> impl Strategy<Value = Metric> {
    proptest::sample::select(Metric::ALL)
}

fn labels() -> impl Strategy<Value = Labels> {
    let name = proptest::sample::select(&["cluster", "instance", "shard", "role", "redis_version"][..]);
    let labels = proptest::collection::vec((name, "(?s).{0,12}"), 0..5);
    labels.prop_map(|all| {
        all.into_iter().fold(Labels::default(), |labels, (name, value)| labels.with(name, &value))
    })
}

proptest! {
    #[test]
    fn what_is_told_is_read_as_it_was_meant(
        samples in proptest::collection::vec((metric(), labels(), any::<u64>()), 0..20)
    ) {
        let mut exposition = Exposition::default();
        let mut meant: BTreeMap<(String, Vec<(String, String)>), u64> = BTreeMap::new();
        for (metric, labels, count) in samples {
            let pairs = labels.0.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
            meant.insert((metric.name().to_owned(), pairs), count);
            exposition.add(metric, labels, Value::Count(count));
        }
        let text = exposition.text();
        prop_assert!(text.is_empty() || text.ends_with('\n'));
        let mut explained: Vec<&str> = Vec::new();
        let mut found = BTreeMap::new();
        // By `\n` alone: `lines` would take a `\r` in a label away.
        for line in text.split('\n').filter(|line| !line.is_empty()) {
            if let Some(help) = line.strip_prefix("# HELP ") {
                let name = help.split(' ').next().unwrap();
                prop_assert!(!explained.contains(&name), "{name} is explained twice");
                explained.push(name);
            } else if let Some(kind) = line.strip_prefix("# TYPE ") {
                prop_assert_eq!(kind.split(' ').next(), explained.last().copied());
            } else {
                let (name, labels, value) = read(line).expect("a line that can be read");
                prop_assert_eq!(explained.last().copied(), Some(name.as_str()), "a sample of another metric");
                prop_assert!(found.insert((name, labels), value.parse().unwrap()).is_none(), "told twice");
            }
        }
        prop_assert_eq!(found, meant);
    }
}
