//! The agent's state, and which event goes where.

use super::aof_loss::AofLoss;
use super::consultation::Consultation;
use super::copy_record::CopyRecordState;
use super::crash_loop::CrashLoop;
use super::demotion::WritesHeld;
use super::last_write::LastWrite;
use super::memory::Fullness;
use super::relink::Relink;
use super::silence::Silence;
use super::snapshot::Snapshot;
use super::stopping::Stop;
use super::trial::Trials;
use super::watch::Watch;
use super::{Command, Event, Outbox, Token, sooner};
use crate::failover::handover::{Handover, Successor};
use crate::failover::promotion::Promotion;
use crate::failover::restart_decision::{Disk, Loss, Owner};
use crate::hostwatch::HostWatch;
use crate::mode::sentinel::{DemotedClients, SentinelWatch};
use crate::mode::standalone::Terms;
use crate::replica_mode::SourceWatch;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use valkeeper_model::nodes_conf::NodesConf;
use valkeeper_model::{
    Address, AgentOrder, Answer, AskFailed, ClusterId, CopyRecord, Death, Generation, Happened, Incarnation,
    InstanceName, LookRefused, Millis, NodeId, Observed, Persistence, Process, RegisterFault, Run,
    ServerView, ShardName, StartFailure, Unseen, Waiting,
};

/// Between looks at a running server's data directory: is it still there?
const DISK_LOOK_MS: u64 = 5_000;

/// The supervisor of one server.
#[derive(Debug)]
pub struct Agent {
    pub(super) name: InstanceName,
    /// The time of the last event.
    pub(super) now: Millis,
    pub(super) order: Option<Arc<AgentOrder>>,
    pub(super) process: Process,
    pub(super) pid: Option<u32>,
    pub(super) phase: Phase,
    /// What our server said last in this run.
    pub(super) server: Observed<ServerView>,
    /// The last view of any run: what the server was when it died.
    pub(super) last_view: Option<ServerView>,
    /// When that was.
    pub(super) seen_at: Millis,
    /// The look that showed it. Looks may overtake each other on their way back: a link that an earlier look shows as up, after a later one
    /// showed it as lost, is no new connection.
    pub(super) newest_look: Option<Token>,
    /// Why our server, which lives, does not let itself be looked at now.
    pub(super) look_refused: Option<LookRefused>,
    pub(super) disk: Option<Disk>,
    /// The disk has not answered the last look yet, for too long.
    pub(super) disk_silent: bool,
    pub(super) waiting: Option<Waiting>,
    pub(super) stays_down: bool,
    /// What the user has accepted since our server served last.
    pub(super) loss: Loss,
    /// Our server has answered once: an empty directory is a lost one from then on, also before the cluster is founded.
    pub(super) has_served: bool,
    pub(super) died_at: Option<Millis>,
    /// Another node id than ours that our server answers with, while it holds nothing.
    pub(super) stranger: Option<NodeId>,
    /// How its last run ended.
    pub(super) death: Death,
    pub(super) silence: Silence,
    pub(super) crash_loop: CrashLoop,
    /// When somebody last wanted our server to become primary.
    pub(super) promotion_requested_at: Option<Millis>,
    /// When this run of our server was last told to have itself elected.
    pub(super) election_asked: Option<(Incarnation, Millis)>,
    pub(super) failures: Failures,
    pub(super) out: Outbox,
    /// Questions of others that wait for our server's reply.
    pub(super) forwarded: BTreeMap<Token, Forwarded>,
    /// Questions of others that wait for a handover or a restart to end.
    pub(super) awaiting_completion: Vec<Token>,
    next_disk_look: Millis,
    pub(super) snapshot: Snapshot,
    pub(super) trials: Trials,
    /// How many full copies our server, a primary, had sent when its replicas were all in the stream.
    pub(super) copies_at_rest: Option<u64>,
    pub(super) fullness: Fullness,
    pub(super) relink: Relink,
    pub(super) copy_record: CopyRecordState,
    pub(super) aof_loss: AofLoss,
    /// The record that the start under way writes.
    pub(super) starting_record: Option<CopyRecord>,
    /// The replicas that our server, a primary, saw attached last in the run that ended.
    pub(super) attached_at_death: Option<BTreeSet<InstanceName>>,
    /// Our server had told that replica to take over when it died.
    pub(super) successor: Option<Successor>,
    /// The run that an earlier supervisor began.
    pub(super) adopted: Option<Incarnation>,
    /// The seat of this agent, in a mode in which agents vote.
    pub(super) terms: Terms,
    pub(super) register_fault: Option<RegisterFault>,
    /// The file of roles that the start under way writes.
    pub(super) starting_roles: Option<NodesConf>,
    /// The source, in a cluster that follows one.
    pub(super) source: SourceWatch,
    /// The Sentinels, in mode `sentinel`.
    pub(super) sentinels: SentinelWatch,
    /// Those of the own server, in the same mode.
    pub(super) demoted_clients: DemotedClients,
    /// Up to where the own server's data has changed.
    pub(super) last_write: LastWrite,
    /// Writes are held, since the own server is about to be demoted for the source.
    pub(super) writes_held: Option<WritesHeld>,
    /// Since when writes are held for a copy that is to be promoted.
    pub(super) handover_since: Option<Millis>,
    /// Present on a host of its own only.
    pub(super) host_watch: Option<Box<HostWatch>>,
}

/// What a question of somebody else's became.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Forwarded {
    /// Answer with what the server replies.
    Plain(Token),
    /// Answer with our report once the server has been looked at.
    Report(Token),
}

/// Starts that did not work, in a row.
#[derive(Debug, Default)]
pub(super) struct Failures {
    pub(super) in_a_row: u32,
    pub(super) last: Option<StartFailure>,
}

#[derive(Debug)]
pub(super) enum Phase {
    /// The server is down and is to be.
    Idle,
    /// The data directory is being looked at before a start.
    Inspecting,
    /// Others are asked what they hold before a start.
    Consulting(Consultation),
    /// Being started.
    Launching,
    /// Running.
    Watching(Watch),
    /// Dead, and a replica is being promoted.
    Promoting(Box<Promotion>),
    /// Running, and handing over.
    HandingOver(Watch, Box<Handover>, Then),
    /// Has handed over, and sends clients on to its successor until it is stopped then.
    Draining(Watch, Millis, Then),
    /// Being stopped.
    Stopping(Stop),
    /// Not started yet; tried again then.
    RetryAt { until: Millis },
}

impl Phase {
    /// The watch over a server that runs and is not being stopped.
    pub(super) fn watch_mut(&mut self) -> Option<&mut Watch> {
        match self {
            Self::Watching(watch) | Self::HandingOver(watch, ..) | Self::Draining(watch, ..) => Some(watch),
            _ => None,
        }
    }
}

/// What follows a handover or a stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Then {
    /// Go on.
    Watch,
    /// Start again.
    Restart,
    /// Stay down.
    StayDown,
}

impl Agent {
    /// An agent of a server that runs already (adopted, `Some`) or does not run.
    pub fn new(name: InstanceName, running: Option<(Incarnation, Option<u32>)>, now: Millis) -> Self {
        let (process, pid, phase) = match running {
            Some((incarnation, pid)) => {
                (Process::Running { incarnation, pid }, pid, Phase::Watching(Watch::adopt(now)))
            }
            None => (Process::Down, None, Phase::Idle),
        };
        Self {
            name,
            now,
            order: None,
            process,
            pid,
            phase,
            server: Observed::Unknown(Unseen::NotAsked),
            last_view: None,
            seen_at: now,
            newest_look: None,
            look_refused: None,
            disk: None,
            disk_silent: false,
            waiting: None,
            stays_down: false,
            loss: Loss::Refused,
            has_served: false,
            died_at: None,
            death: Death::Ended,
            silence: Silence::default(),
            crash_loop: CrashLoop::default(),
            promotion_requested_at: None,
            election_asked: None,
            stranger: None,
            failures: Failures::default(),
            out: Outbox::default(),
            forwarded: BTreeMap::new(),
            awaiting_completion: Vec::new(),
            next_disk_look: now.plus(DISK_LOOK_MS),
            snapshot: Snapshot::default(),
            trials: Trials::default(),
            copies_at_rest: None,
            fullness: Fullness::default(),
            relink: Relink::default(),
            copy_record: CopyRecordState::default(),
            aof_loss: AofLoss::default(),
            starting_record: None,
            attached_at_death: None,
            successor: None,
            adopted: running.map(|(incarnation, _)| incarnation),
            terms: Terms::default(),
            register_fault: None,
            starting_roles: None,
            source: SourceWatch::default(),
            sentinels: SentinelWatch::default(),
            demoted_clients: DemotedClients::default(),
            last_write: LastWrite::default(),
            writes_held: None,
            handover_since: None,
            host_watch: None,
        }
    }

    /// Takes an event, gives what is to be done about it.
    pub fn handle(&mut self, now: Millis, event: Event) -> Vec<Command> {
        self.now = now;
        // The first order says whom to tell: without one there is only SIGKILL. It is taken first, and the lease looked at below.
        let first_order = self.order.is_none() && matches!(event, Event::Order(_));
        if !first_order {
            self.guard(now);
        }
        match event {
            Event::Order(order) => self.take_order(now, *order),
            Event::Inspected(result) => {
                self.disk_silent = false;
                self.inspected(now, result);
            }
            Event::DiskSilent => self.disk_silent(now),
            Event::Started { incarnation, pid } => self.started(now, incarnation, pid),
            Event::Found { incarnation, pid } => {
                self.adopted = Some(incarnation);
                self.starting_record = None;
                self.started(now, incarnation, pid);
                if let Phase::Watching(watch) = &mut self.phase {
                    *watch = Watch::adopt(now);
                }
            }
            Event::StartFailed(failure) => {
                self.disk_silent = false;
                self.start_failed(now, failure);
            }
            Event::Wrote { incarnation, bytes } => {
                if let Phase::Stopping(stop) = &mut self.phase {
                    stop.wrote(now, incarnation, bytes);
                }
            }
            Event::SaveRefused { incarnation } => {
                if let Phase::Stopping(stop) = &mut self.phase
                    && stop.save_refused(incarnation)
                {
                    self.out.record(Happened::EndedUnsaved { instance: self.name.clone() });
                }
            }
            Event::Exited { incarnation, how, cause } => self.exited(now, incarnation, how, cause),
            Event::RegisterTold { token, result } => self.register_told(now, token, &result),
            Event::RolesKept { number, result } => self.roles_kept(now, number, result.is_ok()),
            Event::Kept { sequence, result } => self.kept(sequence, result.is_ok()),
            Event::SentinelsSeen(seen) => self.sentinels_seen(now, seen),
            Event::SourceSeen { of, result, gate } => self.source_seen(now, &of, result, gate),
            Event::Served { token, result } => self.served(now, token, result),
            Event::Told { token, result } => self.told(now, token, result),
            Event::Asked { token, ask } => self.asked(now, token, ask),
            Event::Tried { about, config, trial } => self.tried(now, about, *config, trial),
            Event::Password(fault) => self.trials.password = fault,
            Event::Stop => self.stop(now),
            Event::Retire => {
                self.stays_down = true;
                self.come_down(now);
            }
            Event::Tick => {}
        }
        self.tick(now);
        self.tick_terms(now);
        self.watch_source(now);
        self.watch_sentinels(now);
        self.watch_hosts(now);
        self.out.take()
    }

    /// When [`Event::Tick`] is due.
    pub fn wake_at(&self) -> Option<Millis> {
        // Without an order there is nothing to be done at any time: an adopted server is not even looked at.
        if self.order.is_none() {
            return self.host_watch_wake_at();
        }
        let disk = matches!(self.phase, Phase::Watching(_)).then_some(self.next_disk_look);
        let phase = match &self.phase {
            Phase::Idle | Phase::Inspecting | Phase::Launching => None,
            Phase::Consulting(consultation) => Some(consultation.wake_at()),
            Phase::Watching(watch) => Some(watch.wake_at()),
            Phase::Promoting(promotion) => promotion.wake_at(),
            Phase::HandingOver(watch, handover, _) => sooner(Some(watch.wake_at()), handover.wake_at()),
            Phase::Draining(watch, until, _) => sooner(Some(watch.wake_at()), Some(*until)),
            Phase::Stopping(stop) => Some(stop.wake_at()),
            Phase::RetryAt { until } => Some(*until),
        };
        let seats = sooner(self.terms.wake_at(), self.source_wake_at());
        let seats = sooner(seats, sooner(self.sentinels.wake_at(), self.demoted_clients.wake_at()));
        sooner(sooner(disk, phase), sooner(seats, self.host_watch_wake_at()))
    }

    pub(super) fn wanted_up(&self) -> bool {
        !self.stays_down && self.order.as_ref().is_some_and(|order| order.run == Run::Up)
    }

    pub(super) fn shard(&self) -> Option<ShardName> {
        Some(self.order.as_ref()?.myself()?.shard.clone())
    }

    pub(super) fn siblings(&self) -> Vec<InstanceName> {
        self.order.as_deref().map(AgentOrder::sibling_names).unwrap_or_default()
    }

    pub(super) fn incarnation(&self) -> Option<Incarnation> {
        match self.process {
            Process::Running { incarnation, .. } => Some(incarnation),
            Process::Down => None,
        }
    }

    pub(super) fn node_id(&self) -> Option<NodeId> {
        Some(self.order.as_ref()?.myself()?.node_id)
    }

    pub(super) fn persistence(&self) -> Persistence {
        self.order.as_ref().map_or(Persistence::Aof, |order| order.config.persistence)
    }

    /// The generation obeyed.
    pub fn generation(&self) -> Option<Generation> {
        self.order.as_ref().map(|order| order.generation)
    }

    /// The order obeyed.
    pub fn current_order(&self) -> Option<&AgentOrder> {
        self.order.as_deref()
    }

    /// The cluster whose order is obeyed.
    pub fn cluster(&self) -> Option<ClusterId> {
        self.order.as_ref().map(|order| order.cluster)
    }

    /// Is the server down, and nothing going on?
    pub fn at_rest(&self) -> bool {
        matches!(self.phase, Phase::Idle) && self.process == Process::Down && !self.copy_record.is_writing()
    }

    /// Where our server listens.
    pub fn address(&self) -> Option<&Address> {
        self.order.as_ref().and_then(|order| order.myself()).and_then(|member| member.address.as_ref())
    }

    fn told(&mut self, now: Millis, token: Token, result: Result<Answer, AskFailed>) {
        let answered = self.sync_told(now, token, &result)
            || self.terms_told(now, token, &result)
            || self.host_watch_told(now, token, &result)
            || self.inquiry_told(now, token, &result);
        if answered {
            return;
        }
        match &mut self.phase {
            Phase::Promoting(promotion) => {
                let progress = promotion.told(now, token, result, &mut self.out);
                self.promotion_went(now, progress);
            }
            Phase::HandingOver(_, handover, _) => {
                let progress = handover.told(now, token, result, &mut self.out);
                self.handover_went(now, progress);
            }
            Phase::Consulting(consultation) => {
                let complete = consultation.told(token, result);
                if complete {
                    self.consulted(now);
                }
            }
            _ => {}
        }
    }

    fn tick(&mut self, now: Millis) {
        match &mut self.phase {
            Phase::RetryAt { until } if *until <= now => self.inspect(),
            Phase::Promoting(promotion) => {
                let progress = promotion.tick(now, &mut self.out);
                self.promotion_went(now, progress);
            }
            Phase::HandingOver(_, handover, _) => handover.tick(now, &mut self.out),
            Phase::Draining(_, until, _) if *until <= now => self.end_draining(now),
            Phase::Consulting(consultation) if consultation.expired(now) => self.consulted(now),
            Phase::Stopping(stop) => {
                stop.tick(now, &mut self.out);
                // A server that is being stopped is not looked at: what was seen before says no longer how it is.
                if self.server.known().is_some() && now.since(self.seen_at) > super::running::STALE_MS {
                    self.server = Observed::Unknown(Unseen::Timeout);
                }
            }
            _ => {}
        }
        let Some(order) = self.order.clone() else { return };
        let look = self.look();
        if let Some(watch) = self.phase.watch_mut() {
            let limit = self.silence.limit(order.config.unresponsive_after_ms, now);
            if let Some(silent_ms) = watch.tick(now, limit, look, &mut self.out) {
                self.silent_too_long(now, silent_ms);
            }
        }
        if matches!(self.phase, Phase::Watching(_)) && self.next_disk_look <= now {
            self.next_disk_look = now.plus(DISK_LOOK_MS);
            if self.wanted_up() { self.out.push(Command::Inspect) } else { self.come_down(now) }
        }
    }

    /// Was the data directory nobody's at the last look: never used, emptied, or gone?
    pub(super) fn has_unmarked_directory(&self) -> bool {
        self.disk.as_ref().is_some_and(|disk| disk.owner == Owner::Nobody)
    }

    pub(super) fn is_shard_primary(&self) -> bool {
        self.server.known().is_some_and(ServerView::is_shard_primary)
    }

    fn started(&mut self, now: Millis, incarnation: Incarnation, pid: Option<u32>) {
        self.process = Process::Running { incarnation, pid };
        self.pid = pid;
        self.server = Observed::Unknown(Unseen::NotAsked);
        self.last_view = None;
        self.look_refused = None;
        // A start marks the directory.
        if let Some(disk) = &mut self.disk {
            disk.owner = Owner::Ours;
        }
        self.died_at = None;
        self.stranger = None;
        self.disk_silent = false;
        self.death = Death::Ended;
        self.crash_loop.begin(now);
        self.snapshot = Snapshot::default();
        self.copies_at_rest = None;
        self.fullness = Fullness::default();
        self.attached_at_death = None;
        self.successor = None;
        if let Some(roles) = self.starting_roles.take() {
            self.terms.written(roles);
        }
        self.copy_record
            .started(self.starting_record.take().map(|record| CopyRecord { run: incarnation, ..record }));
        self.phase = Phase::Watching(Watch::begin(now));
        self.next_disk_look = now.plus(DISK_LOOK_MS);
        if !self.wanted_up() {
            self.terminate(now, Then::StayDown);
        }
    }
}
