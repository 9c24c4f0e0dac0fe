//! What is stored and sent, as earlier versions write it. The files in `frozen/` are never changed, whatever the formats become; a number in a name is the format.

#![allow(clippy::unwrap_used, reason = "a test that panics has failed, which is what it should do")]

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use valkeeper_model::{
    AgentOrder, AgentReport, Answer, Ask, DisturbedBy, DisturbingRequest, FencedBy, Hibernation,
    InstanceLife, Layout, MaxMemoryPolicy, NewerFields, Operation, Phase, RegisterRecord, ReplicaMode,
    Report, Request, Role, ShardLife, Unreadable, Waiting,
};

fn layout() -> Value {
    serde_json::from_str(include_str!("frozen/layout-1.json")).unwrap()
}

/// Each line is read, and written again as it was: a program of that version reads what this one writes.
fn lines_survive<T: DeserializeOwned + Serialize>(lines: &str) {
    for line in lines.lines() {
        let read: T = serde_json::from_str(line).unwrap_or_else(|error| panic!("{line}: {error}"));
        let written: Value = serde_json::from_str(line).unwrap();
        assert_eq!(serde_json::to_value(&read).unwrap(), written);
    }
}

/// Nothing of what was written is missing in what is written now.
fn contains(now: &Value, then: &Value) -> bool {
    match (now, then) {
        (Value::Object(now), Value::Object(then)) => {
            then.iter().all(|(name, then)| now.get(name).is_some_and(|now| contains(now, then)))
        }
        _ => now == then,
    }
}

#[test]
fn a_layout_from_before_formats_were_numbered_is_read() {
    let read = Layout::read(include_bytes!("frozen/layout-1.json")).unwrap();
    assert_eq!((read.instances.len(), read.shards.len(), read.generation.0), (6, 3, 3));
    assert_eq!(read.config.max_memory_policy, Some(MaxMemoryPolicy::AllKeysLru));
    assert!(read.instances.values().filter(|instance| instance.is_fenced()).count() == 1);
    let written = serde_json::to_value(&read).unwrap();
    assert!(contains(&written, &layout()));
    assert_eq!(written["format"], 1);
}

/// A version without lives has one flag for all of them, and writes the lives that it does not know as it found them.
#[test]
fn lives_are_derived_from_the_flag_of_versions_without_them() {
    let read = |stored: &Value| Layout::read(stored.to_string().as_bytes()).unwrap();
    let lives = |layout: &Layout| {
        let instances = layout.instances.values().map(|instance| instance.life.clone());
        (
            instances.collect::<Vec<_>>(),
            layout.shards.values().map(|one| one.life.clone()).collect::<Vec<_>>(),
        )
    };
    let members = (vec![InstanceLife::Member; 6], vec![ShardLife::Member; 3]);
    let founding = (vec![InstanceLife::Founding; 6], vec![ShardLife::Founding; 3]);
    let mut stored = layout();
    assert_eq!(lives(&read(&stored)), members);
    assert!(read(&stored).operations.is_empty() && read(&stored).ledger.is_empty());
    stored["formed"] = json!(false);
    assert_eq!(lives(&read(&stored)), founding);
    let mut written = serde_json::to_value(read(&stored)).unwrap();
    assert_eq!(
        (&written["formed"], &written["instances"]["sample-0"]["life"]),
        (&json!(false), &json!("founding"))
    );
    // It is founded by a version without lives.
    written["formed"] = json!(true);
    assert_eq!(lives(&read(&written)), members);

    let text = include_str!("frozen/order-1.json");
    let life = |formed: bool| {
        let mut order: Value = serde_json::from_str(text).unwrap();
        order["formed"] = json!(formed);
        serde_json::from_value::<AgentOrder>(order).unwrap().life
    };
    assert_eq!((life(false), life(true)), (InstanceLife::Founding, InstanceLife::Member));
}

#[test]
fn what_is_stored_of_following_another_cluster_is_read() {
    let stored: Value = serde_json::from_str(include_str!("frozen/replica-mode-1.json")).unwrap();
    let read: ReplicaMode = serde_json::from_value(stored.clone()).unwrap();
    assert!(contains(&serde_json::to_value(&read).unwrap(), &stored));
    // An older version has stored no more than that it was promoted.
    let mut older = stored;
    older["stage"]["promoted"] = json!({ "designated": "east-0" });
    older.as_object_mut().unwrap().retain(|field, _| field != "demotion" && field != "usedToken");
    let read: ReplicaMode = serde_json::from_value(older.clone()).unwrap();
    assert!(read.demotion.is_none() && read.used_token.is_none());
    assert_eq!(serde_json::to_value(&read).unwrap(), older);
}

#[test]
fn fences_and_hibernation_are_read() {
    let stored: Value = serde_json::from_str(include_str!("frozen/layout-1-fences.json")).unwrap();
    let read = Layout::read(stored.to_string().as_bytes()).unwrap();
    let (request, annotation, hibernation) = (FencedBy::Request, FencedBy::Annotation, FencedBy::Hibernation);
    let by =
        |one: &valkeeper_model::Instance| [&request, &annotation, &hibernation].map(|by| one.fences.has(by));
    let fences: Vec<_> = read.instances.values().map(by).collect();
    let none = [false; 3];
    assert_eq!(
        fences,
        [none, [true, false, false], [false, true, false], [false, false, true], [true; 3], none]
    );
    assert_eq!(
        (read.hibernation.clone(), read.newer.clone()),
        (Some(Hibernation::Stopping), NewerFields::default())
    );
    assert!(contains(&serde_json::to_value(&read).unwrap(), &stored));
}

#[test]
fn operations_and_the_ledger_are_read() {
    let stored: Value = serde_json::from_str(include_str!("frozen/layout-1-operations.json")).unwrap();
    let read = Layout::read(stored.to_string().as_bytes()).unwrap();
    let kinds: Vec<_> = read.operations.values().collect();
    assert!(matches!(kinds[..], [Operation::LeaveFullDisk(_), Operation::Rezone(_)]), "{kinds:?}");
    let by = |name: &str| read.ledger[&name.parse().unwrap()].by.clone();
    assert_eq!(by("sample-0"), DisturbedBy::Request(DisturbingRequest::Switchover));
    assert!(matches!(by("sample-1"), DisturbedBy::Operation(_)));
    assert!(contains(&serde_json::to_value(&read).unwrap(), &stored));
}

#[test]
fn lives_are_read_and_neighbours_without_them_are_told_the_flag() {
    let stored: Value = serde_json::from_str(include_str!("frozen/layout-1-lives.json")).unwrap();
    let read = Layout::read(stored.to_string().as_bytes()).unwrap();
    let life = |name: &str| read.instances[&name.parse().unwrap()].life.clone();
    let [member, joining, leaving] = [life("sample-0"), life("sample-3"), life("sample-5")];
    assert_eq!(
        (member, joining, leaving),
        (InstanceLife::Member, InstanceLife::Joining, InstanceLife::Leaving)
    );
    assert_eq!(read.shards[&"s2".parse().unwrap()].life, ShardLife::Leaving);
    assert!(contains(&serde_json::to_value(&read).unwrap(), &stored));
    // An agent without lives takes its empty directory for a lost one.
    let stored: Value = serde_json::from_str(include_str!("frozen/order-1-lives.json")).unwrap();
    let order: AgentOrder = serde_json::from_value(stored.clone()).unwrap();
    assert_eq!(order.life, InstanceLife::Joining);
    assert!(contains(&serde_json::to_value(&order).unwrap(), &stored) && stored["formed"] == true);
}

/// An operator that is rolled back changes what a newer one has stored, and takes nothing away.
#[test]
fn what_a_newer_version_has_added_to_a_layout_is_kept() {
    let mut newer = layout();
    newer["operations"] = json!({ "scale-s0": { "kind": "scale", "target": 3 }, "rezone-s1": { "kind": "rezone", "target": { "shard": "s1", "from": "sample-1", "to": "sample-4" }, "checkpoint": "halfway" } });
    newer["ledger"] = json!({ "sample-1": { "shard": "s1", "by": { "eclipse": 7 }, "since": { "generation": 3, "revision": 9 }, "until": 5 }, "sample-2": { "shard": "s2", "by": { "request": "rebuild" }, "since": { "generation": 3, "revision": 9 } } });
    newer["config"]["tls"] = json!({ "secret": "s" });
    newer["shards"]["s0"]["life"] = json!("draining");
    newer["instances"]["sample-0"]["build"] = json!("9.1.3");
    let read = Layout::read(newer.to_string().as_bytes()).unwrap();
    assert!(contains(&serde_json::to_value(&read).unwrap(), &newer));
}

#[test]
fn a_format_that_would_be_misunderstood_is_refused_and_not_called_damaged() {
    let mut newer = layout();
    newer["format"] = json!(Layout::FORMAT + 1);
    newer["shards"] = json!("in another way");
    let refused = Layout::read(newer.to_string().as_bytes()).unwrap_err();
    assert_eq!(refused, Unreadable::Newer { found: Layout::FORMAT + 1, newest: Layout::FORMAT });
    let damaged = Layout::read(br#"{"cluster":"c"#).unwrap_err();
    assert!(matches!(damaged, Unreadable::Damaged(_)), "{damaged}");
}

#[test]
fn registers_of_the_first_format_are_read_and_written_as_ever() {
    for text in [
        include_str!("frozen/register-1.json"),
        include_str!("frozen/register-1-new.json"),
        include_str!("frozen/register-1-renewals-new.json"),
    ] {
        let mut stored: Value = serde_json::from_str(text).unwrap();
        stored["newer"] = json!({ "kept": true });
        let read = RegisterRecord::read(stored.to_string().as_bytes()).unwrap();
        assert_eq!(serde_json::to_value(&read).unwrap(), stored);
    }
    assert!(matches!(
        RegisterRecord::read(br#"{"format":2}"#),
        Err(Unreadable::Newer { found: 2, newest: 1 })
    ));
}

#[test]
fn orders_and_reports_of_the_first_format_are_read() {
    let text = include_str!("frozen/order-1.json");
    let order: AgentOrder = serde_json::from_str(text).unwrap();
    assert_eq!((order.members.len(), order.generation.0, order.life.clone()), (6, 2, InstanceLife::Member));
    assert!(contains(&serde_json::to_value(&order).unwrap(), &serde_json::from_str(text).unwrap()));
    // What a newer controller says of a server's configuration stays in the file that an agent keeps.
    let mut newer: Value = serde_json::from_str(text).unwrap();
    newer["config"]["tls"] = json!(true);
    let order: AgentOrder = serde_json::from_value(newer.clone()).unwrap();
    assert!(contains(&serde_json::to_value(&order).unwrap(), &newer));
    newer["format"] = json!(2);
    let refused = serde_json::from_value::<AgentOrder>(newer).unwrap_err().to_string();
    assert!(refused.contains("format 2") && refused.contains("newer version"), "{refused}");

    let text = include_str!("frozen/report-1.json");
    let report: AgentReport = serde_json::from_str(text).unwrap();
    assert_eq!(report.role(), Some(Role::Primary));
    assert_eq!((report.seen_ms_ago, report.primary_position), (None, None));
    assert!(contains(&serde_json::to_value(&report).unwrap(), &serde_json::from_str(text).unwrap()));
    let text = include_str!("frozen/report-1-position.json");
    let report: AgentReport = serde_json::from_str(text).unwrap();
    assert_eq!(
        report.primary_position.map(|seen| (seen.position.offset.0, seen.seen_ms_ago)),
        Some((1_700, 300))
    );
    assert!(contains(&serde_json::to_value(&report).unwrap(), &serde_json::from_str(text).unwrap()));
}

#[test]
fn questions_answers_and_requests_are_written_as_ever() {
    lines_survive::<Ask>(include_str!("frozen/asks-1.jsonl"));
    lines_survive::<Ask>(include_str!("frozen/asks-1-positions.jsonl"));
    lines_survive::<Answer>(include_str!("frozen/answers-1.jsonl"));
    lines_survive::<Request>(include_str!("frozen/requests-1.jsonl"));
    lines_survive::<Request>(include_str!("frozen/requests-1-slots.jsonl"));
}

#[test]
fn a_status_of_the_first_format_is_read() {
    let report: Report = serde_json::from_str(include_str!("frozen/status-1.json")).unwrap();
    assert_eq!((report.phase, report.instances.len()), (Phase::Degraded, 6));
    assert!(
        matches!(&report.waiting[0], Waiting::Fenced { instance, .. } if instance.as_str() == "sample-3")
    );
}
