use super::*;
use serde_json::{Value, json};

fn asked(operation: &str, object: &Value, old: &Value) -> AdmissionRequest {
    serde_json::from_value(json!({
        "uid": "1", "kind": {"group": "redis.io", "version": "v1", "kind": "RedisCluster"},
        "operation": operation, "object": object, "oldObject": old,
    }))
    .unwrap()
}

fn cluster(spec: &Value) -> Value {
    json!({"metadata": {"name": "demo", "namespace": "shop"}, "spec": spec})
}

fn good() -> Value {
    json!({
        "mode": "cluster", "shards": 3, "replicasPerShard": 1, "storage": {"type": "pvc", "size": "2Gi"},
        "memory": {"maxMemoryPolicy": "noeviction"},
    })
}

/// Three shards with one replica each.
fn running_now(spec: &Value) -> Value {
    let mut cluster = cluster(spec);
    let shard = json!({"replicaPods": [], "slotRanges": []});
    let shards = json!({"demo-s0": shard, "demo-s1": shard, "demo-s2": shard});
    cluster["status"] = json!({"instances": 6, "shards": shards});
    cluster
}

fn created(object: &Value) -> Verdict {
    judge(&asked("CREATE", object, &Value::Null)).unwrap()
}

fn updated(object: &Value, old: &Value) -> Verdict {
    judge(&asked("UPDATE", object, old)).unwrap()
}

fn with(field: &str, value: Value) -> Value {
    let mut spec = good();
    *spec.pointer_mut(field).unwrap() = value;
    cluster(&spec)
}

fn denied(why: &str) -> Verdict {
    Verdict::Denied { why: why.to_owned() }
}

const CANNOT: &str =
    "cannot change in a running cluster yet\n  hint: put the old value back, or make a new cluster";

#[test]
fn what_is_good_is_allowed_and_what_it_costs_is_told() {
    assert_eq!(created(&cluster(&good())), Verdict::NOTHING_TO_SAY);
    let mut spec = good();
    spec["storage"] = json!({"type": "emptyDir", "size": "1Gi"});
    let Verdict::Allowed { warnings } = created(&cluster(&spec)) else { panic!("it is allowed") };
    let text = "spec.storage.type: an instance loses its data with its pod, and a shard all data when all its pods go";
    assert_eq!(warnings, [text]);
}

#[test]
fn what_is_wrong_is_told_in_the_words_of_the_command_line() {
    let spec = json!({"mode": "cluster", "shards": 2, "redis": {"maxclients": "10", "MaxClients": "10"}});
    assert_eq!(
        created(&cluster(&spec)),
        denied(
            "spec.redis.maxclients: the same directive as `MaxClients`\n  hint: remove one of them\n\
             spec.shards: 2 is fewer than 3 shards\n  \
             hint: a primary is replaced by a majority vote of the others, which takes three"
        )
    );
    let text = valkeeper_model::manifest::parse(
        "f",
        "apiVersion: redis.io/v1\nkind: RedisCluster\nmetadata: {name: demo}\nspec: {mode: cluster, shards: 2}\n",
    )
    .unwrap_err()
    .to_string();
    let spec = json!({"mode": "cluster", "shards": 2});
    assert_eq!(created(&cluster(&spec)), denied(text.strip_prefix("f:4: ").unwrap()));
    // An update to it is no better.
    assert!(matches!(updated(&cluster(&spec), &cluster(&good())), Verdict::Denied { .. }));
}

#[test]
fn what_runs_cannot_become_just_anything() {
    let now = running_now(&good());
    assert_eq!(updated(&with("/shards", json!(6)), &now), Verdict::NOTHING_TO_SAY);
    assert_eq!(updated(&with("/replicasPerShard", json!(2)), &now), Verdict::NOTHING_TO_SAY);
    let other = with("/storage/type", json!("emptyDir"));
    assert_eq!(updated(&other, &now), denied(&format!("spec.storage.type {CANNOT}")));
    let smaller = with("/storage/size", json!("1Gi"));
    let text = "spec.storage.size cannot shrink from 2Gi to 1Gi: a volume only grows\n  \
                hint: put the old value back, or make a new cluster";
    assert_eq!(updated(&smaller, &now), denied(text));
    for change in [("/storage/size", json!("3Gi")), ("/memory/maxMemoryPolicy", json!("allkeys-lru"))] {
        assert!(matches!(updated(&with(change.0, change.1), &now), Verdict::Allowed { .. }), "{}", change.0);
    }
}

#[test]
fn before_there_is_a_layout_nothing_is_lost_by_another_wish() {
    let waits = cluster(&good());
    assert_eq!(updated(&with("/shards", json!(4)), &waits), Verdict::NOTHING_TO_SAY);
    assert_eq!(updated(&with("/replicasPerShard", json!(2)), &waits), Verdict::NOTHING_TO_SAY);
}

#[test]
fn a_wish_that_was_never_followed_can_be_taken_back_or_left() {
    let spec = |instances: u32| json!({"mode": "standalone", "instances": instances, "memory": {"maxMemoryPolicy": "noeviction"}});
    let of = |spec: &Value| {
        let mut cluster = cluster(spec);
        cluster["status"] =
            json!({"instances": 3, "shards": {"demo-s0": {"replicaPods": [], "slotRanges": []}}});
        cluster
    };
    let wished = of(&spec(5));
    assert!(matches!(updated(&cluster(&spec(3)), &wished), Verdict::Allowed { .. }));
    let mut other = spec(5);
    other["memory"]["maxMemoryPolicy"] = json!("allkeys-lru");
    assert!(matches!(updated(&cluster(&other), &wished), Verdict::Allowed { .. }));
    assert!(matches!(updated(&cluster(&spec(4)), &wished), Verdict::Denied { .. }));
    // From a spec that cannot be read only to what runs.
    let unreadable = of(&json!({"mode": "nonsense"}));
    assert!(matches!(updated(&cluster(&spec(3)), &unreadable), Verdict::Allowed { .. }));
    assert!(matches!(updated(&cluster(&spec(4)), &unreadable), Verdict::Denied { .. }));
}

#[test]
fn an_object_can_always_be_deleted() {
    let bad = cluster(&json!({"mode": "nonsense"}));
    assert!(matches!(created(&bad), Verdict::Denied { .. }));
    let mut labelled = bad.clone();
    labelled["metadata"]["labels"] = json!({"a": "b"});
    assert_eq!(updated(&labelled, &bad), Verdict::NOTHING_TO_SAY);
    let mut going = with("/shards", json!(1));
    going["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
    assert_eq!(updated(&going, &running_now(&good())), Verdict::NOTHING_TO_SAY);
    assert_eq!(judge(&asked("DELETE", &Value::Null, &bad)).unwrap(), Verdict::NOTHING_TO_SAY);
}

#[test]
fn of_other_things_nothing_is_said() {
    let mut request = asked("UPDATE", &cluster(&json!({})), &cluster(&good()));
    request.sub_resource = "status".to_owned();
    assert_eq!(judge(&request).unwrap(), Verdict::NOTHING_TO_SAY);
    let mut request = asked("CREATE", &cluster(&json!({})), &Value::Null);
    request.kind.kind = "RedisClusterRequest".to_owned();
    assert_eq!(judge(&request).unwrap(), Verdict::NOTHING_TO_SAY);
    assert_eq!(judge(&asked("CONNECT", &Value::Null, &Value::Null)).unwrap(), Verdict::NOTHING_TO_SAY);
    for object in [Value::Null, json!(1), json!({"metadata": 1})] {
        assert!(judge(&asked("CREATE", &object, &Value::Null)).is_err(), "{object}");
        assert!(judge(&asked("UPDATE", &cluster(&good()), &object)).is_err(), "{object}");
    }
}

#[test]
fn a_warning_is_never_longer_than_the_api_server_takes() {
    let note = |reason: String| FieldNote { field: "f".to_owned(), line: 1, reason, hint: None };
    assert_eq!(warning(&note("ü".repeat(253))).chars().count(), 256);
    let cut = warning(&note("ü".repeat(254)));
    assert_eq!((cut.chars().count(), cut.ends_with("ü…")), (256, true));
}

/// A cluster that follows another, so far.
fn following(stage: &Value, promote: bool) -> Value {
    let source = json!({"host": "h", "port": 6379, "clusterName": "east"});
    let mut cluster = cluster(&json!({
        "mode": "standalone", "instances": 2, "zones": "besteffort",
        "replicaMode": {"enabled": true, "source": source, "promote": promote},
    }));
    let shard = json!({"replicaPods": [], "slotRanges": []});
    cluster["status"] = json!({"instances": 2, "shards": {"s0": shard}, "replicaMode": stage});
    cluster["status"]["replicaMode"]["source"] = source;
    cluster
}

#[test]
fn a_promotion_is_not_taken_back_and_no_data_is_dropped() {
    let promoted = json!({"stage": "Promoted", "promotion": {"instance": "demo-0"}});
    let follows = json!({"stage": "Following"});
    let wish = |promote| following(&Value::Null, promote);
    let why = |wish: &Value, now: &Value| match updated(wish, now) {
        Verdict::Denied { why } => why,
        Verdict::Allowed { .. } => String::new(),
    };
    assert_eq!(why(&wish(true), &following(&follows, false)), "");
    assert!(why(&wish(false), &following(&promoted, true)).contains("was promoted and takes writes"));
    let off = cluster(&json!({"mode": "standalone", "instances": 2, "zones": "besteffort"}));
    assert!(why(&off, &following(&follows, false)).contains("follows east"));
    assert_eq!(why(&off, &following(&promoted, true)), "");
    let mut back = wish(false);
    back["spec"]["replicaMode"]["token"] = json!("whether it covers the data is the operator's to judge");
    assert_eq!(why(&back, &following(&promoted, true)), "");
    // So is whether one that never followed has data of its own.
    let mut own = following(&Value::Null, false);
    own["spec"].as_object_mut().unwrap().remove("replicaMode");
    own["status"].as_object_mut().unwrap().remove("replicaMode");
    assert_eq!(why(&wish(false), &own), "");
    own["status"] = Value::Null;
    assert_eq!(why(&wish(false), &own), "", "nothing is there yet");
}

fn annotated(spec: &Value, annotation: &str, value: &str) -> Value {
    let mut cluster = running_now(spec);
    cluster["metadata"]["annotations"] = json!({ annotation: value });
    cluster
}

#[test]
fn an_annotation_that_asks_for_something_is_judged_although_the_spec_is_as_it_was() {
    let before = running_now(&good());
    for (annotation, value) in [
        ("redis.io/hibernation", "on"),
        ("redis.io/hibernation", ""),
        ("redis.io/fencedInstances", r#"["demo-0"]"#),
        ("somebody.else/hibernation", "maybe"),
    ] {
        assert_eq!(updated(&annotated(&good(), annotation, value), &before), Verdict::NOTHING_TO_SAY);
    }
    let maybe = annotated(&good(), "redis.io/hibernation", "maybe");
    let why = "metadata.annotations.redis.io/hibernation: `maybe` is neither on nor off\n  \
               hint: write on or true, off or false, or nothing";
    assert_eq!(updated(&maybe, &before), denied(why));
    assert_eq!(created(&maybe), denied(why));
    // It stands there already: whatever else is changed is not about it.
    assert_eq!(updated(&maybe, &maybe), Verdict::NOTHING_TO_SAY);
    let list = annotated(&good(), "redis.io/fencedInstances", "demo-0");
    let Verdict::Denied { why } = updated(&list, &before) else { panic!("it is no list") };
    assert!(why.contains("expected a JSON list of names, found `demo-0`"), "{why}");
    // All data would go.
    let mut spec = good();
    spec["storage"] = json!({ "type": "emptyDir", "size": "1Gi" });
    let Verdict::Denied { why } =
        updated(&annotated(&spec, "redis.io/hibernation", "true"), &running_now(&spec))
    else {
        panic!("the data is in the pods")
    };
    assert!(why.contains("all data would go with the pods"), "{why}");
    // A spec that would not be taken today keeps nobody from an annotation.
    let mut old = good();
    old["shards"] = json!(2);
    let verdict = updated(&annotated(&old, "redis.io/hibernation", "off"), &running_now(&old));
    assert_eq!(verdict, Verdict::NOTHING_TO_SAY);
}
