//! One function per rule, over the path and the text of one file.

use crate::rust_text;

const MAX_LINES: usize = 500;

/// Folders whose Rust is ours to shape.
const RUST: &[&str] = &["crates/", "testkit/", "bench/", "xtask/"];

/// Names that say nothing about what is inside.
const EMPTY_NAMES: &[&str] =
    &["util", "utils", "common", "helper", "helpers", "manager", "managers", "misc", "shared", "stuff"];

/// Say primary and replica (design §1).
const BANNED: &[&str] = &["master", "slave", "leader"];

/// Identifiers that carry a banned word because an interface of the outside world has it: file, identifier, reason.
/// A string literal, such as a field of INFO, needs no row.
const OUTSIDE_WORDS: &[(&str, &str, &str)] = &[];

/// Only in pieces here, as this file is checked as well.
const MACHINE_PATHS: &[&str] = &[concat!("/wo", "rk/"), concat!("/ro", "ot/")];

/// Hosts of package registries: a user has mirrors, the clients know them.
const REGISTRY_HOSTS: &[&str] = &[
    concat!("pypi", ".org"),
    concat!("pythonhosted", ".org"),
    concat!("static.crates", ".io"),
    concat!("index.crates", ".io"),
    concat!("://crates", ".io"),
    concat!("://www.crates", ".io"),
    concat!("npmjs", ".org"),
    concat!("proxy.golang", ".org"),
    concat!("sum.golang", ".org"),
    concat!("maven.apache", ".org"),
    concat!("repo1.maven", ".org"),
    concat!("deb.debian", ".org"),
    concat!("security.debian", ".org"),
    concat!("snapshot.debian", ".org"),
];

pub(super) fn is_rust(path: &str) -> bool {
    path.strip_suffix(".rs").is_some() && RUST.iter().any(|folder| path.starts_with(folder))
}

pub(super) fn check(path: &str, text: &str) -> Vec<String> {
    let mut wrong = places(path, text);
    if path.contains(".snap.new") || path.ends_with(".pending-snap") {
        wrong.push(format!("{path}: a golden that nobody reviewed: accept it or fix the code"));
    }
    if is_rust(path) {
        let code = rust_text::code_only(text);
        wrong.extend(size(path, text));
        wrong.extend(module_names(path, &code));
        wrong.extend(exceptions(path, &code));
        wrong.extend(unsafe_code(path, text, &code));
        wrong.extend(words(path, &code));
    }
    wrong
}

fn size(path: &str, text: &str) -> Option<String> {
    let lines = text.lines().count();
    (lines > MAX_LINES)
        .then(|| format!("{path}: {lines} lines, at most {MAX_LINES}: split it by what it decides"))
}

fn module_names(path: &str, code: &str) -> Vec<String> {
    let parts = path.split('/').map(|part| (0, part.trim_end_matches(".rs")));
    let names: Vec<(usize, &str)> = rust_text::names(code).collect();
    let inline = names.windows(2).filter(|pair| pair[0].1 == "mod").map(|pair| pair[1]);
    parts
        .chain(inline)
        .filter(|(_, name)| EMPTY_NAMES.contains(name))
        .map(|(line, name)| format!("{path}:{line}: module `{name}` says nothing: name what it is for"))
        .collect()
}

/// `#[allow(..)]` stays silent when its cause is gone; `#[expect(..)]` does not. Both need a reason.
fn exceptions(path: &str, code: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    for word in ["allow", "expect"] {
        for start in ["#[", "#!["] {
            let attribute = format!("{start}{word}(");
            for (at, _) in code.match_indices(&attribute) {
                let inside = &code[at + attribute.len()..];
                let end = inside.find(")]").unwrap_or(inside.len());
                if !inside[..end].contains("reason") {
                    let line = code[..at].matches('\n').count() + 1;
                    wrong.push(format!("{path}:{line}: `{attribute}..)]` without a reason"));
                }
            }
        }
    }
    wrong
}

fn unsafe_code(path: &str, text: &str, code: &str) -> Vec<String> {
    let lines: Vec<&str> = text.lines().collect();
    let argued =
        |line: usize| lines[line.saturating_sub(5)..line].iter().any(|line| line.contains("SAFETY:"));
    rust_text::names(code)
        .filter(|(line, name)| *name == "unsafe" && !argued(*line))
        .map(|(line, _)| format!("{path}:{line}: unsafe without a `SAFETY:` comment above it"))
        .collect()
}

fn words(path: &str, code: &str) -> Vec<String> {
    let file = path.rsplit('/').next().unwrap_or(path);
    std::iter::once((0, file))
        .chain(rust_text::names(code))
        .filter(|(_, name)| {
            let lower = name.to_lowercase();
            BANNED.iter().any(|word| lower.contains(word)) && !is_outside_word(path, name)
        })
        .map(|(line, name)| format!("{path}:{line}: `{name}`: say primary or replica (design §1)"))
        .collect()
}

fn is_outside_word(path: &str, name: &str) -> bool {
    OUTSIDE_WORDS.iter().any(|(file, word, _)| *file == path && *word == name)
}

fn places(path: &str, text: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let at = format!("{path}:{}", index + 1);
        for machine in MACHINE_PATHS.iter().filter(|place| has_absolute(line, place)) {
            wrong.push(format!("{at}: {machine} is a path of one machine"));
        }
        for host in REGISTRY_HOSTS.iter().filter(|host| line.contains(**host)) {
            wrong.push(format!("{at}: {host} is a registry's host: use its ordinary client"));
        }
    }
    wrong
}

/// `docs/x/` is no absolute path: something stands before its slash.
fn has_absolute(line: &str, path: &str) -> bool {
    line.match_indices(path).any(|(at, _)| {
        line[..at]
            .chars()
            .next_back()
            .is_none_or(|before| !before.is_alphanumeric() && !"_-.~})*".contains(before))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "crates/plan/src/steps.rs";

    fn one(found: &[String], needle: &str) {
        assert!(
            found.len() == 1 && found[0].contains(needle),
            "wanted one finding with {needle}, got {found:?}"
        );
    }

    #[test]
    fn a_file_of_500_lines_passes_and_one_more_does_not() {
        assert_eq!(check(FILE, &"\n".repeat(MAX_LINES)), [""; 0]);
        one(&check(FILE, &"\n".repeat(MAX_LINES + 1)), "501 lines");
        assert_eq!(check("docs/long.md", &"\n".repeat(MAX_LINES + 1)), [""; 0]);
    }

    #[test]
    fn modules_named_after_nothing_are_found() {
        one(&check("crates/plan/src/utils.rs", ""), "`utils`");
        one(&check("testkit/tests/common/mod.rs", ""), "`common`");
        one(&check(FILE, "fn f() {}\nmod helpers {}"), "steps.rs:2: module `helpers`");
        assert_eq!(check(FILE, "let manager = 1;"), [""; 0]);
    }

    #[test]
    fn exceptions_need_a_reason() {
        one(&check(FILE, "\n#[allow(dead_code)]\nfn f() {}"), "steps.rs:2");
        one(&check(FILE, "#![allow(clippy::pedantic)]"), "steps.rs:1");
        one(&check(FILE, "#[expect(dead_code)]"), "expect");
        assert_eq!(check(FILE, "#[expect(dead_code, reason = \"read by serde\")]"), [""; 0]);
    }

    #[test]
    fn unsafe_needs_its_argument() {
        one(&check(FILE, "fn f() {\n    unsafe { g() }\n}"), "steps.rs:2");
        assert_eq!(check(FILE, "// SAFETY: g only reads.\nunsafe { g() }"), [""; 0]);
        assert_eq!(check(FILE, "// unsafe in prose\n#![forbid(unsafe_code)]"), [""; 0]);
    }

    #[test]
    fn banned_words_are_found_in_names_only() {
        one(&check(FILE, "let the_master = 1;"), "`the_master`");
        one(&check(FILE, "enum Role { Slave }"), "`Slave`");
        one(&check("crates/plan/src/leader.rs", ""), "`leader.rs`");
        assert_eq!(check(FILE, "// the master\nlet field = \"master_link_status\";"), [""; 0]);
    }

    #[test]
    fn paths_of_one_machine_and_registry_hosts_are_found_anywhere() {
        one(&check("docs/a.md", &format!("cd {}x", MACHINE_PATHS[0])), "docs/a.md:1");
        one(&check("docs/a.md", &format!("`{}x`", MACHINE_PATHS[1])), "path of one machine");
        assert_eq!(
            check("docs/a.md", &format!("docs{}x ../net{}", MACHINE_PATHS[0], MACHINE_PATHS[1])),
            [""; 0]
        );
        for host in REGISTRY_HOSTS {
            one(&check("ci.yaml", &format!("x https{host}/simple")), "registry");
        }
        assert_eq!(check("a.md", "The crate is on crates.io and PyPI."), [""; 0]);
    }

    #[test]
    fn a_golden_nobody_reviewed_is_found() {
        one(&check("crates/sim/src/snapshots/a.snap.new", ""), "nobody reviewed");
    }
}
