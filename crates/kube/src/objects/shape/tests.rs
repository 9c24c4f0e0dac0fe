use super::*;
use crate::objects::{Owner, network};

fn owner() -> Owner {
    Owner {
        home: crate::wire::Home { namespace: "shop".to_owned(), cluster: "demo".parse().unwrap() },
        uid: "u1".to_owned(),
    }
}

/// What an API server makes of a Service.
fn stored(mut service: Value) -> Value {
    service["metadata"]["uid"] = json!("s1");
    service["metadata"]["resourceVersion"] = json!("7");
    service["metadata"]["labels"]["team"] = json!("mine");
    let spec = service["spec"].as_object_mut().unwrap();
    spec.entry("clusterIP").or_insert_with(|| json!("10.96.0.7"));
    spec.insert("clusterIPs".to_owned(), json!([spec["clusterIP"]]));
    spec.insert("ipFamilies".to_owned(), json!(["IPv4"]));
    spec.insert("ipFamilyPolicy".to_owned(), json!("SingleStack"));
    service
}

/// Applies a merge patch as the API server does (RFC 7386).
pub(crate) fn merge(target: &mut Value, patch: &Value) {
    let Some(patch) = patch.as_object() else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = json!({});
    }
    for (key, value) in patch {
        if value.is_null() {
            target.as_object_mut().unwrap().remove(key);
        } else {
            merge(&mut target[key], value);
        }
    }
}

/// An edit is seen, and the patch for it puts it right.
fn is_put_right(wanted: &Value, there: &Value, edit: impl FnOnce(&mut Value)) {
    assert_eq!(shape(there), shape(wanted));
    assert_eq!(patch(there, wanted), None);
    let mut edited = there.clone();
    edit(&mut edited);
    assert_ne!(shape(&edited), shape(wanted), "{edited}");
    let patch = patch(&edited, wanted).unwrap();
    merge(&mut edited, &patch);
    assert_eq!(shape(&edited), shape(wanted), "{patch}");
    assert_eq!(edited["spec"]["clusterIP"], there["spec"]["clusterIP"]);
}

#[test]
fn every_edit_of_a_service_is_put_right() {
    for wanted in [network::any(&owner()), network::headless(&owner())] {
        let there = stored(wanted.clone());
        is_put_right(&wanted, &there, |edited| edited["spec"]["selector"]["more"] = json!("1"));
        is_put_right(&wanted, &there, |edited| edited["spec"]["selector"] = json!({ "app": "web" }));
        is_put_right(&wanted, &there, |edited| edited["spec"]["ports"][0]["port"] = json!(6380));
        is_put_right(&wanted, &there, |edited| edited["spec"]["ports"][0]["targetPort"] = json!(1));
        is_put_right(&wanted, &there, |edited| {
            edited["spec"]["ports"].as_array_mut().unwrap().push(json!({ "port": 1, "name": "more" }));
        });
        is_put_right(&wanted, &there, |edited| edited["spec"]["internalTrafficPolicy"] = json!("Local"));
        is_put_right(&wanted, &there, |edited| edited["spec"]["externalIPs"] = json!(["1.2.3.4"]));
        is_put_right(&wanted, &there, |edited| {
            let published = edited["spec"]["publishNotReadyAddresses"] == true;
            edited["spec"]["publishNotReadyAddresses"] = json!(!published);
        });
        is_put_right(&wanted, &there, |edited| {
            edited["metadata"]["labels"].as_object_mut().unwrap().remove(LABEL_CLUSTER);
        });
        is_put_right(&wanted, &there, |edited| {
            edited["metadata"].as_object_mut().unwrap().remove("ownerReferences");
        });
    }
}

#[test]
fn every_edit_of_budget_and_policy_is_put_right() {
    let wanted = network::disruption_budget(&owner(), 6);
    is_put_right(&wanted, &wanted, |edited| edited["spec"]["minAvailable"] = json!(0));
    is_put_right(&wanted, &wanted, |edited| edited["spec"]["selector"] = json!({}));
    let wanted = network::policy(&owner(), "system");
    is_put_right(&wanted, &wanted, |edited| edited["spec"]["ingress"] = json!([]));
    is_put_right(&wanted, &wanted, |edited| edited["spec"]["ingress"][0]["from"] = json!([{}]));
    is_put_right(&wanted, &wanted, |edited| edited["spec"]["egress"] = json!([]));
}

#[test]
fn what_users_add_beside_it_stays() {
    let wanted = network::any(&owner());
    let mut there = stored(wanted.clone());
    there["metadata"]["annotations"] = json!({ "note": "x" });
    there["metadata"]["finalizers"] = json!(["a/b"]);
    assert_eq!(patch(&there, &wanted), None);
    // A second owner is not taken away when ours is given back.
    there["metadata"]["ownerReferences"] = json!([{ "kind": "App", "uid": "u9" }]);
    let patch = patch(&there, &wanted).unwrap();
    assert_eq!(patch["metadata"]["ownerReferences"].as_array().unwrap().len(), 2);
    assert_eq!(patch["metadata"]["resourceVersion"], "7");
}
