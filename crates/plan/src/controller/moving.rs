//! Moves of slots that stand in the layout go on: one go of each at a time, what has come of it is seen and stored, and how fast it goes is told.

use super::machine::Controller;
use crate::operations::Step;
use crate::operations::move_slots::{self, KnownTo, MoveSeen};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use valkeeper_model::{
    Answer, AskFailed, Happened, Layout, Millis, Operation, OperationName, Progress, ProgressUnit,
    SlotHappened, SlotMove, SlotMoveStage, StepKey, TransferExtent,
};

/// After a go that has failed, before the next; doubles with each that fails.
const AGAIN_MS: u64 = 200;
/// At most.
const AGAIN_MAX_MS: u64 = 10_000;
/// The rate is that of the last so many milliseconds.
const RATE_OVER_MS: u64 = 20_000;

/// What this controller knows of moves. One that is started anew knows nothing, and begins another go, which the agent finds out about.
#[derive(Debug, Default)]
pub(super) struct Moves {
    /// Goes that have not been answered.
    pending: BTreeSet<StepKey>,
    /// No go before then.
    not_before: BTreeMap<StepKey, Millis>,
    /// What the engine said to goes that failed, until it is stored.
    failed: BTreeMap<OperationName, String>,
    /// Moves that end, and of which nothing is open any more by their agents' word; with the last look that had begun when they said so: what has
    /// arrived by then is seen by the next.
    closed: BTreeMap<OperationName, u64>,
    /// How far each was, and when.
    seen: BTreeMap<OperationName, VecDeque<(Millis, u64)>>,
}

impl Moves {
    pub(super) fn begun(&mut self, key: StepKey) {
        self.pending.insert(key);
    }

    /// Forgets what was said of moves that do not end by this layout: another move of the same two shards may stand there later.
    fn forget_closed(&mut self, layout: &Layout) {
        let ends = |one: &SlotMove| one.checkpoint.stage == SlotMoveStage::Ending;
        self.closed.retain(|name, _| move_named(layout, name).is_some_and(ends));
    }

    /// Is no go to be begun now?
    pub(super) fn holds(&self, now: Millis, key: &StepKey) -> bool {
        self.pending.contains(key) || self.not_before.get(key).is_some_and(|until| *until > now)
    }

    /// Adds how fast they go, to those that go on by the layout and wait for nothing.
    pub(super) fn rate(&mut self, now: Millis, layout: &Layout, progress: &mut [Progress]) {
        self.rate_of(now, progress, |name| is_moving(layout, name));
    }

    fn rate_of(&mut self, now: Millis, progress: &mut [Progress], goes: impl Fn(&OperationName) -> bool) {
        let goes_on = |one: &Progress| {
            one.unit == ProgressUnit::Slots && one.waits_for.is_none() && goes(&one.operation)
        };
        // What was moved before it waited says nothing of how fast it goes after that.
        self.seen.retain(|name, _| progress.iter().any(|one| one.operation == *name && goes_on(one)));
        for one in progress.iter_mut().filter(|one| goes_on(one)) {
            let seen = self.seen.entry(one.operation.clone()).or_default();
            if seen.back().is_none_or(|(_, done)| *done != one.done) {
                seen.push_back((now, one.done));
            }
            while seen.len() > 2 && seen.front().is_some_and(|(at, _)| now.since(*at) > RATE_OVER_MS) {
                seen.pop_front();
            }
            let (Some((since, before)), Some((until, last))) = (seen.front(), seen.back()) else { continue };
            let (took, moved) = (until.since(*since), last.saturating_sub(*before));
            // Nothing has arrived for long: nobody knows how fast it goes.
            if took == 0 || moved == 0 || now.since(*until) > RATE_OVER_MS {
                continue;
            }
            one.per_minute = Some(moved * 60_000 / took);
            one.left_s = Some((one.total - one.done) * took / moved / 1_000);
        }
    }
}

impl Controller {
    /// A go has been answered.
    pub(super) fn move_told(&mut self, now: Millis, step: &Step, result: Result<Answer, AskFailed>) {
        let Step::MoveSlots { shard, to, transfer, .. } = step else { return };
        let key = step.key();
        let name = OperationName::between("move-slots", shard, to);
        self.moves.pending.remove(&key);
        let ends = |one: &SlotMove| one.checkpoint.stage == SlotMoveStage::Ending;
        let slot_move = self.layout.as_ref().and_then(|layout| move_named(layout, &name));
        let failures = slot_move.map_or(0, |one| one.checkpoint.failures);
        match result {
            Ok(_) => {
                self.moves.not_before.remove(&key);
                // A go that began before the end was asked for may have left something to be seen to.
                if transfer.extent == TransferExtent::Begun && slot_move.is_some_and(ends) {
                    self.moves.closed.insert(name, self.looks);
                }
            }
            // Nobody has refused it: what has become of the server is seen.
            Err(AskFailed::Unseen(_) | AskFailed::NotRunning | AskFailed::Outdated) => {
                self.moves.not_before.insert(key, now.plus(AGAIN_MS));
            }
            Err(error) => {
                let why = match error {
                    AskFailed::Refused(why) => why,
                    other => other.to_string(),
                };
                let pause = AGAIN_MS.saturating_mul(1 << failures.min(10)).min(AGAIN_MAX_MS);
                self.moves.not_before.insert(key, now.plus(pause));
                self.moves.failed.insert(name, why);
            }
        }
        self.nudged(now);
    }

    /// The layout with what has arrived, what has failed and what has ended.
    pub(super) fn moved(
        &mut self,
        mut next: Layout,
        seen: &[MoveSeen],
        happened: &mut Vec<Happened>,
    ) -> Layout {
        self.moves.forget_closed(&next);
        let mut told = |one| happened.push(Happened::Slots(one));
        for (name, said) in std::mem::take(&mut self.moves.failed) {
            // A go that has brought some of the slots there before it failed is told, and is no failure that counts.
            next = move_slots::with_failure(next, &name, said.clone());
            if let Some(one) = move_named(&next, &name) {
                let (from, to) = (one.target.from.clone(), one.target.to.clone());
                let failures = one.checkpoint.failures;
                told(SlotHappened::SlotMoveFailed { from, to, said, failures });
            }
        }
        for one in seen.iter().filter(|one| !one.arrived.is_empty()) {
            next = move_slots::with_arrived(next, &one.name, &one.arrived);
        }
        let names: Vec<OperationName> = next.slot_moves().map(|(name, _)| name.clone()).collect();
        for name in names {
            let Some(one) = move_named(&next, &name) else { continue };
            let left = one.left(&next);
            let target = one.target.clone();
            let is_closed = self.moves.closed.get(&name).is_some_and(|look| self.looks > *look);
            let ended = one.checkpoint.stage == SlotMoveStage::Ending && is_closed;
            // Until all know of what has arrived, the move accounts for what some believe.
            let known = seen.iter().any(|seen| seen.name == name && seen.known == KnownTo::All);
            let arrives = seen.iter().any(|seen| seen.name == name && !seen.arrived.is_empty());
            if !known || arrives || (!ended && !move_slots::is_over(&next, one)) {
                continue;
            }
            self.moves.closed.remove(&name);
            next.operations.remove(&name);
            // Agents are told anew whose the slots are.
            next.generation = self.layout.as_ref().map_or(next.generation, |layout| layout.generation.next());
            told(if left.is_empty() {
                SlotHappened::SlotsMoved { from: target.from, to: target.to, slots: target.slots }
            } else {
                let moved = target.slots.minus(&left);
                SlotHappened::SlotMoveEnded { from: target.from, to: target.to, moved, left }
            });
        }
        next
    }
}

/// Are slots of it to move still? Of one that ends no more are begun, so that it never comes to its total.
fn is_moving(layout: &Layout, name: &OperationName) -> bool {
    move_named(layout, name).is_some_and(|one| one.checkpoint.stage == SlotMoveStage::Moving)
}

fn move_named<'a>(layout: &'a Layout, name: &OperationName) -> Option<&'a SlotMove> {
    match layout.operations.get(name) {
        Some(Operation::MoveSlots(slot_move)) => Some(slot_move),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use valkeeper_model::SlotRefusal;

    fn progress(done: u64, waits: bool) -> Progress {
        Progress {
            operation: OperationName::only("move-slots"),
            purpose: "moving slots".to_owned(),
            done,
            total: 1_000,
            unit: ProgressUnit::Slots,
            per_minute: None,
            left_s: None,
            waits_for: waits.then(|| Box::new(SlotRefusal::NothingMoves.into())),
        }
    }

    fn told(moves: &mut Moves, at_s: u64, done: u64, waits: bool) -> (Option<u64>, Option<u64>) {
        let mut all = [progress(done, waits)];
        moves.rate_of(Millis(at_s * 1_000), &mut all, |_| true);
        (all[0].per_minute, all[0].left_s)
    }

    #[test]
    fn a_move_that_waits_has_no_rate_and_no_time_left() {
        let mut moves = Moves::default();
        assert_eq!(told(&mut moves, 0, 0, false), (None, None));
        assert_eq!(told(&mut moves, 10, 100, false), (Some(600), Some(90)));
        assert_eq!(told(&mut moves, 11, 100, true), (None, None));
        // What was moved before it waited says nothing of how fast it goes after that.
        assert_eq!(told(&mut moves, 600, 100, false), (None, None));
        assert_eq!(told(&mut moves, 610, 200, false), (Some(600), Some(80)));
    }

    #[test]
    fn a_move_of_which_nothing_arrives_has_no_rate_after_a_while() {
        let mut moves = Moves::default();
        told(&mut moves, 0, 0, false);
        assert_eq!(told(&mut moves, 10, 100, false), (Some(600), Some(90)));
        assert_eq!(told(&mut moves, 29, 100, false), (Some(600), Some(90)));
        assert_eq!(told(&mut moves, 31, 100, false), (None, None));
    }

    #[test]
    fn a_move_that_ends_has_no_rate() {
        let mut moves = Moves::default();
        told(&mut moves, 0, 0, false);
        let mut ends = [progress(100, false)];
        moves.rate_of(Millis(10_000), &mut ends, |_| false);
        assert_eq!((ends[0].per_minute, ends[0].left_s), (None, None));
    }
}
