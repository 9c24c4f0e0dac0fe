//! How a roll begins, and how it turns round.

use crate::view::cluster_view::ClusterView;
use std::collections::{BTreeMap, BTreeSet};
use valkeeper_model::{
    GivenUp, InstanceName, InstanceReport, Kept, Layout, NewerFields, Operation, OperationName,
    PrimaryUpdate, Refusal, Report, RestartPolicy, Role, Roll, RollCheckpoint, RollFault, RollRefusal,
    RollTarget, ServerConfig, ServerSetup, ServerVersion, UpdateSpec,
};

/// The layout `next`, which follows on `layout` with another setup, with the roll that brings it about. One that stands there already is
/// turned to the new target, wherever it is.
pub fn begin(layout: &Layout, next: &mut Layout, update: &UpdateSpec, report: Option<&Report>) {
    let name = OperationName::roll();
    let Some(canary) = layout.shards.keys().next().filter(|_| !layout.is_founding()) else { return };
    if update.restart == RestartPolicy::Manual {
        next.operations.remove(&name);
        return;
    }
    let target = RollTarget {
        generation: layout.generation.next(),
        version: next.version.clone(),
        canary: canary.clone(),
        canary_ms: update.canary_ms,
        primaries: update.primaries,
    };
    // What the cluster had before all of it; nothing better is known when that is what is wanted.
    let settled = layout.roll().filter(|roll| roll.checkpoint != RollCheckpoint::Returning);
    let from = match settled.map(|roll| &roll.from) {
        Some(from) if *from != next.setup() => from.clone(),
        _ => layout.setup(),
    };
    let mut kept = kept(layout, &next.setup());
    let seen = report.into_iter().flat_map(|report| &report.instances);
    let run: BTreeSet<&InstanceName> = seen.filter(|one| one.role.is_some()).map(|one| &one.name).collect();
    for (name, kept) in &mut kept {
        // A pod whose server never ran has nothing that it could come back as.
        if !run.contains(name) {
            kept.pod_template = None;
        }
    }
    let roll = Roll {
        target,
        from,
        checkpoint: RollCheckpoint::Canary,
        turned: BTreeSet::new(),
        kept,
        newer: NewerFields::default(),
    };
    next.operations.insert(name, Operation::Roll(Box::new(roll)));
}

/// Lets the roll under way restart primaries. False if none waits for that.
pub fn approve(layout: &mut Layout) -> bool {
    match layout.operations.get_mut(&OperationName::roll()) {
        Some(Operation::Roll(roll)) if roll.asks_before_primaries() => {
            roll.target.primaries = PrimaryUpdate::Unsupervised;
            true
        }
        _ => false,
    }
}

/// What instances keep until their turn: the version and the pod template that they are ordered now, as far as these are others than the wanted ones.
fn kept(layout: &Layout, wanted: &ServerSetup) -> BTreeMap<InstanceName, Kept> {
    let of = |name: &InstanceName| Kept {
        version: layout.version_of(name).filter(|one| Some(*one) != wanted.version.as_ref()).cloned(),
        pod_template: layout
            .pod_template_of(name)
            .filter(|one| Some(*one) != wanted.pod_template.as_ref())
            .cloned(),
    };
    layout.instances.keys().map(|name| (name.clone(), of(name))).collect()
}

/// The layout that goes back to what the cluster had before this roll.
pub fn returned(layout: &Layout, roll: &Roll, why: RollFault, down: &BTreeSet<InstanceName>) -> Layout {
    let mut next = layout.clone();
    next.generation = layout.generation.next();
    next.given_up = Some(Box::new(GivenUp { setup: layout.setup(), why }));
    next.config = ServerConfig { mode: layout.config.mode, ..roll.from.config.clone() };
    next.version.clone_from(&roll.from.version);
    next.pod_template.clone_from(&roll.from.pod_template);
    // What does not run comes up with what it had; what runs keeps what it has until its turn.
    let mut kept = kept(layout, &next.setup());
    kept.retain(|name, _| !down.contains(name));
    let target = RollTarget {
        generation: next.generation,
        version: next.version.clone(),
        canary: roll.target.canary.clone(),
        canary_ms: 0,
        // None was touched that nobody approved of.
        primaries: PrimaryUpdate::Unsupervised,
    };
    let back = Roll {
        target,
        from: next.setup(),
        checkpoint: RollCheckpoint::Returning,
        turned: BTreeSet::new(),
        kept,
        newer: NewerFields::default(),
    };
    next.operations.insert(OperationName::roll(), Operation::Roll(Box::new(back)));
    next.without_unused_templates()
}

/// Can the cluster go back? Not when a primary writes by now what the former version does not read.
pub(super) fn may_return(cluster_view: &ClusterView<'_>, roll: &Roll) -> bool {
    let layout = cluster_view.layout;
    if roll.from == layout.setup() {
        return false;
    }
    let Some(before) = layout.program_of(&roll.from) else { return true };
    layout.program_of(&layout.setup()).is_some_and(|now| before.reads(now))
        || cluster_view.shards.values().all(|shard| {
            let runs = shard.primary().and_then(|primary| Some(primary.view()?.program(before.engine)));
            runs.is_some_and(|runs| before.reads(&runs))
        })
}

/// Refuses a server program that cannot read what primaries write. What runs is told by the report; without one, by the layout.
pub fn refuse_unreadable(
    layout: &Layout,
    wanted: &ServerVersion,
    report: Option<&Report>,
) -> Result<(), Refusal> {
    let primaries = report.into_iter().flat_map(|report| &report.instances);
    let primaries: Vec<&InstanceReport> = primaries.filter(|one| one.role == Some(Role::Primary)).collect();
    let runs =
        |one: &InstanceReport| Some(ServerVersion { engine: one.engine?, version: one.version.clone()? });
    let writers: Vec<ServerVersion> = if primaries.is_empty() {
        layout.instances.keys().filter_map(|name| layout.ordered_program(name)).cloned().collect()
    } else {
        let of = |one: &&InstanceReport| runs(one).or_else(|| layout.ordered_program(&one.name).cloned());
        primaries.iter().filter_map(of).collect()
    };
    match writers.into_iter().find(|writer| !wanted.reads(writer)) {
        Some(from) => Err(RollRefusal::CannotRead { from, to: wanted.clone() }.into()),
        None => Ok(()),
    }
}
