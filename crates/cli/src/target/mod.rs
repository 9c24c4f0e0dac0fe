//! Where clusters are, and the way to them: one trait, and an implementation for each platform.
//!
//! | | what |
//! | --- | --- |
//! | `local/` | clusters of this machine: state directory, supervisor |
//! | `kubernetes/` | those of a Kubernetes: the API server |
//! | `in_pod/` | what `kubernetes/` has done by this program in a pod, both sides of it |
//!
//! A command knows no platform: it asks a [`Platform`] for its cluster, and the [`ClusterTarget`] for the rest.

#[cfg(feature = "kubernetes")]
pub(crate) mod in_pod;
mod kill;
#[cfg(feature = "kubernetes")]
mod kubernetes;
pub(crate) mod local;

use crate::args::{AcceptLoss, Args};
use crate::boxed::Boxed;
use crate::conversation::Asked;
use crate::document::connection::Connection;
use crate::document::event::Event;
use crate::document::plan::Plan;
use crate::document::status::Status;
use crate::ending::Ending;
use crate::failure::Failure;
use crate::load::Writers;
use crate::weighing::{ShardWeighed, ToWeigh};
use local::LocalPlatform;
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;
use valkeeper_model::{ClusterName, InstanceName, Request, ShardName, ZoneName};

/// The platform that the arguments are about.
pub(crate) fn platform(args: &Args) -> Result<Box<dyn Platform>, Failure> {
    #[cfg(feature = "kubernetes")]
    if args.common.is_on_kubernetes() {
        return Ok(Box::new(kubernetes::KubernetesPlatform::new(args)?));
    }
    Ok(Box::new(LocalPlatform::new(args.common.clone())))
}

/// Where clusters are.
pub(crate) trait Platform {
    /// The cluster that is meant: the one named, or the only one.
    fn cluster(&self) -> Boxed<'_, Box<dyn ClusterTarget>>;

    /// A manifest, and the cluster that it is about, whether that exists or not. Says on stderr what has no effect there.
    fn manifest<'a>(&'a self, file: &'a Path, loss: AcceptLoss) -> Boxed<'a, Box<dyn Wanted>>;

    /// This machine, for what is done there alone; elsewhere a failure whose hint says what is done instead.
    fn local(&self, command: LocalOnly) -> Result<&LocalPlatform, Failure>;
}

/// What is done on this machine alone.
#[derive(Debug, Clone, Copy)]
pub(crate) enum LocalOnly {
    Up,
    Down,
    Delete,
    Secret,
    Servers,
    DrillCreate,
    DrillPromote,
    DrillChange,
    SwitchRegion,
}

/// A cluster, and all that commands want of it.
pub(crate) trait ClusterTarget {
    fn name(&self) -> &ClusterName;

    /// How it is now.
    fn status(&self) -> Boxed<'_, Status>;

    /// How it is now, and then each time that it may be another.
    fn watch_status(&self) -> Box<dyn Feed<Status>>;

    /// Asks for something, and waits until it is done. A refusal is a [`Failure`].
    fn request<'a>(&'a self, request: Request, within: Duration, interrupts: Interrupts<'a>)
    -> Boxed<'a, ()>;

    /// Which instances it has, and in which shards.
    fn members(&self) -> Boxed<'_, Members>;

    /// What happened, as far as that is kept, oldest first.
    fn events(&self) -> Boxed<'_, Vec<Event>>;

    /// The same, and what happens from now on.
    fn follow_events(&self) -> Boxed<'_, EventsFollowed>;

    /// What an instance's server says. `None` is the end of it.
    fn logs<'a>(
        &'a self,
        instance: &'a InstanceName,
        part: LogPart,
    ) -> Boxed<'a, Box<dyn Feed<Option<Vec<u8>>>>>;

    /// How clients reach it.
    fn connection(&self) -> Boxed<'_, Connection>;

    /// Sends commands to its servers and prints their replies, from where the servers can be reached.
    fn converse<'a>(&'a self, asked: Asked<'a>) -> Boxed<'a, ()>;

    /// Weighs slots, from where the servers can be reached.
    fn weigh<'a>(&'a self, asked: &'a ToWeigh) -> Boxed<'a, Vec<ShardWeighed>>;

    /// How it is now, had as fast as can be while a drill measures: who looks after it may be left out.
    fn drill_status(&self) -> Boxed<'_, Status>;

    /// A pause between two looks of a drill.
    fn drill_looks_every(&self) -> Duration;

    /// Refuses a cluster that nobody looks after.
    fn refuse_unattended<'a>(&'a self, status: &'a Status) -> Boxed<'a, ()>;

    /// Starts a drill's writers, where the servers can be reached.
    fn writers<'a>(&'a self, status: &'a Status, saturate: bool) -> Boxed<'a, Box<dyn Writers>>;

    /// Makes ready to kill an instance's server: what takes time is done before.
    fn aim<'a>(&'a self, instance: &'a InstanceName, pid: u32) -> Boxed<'a, Trigger>;

    /// How long the last switchover since then has held writes back, milliseconds, where that is told.
    fn writes_held_ms(&self, since: jiff::Timestamp) -> anyhow::Result<Option<u64>>;
}

/// A manifest, and the cluster that it is about.
pub(crate) trait Wanted {
    /// What it would change, or why that is refused. The zones are for a cluster that does not exist yet.
    fn plan<'a>(&'a self, zones: &'a [ZoneName]) -> Boxed<'a, Plan>;

    /// Applies it, unless it would be refused.
    fn apply(&self, within: Duration) -> Boxed<'_, Box<dyn Applied>>;
}

/// A manifest that was applied.
pub(crate) trait Applied {
    /// How the cluster is, now and each time that it may be another: healthy only once the manifest is followed.
    fn next(&mut self) -> Boxed<'_, Status>;

    /// That last status as it is shown, once it was healthy.
    fn settled(&mut self, last: Status) -> Boxed<'_, Status>;
}

/// What comes one after the other.
pub(crate) trait Feed<T> {
    /// The next, whenever it comes.
    fn next(&mut self) -> Boxed<'_, T>;
}

/// Who heeds an interrupt while a request is waited for.
pub(crate) enum Interrupts<'a> {
    /// The target: it withdraws what has not begun.
    #[cfg_attr(not(feature = "kubernetes"), expect(dead_code, reason = "a supervisor withdraws by itself"))]
    Target(&'a mut Ending),
    /// Who asks: it waits no longer.
    Caller,
}

/// The shard of each instance.
pub(crate) enum Members {
    /// These are all: there is no other.
    All(BTreeMap<InstanceName, ShardName>),
    /// These are known.
    Some(BTreeMap<InstanceName, ShardName>),
}

/// Events that are followed.
pub(crate) struct EventsFollowed {
    /// What happened before, if it does not come first of the news.
    pub(crate) kept: Vec<Event>,
    pub(crate) news: Box<dyn Feed<Vec<Event>>>,
}

/// Which part of a log is shown.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LogPart {
    /// So many of the last lines.
    pub(crate) lines: usize,
    /// And what comes after them.
    pub(crate) follow: bool,
}

/// Kills what was aimed at.
pub(crate) type Trigger = Box<dyn FnOnce() -> Boxed<'static, ()>>;
