//! What is impossible or unwise in a spec, wherever it was read from.

use super::{ClusterSpec, MaxMemory, Persistence, directives, printable};
use serde::{Deserialize, Serialize};
use std::fmt;

/// Something wrong with one field, without a place in a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FieldProblem {
    /// The field, dotted: `spec.memory.maxMemory`.
    pub field: String,
    /// What is wrong with it.
    pub reason: String,
    /// What to do about it.
    pub hint: Option<String>,
}

impl FieldProblem {
    /// A problem without a hint.
    pub fn new(field: impl Into<String>, reason: impl Into<String>) -> Self {
        Self { field: field.into(), reason: reason.into(), hint: None }
    }
    /// The same with a hint.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

impl fmt::Display for FieldProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        say(f, &self.field, &self.reason, self.hint.as_deref())
    }
}

/// Field, reason and hint as people read them.
pub(crate) fn say(f: &mut fmt::Formatter<'_>, field: &str, reason: &str, hint: Option<&str>) -> fmt::Result {
    if !field.is_empty() {
        write!(f, "{field}: ")?;
    }
    f.write_str(reason)?;
    hint.iter().try_for_each(|hint| write!(f, "\n  hint: {hint}"))
}

const MIN_SHARDS: u32 = 3;
const MAX_SHARDS: u32 = 1000;
/// The engine's cluster specification gives this as the most nodes.
const MAX_INSTANCES: u64 = 2000;
const NODE_TIMEOUT_MS: std::ops::RangeInclusive<u64> = 500..=600_000;
pub(super) const MIN_UNRESPONSIVE_AFTER_MS: u64 = 1_000;
const MAX_UNRESPONSIVE_AFTER_MS: u64 = 600_000;

/// Everything that makes the spec impossible. Whether it fits the zones that exist is the planner's question.
pub fn validate(spec: &ClusterSpec) -> Vec<FieldProblem> {
    let mut problems = layout(spec);
    problems.extend(sync_replicas(spec));
    problems.extend(timeouts(spec));
    if spec.max_memory == Some(MaxMemory { bytes: 0 }) {
        let reason = "0 bytes; the engine would take it for no limit at all";
        problems.push(FieldProblem::new("spec.memory.maxMemory", reason).hint("remove it for no limit"));
    }
    if let Some(name) = &spec.auth_secret
        && !is_dns_subdomain(name)
    {
        let reason = format!("`{}` is not the name of a Secret", printable(name));
        let hint = "use lower-case letters, digits, '-' and '.', at most 253 characters";
        problems.push(FieldProblem::new("spec.authSecret.name", reason).hint(hint));
    }
    let memory_set = spec.max_memory.is_some() || spec.max_memory_policy.is_some();
    problems.extend(directives::check(&spec.directives, memory_set));
    problems
}

/// What is possible but costs something the user may not expect.
pub fn warnings(spec: &ClusterSpec) -> Vec<FieldProblem> {
    let mut warnings = Vec::new();
    if spec.replicas_per_shard == 0 {
        let reason =
            "without replicas, a server that is lost takes its slots with it, and perhaps their data";
        warnings.push(FieldProblem::new("spec.replicasPerShard", reason).hint("write replicasPerShard: 1"));
    }
    if spec.unresponsive_after_ms >= spec.node_timeout_ms {
        let reason =
            "not less than spec.nodeTimeout: the engine elects a new primary before a frozen one is stopped";
        warnings.push(
            FieldProblem::new("spec.unresponsiveAfter", reason).hint("write less than spec.nodeTimeout"),
        );
    }
    if spec.persistence == Persistence::None {
        let reason = "nothing is kept on disk: data is lost when all servers of a shard stop";
        warnings.push(FieldProblem::new("spec.persistence", reason));
    }
    warnings
}

fn layout(spec: &ClusterSpec) -> Vec<FieldProblem> {
    let mut problems = Vec::new();
    let shards = spec.shards;
    if shards < MIN_SHARDS {
        let reason = format!("{shards} is fewer than {MIN_SHARDS} shards");
        let hint = "a primary is replaced by a majority vote of the others, which takes three";
        problems.push(FieldProblem::new("spec.shards", reason).hint(hint));
    }
    if shards > MAX_SHARDS {
        let reason = format!("{shards} is more than {MAX_SHARDS} shards");
        problems.push(FieldProblem::new("spec.shards", reason).hint("make several clusters"));
    } else if u64::from(shards) * (u64::from(spec.replicas_per_shard) + 1) > MAX_INSTANCES {
        let all = u64::from(shards) * (u64::from(spec.replicas_per_shard) + 1);
        let reason = format!(
            "{shards} shards with {} replicas each are {all} servers; a cluster has at most {MAX_INSTANCES}",
            spec.replicas_per_shard
        );
        problems
            .push(FieldProblem::new("spec.replicasPerShard", reason).hint("use fewer replicas or shards"));
    }
    problems
}

fn sync_replicas(spec: &ClusterSpec) -> Vec<FieldProblem> {
    let (replicas, min, max) = (spec.replicas_per_shard, spec.min_sync_replicas, spec.max_sync_replicas);
    let mut problems = Vec::new();
    if min > replicas {
        let reason =
            format!("{min} is more than spec.replicasPerShard ({replicas}): no write would ever be accepted");
        problems.push(FieldProblem::new("spec.minSyncReplicas", reason).hint("lower it or add replicas"));
    }
    if max > replicas {
        let reason = format!("{max} is more than spec.replicasPerShard ({replicas})");
        problems.push(FieldProblem::new("spec.maxSyncReplicas", reason).hint("lower it or add replicas"));
    }
    if max != 0 && max < min {
        let reason = format!("{max} is less than spec.minSyncReplicas ({min})");
        problems.push(
            FieldProblem::new("spec.maxSyncReplicas", reason).hint("raise it, or remove it for no limit"),
        );
    }
    problems
}

fn timeouts(spec: &ClusterSpec) -> Vec<FieldProblem> {
    let mut problems = Vec::new();
    let node_timeout = spec.node_timeout_ms;
    if !NODE_TIMEOUT_MS.contains(&node_timeout) {
        let reason = format!("{node_timeout} ms is not between 500ms and 10m");
        let hint = "shorter, and a short pause of the machine looks like a death; the default is 15s";
        problems.push(FieldProblem::new("spec.nodeTimeout", reason).hint(hint));
    }
    let unresponsive = spec.unresponsive_after_ms;
    if !(MIN_UNRESPONSIVE_AFTER_MS..=MAX_UNRESPONSIVE_AFTER_MS).contains(&unresponsive) {
        let reason = format!("{unresponsive} ms is not between 1s and 10m");
        let hint = "shorter, and a slow command looks like a death; the default is 5s";
        problems.push(FieldProblem::new("spec.unresponsiveAfter", reason).hint(hint));
    }
    problems
}

/// May this be the name of a Kubernetes object (RFC 1123)?
fn is_dns_subdomain(name: &str) -> bool {
    let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    let label = |label: &str| {
        !label.is_empty() && label.bytes().all(inner) && !label.starts_with('-') && !label.ends_with('-')
    };
    name.len() <= 253 && name.split('.').all(label)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(problems: &[FieldProblem]) -> Vec<&str> {
        problems.iter().map(|problem| problem.field.as_str()).collect()
    }

    #[test]
    fn the_defaults_are_possible() {
        let spec = ClusterSpec::new("demo".parse().unwrap());
        assert_eq!(validate(&spec), []);
        assert_eq!(fields(&warnings(&spec)), ["spec.replicasPerShard"]);
        assert_eq!(ClusterSpec::default_unresponsive_after_ms(15_000), 5_000);
        assert_eq!(ClusterSpec::default_unresponsive_after_ms(600), 1_000);
    }

    #[test]
    fn a_spec_survives_json() {
        let mut spec = ClusterSpec::new("demo".parse().unwrap());
        spec.max_memory = Some(MaxMemory { bytes: 1 << 30 });
        spec.max_memory_policy = Some(super::super::MaxMemoryPolicy::AllKeysLru);
        let json = serde_json::to_string(&spec).unwrap();
        assert!(
            json.contains(r#""maxMemory":{"bytes":1073741824},"maxMemoryPolicy":"allkeys-lru""#),
            "{json}"
        );
        assert_eq!(serde_json::from_str::<ClusterSpec>(&json).unwrap(), spec);
    }

    #[test]
    fn the_largest_numbers_do_not_overflow() {
        let mut spec = ClusterSpec::new("demo".parse().unwrap());
        (spec.shards, spec.replicas_per_shard) = (1000, u32::MAX);
        assert_eq!(fields(&validate(&spec)), ["spec.replicasPerShard"]);
        assert_eq!(spec.instances(), u32::MAX);
        spec.replicas_per_shard = 1;
        assert_eq!(validate(&spec), []);
    }
}
