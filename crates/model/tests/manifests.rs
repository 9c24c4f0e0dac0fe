//! Manifests as users write them, right and wrong. `UPDATE=1 cargo test -p valkeeper-model --test manifests` rewrites
//! the expected texts; the lines of the problems are checked against the marks in the manifests all the same.

#![allow(clippy::unwrap_used, reason = "a test that panics has failed, which is what it should do")]

use proptest::prelude::*;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use valkeeper_model::manifest::{Manifest, ManifestErrors, Target, parse, parse_for, read_object};
use valkeeper_model::spec;

/// At the end of a line that has a mistake.
const MARK: &str = "# wrong";

fn manifests(kind: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/manifests").join(kind);
    let mut files: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

fn yaml_files(kind: &str) -> impl Iterator<Item = (PathBuf, String)> {
    let yaml = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "yaml");
    manifests(kind).into_iter().filter(yaml).map(|path| {
        let text = fs::read_to_string(&path).unwrap();
        (path, text)
    })
}

fn name(path: &Path) -> String {
    path.file_name().unwrap().to_string_lossy().into_owned()
}

/// Compares with the expected text beside the manifest.
fn compare(path: &Path, extension: &str, found: &str, differences: &mut Vec<String>) {
    let golden = path.with_extension(extension);
    if std::env::var_os("UPDATE").is_some() {
        fs::write(&golden, found).unwrap();
    }
    let expected = fs::read_to_string(&golden).unwrap_or_default();
    if expected != found {
        differences.push(format!("{}: expected\n{expected}\nfound\n{found}", name(path)));
    }
}

fn marked_lines(text: &str) -> BTreeSet<usize> {
    let lines = text.lines().enumerate().filter(|(_, line)| line.trim_end().ends_with(MARK));
    let marked: BTreeSet<_> = lines.map(|(i, _)| i + 1).collect();
    // What is wrong with the file as a whole is told on its first line.
    if marked.is_empty() { BTreeSet::from([1]) } else { marked }
}

#[test]
fn bad_manifests_are_refused_with_line_field_and_hint() {
    let (mut differences, mut count) = (Vec::new(), 0);
    for (path, text) in yaml_files("bad") {
        count += 1;
        let errors = match parse(&name(&path), &text) {
            Ok(manifest) => {
                differences.push(format!("{}: accepted as {manifest:?}", name(&path)));
                continue;
            }
            Err(errors) => errors,
        };
        compare(&path, "err", &format!("{errors}\n"), &mut differences);
        let lines: BTreeSet<_> = errors.problems.iter().map(|problem| problem.line).collect();
        let marked = marked_lines(&text);
        if lines != marked {
            differences.push(format!("{}: lines {lines:?}, marked are {marked:?}", name(&path)));
        }
    }
    assert!(count >= 40, "only {count} bad manifests were found");
    assert!(differences.is_empty(), "{}", differences.join("\n\n"));
}

#[test]
fn good_manifests_are_understood() {
    let (mut differences, mut count) = (Vec::new(), 0);
    for (path, text) in yaml_files("good") {
        count += 1;
        match parse(&name(&path), &text) {
            Ok(manifest) => {
                assert_eq!(spec::validate(&manifest.spec), [], "{}", name(&path));
                let json = serde_json::to_string_pretty(&manifest).unwrap();
                compare(&path, "json", &format!("{json}\n"), &mut differences);
            }
            Err(errors) => differences.push(errors.to_string()),
        }
    }
    assert!(count >= 5, "only {count} good manifests were found");
    assert!(differences.is_empty(), "{}", differences.join("\n\n"));
}

#[test]
fn no_expected_text_is_left_over() {
    for kind in ["bad", "good"] {
        for path in manifests(kind) {
            assert!(path.with_extension("yaml").exists(), "{} has no manifest", path.display());
        }
    }
}

#[test]
fn the_examples_are_good() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples");
    let mut count = 0;
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "yaml") {
            count += 1;
            let manifest = parse(&name(&path), &fs::read_to_string(&path).unwrap()).unwrap();
            assert_eq!(manifest.warnings, [], "{}", path.display());
        }
    }
    assert!(count > 0);
}

#[test]
fn a_large_file_is_not_read() {
    let text = format!("# {}\n", "x".repeat(1 << 20));
    let errors = parse("big.yaml", &text).unwrap_err();
    assert!(errors.to_string().starts_with("big.yaml:1: the file has 1048579 bytes"), "{errors}");
}

/// The most that fits into the size limit, in shapes that cost most. Not a measurement: something that grew with the
/// square of the size would take minutes.
#[test]
fn the_largest_files_are_answered_soon() {
    let head =
        "apiVersion: redis.io/v1\nkind: RedisCluster\nmetadata: {name: demo}\nspec:\n  mode: cluster\n";
    let lines =
        |count: usize, line: &dyn Fn(usize) -> String| (0..count).map(line).collect::<Vec<_>>().concat();
    let unknown = lines(24_000, &|i| format!("  unknown-field-number-{i}: 1\n"));
    let anchors = lines(24_000, &|i| format!("  - &a{} [x, *a{i}]\n", i + 1));
    let bodies = [
        unknown,
        "  shards: 3\n".repeat(24_000),
        format!("  tolerations:\n  - &a0 x\n{anchors}"),
        format!("  redis: {{\"{}\": x}}\n", "k".repeat(1_000_000)),
        "[".repeat(1_000_000),
        "- ".repeat(500_000),
    ];
    let start = std::time::Instant::now();
    for body in bodies {
        parse("big.yaml", &format!("{head}{body}")).unwrap_err();
    }
    assert!(start.elapsed().as_secs() < 30, "took {:?}", start.elapsed());
}

#[test]
fn problems_survive_json() {
    let errors = parse("a.yaml", "kind: RedisCluster").unwrap_err();
    let json = serde_json::to_string(&errors).unwrap();
    assert_eq!(serde_json::from_str::<ManifestErrors>(&json).unwrap(), errors);
}

/// What must hold for any text at all.
fn check_any(text: &str) {
    match parse("any.yaml", text) {
        Ok(manifest) => assert_eq!(spec::validate(&manifest.spec), []),
        Err(errors) => {
            assert!(!errors.problems.is_empty());
            // A carriage return of its own ends a line in YAML too.
            let lines = text.split(['\n', '\r']).count();
            for problem in &errors.problems {
                assert!((1..=lines + 1).contains(&problem.line) && problem.column >= 1, "{problem:?}");
            }
            let shown = errors.to_string();
            assert!(shown.chars().all(|c| c == '\n' || !c.is_control()), "{shown:?}");
        }
    }
}

fn everything() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/manifests/good/everything.yaml");
    fs::read_to_string(path).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_text_is_answered(text in ".*|[-:?&*!|>%@{}\\[\\], \\n\\t\"'#a0~.]{0,200}") {
        check_any(&text);
    }

    #[test]
    fn any_mutation_of_a_manifest_is_answered(
        cuts in prop::collection::vec((any::<prop::sample::Index>(), 0usize..12, "[-:?&*!|>{}\\[\\], \\n\\t\"'#a0~.]{0,6}"), 1..4)
    ) {
        let mut text: Vec<char> = everything().chars().collect();
        for (at, length, insert) in cuts {
            let from = at.index(text.len());
            let to = (from + length).min(text.len());
            text.splice(from..to, insert.chars());
        }
        check_any(&text.into_iter().collect::<String>());
    }

    #[test]
    fn any_lines_of_a_manifest_are_answered(kept in prop::collection::vec(any::<bool>(), 80)) {
        let text = everything();
        let lines: Vec<_> = text.lines().zip(&kept).filter(|(_, keep)| **keep).map(|(line, _)| line).collect();
        check_any(&lines.join("\n"));
    }
}

#[test]
fn on_kubernetes_the_same_manifest_means_more() {
    let local = parse("everything.yaml", &everything()).unwrap();
    let pods = parse_for(Target::Kubernetes, "everything.yaml", &everything()).unwrap();
    assert_eq!(pods.spec, local.spec);
    assert_eq!(pods.kubernetes, local.kubernetes);
    let notes = |manifest: &Manifest| -> BTreeSet<String> {
        manifest.without_effect.iter().map(|note| format!("{}: {}", note.field, note.reason)).collect()
    };
    assert!(notes(&local).iter().any(|note| note.starts_with("spec.storage:")));
    let not_yet =
        ["spec.backupCredentialsSecret: not supported yet", "spec.primaryIsolation: not supported yet"];
    assert_eq!(notes(&pods), not_yet.map(str::to_owned).into());
}

#[test]
fn what_kubernetes_cannot_do_is_refused_there_only() {
    let head = "apiVersion: redis.io/v1\nkind: RedisCluster\nmetadata: {name: demo}\n";
    for (field, line) in [
        ("spec.storage.storageClassName", "storage: {type: emptyDir, storageClassName: fast}"),
        ("spec.storage.size", "storage: {size: 0}"),
        ("spec.imageName", "imageName: \"\""),
    ] {
        let text = format!("{head}spec:\n  mode: cluster\n  {line}\n");
        parse("a.yaml", &text).unwrap();
        let errors = parse_for(Target::Kubernetes, "a.yaml", &text).unwrap_err();
        let found: Vec<_> =
            errors.problems.iter().map(|problem| (problem.field.as_str(), problem.line)).collect();
        assert_eq!(found, [(field, 6)]);
    }
}

/// An object has what a file says, and no lines.
#[test]
fn objects_are_read_as_files_are() {
    for (path, text) in yaml_files("good").chain(yaml_files("bad")) {
        // JSON is YAML; what is no JSON cannot be an object.
        let Ok(object) = serde_json::from_str::<serde_json::Value>(&text) else { continue };
        let file = parse_for(Target::Kubernetes, &name(&path), &text);
        assert_eq!(read_object(&object).map(|read| read.spec).ok(), file.map(|read| read.spec).ok());
    }
    let object = serde_json::json!({
        "apiVersion": "redis.io/v1", "kind": "RedisCluster", "metadata": {"name": "demo"},
        "spec": {"mode": "cluster", "shard": 3, "memory": null, "nodeTimeout": 15,
                 "redis": {"a": "1", "A": "2"}, "storage": {"size": 1.5}}
    });
    let refused = read_object(&object).unwrap_err().to_string();
    assert!(!refused.contains("line"), "{refused}");
    assert_eq!(
        refused,
        "spec.nodeTimeout: `15` is not a duration\n  hint: write a number with a unit (ms, s, m, h), for example 15s or 500ms\n\
         spec.shard: unknown field\n  hint: did you mean `shards`?\n\
         spec.redis.a: the same directive as `A`\n  hint: remove one of them"
    );
}
