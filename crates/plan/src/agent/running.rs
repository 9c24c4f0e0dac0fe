//! A running server: what its replies mean, what is set in it, and its end when it stays silent.

use super::machine::{Agent, Failures, Phase};
use super::{Reply, ServerCommand, ServerError, Token};
use crate::config::{self, Directive};
use valkeeper_model::{
    Answer, Happened, Link, Millis, Observed, Persistence, Process, Role, ServerView, StartFailure, Unseen,
    Waiting,
};

impl Agent {
    pub(super) fn served(&mut self, now: Millis, token: Token, result: Result<Reply, ServerError>) {
        if self.process == Process::Down {
            return;
        }
        self.refusal_served(now, token, &result);
        if let Ok(Reply::View(view)) = &result {
            self.saw(now, (**view).clone());
        } else if let Err(error) = &result {
            self.server = match (&self.server, error) {
                // One silent look does not unmake what is known; the watch counts them.
                (
                    Observed::Known(_),
                    ServerError::Silent(_) | ServerError::Busy | ServerError::Refused(_),
                ) => self.server.clone(),
                _ => Observed::Unknown(error.unseen()),
            };
        }
        let alive = result.as_ref().map_or_else(ServerError::alive, |_| true);
        let settled = self.settled();
        let stale = !alive && self.silent_for(now) > 2_000;
        if stale {
            self.server = Observed::Unknown(Unseen::Timeout);
        }
        if let Some(watch) = self.phase.watch_mut() {
            if watch.looked(now, token, alive, settled) {
                return;
            }
            if alive {
                watch.alive(now);
            }
        }
        if let Some(relay) = self.relayed.remove(&token) {
            self.relay(relay, result);
        } else if let Phase::HandingOver(_, handover, _) = &mut self.phase {
            let progress = handover.served(now, token, result, &mut self.out);
            self.handover_went(now, progress);
        }
    }

    pub(super) fn silent_for(&self, now: Millis) -> u64 {
        match &self.phase {
            Phase::Watching(watch) | Phase::HandingOver(watch, ..) | Phase::Parting(watch, ..) => {
                watch.silent_for(now)
            }
            _ => 0,
        }
    }

    pub(super) fn saw(&mut self, now: Millis, mut view: ServerView) {
        let first = self.last_view.is_none();
        if self.node_id().is_some_and(|id| id != view.node_id) {
            // Law 10: whatever this is, it is not our server. Nothing is told to it, and nothing believed.
            let failure = StartFailure::WrongIdentity { found: view.node_id };
            self.waiting = Some(Waiting::StartFailed { instance: self.name.clone(), failure });
            return;
        }
        if first {
            self.has_served = true;
            self.failures = Failures::default();
            self.accept_loss = false;
            if self.adopted != self.incarnation() {
                self.out.record(Happened::Started { instance: self.name.clone() });
            }
        }
        self.waiting = None;
        self.neighbours_seen(now, &mut view);
        self.keeper.loaded();
        self.keep(now, &view);
        self.set_live(now, &view);
        let quiet = matches!(self.phase, Phase::Watching(_)) && Self::settled_by(&view) && !self.lacks_aof();
        if self.persistence() != Persistence::None && self.snapshot.due(now, &view, self.persistence(), quiet)
        {
            self.out.serve(ServerCommand::Save, 2_000);
        }
        self.last_view = Some(view.clone());
        self.server = Observed::Known(view);
        self.restart_if_emptied(now);
        if self.settled() && !self.attending.is_empty() && matches!(self.phase, Phase::Watching(_)) {
            self.attend_all(&Ok(Answer::Done));
        }
    }

    /// Sets what differs from the order and can be set while the server runs.
    pub(super) fn set_live(&mut self, now: Millis, view: &ServerView) {
        let Some(wanted) = self.wanted_config() else { return };
        let syncing = view.replication.link().is_some_and(|link| link != Link::Up);
        let mut drifted: Vec<Directive> = wanted
            .into_iter()
            .filter(|(name, _)| view.config_drift.contains(name) && self.may_set(name))
            // A returning replica runs without AOF until it is in sync, see `launch`.
            .filter(|(name, _)| !(syncing && name == config::APPENDONLY))
            .collect();
        let stops_aof = |(name, value): &Directive| name == config::APPENDONLY && value == "no";
        if drifted.iter().any(stops_aof) && !self.may_stop_aof(now) {
            drifted.retain(|directive| !stops_aof(directive));
        }
        if !drifted.is_empty() {
            self.out.serve(ServerCommand::Configure(drifted), 2_000);
        }
    }

    /// Is our server as it should be, as far as it can tell itself?
    pub(super) fn settled(&self) -> bool {
        let caught_up =
            |view: &ServerView| view.replication.role() == Role::Primary || self.keeper.caught_up();
        self.server.known().is_some_and(|view| Self::settled_by(view) && caught_up(view)) && !self.lacks_aof()
    }

    pub(super) fn settled_by(view: &ServerView) -> bool {
        view.cluster_ok
            && view.config_drift.is_empty()
            && view.failed.is_empty()
            && match view.replication.role() {
                Role::Primary => view.slots().is_some(),
                Role::Replica => view.replication.link() == Some(Link::Up),
            }
    }
}
