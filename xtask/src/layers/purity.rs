//! Pure means: no clock, no I/O, no thread, no randomness but what the caller hands in, and no order that changes from
//! run to run. Checked on the crates below a pure one and on its own source.

use crate::rust_text;

use super::graph::Graph;
use super::table::{DENIED, JUDGED, LAYERS};

/// Names that betray I/O, a clock, or an order that differs from run to run.
const NAMES: &[(&str, &str)] = &[
    ("HashMap", "its order differs from run to run: BTreeMap"),
    ("HashSet", "its order differs from run to run: BTreeSet"),
    ("RandomState", "its order differs from run to run"),
    ("SystemTime", "time is an argument"),
    ("Instant", "time is an argument"),
    ("TcpStream", "a socket"),
    ("TcpListener", "a socket"),
    ("UdpSocket", "a socket"),
    ("UnixStream", "a socket"),
    ("ToSocketAddrs", "asks the name service"),
    ("thread_rng", "randomness that no seed governs"),
    ("from_os_rng", "randomness that no seed governs"),
    ("println", "writes to the terminal"),
    ("eprintln", "writes to the terminal"),
];

/// Modules, also where `use a::{b, c}` brings them in.
const MODULES: &[(&str, &str, &str)] = &[
    ("std", "fs", "files"),
    ("std", "thread", "threads"),
    ("std", "process", "processes"),
    ("std", "env", "the environment"),
    ("rand", "rng", "randomness that no seed governs"),
    ("rand", "random", "randomness that no seed governs"),
];

pub(super) fn trees(graph: &Graph, pure: &[&str]) -> Vec<String> {
    let mut wrong = Vec::new();
    for root in pure {
        for name in graph.tree(root) {
            let why = if let Some((_, why)) = DENIED.iter().find(|(pattern, _)| matches(pattern, name)) {
                (*why).to_owned()
            } else if JUDGED.iter().any(|(judged, _)| *judged == name)
                || LAYERS.iter().any(|(own, _)| *own == name)
            {
                continue;
            } else {
                "nobody has looked at it yet: judge it in xtask/src/layers/table.rs".to_owned()
            };
            let path = graph.path_to(root, |found| found == name).unwrap_or_default();
            wrong.push(format!("{root} must stay pure, but has {name} ({why}): {}", path.join(" > ")));
        }
    }
    wrong
}

fn matches(pattern: &str, name: &str) -> bool {
    pattern.strip_suffix('*').map_or(pattern == name, |start| name.starts_with(start))
}

pub(super) fn source(path: &str, text: &str) -> Vec<String> {
    if path.ends_with("/tests.rs") {
        return Vec::new();
    }
    let code = rust_text::code_only(text);
    let code = rust_text::before_tests(&code);
    let mut wrong = Vec::new();
    for (line, name) in rust_text::names(code) {
        if let Some((_, why)) = NAMES.iter().find(|(bad, _)| *bad == name) {
            wrong.push(format!("{path}:{line}: {name} in a pure crate: {why}"));
        }
    }
    for (krate, module, why) in MODULES {
        if reaches(code, krate, module) {
            wrong.push(format!("{path}: {krate}::{module} in a pure crate: {why}"));
        }
    }
    wrong
}

/// Whether the code writes `krate::module` or `krate::{.., module, ..}`.
fn reaches(code: &str, krate: &str, module: &str) -> bool {
    let squeezed: String =
        code.split_whitespace().collect::<Vec<_>>().join(" ").replace(" ::", "::").replace(":: ", "::");
    let prefix = format!("{krate}::");
    squeezed.match_indices(&prefix).any(|(at, _)| {
        let own = squeezed[..at].chars().next_back().is_none_or(|c| !c.is_alphanumeric() && c != '_');
        let rest = &squeezed[at + prefix.len()..];
        own && match rest.strip_prefix('{') {
            Some(group) => first_segments(group).any(|segment| segment == module),
            None => first_segment(rest) == module,
        }
    })
}

fn first_segment(path: &str) -> &str {
    let path = path.trim_start();
    path.find(|c: char| !c.is_alphanumeric() && c != '_').map_or(path, |end| &path[..end])
}

/// The first segment of each member of a use group, up to its closing brace.
fn first_segments(group: &str) -> impl Iterator<Item = &str> {
    let mut starts = vec![0];
    let mut depth = 1;
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 1 => starts.push(at + 1),
            _ => {}
        }
        if depth == 0 {
            break;
        }
    }
    starts.into_iter().map(|start| first_segment(&group[start..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn impure_code_is_found_with_its_line() {
        let found = source("crates/plan/src/a.rs", "fn f() {}\nuse std::collections::{BTreeMap, HashMap};\n");
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].starts_with("crates/plan/src/a.rs:2: HashMap"), "{found:?}");
    }

    #[test]
    fn modules_are_found_however_they_are_imported() {
        for bad in [
            "std::fs::read(p)",
            "use std::{\n    collections::{BTreeMap, BTreeSet},\n    fs,\n};",
            "use std :: thread;",
            "std::time::Instant::now()",
            "std::net::TcpStream::connect(a)",
            "let mut r = rand::rng();",
            "let t = SystemTime::now();",
        ] {
            assert_eq!(source("a.rs", bad).len(), 1, "{bad}");
        }
    }

    #[test]
    fn pure_code_prose_and_tests_pass() {
        for good in [
            "use std::net::IpAddr; use std::collections::BTreeMap;",
            "use rand::{Rng, rngs::StdRng};",
            "// std::fs and HashMap\nlet s = \"SystemTime\";",
            "use std::{fmt, collections::{self, fs}};",
            "fn f() {}\n#[cfg(test)]\nmod tests { use std::fs; }",
            "mystd::fs()",
        ] {
            assert_eq!(source("a.rs", good), [""; 0], "{good}");
        }
    }
}
