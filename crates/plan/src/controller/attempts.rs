//! Which steps were tried, when, and what came of them: for patience, for not taking a step again before its outcome can be seen, and
//! for telling that one is refused.

use crate::operations::Step;
use std::collections::{BTreeMap, BTreeSet};
use std::mem::discriminant;
use valkeeper_model::{Millis, StepKey, Waiting};

/// A step that is refused again and again is tried at least so often.
const REFUSED_MAX_MS: u64 = 60_000;

/// A node that is not known is met at least so often.
const MEET_MAX_MS: u64 = 20_000;

/// By step. Those that are not wanted any more are forgotten when nothing depends on them.
#[derive(Debug, Default)]
pub(super) struct Attempts(BTreeMap<StepKey, Attempt>);

#[derive(Debug, Default)]
struct Attempt {
    /// Since when its cause is seen without a break; `None` if it is not.
    since: Option<Millis>,
    /// When it was taken last.
    taken: Option<Millis>,
    /// Not taken again before then.
    until: Millis,
    refusals: u32,
    /// How often it was taken before that.
    times: u32,
    why: Option<String>,
}

impl Attempts {
    /// These steps are wanted by what was seen now, and no others.
    pub(super) fn wanted(&mut self, now: Millis, steps: &[Step]) {
        let keys: BTreeSet<StepKey> = steps.iter().map(Step::key).collect();
        for (key, attempt) in self.0.iter_mut().filter(|(key, _)| !keys.contains(key)) {
            attempt.since = None;
            // One that is barred is not wanted either, which says nothing of its cause.
            let may_be_barred = matches!(
                key,
                StepKey::SwitchForZones { .. }
                    | StepKey::SwitchForDisk { .. }
                    | StepKey::SwitchToLeave { .. }
            );
            if attempt.until <= now && !may_be_barred {
                attempt.refusals = 0;
                attempt.why = None;
            }
        }
        self.0.retain(|_, attempt| {
            attempt.since.is_some()
                || attempt.until > now
                || attempt.taken.is_some_and(|at| now.since(at) < REFUSED_MAX_MS)
        });
        for key in keys {
            self.0.entry(key).or_default().since.get_or_insert(now);
        }
    }

    /// Has the cause of this step lasted, and is the outcome of earlier ones known?
    pub(super) fn is_due(&self, now: Millis, step: &Step) -> bool {
        let key = step.key();
        let Some(attempt) = self.0.get(&key) else { return false };
        let lasted = attempt.since.is_some_and(|since| now.since(since) >= step.patience_ms());
        // The outcome of these makes others of their kind needless.
        let one_at_a_time =
            matches!(step, Step::TakeOver { .. } | Step::SwitchForZones { .. } | Step::SwitchForDisk { .. });
        let settling = |(other, attempt): (&StepKey, &Attempt)| {
            discriminant(other) == discriminant(&key)
                && concerns(other, step)
                && attempt.why.is_none()
                && attempt.taken.is_some_and(|at| now.since(at) < step.settle_ms())
        };
        lasted && attempt.until <= now && !(one_at_a_time && self.0.iter().any(settling))
    }

    /// It is taken.
    pub(super) fn taken(&mut self, now: Millis, step: &Step) {
        let attempt = self.0.entry(step.key()).or_default();
        attempt.taken = Some(now);
        attempt.until = now.plus(pause_ms(step, attempt.times));
        attempt.times = attempt.times.saturating_add(1);
    }

    /// It was refused: it is tried again after a while that doubles each time.
    pub(super) fn refused(&mut self, now: Millis, step: &Step, why: String) {
        let attempt = self.0.entry(step.key()).or_default();
        let pause = step.settle_ms().saturating_mul(1 << attempt.refusals.min(10)).min(REFUSED_MAX_MS);
        attempt.refusals = attempt.refusals.saturating_add(1);
        attempt.until = now.plus(pause);
        attempt.why = Some(why);
    }

    /// It was carried out.
    pub(super) fn done(&mut self, step: &Step) {
        if let Some(attempt) = self.0.get_mut(&step.key()) {
            attempt.refusals = 0;
            attempt.why = None;
        }
    }

    /// Those that were refused a short time ago.
    pub(super) fn barred(&self, now: Millis) -> BTreeSet<StepKey> {
        let barred = self.0.iter().filter(|(_, attempt)| attempt.why.is_some() && attempt.until > now);
        barred.map(|(key, _)| key.clone()).collect()
    }

    /// What is refused and wanted all the same, in words.
    pub(super) fn reasons(&self, now: Millis) -> Vec<Waiting> {
        let told = self.0.iter().filter(|(_, attempt)| attempt.since.is_some() || attempt.until > now);
        told.filter_map(|(key, attempt)| {
            Some(Waiting::StepRefused { refused: key.clone(), why: attempt.why.clone()? })
        })
        .collect()
    }
}

/// How long a step is not taken again that was taken so often before. A node that was forgotten is banned for 60 s, and whoever meets it again
/// is soon told to forget it by those who still ban it, with a ban that lasts up to a second longer: meeting it all the time makes it last.
fn pause_ms(step: &Step, times: u32) -> u64 {
    match step {
        Step::Meet { .. } => step.settle_ms().saturating_mul(1 << times.min(10)).min(MEET_MAX_MS),
        _ => step.settle_ms(),
    }
}

/// Does the outcome of that one matter for this step of the same kind? What one shard does for its disks is no other's concern.
fn concerns(other: &StepKey, step: &Step) -> bool {
    match (other, step) {
        (StepKey::SwitchForDisk { shard: other, .. }, Step::SwitchForDisk { shard, .. }) => other == shard,
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use valkeeper_model::{Incarnation, NodeId};

    fn follow() -> Step {
        Step::Follow {
            instance: "c-3".parse().unwrap(),
            incarnation: Incarnation(1),
            primary: NodeId::from_bytes([1; 20]),
        }
    }

    fn zones(shard: &str) -> Step {
        let (from, to) = ("c-0".parse().unwrap(), "c-3".parse().unwrap());
        Step::SwitchForZones { shard: shard.parse().unwrap(), from, to, patience_ms: 1_000 }
    }

    fn taken_at(attempts: &mut Attempts, step: &Step, until: u64, refuse: bool) -> Vec<u64> {
        let mut at = Vec::new();
        for now in (0..=until).step_by(500).map(Millis) {
            attempts.wanted(now, std::slice::from_ref(step));
            if attempts.is_due(now, step) {
                at.push(now.0);
                attempts.taken(now, step);
                if refuse {
                    attempts.refused(now, step, "NOPERM".to_owned());
                }
            }
        }
        at
    }

    #[test]
    fn a_refused_step_is_tried_later_and_later_and_told() {
        let mut attempts = Attempts::default();
        assert_eq!(taken_at(&mut attempts, &follow(), 25_000, true), [1_000, 4_000, 10_000, 22_000]);
        let reasons = attempts.reasons(Millis(25_000));
        assert!(matches!(&reasons[..], [Waiting::StepRefused { why, .. }] if why == "NOPERM"));
        assert!(attempts.barred(Millis(25_000)).contains(&follow().key()));
        // Its cause is gone: nothing is told, and in the end nothing is known of it.
        attempts.wanted(Millis(60_000), &[]);
        assert!(attempts.reasons(Millis(60_000)).is_empty());
        attempts.wanted(Millis(100_000), &[]);
        assert!(attempts.0.is_empty());
    }

    #[test]
    fn one_zone_switch_at_a_time_but_another_after_a_refusal() {
        let mut attempts = Attempts::default();
        let both = [zones("s0"), zones("s1")];
        attempts.wanted(Millis(0), &both);
        attempts.taken(Millis(1_000), &both[0]);
        assert!(!attempts.is_due(Millis(1_000), &both[1]));
        attempts.refused(Millis(1_100), &both[0], "no".to_owned());
        assert!(attempts.is_due(Millis(1_100), &both[1]));
        assert!(!attempts.is_due(Millis(2_000), &both[0]));
    }

    #[test]
    fn a_shard_is_not_switched_to_and_fro_for_its_disks() {
        let switch = |shard: &str, from: &str, to: &str| Step::SwitchForDisk {
            shard: shard.parse().unwrap(),
            from: from.parse().unwrap(),
            to: to.parse().unwrap(),
        };
        let mut attempts = Attempts::default();
        let (there, back) = (switch("s0", "c-0", "c-3"), switch("s0", "c-3", "c-0"));
        let other = switch("s1", "c-1", "c-4");
        assert_eq!(taken_at(&mut attempts, &there, 3_000, false), [3_000]);
        attempts.wanted(Millis(4_000), &[back.clone(), other.clone()]);
        assert!(!attempts.is_due(Millis(30_000), &back));
        assert!(attempts.is_due(Millis(30_000), &other));
        assert!(attempts.is_due(Millis(63_000), &back));
    }

    #[test]
    fn a_node_that_is_forgotten_again_and_again_is_met_more_and_more_seldom() {
        let address = valkeeper_model::Address { ip: [10, 0, 0, 1].into(), port: 6379, bus_port: 16_379 };
        let step = Step::Meet {
            instance: "c-0".parse().unwrap(),
            whom: "c-5".parse().unwrap(),
            address,
            acquaintance: crate::operations::Acquaintance::OneSided,
        };
        let mut attempts = Attempts::default();
        let mut at = Vec::new();
        for now in (0..=70_000).step_by(500).map(Millis) {
            // It is known for a moment after each time.
            let known = at.last().is_some_and(|last: &u64| now.0 - last < 1_000);
            attempts.wanted(now, if known { &[] } else { std::slice::from_ref(&step) });
            if !known && attempts.is_due(now, &step) {
                at.push(now.0);
                attempts.taken(now, &step);
            }
        }
        assert_eq!(at, [2_000, 5_000, 11_000, 23_000, 43_000, 63_000]);
    }

    #[test]
    fn a_step_that_works_is_taken_again_after_its_time() {
        assert_eq!(taken_at(&mut Attempts::default(), &follow(), 8_000, false), [1_000, 4_000, 7_000]);
    }
}
