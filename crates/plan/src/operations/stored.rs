//! Operations that stand in the layout: which step is due for one, or why none is. A pure function of what was stored and seen, so that any
//! controller goes on with what another has begun.

use super::disruption::{changing, disturbed, may_go_on};
use super::{Step, may_take_role, move_slots, roll, spread};
use crate::view::cluster_view::ClusterView;
use valkeeper_model::{
    DisturbedBy, InstanceLife, InstanceMoves, InstanceName, Layout, MoveCause, NewerFields, Operation,
    OperationName, Progress, ProgressUnit, Refusal, ResizeOperation, RoleSwitch, RollWaiting, SlotRefusal,
    SwitchCheckpoint, SwitchTarget, Waiting,
};

/// What an operation comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    /// This is to be done.
    Step(Step),
    /// Nothing is to be done now.
    Wait(Refusal),
    /// Nothing is to be done any more: it has come about, or cannot.
    Done,
}

/// The operation that carries out this step, if it is one that has to be stored before it is taken: it disturbs a primary.
pub fn begun_by(step: &Step) -> Option<(OperationName, Operation)> {
    let begun = |shard, from, to| RoleSwitch {
        target: SwitchTarget { shard, from, to },
        checkpoint: SwitchCheckpoint::Begun,
        newer: NewerFields::default(),
    };
    match step.clone() {
        Step::SwitchForZones { shard, from, to, .. } => {
            let name = OperationName::in_shard("rezone", &shard);
            Some((name, Operation::Rezone(begun(shard, from, to))))
        }
        Step::SwitchForDisk { shard, from, to } => {
            let name = OperationName::in_shard("leave-full-disk", &shard);
            Some((name, Operation::LeaveFullDisk(begun(shard, from, to))))
        }
        Step::SwitchToLeave { shard, from, to } => {
            let name = OperationName::in_shard("leave", &shard);
            let switch = ResizeOperation::HandOverToLeave(begun(shard, from, to));
            Some((name, Operation::Resize(switch)))
        }
        Step::TakeOver { .. }
        | Step::ForgetRetired { .. }
        | Step::Follow { .. }
        | Step::Meet { .. }
        | Step::TakeSlots { .. }
        | Step::MoveSlots { .. }
        | Step::Restart { .. }
        | Step::BringHome { .. } => None,
    }
}

/// What is due for this switch; `None` for one that only a newer version knows, and for a roll (`roll::next`).
pub fn next(cluster_view: &ClusterView<'_>, name: &OperationName, operation: &Operation) -> Option<Next> {
    if let Operation::MoveSlots(slot_move) = operation {
        return Some(move_slots::next(cluster_view, name, slot_move));
    }
    let SwitchTarget { shard, from, to } = operation.switch()?.clone();
    let step = match operation {
        Operation::Rezone(_) => Step::SwitchForZones { shard, from, to, patience_ms: 0 },
        Operation::LeaveFullDisk(_) => Step::SwitchForDisk { shard, from, to },
        Operation::Resize(ResizeOperation::HandOverToLeave(_)) => Step::SwitchToLeave { shard, from, to },
        Operation::Resize(ResizeOperation::Move(_)) | Operation::MoveSlots(_) | Operation::Newer(_) => {
            return None;
        }
        Operation::Roll(_) => return None,
    };
    Some(switch(cluster_view, name, operation.switch()?, step))
}

fn switch(cluster_view: &ClusterView<'_>, name: &OperationName, target: &SwitchTarget, step: Step) -> Next {
    let Some(shard) = cluster_view.shards.get(&target.shard) else { return Next::Done };
    // What is not in the ledger is not counted, and so not done.
    let counted = cluster_view.layout.ledger.get(&target.from).filter(|entry| is_by(&entry.by, name));
    let Some(counted) = counted else { return Next::Done };
    let wait =
        |waiting| Next::Wait(Refusal::Disrupted { shard: shard.name.clone(), waiting: Box::new(waiting) });
    if let Some(waiting) = changing(shard) {
        return wait(waiting);
    }
    let Some(primary) = shard.primary() else {
        return Next::Wait(Refusal::NoPrimary { shard: shard.name.clone(), waiting: Vec::new() });
    };
    let run = primary.report.and_then(valkeeper_model::AgentReport::incarnation);
    if *primary.name != target.from || run != counted.incarnation {
        return Next::Done;
    }
    if !shard.get(&target.to).is_some_and(|to| may_take_role(cluster_view, &primary, &to)) {
        return Next::Done;
    }
    match may_go_on(cluster_view, shard) {
        Ok(()) => Next::Step(step),
        Err(refusal) => Next::Wait(refusal),
    }
}

/// What people are told of operations and of what they and others disturb, beside what they are told of the shards. What changes in the shard
/// itself is told by that.
pub fn reasons(cluster_view: &ClusterView<'_>, waiting: &mut Vec<Waiting>) {
    let at_rest = cluster_view.shards.values().filter(|shard| changing(shard).is_none());
    waiting.extend(at_rest.filter_map(|shard| disturbed(cluster_view, shard)));
    let given_up = cluster_view.layout.given_up.as_deref();
    waiting.extend(given_up.map(|given_up| RollWaiting::RollReturned { why: given_up.why.clone() }.into()));
    for (name, operation) in &cluster_view.layout.operations {
        let operation_name = || name.clone();
        match (operation, next(cluster_view, name, operation)) {
            (Operation::Newer(what), _) => {
                let what = what.clone();
                waiting.push(Waiting::OperationUnknown { operation: operation_name(), what });
            }
            (_, Some(Next::Wait(Refusal::Disrupted { .. } | Refusal::Slots(SlotRefusal::InTurn { .. })))) => {
            }
            // Told of the shard already, where that one should have a primary.
            (_, Some(Next::Wait(Refusal::NoPrimary { shard, .. })))
                if waiting.contains(&Waiting::NoPrimary { shard: shard.clone() }) => {}
            (_, Some(Next::Wait(why))) => {
                waiting.push(Waiting::OperationWaits { operation: operation_name(), why: Box::new(why) });
            }
            _ => {}
        }
    }
}

/// How far operations are that take longer than a command.
pub fn progress(cluster_view: &ClusterView<'_>) -> Vec<Progress> {
    let operations = cluster_view.layout.operations.iter();
    operations
        .filter_map(|(name, operation)| match operation {
            Operation::Resize(ResizeOperation::Move(moves)) => {
                Some(progress_of_moves(cluster_view.layout, name, moves))
            }
            Operation::MoveSlots(slot_move) => Some(move_slots::progress(cluster_view, name, slot_move)),
            // One command each; while it is carried out, the ledger's entry tells of it.
            Operation::Rezone(_)
            | Operation::LeaveFullDisk(_)
            | Operation::Resize(ResizeOperation::HandOverToLeave(_))
            | Operation::Newer(_) => None,
            Operation::Roll(rolled) => roll::progress(cluster_view, rolled),
        })
        .collect()
}

/// Those that have joined, and those that are gone, of all that come and go.
fn progress_of_moves(layout: &Layout, name: &OperationName, moves: &InstanceMoves) -> Progress {
    let count = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
    Progress {
        operation: name.clone(),
        purpose: moves.cause.to_string(),
        done: count(moves.joining.len() + moves.leaving.len() - left_to_move(layout, moves)),
        total: count(moves.joining.len() + moves.leaving.len()),
        unit: ProgressUnit::Instances,
        per_minute: None,
        left_s: None,
        waits_for: None,
    }
}

/// So many join or leave still.
fn left_to_move(layout: &Layout, moves: &InstanceMoves) -> usize {
    let life = |name: &InstanceName| layout.instances.get(name).map(|one| &one.life);
    let joins = moves.joining.iter().filter(|name| life(name) == Some(&InstanceLife::Joining));
    // Those of a shard that leaves are members until it has no slots.
    let of_shard = matches!(moves.cause, MoveCause::Shards { .. });
    let leaves = moves.leaving.iter().filter(|name| life(name).is_some_and(|life| of_shard || life.leaves()));
    joins.count() + leaves.count()
}

fn is_by(by: &DisturbedBy, name: &OperationName) -> bool {
    matches!(by, DisturbedBy::Operation(operation) if operation == name)
}

/// Is this operation of a kind that is known here, and counted by the ledger no more?
pub fn is_over(layout: &Layout, name: &OperationName) -> bool {
    if let Some(moves) = layout.operations.get(name).and_then(Operation::moves) {
        let spread = !matches!(moves.cause, MoveCause::Shards { .. }) || spread::is_done(layout);
        return spread && left_to_move(layout, moves) == 0;
    }
    let switch = layout.operations.get(name).and_then(Operation::switch);
    switch.is_some_and(|target| !layout.ledger.get(&target.from).is_some_and(|entry| is_by(&entry.by, name)))
}
