//! Conditions of a `RedisCluster`: those of [`model::conditions`] with the times that Kubernetes wants, and the one about the spec.

use super::{Facts, Verdict};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use valkeeper_model::{self as model, CalledAs, ConditionReason, ConditionType, Phase, Report};

/// What the API server takes as a condition's message.
const MAX_MESSAGE: usize = 32_768;

/// Sets one condition; the time moves only when its status does.
fn set(
    conditions: &mut Vec<Condition>,
    model::Condition { kind, status, reason, mut message }: model::Condition,
    generation: Option<i64>,
    now: &Time,
) {
    let mut end = MAX_MESSAGE.min(message.len());
    while !message.is_char_boundary(end) {
        end -= 1;
    }
    message.truncate(end);
    let place = conditions.iter().position(|condition| condition.type_ == kind);
    let since = place.map(|at| &conditions[at]).filter(|old| old.status == status);
    let condition = Condition {
        last_transition_time: since.map_or(now, |old| &old.last_transition_time).clone(),
        message,
        observed_generation: generation,
        reason,
        status,
        type_: kind,
    };
    match place {
        Some(at) => conditions[at] = condition,
        None => conditions.push(condition),
    }
}

/// All that the report and the spec's fate decide. Conditions of others stay.
pub(super) fn of_report(report: &Report, facts: &Facts<'_>) -> Vec<Condition> {
    let mut conditions = facts.before.map(|before| before.conditions.clone()).unwrap_or_default();
    for condition in model::conditions(report, facts.at_risk, CalledAs::KubectlValkeeper) {
        set(&mut conditions, condition, facts.generation, facts.now);
    }
    // One that is told of no more.
    let stopped = matches!(report.phase, Phase::Hibernating | Phase::Hibernated);
    let kind = ConditionType::Hibernated;
    if !stopped && conditions.iter().any(|condition| condition.type_ == kind.as_str()) {
        let reason = ConditionReason::HibernationDisabled;
        let runs = model::Condition::new(kind, false, reason, "the cluster does not hibernate".to_owned());
        set(&mut conditions, runs, facts.generation, facts.now);
    }
    of_spec(&conditions, facts.verdict, facts.generation, facts.now)
}

/// The given conditions with the one about the spec.
pub(super) fn of_spec(
    before: &[Condition],
    verdict: Verdict<'_>,
    generation: Option<i64>,
    now: &Time,
) -> Vec<Condition> {
    let mut conditions = before.to_vec();
    let (holds, reason, message) = match verdict {
        Verdict::Followed => (true, ConditionReason::SpecFollowed, "the spec is followed".to_owned()),
        Verdict::Invalid(refused) => (false, ConditionReason::InvalidSpec, refused.to_string()),
        Verdict::Unfit(refusal) => {
            (false, ConditionReason::ChangeRefused, refusal.with_hint(CalledAs::KubectlValkeeper))
        }
    };
    let condition = model::Condition::new(ConditionType::SpecValid, holds, reason, message);
    set(&mut conditions, condition, generation, now);
    conditions
}
