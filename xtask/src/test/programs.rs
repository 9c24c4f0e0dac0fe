//! Which test programs there are: those of `testkit`, which mostly wait for real servers, and all others, which mostly calculate.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use crate::command;

/// The package whose test programs are scenarios.
const SCENARIOS: &str = "valkeeper-testkit";

/// Names of test programs.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Programs {
    pub(super) scenarios: BTreeSet<String>,
    pub(super) others: BTreeSet<String>,
}

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    targets: Vec<Target>,
}

#[derive(Deserialize)]
struct Target {
    name: String,
    kind: Vec<String>,
    test: bool,
}

impl Programs {
    pub(super) fn of(root: &Path) -> Result<Self> {
        let mut cargo = Command::new("cargo");
        let json = command::output(cargo.current_dir(root).args([
            "metadata",
            "--no-deps",
            "--format-version",
            "1",
            "--locked",
        ]))?;
        let found = Self::read(&json)?;
        // A name in both would run its program twice and beside itself.
        let both: Vec<_> = found.scenarios.intersection(&found.others).collect();
        ensure!(
            both.is_empty(),
            "test programs of {SCENARIOS} and of another package have one name: {both:?}"
        );
        Ok(found)
    }

    fn read(json: &str) -> Result<Self> {
        let metadata: Metadata =
            serde_json::from_str(json).context("cannot read what `cargo metadata` said")?;
        let mut found = Self::default();
        for package in metadata.packages {
            let names = if package.name == SCENARIOS { &mut found.scenarios } else { &mut found.others };
            let programs = package
                .targets
                .into_iter()
                .filter(|target| target.test && target.kind.iter().any(|kind| kind == "test"));
            names.extend(programs.map(|target| target.name));
        }
        Ok(found)
    }
}

/// As arguments for cargo.
pub(super) fn named(programs: &BTreeSet<String>) -> impl Iterator<Item = &str> {
    programs.iter().flat_map(|name| ["--test", name.as_str()])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_told_apart_by_their_package() {
        let target = |name: &str, kind: &str, test: bool| {
            format!(r#"{{"name": "{name}", "kind": ["{kind}"], "test": {test}}}"#)
        };
        let package = |name: &str, targets: &[String]| {
            format!(r#"{{"name": "{name}", "targets": [{}]}}"#, targets.join(", "))
        };
        let json = format!(
            r#"{{"packages": [{}, {}]}}"#,
            package(
                SCENARIOS,
                &[
                    target("scenarios", "test", true),
                    target("kubernetes", "test", false),
                    target("kit", "lib", true)
                ]
            ),
            package("valkeeper-plan", &[target("decisions", "test", true)]),
        );
        let found = Programs::read(&json).unwrap();
        assert_eq!(named(&found.scenarios).collect::<Vec<_>>(), ["--test", "scenarios"]);
        assert_eq!(named(&found.others).collect::<Vec<_>>(), ["--test", "decisions"]);
    }
}
