//! Reading the manifest file: YAML with a place in the file for everything that is wrong with it.

mod annotations;
mod check;
mod read;
mod read_kubernetes;
mod read_replica_mode;
pub mod schema;
mod tree;

pub use annotations::Annotated;

use crate::KubernetesSpec;
use crate::spec::{ClusterSpec, FieldProblem, printable};
use serde::{Deserialize, Serialize};
use std::fmt;

/// A manifest that was understood.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    /// The cluster it describes. [`crate::spec::validate`] finds nothing wrong with it.
    pub spec: ClusterSpec,
    /// What it says of pods and volumes.
    pub kubernetes: KubernetesSpec,
    /// What its annotations ask for.
    #[serde(default, skip_serializing_if = "Annotated::is_default")]
    pub annotated: Annotated,
    /// The image that it names, if it names one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// Fields that were understood and change nothing where the cluster is to run.
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

impl fmt::Display for FieldNote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field, self.reason)
    }
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
        crate::spec::say(f, &self.field, &self.reason, self.hint.as_deref())
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
        list(f, &self.problems, self.left_out)
    }
}

impl std::error::Error for ManifestErrors {}

/// A line each, and how many more there are.
fn list(f: &mut fmt::Formatter<'_>, problems: &[impl fmt::Display], left_out: usize) -> fmt::Result {
    for (i, problem) in problems.iter().enumerate() {
        let separator = if i > 0 { "\n" } else { "" };
        write!(f, "{separator}{problem}")?;
    }
    if left_out > 0 {
        write!(f, "\nand {left_out} more")?;
    }
    Ok(())
}

/// Everything that is wrong with an object, which has no lines.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Refused {
    /// At least one.
    pub problems: Vec<FieldProblem>,
    /// How many more there are.
    pub left_out: usize,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        list(f, &self.problems, self.left_out)
    }
}

impl std::error::Error for Refused {}

/// Where the cluster is to run: a field may mean something in one place only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// Processes of this machine.
    Local,
    /// Pods.
    Kubernetes,
}

/// The largest file that is looked at. A manifest with every field set has a hundredth of it.
const MAX_BYTES: usize = 1 << 20;
/// The most problems that are listed.
const MAX_PROBLEMS: usize = 50;

/// Reads a manifest for local processes. `file_name` appears in messages only.
pub fn parse(file_name: &str, text: &str) -> Result<Manifest, ManifestErrors> {
    parse_for(Target::Local, file_name, text)
}

/// Reads a manifest. `file_name` appears in messages only.
pub fn parse_for(target: Target, file_name: &str, text: &str) -> Result<Manifest, ManifestErrors> {
    let mut findings = check::Findings::new(target, true);
    let manifest = if text.len() > MAX_BYTES {
        let reason = format!("the file has {} bytes; a manifest has at most {MAX_BYTES}", text.len());
        findings.problem_at(tree::Place::START, "", reason, None);
        None
    } else {
        let document = tree::load(text, &mut findings);
        document.and_then(|root| read::manifest(&root, &mut findings))
    };
    decide(manifest, findings.into_problems(file_name))
        .map_err(|(problems, left_out)| ManifestErrors { problems, left_out })
}

/// Reads an object of Kubernetes: `apiVersion`, `kind`, `metadata` and `spec`. It has no lines: those of its notes are 1.
pub fn read_object(object: &serde_json::Value) -> Result<Manifest, Refused> {
    let mut findings = check::Findings::new(Target::Kubernetes, false);
    let manifest = read::manifest(&tree::Node::from(object), &mut findings);
    decide(manifest, findings.into_field_problems())
        .map_err(|(problems, left_out)| Refused { problems, left_out })
}

/// The manifest if nothing is wrong with it, else the problems to show and how many more there are.
fn decide<P>(manifest: Option<Manifest>, mut problems: Vec<P>) -> Result<Manifest, (Vec<P>, usize)> {
    match manifest {
        Some(manifest) if problems.is_empty() => Ok(manifest),
        _ => {
            let left_out = problems.len().saturating_sub(MAX_PROBLEMS);
            problems.truncate(MAX_PROBLEMS);
            Err((problems, left_out))
        }
    }
}
