//! docs/dependencies.md says of each dependency of the workspace why it is here: no more, no fewer.

use std::collections::BTreeSet;

pub(super) fn check(manifest: &str, doc: &str) -> Vec<String> {
    let used: BTreeSet<&str> = third_party(manifest).collect();
    let explained: BTreeSet<&str> = doc.lines().filter_map(explained).collect();
    let missing = used
        .difference(&explained)
        .map(|name| format!("docs/dependencies.md: no line says why {name} is here"));
    let stale = explained
        .difference(&used)
        .map(|name| format!("docs/dependencies.md: {name} is no dependency any more"));
    missing.chain(stale).collect()
}

fn third_party(manifest: &str) -> impl Iterator<Item = &str> {
    let table = manifest.lines().skip_while(|line| line.trim() != "[workspace.dependencies]").skip(1);
    table
        .take_while(|line| !line.starts_with('['))
        .filter(|line| !line.trim_start().starts_with('#'))
        .filter_map(|line| line.split_once('=').map(|(name, _)| name.trim()))
        .filter(|name| !name.starts_with("valkeeper"))
}

/// A row of the table: | `name` | why |
fn explained(line: &str) -> Option<&str> {
    let name = line.strip_prefix("| `")?.split('`').next()?;
    let why = line.split('|').nth(2)?;
    (!why.trim().is_empty()).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MANIFEST: &str = "[workspace]\n[workspace.dependencies]\nvalkeeper-model = { path = \"m\" }\n\nserde = \"1\"\n# no = 1\nrand = { version = \"0\" }\n[profile.dev]\ndebug = 1\n";

    #[test]
    fn each_dependency_has_one_reason() {
        assert_eq!(
            check(MANIFEST, "| crate | why |\n| --- | --- |\n| `rand` | x |\n| `serde` | y |\n"),
            [""; 0]
        );
        let found = check(MANIFEST, "| `rand` |  |\n| `serde` | y |\n| `gone` | z |\n");
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(found[0].contains("rand") && found[1].contains("gone"), "{found:?}");
    }
}
