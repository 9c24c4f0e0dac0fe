//! `spec.memory`: an amount, or a part of the memory limit of the container.

use super::{FieldProblem, MaxMemory, rules};

/// What the user wrote about memory, in bytes and percent.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct MemoryWish {
    /// `spec.memory.maxMemory`.
    pub max_memory: Option<u64>,
    /// `spec.memory.maxMemoryPercent`.
    pub max_memory_percent: Option<u32>,
    /// `spec.resources.limits.memory`.
    pub limit: Option<u64>,
}

const AMOUNT: &str = "spec.memory.maxMemory";
const PERCENT: &str = "spec.memory.maxMemoryPercent";

impl MemoryWish {
    /// The limit of each server; `None` if none is wanted.
    pub fn resolve(&self) -> Result<Option<MaxMemory>, Vec<FieldProblem>> {
        let mut problems = Vec::new();
        if self.max_memory.is_some() && self.max_memory_percent.is_some() {
            problems.push(rules::TWO_MEMORY_LIMITS.broken(&[]));
        }
        match (self.max_memory, self.limit) {
            (Some(0), _) => problems.push(rules::NO_MEMORY.broken(&[])),
            (Some(wanted), Some(limit)) if wanted > limit => {
                problems.push(rules::MEMORY_OVER_LIMIT.broken(&[&wanted, &limit]));
            }
            _ => {}
        }
        let share = self.max_memory_percent.and_then(|percent| match (percent, self.limit) {
            (0 | 101.., _) => {
                problems.push(rules::PERCENT_RANGE.broken(&[&percent]));
                None
            }
            (_, None) => {
                problems.push(rules::PERCENT_OF_NOTHING.broken(&[]));
                None
            }
            (_, Some(limit)) => {
                let bytes = u64::try_from(u128::from(limit) * u128::from(percent) / 100).unwrap_or(limit);
                if bytes == 0 {
                    problems
                        .push(FieldProblem::new(PERCENT, format!("{percent}% of {limit} bytes is nothing")));
                }
                Some(bytes)
            }
        });
        if problems.is_empty() {
            Ok(self.max_memory.or(share).map(|bytes| MaxMemory { bytes }))
        } else {
            Err(problems)
        }
    }

    /// What is possible but likely to end in an out-of-memory kill. `resolved` is what [`resolve`](Self::resolve) gave.
    pub fn warnings(&self, resolved: Option<MaxMemory>) -> Vec<FieldProblem> {
        let Some(limit) = self.limit else { return Vec::new() };
        match resolved {
            None => {
                let reason =
                    "a memory limit without spec.memory: on Kubernetes a server that reaches it is killed";
                vec![FieldProblem::new("spec.resources", reason).hint("write memory.maxMemoryPercent: 75")]
            }
            Some(max) if u128::from(max.bytes) * 10 >= u128::from(limit) * 9 => {
                let field = if self.max_memory.is_some() { AMOUNT } else { PERCENT };
                let reason =
                    "90% of the memory limit or more: saving to disk and replication need memory too";
                vec![FieldProblem::new(field, reason).hint("leave a quarter of the limit free")]
            }
            Some(_) => Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentage_is_rounded_down() {
        let wish = MemoryWish { max_memory_percent: Some(75), limit: Some(1001), ..MemoryWish::default() };
        assert_eq!(wish.resolve(), Ok(Some(MaxMemory { bytes: 750 })));
        assert_eq!(wish.warnings(Some(MaxMemory { bytes: 750 })), []);
        let all =
            MemoryWish { max_memory_percent: Some(100), limit: Some(u64::MAX), ..MemoryWish::default() };
        assert_eq!(all.resolve(), Ok(Some(MaxMemory { bytes: u64::MAX })));
        assert_eq!(all.warnings(all.resolve().unwrap()).len(), 1);
    }
}
