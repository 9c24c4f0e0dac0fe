#![allow(clippy::unwrap_used, reason = "a test that panics has failed, which is what it should do")]

use super::*;
use std::path::{Path, PathBuf};
use valkeeper_model::manifest::read_object;
use valkeeper_model::{
    HostFate, Phase, RebalanceBy, Request, ResizeRequest, SlotMoveTarget, SlotRequest, WhichSlots,
};

fn schema(definition: usize) -> Value {
    definitions()[definition].1["spec"]["versions"][0]["schema"]["openAPIV3Schema"].clone()
}

/// Objects that the model's tests and the examples have as files.
fn manifests() -> Vec<(PathBuf, Value)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folders = ["../model/tests/manifests/good", "../model/tests/manifests/bad", "../../examples"];
    let files = folders.iter().flat_map(|folder| std::fs::read_dir(root.join(folder)).unwrap());
    let yaml =
        files.map(|file| file.unwrap().path()).filter(|path| path.extension().is_some_and(|e| e == "yaml"));
    let object = |path: PathBuf| {
        let text = std::fs::read_to_string(&path).unwrap();
        // Mistakes of YAML never reach the API server.
        serde_saphyr::from_str::<Value>(&text).ok().filter(Value::is_object).map(|object| (path, object))
    };
    let found: Vec<_> = yaml.filter_map(object).collect();
    assert!(found.len() > 50, "{} manifests", found.len());
    found
}

/// What the API server's structural check would find: types, words, numbers, fields it does not know. Patterns and rules
/// are for a real one.
fn check(path: &str, value: &Value, schema: &Value, wrong: &mut Vec<String>) {
    if schema["x-kubernetes-int-or-string"] == true {
        if !(value.is_i64() || value.is_string()) {
            wrong.push(format!("{path}: no quantity"));
        }
        return;
    }
    let fits = match schema["type"].as_str().unwrap_or_default() {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "integer" => value.as_i64().is_some_and(|number| {
            schema["minimum"].as_i64().is_none_or(|least| number >= least)
                && schema["maximum"].as_i64().is_none_or(|most| number <= most)
                && (schema["format"] != "int32" || i32::try_from(number).is_ok())
        }),
        _ => true,
    };
    if !fits {
        wrong.push(format!("{path}: {value} does not fit"));
        return;
    }
    if schema["enum"].as_array().is_some_and(|words| !words.contains(value)) {
        wrong.push(format!("{path}: {value} is not among the words"));
    }
    for (key, value) in value.as_object().into_iter().flatten() {
        let path = format!("{path}.{key}");
        let known = schema["properties"].get(key).or_else(|| schema.get("additionalProperties"));
        match known {
            Some(known) if value.is_null() && known["nullable"] == true => {}
            // The API server replaces a null by the default.
            Some(known) if value.is_null() && known.get("default").is_some() => {}
            Some(known) => check(&path, value, known, wrong),
            None if schema["x-kubernetes-preserve-unknown-fields"] == true || path == ".metadata" => {}
            None if path.starts_with(".metadata.") => {}
            None => wrong.push(format!("{path}: unknown")),
        }
    }
    for item in value.as_array().into_iter().flatten() {
        check(&format!("{path}[]"), item, &schema["items"], wrong);
    }
}

fn found_wrong(value: &Value, schema: &Value) -> Vec<String> {
    let mut wrong = Vec::new();
    check("", value, schema, &mut wrong);
    wrong
}

/// Puts defaults in as the API server does.
fn fill(value: &mut Value, schema: &Value) {
    let (Some(fields), Some(properties)) = (value.as_object_mut(), schema["properties"].as_object()) else {
        return;
    };
    for (name, schema) in properties {
        if let Some(default) = schema.get("default")
            && fields.get(name).is_none_or(Value::is_null)
        {
            fields.insert(name.clone(), default.clone());
        }
        if let Some(value) = fields.get_mut(name) {
            fill(value, schema);
        }
    }
}

#[test]
fn the_files_are_up_to_date() {
    for ((name, text), (file, definition)) in FILES.into_iter().zip(definitions()) {
        assert_eq!(name, file);
        let written: Value = serde_saphyr::from_str(text).unwrap();
        assert!(written == definition, "{name} is old: `cargo xtask crds` writes it anew");
    }
}

#[test]
fn the_schema_refuses_nothing_that_the_reader_takes() {
    let schema = schema(0);
    let mut both = 0;
    for (path, object) in manifests() {
        let (schema_says, reader_says) = (found_wrong(&object, &schema), read_object(&object));
        assert!(schema_says.is_empty() || reader_says.is_err(), "{}: {schema_says:?}", path.display());
        both += usize::from(!schema_says.is_empty());
    }
    assert!(both >= 10, "only {both} manifests were refused by the schema: is it looked at?");
}

#[test]
fn defaults_are_what_the_reader_takes_anyway() {
    let schema = schema(0);
    let mut compared = 0;
    for (path, object) in manifests() {
        let Ok(read) = read_object(&object) else { continue };
        let mut filled = object.clone();
        fill(&mut filled, &schema);
        let again = read_object(&filled).unwrap();
        assert_eq!((again.spec, again.kubernetes), (read.spec, read.kubernetes), "{}", path.display());
        compared += usize::from(filled != object);
    }
    assert!(compared >= 5);
}

#[test]
fn every_request_fits_its_definition() {
    let schema = schema(1);
    let instance = || "demo-1".parse().unwrap();
    let shard = || "s1".parse().unwrap();
    for request in [
        Request::Switchover { shard: None, to: None },
        Request::Switchover { shard: Some(shard()), to: Some(instance()) },
        Request::Failover { shard: shard(), force: false, accept_data_loss: true },
        Request::Fence { instance: instance(), force: true },
        Request::Unfence { instance: instance() },
        Request::Restart { instance: instance() },
        Request::AcceptSource,
        Request::Resize(ResizeRequest::Replace { instance: instance(), host: HostFate::GoneForGood }),
        Request::Resize(ResizeRequest::DrainZone { zone: "eu-1a".parse().unwrap() }),
        Request::Slots(SlotRequest::MoveSlots {
            from: shard(),
            to: "s2".parse().unwrap(),
            which: WhichSlots::Count(7),
        }),
        Request::Slots(SlotRequest::CancelSlotMoves),
        Request::Slots(SlotRequest::Rebalance { by: RebalanceBy::Slots }),
        Request::Slots(SlotRequest::MoveTogether {
            moves: vec![SlotMoveTarget {
                from: shard(),
                to: "s2".parse().unwrap(),
                slots: "0-99 300".parse().unwrap(),
            }],
        }),
        Request::Forget { nodes: vec![valkeeper_model::NodeId::from_bytes([7; 20])] },
    ] {
        let mut object =
            serde_json::to_value(RedisClusterRequest::new("demo", "shop", &request).unwrap()).unwrap();
        assert_eq!(found_wrong(&object, &schema), [""; 0]);
        fill(&mut object, &schema);
        let read: RedisClusterRequest = serde_json::from_value(object).unwrap();
        assert_eq!(read.request(), Ok(request));
    }
    // By hand, without the words that have a default.
    let mut object = json!({"spec": {"cluster": "demo", "request": {"request": "failover", "shard": "s1"}}});
    fill(&mut object, &schema);
    let read: RedisClusterRequest = serde_json::from_value(object).unwrap();
    assert_eq!(
        read.request(),
        Ok(Request::Failover { shard: shard(), force: false, accept_data_loss: false })
    );
}

#[test]
fn a_status_fits_its_definition() {
    let now = k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(k8s_openapi::jiff::Timestamp::UNIX_EPOCH);
    let mut report = crate::status::tests::report(crate::status::tests::reasons());
    // Nobody has seen the source.
    let loss = Some(valkeeper_model::PromotionLoss { behind_bytes: None, unseen_ms: None });
    let stage = valkeeper_model::ReplicaModeStage::Promoted {
        designated: "demo-1".parse().unwrap(),
        loss,
        point: None,
    };
    report.replica_mode = Some(Box::new(crate::status::replica_mode::tests::report(stage)));
    let status = crate::RedisClusterStatus {
        current_primary: Some("demo-0".parse().unwrap()),
        dangling_pvc: vec!["demo-data-9".to_owned()],
        secrets_resource_version: [("demo-auth".to_owned(), "7".to_owned())].into(),
        ..crate::RedisClusterStatus::from_report(&report, &crate::status::tests::facts(None, &now))
    };
    assert_eq!(status.phase, Some(Phase::Degraded));
    let object = json!({"spec": {}, "status": status});
    assert_eq!(found_wrong(&object, &schema(0)), [""; 0]);
    let refused = crate::RequestStatus::refused(valkeeper_model::Refusal::ShardNotNamed);
    let object = json!({"spec": {}, "status": refused});
    assert_eq!(found_wrong(&object, &schema(1)), [""; 0]);
}
