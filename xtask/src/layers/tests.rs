//! Every rule is broken once on a made-up workspace and must be seen.

use serde_json::{Value, json};

use super::*;

/// A workspace of the named members; an edge is (from, to, kind) with kind "" for normal.
fn graph(members: &[&str], outside: &[&str], edges: &[(&str, &str, &str)]) -> Graph {
    let kind = |kind: &str| if kind.is_empty() { Value::Null } else { json!(kind) };
    let of = |name: &str| edges.iter().copied().filter(|(from, ..)| *from == name).collect::<Vec<_>>();
    let names: Vec<&str> = members.iter().chain(outside).copied().collect();
    let packages: Vec<Value> = names
        .iter()
        .map(|name| {
            let dependencies: Vec<Value> =
                of(name).iter().map(|(_, to, k)| json!({ "name": to, "kind": kind(k) })).collect();
            let target = if name.ends_with("_derive") { "proc-macro" } else { "lib" };
            json!({
                "name": name, "id": name, "manifest_path": format!("/w/{name}/Cargo.toml"),
                "dependencies": dependencies, "targets": [{ "kind": [target] }],
            })
        })
        .collect();
    let nodes: Vec<Value> = names
        .iter()
        .map(|name| {
            let deps: Vec<Value> = of(name)
                .iter()
                .map(|(_, to, k)| json!({ "pkg": to, "dep_kinds": [{ "kind": kind(k) }] }))
                .collect();
            json!({ "id": name, "deps": deps })
        })
        .collect();
    let all = json!({ "packages": packages, "workspace_members": members, "resolve": { "nodes": nodes } });
    serde_json::from_value(all).unwrap()
}

const MEMBERS: &[&str] = &[
    "valkeeper-model",
    "valkeeper-plan",
    "valkeeper-sim",
    "valkeeper-client",
    "valkeeper",
    "valkeeper-testkit",
    "xtask",
];

fn with(edges: &[(&str, &str, &str)]) -> Graph {
    graph(MEMBERS, &["serde", "serde_derive", "syn", "tokio", "kube", "newcomer"], edges)
}

fn one(found: &[String], needle: &str) {
    assert!(found.len() == 1 && found[0].contains(needle), "wanted one finding with {needle}, got {found:?}");
}

#[test]
fn arrows_down_pass() {
    let graph = with(&[
        ("valkeeper-plan", "valkeeper-model", ""),
        ("valkeeper", "valkeeper-plan", ""),
        ("valkeeper-plan", "valkeeper-testkit", "dev"),
        ("valkeeper-testkit", "valkeeper-client", ""),
        ("xtask", "valkeeper-testkit", ""),
    ]);
    assert_eq!(arrows(&graph), [""; 0]);
}

#[test]
fn an_arrow_up_or_sideways_is_found_whatever_its_kind() {
    one(
        &arrows(&with(&[("valkeeper-model", "valkeeper-plan", "")])),
        "valkeeper-model must not depend on valkeeper-plan",
    );
    one(&arrows(&with(&[("valkeeper-client", "valkeeper-plan", "")])), "valkeeper-client must not depend on");
    one(&arrows(&with(&[("valkeeper-model", "valkeeper-plan", "dev")])), "(Dev)");
    one(&arrows(&with(&[("valkeeper-model", "valkeeper-plan", "build")])), "(Build)");
}

#[test]
fn the_dev_side_is_for_tests_only() {
    one(&arrows(&with(&[("valkeeper-client", "valkeeper-testkit", "")])), "valkeeper-testkit (Normal)");
    one(&arrows(&with(&[("valkeeper-testkit", "xtask", "")])), "valkeeper-testkit must not depend on xtask");
}

#[test]
fn a_crate_without_a_row_is_found() {
    one(&arrows(&graph(&["valkeeper-new"], &[], &[])), "valkeeper-new has no row");
}

#[test]
fn io_deep_under_a_pure_crate_is_found_with_the_way_to_it() {
    let graph = with(&[
        ("valkeeper-plan", "valkeeper-model", ""),
        ("valkeeper-model", "serde", ""),
        ("serde", "tokio", ""),
    ]);
    one(&purity::trees(&graph, &["valkeeper-plan"]), "valkeeper-plan > valkeeper-model > serde > tokio");
}

#[test]
fn an_unknown_crate_under_a_pure_one_is_found() {
    one(&purity::trees(&with(&[("valkeeper-plan", "newcomer", "")]), PURE), "nobody has looked at it yet");
}

#[test]
fn tests_and_procedural_macros_may_do_io() {
    let graph = with(&[
        ("valkeeper-plan", "tokio", "dev"),
        ("valkeeper-plan", "serde_derive", ""),
        ("serde_derive", "syn", ""),
    ]);
    assert_eq!(purity::trees(&graph, PURE), [""; 0]);
}

#[test]
fn kube_outside_its_crates_is_found() {
    let graph = with(&[("valkeeper", "valkeeper-client", ""), ("valkeeper-client", "kube", "")]);
    let found = kube_stays_in_its_crates(&graph);
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(found.iter().any(|line| line.ends_with("valkeeper > valkeeper-client > kube")), "{found:?}");
}

#[test]
fn missing_lints_are_found() {
    let fine = "[package]\nname = \"a\"\n\n[lints]\nworkspace = true\n\n[dependencies]\n";
    let none = "[package]\nname = \"a\"\nversion.workspace = true\n";
    let elsewhere = "[lints]\n\n[dependencies.a]\nworkspace = true\n";
    let manifests = |text: &str| BTreeMap::from([("a".to_owned(), text.to_owned())]);
    assert_eq!(lints(&manifests(fine)), [""; 0]);
    one(&lints(&manifests(none)), "a: its Cargo.toml lacks");
    one(&lints(&manifests(elsewhere)), "a: its Cargo.toml lacks");
}
