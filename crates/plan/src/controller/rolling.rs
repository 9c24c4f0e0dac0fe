//! A roll goes on by what is seen, and by how long it is seen: a controller that is started in the middle watches anew.

use super::disturbing::counted;
use super::machine::Controller;
use crate::operations::roll::{self, Next, Unwell, Watched};
use crate::view::cluster_view::ClusterView;
use std::collections::{BTreeMap, BTreeSet};
use valkeeper_model::{
    AgentReport, AskFailed, DisturbanceEnd, DisturbedBy, Generation, Happened, Incarnation, InstanceName,
    Layout, Millis, Observation, Operation, OperationName, RollCheckpoint, RollFault, RollHappened,
};

/// What was seen of the roll under way.
#[derive(Debug, Default)]
pub(super) struct Rolling {
    /// Of which roll, by its target's generation.
    of: Option<Generation>,
    canary_well_since: Option<Millis>,
    unwell: BTreeMap<InstanceName, Seen>,
    refused: Option<RollFault>,
}

#[derive(Debug)]
struct Seen {
    since: Millis,
    runs: BTreeSet<Incarnation>,
}

impl Rolling {
    /// An agent has not restarted its server. Whether it has begun to is seen; that its program refuses the configuration is said only now.
    pub(super) fn restart_failed(&mut self, instance: InstanceName, error: AskFailed) {
        if let AskFailed::ConfigInvalid { directives } = error {
            self.refused = Some(RollFault::ConfigRefused { instance, directives });
        }
    }
}

impl Controller {
    /// What the roll comes to by what was seen; `None` without one.
    pub(super) fn roll(
        &mut self,
        now: Millis,
        cluster_view: &ClusterView<'_>,
        ended: &BTreeMap<InstanceName, DisturbanceEnd>,
    ) -> Option<Next> {
        let Some(roll) = cluster_view.layout.roll() else {
            self.rolling = Rolling::default();
            return None;
        };
        let rolling = &mut self.rolling;
        if rolling.of != Some(roll.target.generation) {
            *rolling = Rolling { of: Some(roll.target.generation), ..Rolling::default() };
        }
        if roll::is_canary_well(cluster_view, roll) {
            rolling.canary_well_since.get_or_insert(now);
        } else {
            rolling.canary_well_since = None;
        }
        let unwell = roll::unwell(cluster_view, roll);
        rolling.unwell.retain(|name, _| unwell.contains_key(name));
        for (name, run) in unwell {
            let seen =
                rolling.unwell.entry(name.clone()).or_insert(Seen { since: now, runs: BTreeSet::new() });
            seen.runs.extend(run);
        }
        let for_how_long = |seen: &Seen| Unwell {
            for_ms: now.since(seen.since),
            runs: u32::try_from(seen.runs.len()).unwrap_or(u32::MAX),
        };
        let watched = Watched {
            canary_well_ms: rolling.canary_well_since.map_or(0, |since| now.since(since)),
            unwell: rolling.unwell.iter().map(|(name, seen)| (name.clone(), for_how_long(seen))).collect(),
            refused: rolling.refused.clone(),
        };
        // Where entries of the ledger end, the next look shows what that leaves.
        Some(roll::next(cluster_view, roll, &watched))
            .filter(|next| ended.is_empty() || matches!(next, Next::Return(_)))
    }
}

/// The layout in which the roll is so far; `generation` is its own if agents are told of that. The ledger counts those whose turn has come, and their orders have what is wanted from now on.
pub(super) fn go_on(
    layout: &mut Layout,
    generation: Generation,
    seen: &Observation,
    next: Next,
    happened: &mut Vec<Happened>,
) {
    let name = OperationName::roll();
    let Some(mut roll) = layout.roll().cloned() else { return };
    match next {
        Next::Wait(_) => return,
        Next::Done => {
            layout.operations.remove(&name);
            // Who is down for another reason gets what is wanted when it comes back.
            if !roll.kept.is_empty() {
                layout.generation = generation;
            }
            if !roll.turned.is_empty() {
                happened.push(RollHappened::Rolled { restarted: roll.turned.len() }.into());
            }
            return;
        }
        Next::Return(why) => {
            happened.push(RollHappened::RollReturned { why: why.clone() }.into());
            let runs = |name: &InstanceName| seen.report(name).and_then(AgentReport::view).is_some();
            let down = layout.instances.keys().filter(|name| !runs(name)).cloned().collect();
            let ledger = layout.ledger.clone();
            *layout = Layout { ledger, generation, ..roll::returned(layout, &roll, why, &down) };
            return;
        }
        Next::GoOn(checkpoint) => {
            if checkpoint == RollCheckpoint::Rest && !roll.turned.is_empty() {
                happened.push(RollHappened::CanaryWell { shard: roll.target.canary.clone() }.into());
            }
            roll.checkpoint = checkpoint;
        }
        Next::Turn(instances) => {
            for instance in instances {
                let by = DisturbedBy::Operation(name.clone());
                let Some(entry) = counted(layout, seen, &instance, by) else { continue };
                layout.ledger.insert(instance.clone(), entry);
                if roll.kept.remove(&instance).is_some() {
                    layout.generation = generation;
                }
                roll.turned.insert(instance.clone());
                let version = layout.version.clone().filter(|_| roll.from.version != layout.version);
                happened.push(RollHappened::Rolling { instance, version }.into());
            }
        }
    }
    layout.operations.insert(name, Operation::Roll(Box::new(roll)));
}

/// The restart of that one was not begun: its turn comes again.
pub(super) fn forget_turn(layout: &mut Layout, instance: &InstanceName) {
    if let Some(Operation::Roll(roll)) = layout.operations.get_mut(&OperationName::roll()) {
        roll.turned.remove(instance);
    }
}
