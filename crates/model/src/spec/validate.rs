//! What is impossible or unwise in a spec, wherever it was read from.

use super::{ClusterSpec, MaxMemory, Mode, Persistence, directives, printable, rules};
use crate::{AutomaticPromotion, SentinelSpec};
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
/// A primary that feeds more replicas than this is better cascaded.
const MAX_STANDALONE: u32 = 16;
/// With fewer than three the loss of one leaves no majority.
const SENTINELS: std::ops::RangeInclusive<u32> = 3..=15;
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
        problems.push(rules::NO_MEMORY.broken(&[]));
    }
    if let Some(name) = &spec.auth_secret
        && !is_dns_subdomain(name)
    {
        problems.push(rules::AUTH_SECRET_NAME.broken(&[&printable(name)]));
    }
    let memory_set = spec.max_memory.is_some() || spec.max_memory_policy.is_some();
    problems.extend(directives::check(&spec.directives, memory_set));
    problems
}

/// What is possible but costs something the user may not expect.
pub fn warnings(spec: &ClusterSpec) -> Vec<FieldProblem> {
    let mut warnings = Vec::new();
    if spec.replicas_per_shard == 0 {
        warnings.push(match spec.mode {
            Mode::Cluster => FieldProblem::new(
                "spec.replicasPerShard",
                "without replicas, a server that is lost takes its slots with it, and perhaps their data",
            )
            .hint("write replicasPerShard: 1"),
            Mode::Standalone | Mode::Sentinel => FieldProblem::new(
                "spec.instances",
                "a single server has no replica that could take over when it is lost",
            )
            .hint("write instances: 3"),
        });
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
    if !spec.mode.has_slots() {
        let instances = spec.replicas_per_shard.wrapping_add(1);
        if !(1..=MAX_STANDALONE).contains(&instances) {
            problems.push(rules::INSTANCES_RANGE.broken(&[&instances]));
        }
        problems.extend(spec.sentinel.into_iter().flat_map(sentinels));
        let automatic = spec.replica_mode.as_ref().and_then(|mode| mode.automatic);
        problems.extend(automatic.into_iter().flat_map(|wanted| automatic_promotion(wanted, instances)));
        return problems;
    }
    let shards = spec.shards;
    if shards < MIN_SHARDS {
        problems.push(rules::TOO_FEW_SHARDS.broken(&[&shards]));
    }
    let all = u64::from(shards) * (u64::from(spec.replicas_per_shard) + 1);
    if shards > MAX_SHARDS {
        problems.push(rules::TOO_MANY_SHARDS.broken(&[&shards]));
    } else if all > MAX_INSTANCES {
        problems.push(rules::TOO_MANY_INSTANCES.broken(&[&shards, &spec.replicas_per_shard, &all]));
    }
    problems
}

fn automatic_promotion(wanted: AutomaticPromotion, instances: u32) -> Vec<FieldProblem> {
    let AutomaticPromotion { after_ms, witnesses } = wanted;
    let mut problems = Vec::new();
    if after_ms < AutomaticPromotion::MIN_AFTER_MS {
        problems.push(rules::AUTOMATIC_AFTER.broken(&[&after_ms]));
    }
    if !(AutomaticPromotion::MIN_WITNESSES..=instances).contains(&witnesses) {
        problems.push(rules::AUTOMATIC_WITNESSES.broken(&[&witnesses, &instances]));
    }
    problems
}

fn sentinels(spec: SentinelSpec) -> Vec<FieldProblem> {
    let SentinelSpec { instances, quorum } = spec;
    let mut problems = Vec::new();
    if !SENTINELS.contains(&instances) {
        problems.push(rules::SENTINELS_RANGE.broken(&[&instances]));
    } else if !(1..=instances).contains(&quorum) {
        problems.push(rules::SENTINEL_QUORUM_RANGE.broken(&[&quorum, &instances]));
    }
    problems
}

fn sync_replicas(spec: &ClusterSpec) -> Vec<FieldProblem> {
    let (replicas, min, max) = (spec.replicas_per_shard, spec.min_sync_replicas, spec.max_sync_replicas);
    let mut problems = Vec::new();
    let (min_over, max_over) = match spec.mode {
        Mode::Cluster => (rules::MIN_SYNC_OVER_REPLICAS, rules::MAX_SYNC_OVER_REPLICAS),
        Mode::Standalone | Mode::Sentinel => (rules::MIN_SYNC_OVER_INSTANCES, rules::MAX_SYNC_OVER_INSTANCES),
    };
    if min > replicas {
        problems.push(min_over.broken(&[&min, &replicas]));
    }
    if max > replicas {
        problems.push(max_over.broken(&[&max, &replicas]));
    }
    if max != 0 && max < min {
        problems.push(rules::MAX_SYNC_UNDER_MIN.broken(&[&max, &min]));
    }
    problems
}

fn timeouts(spec: &ClusterSpec) -> Vec<FieldProblem> {
    let mut problems = Vec::new();
    if !NODE_TIMEOUT_MS.contains(&spec.node_timeout_ms) {
        problems.push(rules::NODE_TIMEOUT_RANGE.broken(&[&spec.node_timeout_ms]));
    }
    let unresponsive = spec.unresponsive_after_ms;
    if !(MIN_UNRESPONSIVE_AFTER_MS..=MAX_UNRESPONSIVE_AFTER_MS).contains(&unresponsive) {
        problems.push(rules::UNRESPONSIVE_AFTER_RANGE.broken(&[&unresponsive]));
    }
    problems
}

/// May this be the name of a Kubernetes object (RFC 1123)?
pub fn is_dns_subdomain(name: &str) -> bool {
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
