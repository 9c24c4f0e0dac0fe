//! Reading the manifest file: YAML with a place in the file for everything that is wrong with it.

mod check;
mod read;
mod schema;
mod tree;

use crate::spec::{ClusterSpec, printable};
use serde::{Deserialize, Serialize};
use std::fmt;

/// A manifest that was understood.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    /// The cluster it describes. [`crate::spec::validate`] finds nothing wrong with it.
    pub spec: ClusterSpec,
    /// Fields that were understood and change nothing for local processes.
    pub without_effect: Vec<FieldNote>,
    /// Fields that may cost something the user does not expect.
    pub warnings: Vec<FieldNote>,
}

/// Something worth knowing about a field of an accepted manifest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FieldNote {
    /// The field, dotted.
    pub field: String,
    /// Its line, from 1; the line of what contains it if it is not in the file itself.
    pub line: usize,
    /// What is to be known.
    pub reason: String,
    /// What to do about it.
    pub hint: Option<String>,
}

/// One thing wrong with a manifest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Problem {
    /// The file's name as the caller gave it.
    pub file: String,
    /// From 1. For a missing field: the line of what should contain it.
    pub line: usize,
    /// From 1.
    pub column: usize,
    /// The field, dotted; empty when it is about the whole file.
    pub field: String,
    /// What is wrong.
    pub reason: String,
    /// What to do about it.
    pub hint: Option<String>,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: ", printable(&self.file), self.line)?;
        if !self.field.is_empty() {
            write!(f, "{}: ", self.field)?;
        }
        f.write_str(&self.reason)?;
        self.hint.iter().try_for_each(|hint| write!(f, "\n  hint: {hint}"))
    }
}

/// Everything that is wrong with a manifest, in the order of the file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ManifestErrors {
    /// At least one.
    pub problems: Vec<Problem>,
    /// How many more there are: a file that is wrong throughout fills no screen.
    pub left_out: usize,
}

impl fmt::Display for ManifestErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, problem) in self.problems.iter().enumerate() {
            let separator = if i > 0 { "\n" } else { "" };
            write!(f, "{separator}{problem}")?;
        }
        if self.left_out > 0 {
            write!(f, "\nand {} more", self.left_out)?;
        }
        Ok(())
    }
}

impl std::error::Error for ManifestErrors {}

/// The largest file that is looked at. A manifest with every field set has a hundredth of it.
const MAX_BYTES: usize = 1 << 20;
/// The most problems that are listed.
const MAX_PROBLEMS: usize = 50;

/// Reads a manifest. `file_name` appears in messages only.
pub fn parse(file_name: &str, text: &str) -> Result<Manifest, ManifestErrors> {
    let mut findings = check::Findings::default();
    let manifest = if text.len() > MAX_BYTES {
        let reason = format!("the file has {} bytes; a manifest has at most {MAX_BYTES}", text.len());
        findings.problem_at(tree::Place::START, "", reason, None);
        None
    } else {
        let document = tree::load(text, &mut findings);
        document.and_then(|root| read::manifest(&root, &mut findings))
    };
    let problems = findings.into_problems(file_name);
    match manifest {
        Some(manifest) if problems.is_empty() => Ok(manifest),
        _ => {
            let left_out = problems.len().saturating_sub(MAX_PROBLEMS);
            Err(ManifestErrors { problems: problems.into_iter().take(MAX_PROBLEMS).collect(), left_out })
        }
    }
}
