//! A start: with which files and directives, and what follows when it fails.

use super::copy_choice::Beside;
use super::launch::AGAIN_MS;
use super::machine::{Agent, Phase};
use super::{Command, Login, StartPlan};
use crate::failover::restart_decision::NodesFile;
use crate::server::config;
use valkeeper_model::nodes_conf::NodesConf;
use valkeeper_model::{CopySource, Happened, Millis, ReplicaModeWaiting, Role, StartFailure, Waiting};

/// Before the next look whether the record of the run that ended has been written.
const KEPT_MS: u64 = 5;
/// Before the next look whether the source has been seen.
const SOURCE_MS: u64 = 500;
/// Before the next try after a start that failed: doubled each time, up to the second.
const FAILED_MS: u64 = 100;
const FAILED_MAX_MS: u64 = 2_000;

impl Agent {
    pub(super) fn start(&mut self, now: Millis, nodes_conf: Option<NodesConf>, beside: Beside<'_>) {
        let (Some(order), Some(address)) = (self.order.clone(), self.address().cloned()) else { return };
        if !self.wanted_up() {
            // Whatever led here: a fence holds.
            return self.phase = Phase::Idle;
        }
        if self.copy_record.is_writing() || self.terms.is_saving() {
            return self.phase = Phase::RetryAt { until: now.plus(KEPT_MS) };
        }
        let mut config = config::directives(&self.config_to_start_with(&order));
        let nodes_conf = self.with_source_address(nodes_conf);
        let conf = match (&nodes_conf, self.disk.as_ref().map(|disk| &disk.nodes_conf)) {
            (Some(conf), _) | (None, Some(NodesFile::Intact(conf))) => Some(conf.clone()),
            _ => None,
        };
        let replica =
            conf.as_ref().and_then(NodesConf::myself).is_some_and(|me| me.flags.role == Some(Role::Replica));
        let role = if replica { Role::Replica } else { Role::Primary };
        if self.waits_for_source(conf.as_ref()) {
            let why = self.source.fault().cloned();
            let instance = self.name.clone();
            let unusable = |why| Waiting::ReplicaMode(ReplicaModeWaiting::SourceUnusable { instance, why });
            self.waiting = why.map(unusable);
            return self.phase = Phase::RetryAt { until: now.plus(SOURCE_MS) };
        }
        let Some(of_role) = conf.as_ref().map_or(Some(Vec::new()), |conf| self.mode().start_directives(conf))
        else {
            return self.wait_and_retry(now, Waiting::TopologyUnknown { instance: self.name.clone() });
        };
        config.extend(of_role);
        let choice = self.choose_copy(role, beside);
        match choice.load {
            CopySource::Aof => config::set(&mut config, config::APPENDONLY, "yes"),
            CopySource::Rdb => config::set(&mut config, config::APPENDONLY, "no"),
            CopySource::Nothing => {}
        }
        // Until it is in sync, its copy is not one that the engine's own election may promote: the primary may just be slow to
        // load, and its newer data would be lost.
        if replica {
            config::set(&mut config, config::NO_FAILOVER, "yes");
        }
        let refuses = self.with_host_watch(now, |watch, situation, _| {
            if let Some(conf) = &conf {
                watch.read(situation, conf);
            }
            watch.starts_as(role, now)
        });
        if refuses == Some(true) {
            config = config::refusing_writes(config);
        }
        self.waiting = None;
        self.phase = Phase::Launching;
        self.starting_record = Some(choice.record.clone());
        let mut nodes_conf = nodes_conf;
        if let Some(roles) = &mut nodes_conf
            && self.votes_by_itself()
        {
            self.terms.carry_votes(roles);
        }
        self.starting_roles.clone_from(&nodes_conf);
        let login = self.login_with(conf.as_ref());
        if let Login::Source(source) = &login
            && let Some(user) = &source.user
        {
            config.push((config::PRIMARY_USER.to_owned(), user.clone()));
        }
        self.out.push(Command::Start(Box::new(StartPlan {
            set_aside: choice.set_aside,
            record: choice.record,
            nodes_conf,
            config,
            version: order.version.clone(),
            login,
            address,
        })));
    }

    pub(super) fn start_failed(&mut self, now: Millis, failure: StartFailure) {
        self.failures.in_a_row += 1;
        if matches!(failure, StartFailure::Exited { .. }) {
            self.doubt_config();
        }
        self.tell_failure(failure);
        self.try_later(now);
    }

    /// Tries again after a while that grows with the failures in a row.
    pub(super) fn try_later(&mut self, now: Millis) {
        let delay = FAILED_MS.saturating_mul(1 << self.failures.in_a_row.min(10)).min(FAILED_MAX_MS);
        self.phase = if self.wanted_up() { Phase::RetryAt { until: now.plus(delay) } } else { Phase::Idle };
    }

    /// Tells a failure once, and shows it until a start works.
    pub(super) fn tell_failure(&mut self, failure: StartFailure) {
        let instance = self.name.clone();
        if self.failures.last.as_ref() != Some(&failure) {
            self.failures.last = Some(failure.clone());
            self.out.record(Happened::StartFailed { instance: instance.clone(), failure: failure.clone() });
        }
        self.waiting = Some(Waiting::StartFailed { instance, failure });
    }

    pub(super) fn wait_and_retry(&mut self, now: Millis, waiting: Waiting) {
        self.waiting = Some(waiting);
        self.phase = Phase::RetryAt { until: now.plus(AGAIN_MS) };
    }
}
