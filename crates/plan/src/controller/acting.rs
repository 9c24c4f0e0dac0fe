//! Steps that are due are taken, and what came of them is heard.

use super::Command;
use super::awaited::Awaited;
use super::machine::{Controller, Pending};
use super::requests::{HAND_OVER_MS, RESTART_MS};
use crate::agent::{MOVE_ENDS_MS, Token};
use crate::operations::stored::{self, Next};
use crate::operations::{Step, roll};
use crate::view::cluster_view::ClusterView;
use std::collections::BTreeMap;
use valkeeper_model::{
    AgentReport, Answer, Ask, AskFailed, DisturbanceEnd, Happened, Instance, InstanceName, Layout, Millis,
    Operation, OperationName, Refusal, ReplicaMode,
};

/// How long an agent may take for a step.
const STEP_MS: u64 = 2_000;

impl Controller {
    /// Takes the steps whose cause has lasted and that were not taken just now. One that has to be stored first is not taken: the first such
    /// is answered as the operation that is to be begun.
    pub(super) fn take_due(
        &mut self,
        now: Millis,
        layout: &Layout,
        due: Vec<Step>,
    ) -> Option<(OperationName, Operation)> {
        let mut begun = None;
        for step in due {
            if !self.attempts.is_due(now, &step) {
                continue;
            }
            match stored::begun_by(&step) {
                // One of that name that stands there already is another version's.
                Some((name, _)) if layout.operations.contains_key(&name) => {}
                Some(operation) => _ = begun.get_or_insert(operation),
                None => self.take(now, step),
            }
        }
        begun
    }

    /// The steps of operations that stand in the layout and that this controller has not taken yet.
    pub(super) fn going_on(
        &self,
        now: Millis,
        cluster_view: &ClusterView<'_>,
        ended: &BTreeMap<InstanceName, DisturbanceEnd>,
    ) -> Vec<Step> {
        let operations = cluster_view.layout.operations.iter();
        let next = operations.filter_map(|(name, operation)| stored::next(cluster_view, name, operation));
        let steps = next.filter_map(|next| match next {
            Next::Step(step) => Some(step),
            Next::Wait(_) | Next::Done => None,
        });
        let steps = steps.chain(roll::steps(cluster_view));
        let over = |step: &Step| match step {
            Step::SwitchForZones { from, .. }
            | Step::SwitchToLeave { from, .. }
            | Step::SwitchForDisk { from, .. } => self.has_told(from) || ended.contains_key(from),
            Step::MoveSlots { .. } => self.moves.holds(now, &step.key()),
            Step::Restart { instance } => self.has_told(instance) || ended.contains_key(instance),
            _ => false,
        };
        steps.filter(|step| !over(step)).collect()
    }

    pub(super) fn take(&mut self, now: Millis, step: Step) {
        if let Step::MoveSlots { .. } = &step {
            self.moves.begun(step.key());
        } else {
            self.attempts.taken(now, &step);
        }
        let (to, ask, within_ms) = match &step {
            Step::TakeOver { to, incarnation, replaces, .. } => {
                let ask = Ask::Takeover { incarnation: *incarnation, replaces: Some(*replaces) };
                (to, ask, STEP_MS)
            }
            Step::Follow { instance, incarnation, primary } => {
                (instance, Ask::Follow { primary: *primary, incarnation: *incarnation }, STEP_MS)
            }
            Step::Meet { instance, address, .. } => {
                (instance, Ask::Meet { address: address.clone() }, STEP_MS)
            }
            Step::SwitchForZones { from, to, .. } => {
                (from, Ask::HandOver { to: Some(to.clone()) }, step.settle_ms())
            }
            Step::ForgetRetired { instance, nodes } => {
                (instance, Ask::Forget { nodes: nodes.clone() }, STEP_MS)
            }
            Step::SwitchForDisk { from, to, .. } | Step::SwitchToLeave { from, to, .. } => {
                (from, Ask::HandOver { to: Some(to.clone()) }, HAND_OVER_MS)
            }
            Step::Restart { instance } => (instance, Ask::Restart, RESTART_MS),
            Step::BringHome { to, incarnation, .. } => {
                (to, Ask::Succeed { incarnation: *incarnation }, STEP_MS)
            }
            Step::MoveSlots { instance, incarnation, transfer, .. } => {
                let within_ms = transfer.budget_ms + MOVE_ENDS_MS;
                let ask = Ask::MoveSlots { transfer: transfer.clone(), incarnation: *incarnation };
                (instance, ask, within_ms)
            }
            Step::TakeSlots { instance, incarnation, slots, .. } => {
                let ask = Ask::TakeSlots { slots: slots.clone(), incarnation: *incarnation };
                (instance, ask, STEP_MS)
            }
        };
        let sent = self.tell(to.clone(), ask, within_ms);
        self.pending.insert(sent, Pending::Step(Box::new(step)));
    }

    pub(super) fn told(&mut self, now: Millis, token: Token, result: Result<Answer, AskFailed>) {
        self.note_answer(token, &result);
        match self.pending.remove(&token) {
            Some(Pending::Switchover(request, shard, from)) if result.is_ok() => {
                let from = Some((from, None));
                self.awaited.push(Awaited { token: request, shard, from, since: now });
                self.nudged(now);
            }
            Some(Pending::Request { token: by, to, within_ms }) => {
                self.request_told(by, (to, within_ms), result);
            }
            Some(Pending::Switchover(by, _, from)) => self.request_told(by, (from, HAND_OVER_MS), result),
            Some(Pending::Part(of, to)) => self.part_told(of, to, result),
            Some(Pending::Step(step)) if matches!(*step, Step::MoveSlots { .. }) => {
                self.move_told(now, &step, result);
            }
            Some(Pending::Step(step)) => self.step_told(now, *step, result),
            // Nothing was begun, or nobody knows: who asked is told so rather than left to wait.
            Some(Pending::Awaited(request)) => {
                if let Err(error) = result
                    && let Some(index) = self.awaited.iter().position(|one| one.token == request)
                {
                    self.awaited.remove(index);
                    self.answer(request, Err(Refusal::Failed { why: error.to_string() }));
                }
            }
            Some(Pending::Trial(under_trial)) => self.config_tried(now, *under_trial, result),
            None => {}
        }
    }

    /// Answers the fences whose server is down by now, or that were lifted before.
    /// A look was made since they were stored; and promotions are done when the source is followed no more.
    pub(super) fn settle_until_observed(&mut self, layout: &Layout) {
        let mut done = std::mem::take(&mut self.until_observed);
        if !layout.replica_mode.as_deref().is_some_and(ReplicaMode::follows) {
            done.append(&mut self.until_promoted);
        }
        for token in done {
            self.answer(token, Ok(()));
        }
    }

    pub(super) fn settle_until_down(&mut self) {
        for (token, instance) in std::mem::take(&mut self.until_down) {
            let fenced = self.layout.as_ref().and_then(|layout| layout.instances.get(&instance));
            if !fenced.is_some_and(Instance::is_fenced) {
                self.answer(token, Err(Refusal::UnfencedMeanwhile { instance }));
                continue;
            }
            let seen = self.observation.as_ref().and_then(|seen| seen.report(&instance));
            if seen.is_some_and(AgentReport::is_down) {
                self.answer(token, Ok(()));
            } else {
                self.until_down.push((token, instance));
            }
        }
    }

    fn step_told(&mut self, now: Millis, step: Step, result: Result<Answer, AskFailed>) {
        match result {
            Ok(_) => self.attempts.done(&step),
            // Nobody has refused it: a server that is down or restarted is another one.
            // The roll itself says what comes of it.
            Err(error) if matches!(step, Step::Restart { .. }) => {
                if let Step::Restart { instance } = step {
                    self.rolling.restart_failed(instance, error);
                }
                return self.nudged(now);
            }
            Err(AskFailed::Unseen(_) | AskFailed::NotRunning | AskFailed::Outdated) => return,
            Err(error) => {
                let why = match error {
                    AskFailed::Refused(why) => why,
                    other => other.to_string(),
                };
                self.attempts.refused(now, &step, why);
                return self.nudged(now);
            }
        }
        match step {
            Step::TakeOver { shard, to, alive, needed, .. } => {
                self.out.push(Command::Record(Happened::TakenOver { shard, to, alive, needed }));
            }
            Step::TakeSlots { shard, instance, slots, .. } => {
                self.out.push(Command::Record(Happened::SlotsTakenBack { shard, instance, slots }));
            }
            Step::BringHome { shard, from, to, .. } => {
                self.out.push(Command::Record(Happened::BroughtHome { shard, from, to }));
            }
            Step::Follow { .. }
            | Step::Meet { .. }
            | Step::MoveSlots { .. }
            | Step::Restart { .. }
            | Step::SwitchForZones { .. }
            | Step::SwitchToLeave { .. }
            | Step::ForgetRetired { .. }
            | Step::SwitchForDisk { .. } => {}
        }
    }
}
