//! The ledger of law 6: what is disturbed on purpose, from before the deed until its end is seen. It stands in the layout, so that a controller that is
//! started between any two steps does not disturb one primary too many, and of two controllers one loses at the compare-and-set.
//!
//! What an entry counts ends by observation, never by the answer to the deed: an answer may be lost with the controller that waits for it. The first
//! row that fits decides.
//!
//! | what is seen | then |
//! | --- | --- |
//! | the instance is gone, or of another shard | over |
//! | roles of its shard change | goes on |
//! | nobody is primary | goes on; over if the instance is down to stay |
//! | another is primary, and the instance neither stops nor starts | over |
//! | it is primary, and its agent has not answered yet, or it is to stay down | goes on |
//! | it is primary, and its agent has refused, or has restarted its server as it was told to | over |
//! | it is primary, and nobody knows of the deed: a controller that is gone has asked, or the answer was lost | over after 10 s of that |

use super::disruption::changing;
use super::roll;
use crate::view::cluster_view::{ClusterView, InstanceView, ShardView};
use crate::view::health::in_sync;
use valkeeper_model::{
    Activity, AgentReport, Disturbance, DisturbanceEnd, DisturbedBy, DisturbingRequest, InstanceName,
};

/// A deed of which nobody knows has arrived by then, or never will.
pub const UNKNOWN_MS: u64 = 10_000;

/// What the controller knows of a deed beside what it sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deed {
    /// Its agent has been told, and has not answered.
    Pending,
    /// Its agent had refused it when the look was begun.
    Refused,
    /// Its agent had carried it out when the look was begun.
    CarriedOut,
    /// Nobody knows whether its agent was told.
    Unknown,
}

/// Why that instance is not disturbed any more; `None` if it is, or may be. `at_rest_ms`: for so long it has been seen as if nothing had been
/// asked of it ([`is_at_rest`]).
pub fn end(
    cluster_view: &ClusterView<'_>,
    name: &InstanceName,
    entry: &Disturbance,
    deed: Deed,
    at_rest_ms: u64,
) -> Option<DisturbanceEnd> {
    let shard = cluster_view.shards.get(&entry.shard);
    let Some((shard, instance)) = shard.and_then(|shard| Some((shard, shard.get(name)?))) else {
        return Some(DisturbanceEnd::InstanceGone);
    };
    let activity = instance.report.map(|report| &report.activity);
    if roll::is_of_roll(&entry.by) && cluster_view.layout.roll().is_some() {
        return end_of_restart(shard, &instance, entry, deed, at_rest_ms);
    }
    if changing(shard).is_some() {
        return None;
    }
    let Some(primary) = shard.primary() else {
        return (activity == Some(&Activity::Resting)).then_some(DisturbanceEnd::Done);
    };
    if primary.name != name {
        let moves = matches!(activity, Some(Activity::Starting | Activity::Stopping));
        return (!moves).then_some(DisturbanceEnd::Done);
    }
    // A fence stands in the layout: its agent hands over as soon as it can.
    if entry.by == DisturbedBy::Request(DisturbingRequest::Fence) && instance.instance.is_fenced() {
        return None;
    }
    let same_run = instance.report.and_then(AgentReport::incarnation) == entry.incarnation;
    let ends_runs =
        matches!(entry.by, DisturbedBy::Request(DisturbingRequest::Restart | DisturbingRequest::Failover));
    let reason = match (same_run, ends_runs) {
        (true, _) => DisturbanceEnd::NotBegun,
        (false, true) => DisturbanceEnd::Done,
        (false, false) => DisturbanceEnd::RunEnded,
    };
    let over = match deed {
        Deed::Pending => false,
        Deed::Refused => true,
        // What it looked like before may be seen for a moment longer.
        Deed::CarriedOut => !same_run || at_rest_ms >= UNKNOWN_MS,
        Deed::Unknown => at_rest_ms >= UNKNOWN_MS,
    };
    over.then_some(reason)
}

/// The same for a restart in a roll, which counts replicas too: it is over when the instance is back with another run, and in sync.
fn end_of_restart(
    shard: &ShardView<'_>,
    instance: &InstanceView<'_>,
    entry: &Disturbance,
    deed: Deed,
    at_rest_ms: u64,
) -> Option<DisturbanceEnd> {
    let report = instance.report?;
    if changing(shard).is_some() {
        return None;
    }
    if report.activity == Activity::Resting {
        return Some(DisturbanceEnd::Done);
    }
    if report.activity != Activity::Watching || instance.view().is_none() {
        return None;
    }
    if report.incarnation() != entry.incarnation {
        let primary = shard.primary()?;
        let back = primary.name == instance.name || in_sync(&primary, instance);
        return back.then_some(DisturbanceEnd::Done);
    }
    let over = match deed {
        Deed::Pending => false,
        Deed::Refused => true,
        Deed::CarriedOut | Deed::Unknown => at_rest_ms >= UNKNOWN_MS,
    };
    over.then_some(DisturbanceEnd::NotBegun)
}

/// Is it seen as it was before the deed, so that a deed of which nobody knows has not begun?
pub fn is_at_rest(cluster_view: &ClusterView<'_>, name: &InstanceName, entry: &Disturbance) -> bool {
    let same_run =
        cluster_view.observation.report(name).and_then(AgentReport::incarnation) == entry.incarnation;
    if roll::is_of_roll(&entry.by) && !same_run {
        return false;
    }
    cluster_view.shard_of(name).is_some_and(|shard| {
        if roll::is_of_roll(&entry.by) {
            return changing(shard).is_none();
        }
        changing(shard).is_none() && shard.primary().is_some_and(|primary| primary.name == name)
    })
}
