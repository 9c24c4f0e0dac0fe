//! How one instance stands to what a roll brings.

use super::is_of_roll;
use crate::view::cluster_view::{ClusterView, InstanceView, ShardView};
use crate::view::health::in_sync;
use valkeeper_model::{Activity, InvalidDirective, Link, Observed, Roll, StartFailure, Unseen, Waiting};

/// How an instance stands to what a roll brings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Condition {
    /// It cannot be told now.
    Unknown,
    /// It needs a restart, and its turn has not come.
    Pending,
    /// Its program does not take the configuration.
    ConfigRefused(Vec<InvalidDirective>),
    /// Its turn has come, and its server cannot be started.
    NotStarted(StartFailure),
    /// Its turn has come, and not even its agent can be started.
    AgentNotStarted(StartFailure),
    /// It was restarted, and runs as before.
    NotTaken,
    /// Its turn has come, and it is not in sync yet.
    Coming(Pace),
    /// Nothing is to be done for it.
    Well,
}

/// Is it known that something goes on with an instance?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pace {
    /// It is about to be restarted, stops, loads its data or receives a copy, which takes as long as it takes.
    GoesOn,
    /// Nobody answers for it: its pod may be on its way, with an image that is pulled.
    Unseen,
    /// Nothing is known to go on.
    Unknown,
}

/// How that instance stands to it. The first that fits counts.
pub fn condition(
    cluster_view: &ClusterView<'_>,
    roll: &Roll,
    shard: &ShardView<'_>,
    one: &InstanceView<'_>,
) -> Condition {
    let layout = cluster_view.layout;
    let turned = roll.turned.contains(one.name);
    let keeps = layout.version_of(one.name) != layout.version.as_ref()
        || layout.pod_template_of(one.name) != layout.pod_template.as_ref();
    // It comes back with what is wanted whenever it does.
    if one.instance.is_fenced() {
        return Condition::Well;
    }
    let Some(report) = one.report else {
        if let Some(failure) = one.not_starting.filter(|_| turned) {
            return Condition::AgentNotStarted(failure.clone());
        }
        // Its pod was replaced, and the agent of the new one is not there yet.
        return if turned { Condition::Coming(Pace::Unseen) } else { Condition::Unknown };
    };
    if report.generation < layout.ordered_since(one.name) {
        // In the middle of a restart its agent has not compared it yet.
        return if turned { Condition::Coming(Pace::Unknown) } else { Condition::Unknown };
    }
    let Some(view) = one.view() else {
        return match &report.waiting {
            Some(Waiting::StartFailed { failure, .. }) if turned => Condition::NotStarted(failure.clone()),
            // Down by itself before its turn: it may come up with what is wanted, if only another version lets it.
            Some(Waiting::StartFailed { .. }) if keeps => Condition::Pending,
            _ if turned => {
                let loads = report.server == Observed::Unknown(Unseen::Loading);
                let stops = report.activity == Activity::Stopping;
                Condition::Coming(if loads || stops { Pace::GoesOn } else { Pace::Unknown })
            }
            _ => Condition::Unknown,
        };
    };
    if !view.config_invalid.is_empty() {
        return Condition::ConfigRefused(view.config_invalid.clone());
    }
    let other_version = layout.version.as_ref().is_some_and(|wanted| !view.is_version(wanted));
    if keeps || !view.config_refused.is_empty() || other_version || one.is_of_other_template(layout) {
        // Until the ledger's entry ends, it may be the run of before.
        let counted = layout.ledger.get(one.name).is_some_and(|entry| is_of_roll(&entry.by));
        return match (turned, counted) {
            (false, _) => Condition::Pending,
            (true, true) => Condition::Coming(Pace::GoesOn),
            (true, false) => Condition::NotTaken,
        };
    }
    let primary = shard.primary();
    let well = primary.is_some_and(|primary| primary.name == one.name || in_sync(&primary, one));
    let compared = view.config_drift.is_empty();
    match (well && compared, turned) {
        (true, _) => Condition::Well,
        (false, true) if view.replication.link() == Some(Link::Syncing) => Condition::Coming(Pace::GoesOn),
        (false, true) => Condition::Coming(Pace::Unknown),
        // It is as it is for reasons of its own; it has what is wanted.
        (false, false) if compared => Condition::Well,
        (false, false) => Condition::Unknown,
    }
}
