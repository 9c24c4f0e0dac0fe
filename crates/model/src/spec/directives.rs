//! Which directives of the server's configuration a user may set. The others are Valkeeper's: set behind its back they
//! would break the cluster or open it.

use super::validate::FieldProblem;
use super::{printable, rules};
use std::collections::BTreeMap;

/// Directives of Valkeeper (`*` stands for any ending), and what to do instead. The first match counts.
const OWNED: &[(&str, &str)] = &[
    ("port", ADDRESS),
    ("bind", ADDRESS),
    ("bind-source-addr", ADDRESS),
    ("unixsocket*", ADDRESS),
    ("replica-announce-*", ADDRESS),
    ("slave-announce-*", ADDRESS),
    ("cluster-announce-*", ADDRESS),
    ("cluster-port", ADDRESS),
    ("cluster-node-timeout", "set spec.nodeTimeout, for example 15s"),
    ("cluster-*", "Valkeeper forms the cluster and keeps its state; remove it"),
    ("dir", FILES),
    ("dbfilename", FILES),
    ("logfile", FILES),
    ("pidfile", FILES),
    ("appenddirname", FILES),
    ("appendfilename", FILES),
    ("daemonize", PROCESS),
    ("supervised", PROCESS),
    ("shutdown-on-sig*", PROCESS),
    ("appendonly", "set spec.persistence to aof, rdb or none"),
    ("save", "set spec.persistence to aof, rdb or none"),
    ("requirepass", PASSWORD),
    ("masterauth", PASSWORD),
    ("primaryauth", PASSWORD),
    ("masteruser", PASSWORD),
    ("primaryuser", PASSWORD),
    ("aclfile", USERS),
    ("user", USERS),
    ("acl-pubsub-default", USERS),
    ("replicaof", ROLES),
    ("slaveof", ROLES),
    ("replica-priority", ROLES),
    ("slave-priority", ROLES),
    ("min-replicas-*", "set spec.minSyncReplicas"),
    ("min-slaves-*", "set spec.minSyncReplicas"),
    ("tls-*", "TLS is not supported yet; remove it"),
    ("include", "write the directives of that file here"),
    (
        "rename-command",
        "Valkeeper needs the commands under their own names; restrict users with ACL rules instead",
    ),
];

const ADDRESS: &str = "Valkeeper gives every server its address and ports; remove it";
const FILES: &str = "Valkeeper gives every server its directory and files; remove it";
const PROCESS: &str = "Valkeeper starts and stops the servers; remove it";
const PASSWORD: &str = "name a Secret that holds the password in spec.authSecret.name";
const USERS: &str =
    "users and ACL rules are not supported yet; the password is set with spec.authSecret.name";
const ROLES: &str = "Valkeeper decides which server is primary; remove it";

/// Directives that fit a prefix above but only tune a server: how it behaves while slots are missing, and buffers.
const TUNING: &[&str] = &[
    "cluster-require-full-coverage",
    "cluster-allow-reads-when-down",
    "cluster-allow-pubsubshard-when-down",
    "cluster-link-sendbuf-limit",
    "cluster-databases",
    "cluster-slot-stats-enabled",
    "cluster-message-gossip-perc",
];

/// The directives that a user may not set, `*` standing for any ending, and those that fit such a pattern and may be set
/// all the same. For checks in other languages.
pub fn reserved_directives() -> (impl Iterator<Item = &'static str>, &'static [&'static str]) {
    (OWNED.iter().map(|(pattern, _)| *pattern), TUNING)
}

/// The one spelling of a directive's name; the engine ignores case.
pub fn normal_name(name: &str) -> String {
    name.trim().to_ascii_lowercase()
}

/// Is this directive Valkeeper's? Whoever sets it on a server sets it behind Valkeeper's back.
pub fn is_reserved(name: &str) -> bool {
    owner_hint(name).is_some()
}

fn owner_hint(name: &str) -> Option<&'static str> {
    if TUNING.contains(&name) {
        return None;
    }
    let fits =
        |pattern: &str| pattern.strip_suffix('*').map_or(pattern == name, |start| name.starts_with(start));
    OWNED.iter().find(|(pattern, _)| fits(pattern)).map(|(_, hint)| *hint)
}

/// What is wrong with `spec.redis`. `memory_set`: does `spec.memory` decide about `maxmemory` and its policy?
pub(super) fn check(directives: &BTreeMap<String, String>, memory_set: bool) -> Vec<FieldProblem> {
    directives.iter().filter_map(|(name, value)| check_one(name, value, memory_set)).collect()
}

fn check_one(name: &str, value: &str, memory_set: bool) -> Option<FieldProblem> {
    let problem = |reason: String, hint: &str| {
        Some(FieldProblem::new(format!("spec.redis.{}", printable(name)), reason).hint(hint))
    };
    let named_well = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '_' | '.');
    // `#` at the start would make it a comment, a blank would begin the value: only plain names may pass.
    if name.is_empty() || !name.chars().all(named_well) {
        let field = format!("spec.redis.{}", printable(name));
        return Some(FieldProblem { field, ..rules::DIRECTIVE_NAME.broken(&[&printable(name)]) });
    }
    if let Some(hint) = owner_hint(name) {
        return problem(rules::DIRECTIVE_RESERVED.reason.to_owned(), hint);
    }
    if memory_set && matches!(name, "maxmemory" | "maxmemory-policy") {
        let field = if name == "maxmemory" { "maxMemory" } else { "maxMemoryPolicy" };
        return problem(
            rules::DIRECTIVE_BESIDE_MEMORY.reason.to_owned(),
            &format!("set spec.memory.{field} and remove this, or remove spec.memory"),
        );
    }
    // A line break would start another directive, of any kind.
    if let Some(bad) = value.chars().find(|c| c.is_control() && *c != '\t') {
        return problem(
            format!("the value holds the control character `{}`", bad.escape_debug()),
            "a value is one line of text",
        );
    }
    if !quotes_balance(value) {
        return problem(
            "the quotes in the value do not match: the server would refuse to start".to_owned(),
            "close every quote and put a blank after it",
        );
    }
    None
}

/// Would the engine split this line into words? (`sdssplitargs`: a closing quote must end its word.)
fn quotes_balance(value: &str) -> bool {
    let mut rest = value.chars().peekable();
    while let Some(c) = rest.next() {
        if c != '"' && c != '\'' {
            continue;
        }
        loop {
            match rest.next() {
                None => return false,
                // Between single quotes a backslash protects only the quote itself.
                Some('\\') if c == '"' || rest.peek() == Some(&'\'') => {
                    rest.next();
                }
                Some(end) if end == c => break,
                Some(_) => {}
            }
        }
        if rest.peek().is_some_and(|after| !after.is_ascii_whitespace()) {
            return false;
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_are_split_as_the_engine_does() {
        for value in [
            "",
            "yes",
            r#""""#,
            r#""a b" c"#,
            r#""a\"b""#,
            "'a\\'b'",
            "K$Elg",
            "normal 0 0 0 replica 256mb 64mb 60",
        ] {
            assert!(quotes_balance(value), "{value}");
        }
        for value in ["\"", "it's", r#""a"b"#, r#""a\""#, "'a\\'"] {
            assert!(!quotes_balance(value), "{value}");
        }
    }

    #[test]
    fn directives_that_only_tune_pass_and_others_of_the_family_do_not() {
        assert_eq!(owner_hint("cluster-require-full-coverage"), None);
        assert_eq!(owner_hint("appendfsync"), None);
        assert_eq!(owner_hint("maxclients"), None);
        assert!(owner_hint("cluster-enabled").is_some());
        assert!(owner_hint("tls-port").is_some());
        assert!(owner_hint("cluster-node-timeout").is_some_and(|hint| hint.contains("spec.nodeTimeout")));
    }
}
