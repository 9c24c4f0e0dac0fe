//! The controller's state, and the order of things: load, found, commit, provision, order, observe, act.

use super::attempts::Attempts;
use super::awaited::Awaited;
use super::disturbing::Deeds;
use super::disturbing::Progressed;
use super::forgetting::Parts;
use super::moving::Moves;
use super::ordering::{Audience, SentOrders};
use super::places::Places;
use super::rolling::Rolling;
use super::storing::AfterCommit;
use super::telling::Told;
use super::trial::UnderTrial;
use super::{Command, Event, Pace, change, hibernation, life, orders};
use crate::agent::Token;
use crate::operations::{self, Barred, Step};
use crate::placement::{self, Ids, Placing};
use crate::replica_mode;
use crate::view::cluster_view::ClusterView;
use crate::view::health;
use std::collections::BTreeMap;
use valkeeper_model::{
    Address, Ask, ClusterSpec, Generation, HibernationStage, InstanceName, Layout, Millis, Observation,
    Observed, ProvisionError, Refusal, Report, ServerSetup, ShardName, StoreError, ZoneName,
};

/// Observations that follow a nudge are not closer than this.
const NUDGED_MS: u64 = 5;
/// Before the next try after the store or the platform failed.
const FAILED_MS: u64 = 500;
/// How long a user's choice of roles stands although its zones are worse for it. It is told in the status meanwhile.
const CHOSEN_MS: u64 = 600_000;

/// The controller of one cluster.
pub struct Controller {
    pub(super) spec: ClusterSpec,
    pub(super) zones: Vec<ZoneName>,
    pub(super) ids: Box<dyn Ids + Send>,
    pub(super) layout: Option<Layout>,
    pub(super) observation: Option<Observation>,
    pub(super) report: Option<Report>,
    pub(super) told: Told,
    pub(super) places: Places,
    pub(super) sent_orders: SentOrders,
    pace: Pace,
    /// When the report last changed.
    pub(super) changed_at: Millis,
    /// Instances have moved since the addresses were asked for.
    reprovision_asked: bool,
    pub(super) stage: Stage,
    pub(super) store_failed: Option<StoreError>,
    pub(super) not_provisioned: Option<ProvisionError>,
    pub(super) pending: BTreeMap<Token, Pending>,
    /// Requests that are done when a shard has another primary.
    pub(super) awaited: Vec<Awaited>,
    /// Requests that are stored, and done when the status tells of them.
    pub(super) until_observed: Vec<Token>,
    /// Promotions that are asked for, and done when the cluster follows its source no more.
    pub(super) until_promoted: Vec<Token>,
    /// Fences that are stored, and done when the instance's server is down.
    pub(super) until_down: Vec<(Token, InstanceName)>,
    /// What is known of the deeds that the ledger counts.
    pub(super) deeds: Deeds,
    /// Looks begun so far.
    pub(super) looks: u64,
    /// When users last chose the roles of a shard.
    pub(super) chosen: BTreeMap<ShardName, Millis>,
    /// Has the layout followed our spec once? From then on the stored layout is right when the two differ: another
    /// controller was asked for what ours does not know.
    pub(super) followed: bool,
    pub(super) queued: Vec<(Token, valkeeper_model::Request)>,
    /// How many of them the last observation was begun for.
    pub(super) ready: usize,
    pub(super) attempts: Attempts,
    /// What is known of the moves of slots that stand in the layout.
    pub(super) moves: Moves,
    /// Requests that several agents have a part in.
    pub(super) parts: BTreeMap<Token, Parts>,
    /// The highest generation that an agent obeys beyond the stored layout's: what stored it was lost.
    pub(super) outrun_by: Option<Generation>,
    /// The configuration that was last tried and taken, or that nobody could try.
    pub(super) accepted: Option<ServerSetup>,
    /// What was seen of the roll under way.
    pub(super) rolling: Rolling,
    last_token: u64,
    pub(super) out: Vec<Command>,
}

/// What an answer of an agent is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Pending {
    /// A user's request, what was asked of whom for it, and how long that may take.
    Request { token: Token, to: InstanceName, within_ms: u64 },
    /// A user's switchover of that shard, from that primary: done when the status shows another.
    Switchover(Token, ShardName, InstanceName),
    /// A step; recorded if it was done.
    Step(Box<Step>),
    /// That instance's part in a user's request.
    Part(Token, InstanceName),
    /// A user's request that is done when a shard has another primary: it is over if this fails.
    Awaited(Token),
    /// A user's request for a configuration, which is being tried.
    Trial(Box<UnderTrial>),
}

#[derive(Debug)]
pub(super) enum Stage {
    /// Nothing asked yet.
    New,
    /// The store is being read.
    Loading,
    /// A layout is being stored, and what follows on that.
    Committing { layout: Box<Layout>, then: AfterCommit },
    /// Instances get their places.
    Provisioning,
    /// Reports are being gathered.
    Observing { nudged: bool, requests: usize },
    /// Until then, nothing.
    Resting { until: Millis, then: Then },
    /// The spec cannot be followed.
    Ended,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Then {
    Load,
    Provision,
    Observe,
}

impl std::fmt::Debug for Controller {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Controller").field("stage", &self.stage).finish_non_exhaustive()
    }
}

impl Controller {
    /// A controller that knows nothing yet but the spec and the zones there are.
    pub fn new(spec: ClusterSpec, zones: Vec<ZoneName>, ids: Box<dyn Ids + Send>) -> Self {
        Self {
            spec,
            zones,
            ids,
            layout: None,
            observation: None,
            report: None,
            places: Places::default(),
            sent_orders: SentOrders::default(),
            pace: Pace::default(),
            changed_at: Millis(0),
            reprovision_asked: false,
            stage: Stage::New,
            store_failed: None,
            not_provisioned: None,
            pending: BTreeMap::new(),
            awaited: Vec::new(),
            until_observed: Vec::new(),
            until_promoted: Vec::new(),
            until_down: Vec::new(),
            told: Told::default(),
            deeds: Deeds::default(),
            looks: 0,
            chosen: BTreeMap::new(),
            followed: false,
            queued: Vec::new(),
            ready: 0,
            attempts: Attempts::default(),
            moves: Moves::default(),
            parts: BTreeMap::new(),
            outrun_by: None,
            accepted: None,
            rolling: Rolling::default(),
            last_token: 0,
            out: Vec::new(),
        }
    }

    /// The same at another pace.
    #[must_use]
    pub fn at_pace(self, pace: Pace) -> Self {
        Self { pace, ..self }
    }

    /// The same, but a stored layout is kept as it is: its spec cannot be read, or was refused, and the cluster must be looked
    /// after all the same.
    #[must_use]
    pub fn keeping_layout(self) -> Self {
        Self { followed: true, ..self }
    }

    /// Takes an event, gives what is to be done about it.
    pub fn handle(&mut self, now: Millis, event: Event) -> Vec<Command> {
        match event {
            Event::Loaded(result) => self.loaded(now, result),
            Event::Committed(result) => self.committed(now, result),
            Event::Provisioned(result) => self.provisioned(now, result),
            Event::Observed(observation) => self.observed(now, observation),
            Event::Told { token, result } => self.told(now, token, result),
            Event::Asked { token, request } => {
                self.queued.push((token, request));
                self.look_soon(now);
            }
            Event::Withdrawn { token } => self.withdrawn(token),
            Event::Nudged => self.nudged(now),
            Event::Reprovision => {
                self.reprovision_asked = true;
                self.look_soon(now);
            }
            Event::Tick => {}
        }
        // Before the next look is begun: where others ask all the time, each look would leave it to the one after.
        self.take_queued(now);
        self.tick(now);
        std::mem::take(&mut self.out)
    }

    fn look_soon(&mut self, now: Millis) {
        if let Stage::Resting { until, then: Then::Observe } = &mut self.stage {
            *until = now;
        }
    }

    /// Judges a request again, before those that came after it.
    pub(super) fn take_again(&mut self, now: Millis, token: Token, request: valkeeper_model::Request) {
        self.queued.insert(0, (token, request));
        self.look_soon(now);
    }

    /// When [`Event::Tick`] is due.
    pub fn wake_at(&self) -> Option<Millis> {
        match &self.stage {
            Stage::New => Some(Millis(0)),
            Stage::Resting { until, .. } => Some(*until),
            _ => None,
        }
    }

    /// The layout in force.
    pub fn layout(&self) -> Option<&Layout> {
        self.layout.as_ref()
    }

    /// What was seen last.
    pub fn observation(&self) -> Option<&Observation> {
        self.observation.as_ref()
    }

    fn tick(&mut self, now: Millis) {
        match &self.stage {
            Stage::New => self.load(),
            Stage::Resting { until, then } if *until <= now => match then {
                Then::Load => self.load(),
                Then::Provision => self.provision(),
                Then::Observe if self.reprovision_asked => self.provision(),
                Then::Observe => self.observe(),
            },
            _ => {}
        }
    }

    pub(super) fn load(&mut self) {
        self.stage = Stage::Loading;
        self.out.push(Command::Load);
    }

    pub(super) fn observe(&mut self) {
        self.stage = Stage::Observing { nudged: false, requests: self.queued.len() };
        self.looks += 1;
        self.ready = 0;
        // At rest the agents' own looks are fresh enough; while things move or a request is to be judged, everybody looks again.
        let rolls = self.layout.as_ref().is_some_and(|layout| layout.roll().is_some());
        let settles = |report: &Report| !report.healthy || !report.progress.is_empty();
        let moving = rolls || self.report.as_ref().is_some_and(settles);
        self.out.push(Command::Observe { fresh: moving || !self.queued.is_empty() });
    }

    pub(super) fn provision(&mut self) {
        if let Some(layout) = &self.layout {
            self.stage = Stage::Provisioning;
            self.reprovision_asked = false;
            self.out.push(Command::Provision(Box::new(layout.clone())));
        }
    }

    pub(super) fn nudged(&mut self, now: Millis) {
        self.changed_at = now;
        match &mut self.stage {
            Stage::Observing { nudged, .. } => *nudged = true,
            Stage::Resting { until, then: Then::Observe } => *until = (*until).min(now.plus(NUDGED_MS)),
            _ => {}
        }
    }

    /// Requests wait while the layout is being changed, and for a look at the cluster that was begun after they came: who has
    /// just been told that a restart is done must not be refused the next for it.
    fn take_queued(&mut self, now: Millis) {
        while matches!(self.stage, Stage::Observing { .. } | Stage::Resting { .. })
            && self.ready > 0
            && !self.queued.is_empty()
        {
            let (token, request) = self.queued.remove(0);
            self.ready -= 1;
            self.asked(now, token, request);
        }
    }

    fn loaded(&mut self, now: Millis, result: Result<Option<Box<Layout>>, StoreError>) {
        let stored = match result {
            Ok(stored) => stored,
            Err(error) => return self.store_fails(now, error),
        };
        self.store_failed = None;
        let Some(stored) = stored.map(|stored| *stored) else {
            // The store has lost it. A cluster is founded once only: what is in force is stored again.
            if let Some(layout) = self.layout.clone() {
                let layout = self.beyond_what_agents_obey(layout);
                return self.commit_after(layout, None, AfterCommit::Record(Vec::new()));
            }
            return match placement::found(&self.spec, &self.zones, self.ids.as_mut()) {
                Ok(layout) => self.commit(layout, AfterCommit::Record(Vec::new())),
                Err(impossible) => self.give_up(impossible.into()),
            };
        };
        let next = if self.followed { Ok(stored.clone()) } else { self.follow_unseen(&stored) };
        match next.map(|next| self.beyond_what_agents_obey(next)) {
            Ok(next) if next == stored => {
                self.followed = true;
                self.layout = Some(stored);
                self.provision();
            }
            Ok(next) => {
                self.layout = Some(stored);
                self.commit(next, AfterCommit::Record(Vec::new()));
            }
            Err(refusal) => self.give_up(refusal),
        }
    }

    /// What our spec makes of a stored layout before anybody has looked.
    fn follow_unseen(&mut self, stored: &Layout) -> Result<Layout, Refusal> {
        let mut placing = Placing { zones: &self.zones, ids: self.ids.as_mut() };
        change::follow(stored, &self.spec, None, &mut placing)
    }

    fn give_up(&mut self, refusal: Refusal) {
        self.stage = Stage::Ended;
        self.out.push(Command::GiveUp(refusal));
    }

    pub(super) fn store_fails(&mut self, now: Millis, error: StoreError) {
        self.store_failed = Some(error);
        let then = if self.layout.is_some() { Then::Observe } else { Then::Load };
        self.stage = Stage::Resting { until: now.plus(FAILED_MS), then };
        self.publish_again(now);
    }

    fn provisioned(&mut self, now: Millis, result: Result<BTreeMap<InstanceName, Address>, ProvisionError>) {
        match result {
            Ok(addresses) => {
                self.not_provisioned = None;
                let waited = self
                    .layout
                    .as_ref()
                    .is_some_and(|layout| !orders::founders_are_placed(layout, &self.places.addresses));
                let elsewhere = self.places.learn(now, addresses);
                // What was made again, or looked through in turn, is no news of the cluster: looked at as often as before.
                if !elsewhere.is_empty() {
                    self.changed_at = now;
                }
                let audience = if waited { Audience::All } else { Audience::Changed { elsewhere } };
                self.order_changed(now, &audience);
                self.observe();
            }
            // What could not be made keeps nobody from looking after what is there.
            Err(error) => {
                self.not_provisioned = Some(error);
                self.observe();
            }
        }
    }

    fn observed(&mut self, now: Millis, observation: Observation) {
        let Stage::Observing { nudged, requests } = self.stage else { return };
        let Some(layout) = self.layout.clone() else { return };
        let reports = observation.instances.values().filter_map(Observed::known);
        let newest = reports.map(|report| report.generation).max();
        if let Some(newest) = newest.filter(|newest| *newest > layout.generation) {
            // Another controller has changed the layout, or the store has lost it: ours is the old one, and what follows from it
            // is wrong.
            self.outrun_by = Some(newest);
            return self.load();
        }
        self.order_late(now, &observation);
        let cluster_view = ClusterView::new(&layout, &observation);
        let mut report = health::judge(&cluster_view);
        hibernation::told(&layout, &mut report);
        self.moves.rate(now, &layout, &mut report.progress);
        self.chosen.retain(|_, at| now.since(*at) < CHOSEN_MS);
        let barred =
            Barred { chosen: self.chosen.keys().cloned().collect(), refused: self.attempts.barred(now) };
        // Nothing is mended of what is stopped on purpose.
        let (due, going_on, progressed) = match layout.hibernation_stage() {
            HibernationStage::Awake => self.progress(now, &cluster_view, &report, &barred),
            HibernationStage::Stopping | HibernationStage::Stopped => Default::default(),
        };
        drop(cluster_view);
        self.observation = Some(observation);
        self.ready = requests;
        self.settle_awaited(now, &report);
        self.settle_until_down();
        let pause = match (nudged, report.healthy) {
            _ if self.queued.len() > self.ready => 0,
            _ if self.reprovision_asked => 0,
            (true, _) => NUDGED_MS,
            (false, true)
                if report.waiting.is_empty() && layout.ledger.is_empty() && layout.operations.is_empty() =>
            {
                self.pace.at_rest_ms
            }
            (false, true) => self.pace.uneasy_ms(now.since(self.changed_at)),
            (false, false) => self.pace.unsettled_ms(now.since(self.changed_at)),
        };
        // A store that failed is looked at again, in turn with the cluster: what could not be told may be stored all the same.
        let (pause, then) = match (&self.store_failed, &self.not_provisioned) {
            (Some(_), _) => (FAILED_MS, Then::Load),
            (None, Some(_)) => (FAILED_MS, Then::Provision),
            (None, None) => (pause, Then::Observe),
        };
        self.stage = Stage::Resting { until: now.plus(pause), then };
        self.attempts.wanted(now, &due);
        self.publish(now, report);
        self.settle_until_observed(&layout);
        for step in going_on {
            self.take(now, step);
        }
        let begun = self.take_due(now, &layout, due);
        self.commit_progress(&layout, Progressed { begun, ..progressed });
    }

    /// The steps that are due, those of what stands in the layout already, and what is to be stored.
    fn progress(
        &mut self,
        now: Millis,
        cluster_view: &ClusterView<'_>,
        report: &Report,
        barred: &Barred,
    ) -> (Vec<Step>, Vec<Step>, Progressed) {
        let due = operations::due(cluster_view, report, barred);
        let lives = life::next(cluster_view, report)
            .or_else(|| operations::leave::next(cluster_view))
            .or_else(|| operations::spread::next(cluster_view))
            .or_else(|| replica_mode::next(cluster_view));
        let ended = self.ended(now, cluster_view);
        let going_on = self.going_on(now, cluster_view, &ended);
        let moves = operations::move_slots::seen(cluster_view);
        let rolled = self.roll(now, cluster_view, &ended);
        (due, going_on, Progressed { lives, ended, begun: None, rolled, moves })
    }

    pub(super) fn tell(&mut self, to: InstanceName, ask: Ask, within_ms: u64) -> Token {
        self.last_token += 1;
        let token = Token(self.last_token);
        self.note_told(token, &to, &ask);
        self.out.push(Command::Tell { token, to, ask, within_ms });
        token
    }

    pub(super) fn answer(&mut self, token: Token, result: Result<(), Refusal>) {
        self.out.push(Command::Answer { token, result });
    }

    /// The generation in force.
    pub fn generation(&self) -> Option<Generation> {
        self.layout.as_ref().map(|layout| layout.generation)
    }
}
