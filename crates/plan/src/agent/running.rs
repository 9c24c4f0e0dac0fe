//! A running server: what its replies mean, what is set in it, and its end when it stays silent.

use super::machine::{Agent, Failures, Forwarded, Phase};
use super::watch::Looked;
use super::{Login, Reply, ServerCommand, ServerError, Token};
use crate::failover::restart_decision::Loss;
use crate::server::config::{self, Directive, OrderedConfig};
use crate::server::sync_replicas;
use std::collections::BTreeSet;
use valkeeper_model::{
    Answer, Happened, Link, Millis, Observed, Part, Persistence, Process, Role, ServerView, Unseen,
};

/// How long what was seen last is taken for what is.
pub(super) const STALE_MS: u64 = 2_000;

impl Agent {
    pub(super) fn served(&mut self, now: Millis, token: Token, result: Result<Reply, ServerError>) {
        if self.process == Process::Down {
            return;
        }
        self.with_host_watch(now, |watch, _, _| watch.server_replied(now, token, &result));
        self.writes_held_for_demotion(now, token, &result);
        if let Ok(Reply::View(view)) = &result {
            if self.newest_look.is_none_or(|newest| newest < token) {
                self.newest_look = Some(token);
                self.saw(now, (**view).clone());
            }
        } else if let Err(error) = &result {
            self.not_seen(now, token, error);
        }
        let alive = result.as_ref().map_or_else(ServerError::alive, |_| true);
        if result == Err(ServerError::Silent(Unseen::NoDescriptors))
            && let Some(watch) = self.phase.watch_mut()
        {
            // We could not ask: that is our silence and not the server's.
            watch.was_away(now);
            self.server = Observed::Unknown(Unseen::NoDescriptors);
        }
        if alive {
            self.silence.ended();
        }
        let looked = match (&result, self.settled()) {
            (Err(error), _) if !error.alive() => Looked::Silent,
            (Err(_), _) if self.look_refused.is_some() => Looked::Refused,
            // Held writes wait for the next look.
            (_, true) if self.writes_held.is_none() => Looked::Settled,
            _ => Looked::Unsettled,
        };
        let stale = !alive && self.silent_for(now) > STALE_MS;
        if stale {
            self.server = Observed::Unknown(Unseen::Timeout);
            self.look_refused = None;
        }
        if let Some(watch) = self.phase.watch_mut() {
            if watch.looked(now, token, looked) {
                self.note_unset();
                return self.keep_working_config();
            }
            if alive {
                watch.alive(now);
            }
        }
        if let Some(forward) = self.forwarded.remove(&token) {
            self.forward(now, forward, result);
        } else if let Phase::HandingOver(_, handover, _) = &mut self.phase {
            let progress = handover.served(now, token, result, &mut self.out);
            self.handover_went(now, progress);
        }
    }

    /// Our server did not tell what it was asked. What was seen last counts for a moment longer: one reply that is lost, or a short script,
    /// does not unmake what is known. After that nothing is known, whatever keeps the server from telling (law 1).
    fn not_seen(&mut self, now: Millis, token: Token, error: &ServerError) {
        let is_look = self.phase.watch_mut().is_some_and(|watch| watch.is_looking(token))
            || matches!(self.forwarded.get(&token), Some(Forwarded::Report(_)));
        let known = self.server.known().is_some();
        let fresh = known && now.since(self.seen_at) <= STALE_MS;
        // A look that takes long on a busy machine is no pause yet.
        if is_look && error.alive() && !(fresh && *error == ServerError::HeldBack) {
            self.look_refused = error.look_refused();
        }
        self.server = match error {
            ServerError::Silent(_) if known => return,
            // An order that is refused says nothing about what the server is.
            ServerError::Busy
            | ServerError::HeldBack
            | ServerError::RightMissing(_)
            | ServerError::Refused(_)
                if fresh || known && !is_look =>
            {
                return;
            }
            _ => Observed::Unknown(error.unseen()),
        };
    }

    pub(super) fn silent_for(&self, now: Millis) -> u64 {
        match &self.phase {
            Phase::Watching(watch) | Phase::HandingOver(watch, ..) | Phase::Draining(watch, ..) => {
                watch.silent_for(now)
            }
            _ => 0,
        }
    }

    pub(super) fn saw(&mut self, now: Millis, mut view: ServerView) {
        let first = self.last_view.is_none();
        if self.node_id().is_some_and(|id| id != view.node_id) {
            return self.saw_another(&view);
        }
        if first {
            self.has_served = true;
            self.failures = Failures::default();
            self.loss = Loss::Refused;
            if self.adopted != self.incarnation() {
                self.out.record(Happened::Started { instance: self.name.clone() });
            }
        }
        self.complete_view(&mut view);
        self.waiting = None;
        self.look_refused = None;
        self.seen_at = now;
        self.tell_role_by_hand(now, &view);
        self.host_watch_saw(now, &mut view);
        if let Some(slow) = view.slow.take() {
            self.out.record(Happened::SlowCommand { instance: self.name.clone(), slow });
        }
        view.full_syncs = self.copies_in_vain(&view);
        view.memory_full = self.fullness.seen(now, view.memory_full);
        self.copy_record.loaded();
        self.keep(now, &view);
        self.set_live(now, &view);
        self.follow_the_owner(&view);
        self.mend_role(now, &view);
        self.judge_config(&mut view);
        if self.relink.due(now, &view) {
            self.out.serve(ServerCommand::Relink, 2_000);
        }
        let quiet = matches!(self.phase, Phase::Watching(_)) && Self::settled_by(&view) && !self.lacks_aof();
        if self.persistence() != Persistence::None && self.snapshot.due(now, &view, self.persistence(), quiet)
        {
            self.out.serve(ServerCommand::Save, 2_000);
        }
        self.compare_anew(now, &view);
        self.last_write.saw(&view);
        self.last_view = Some(view.clone());
        self.server = Observed::Known(view);
        self.demote_for_source(now);
        self.restart_if_emptied(now);
        if self.settled() && !self.awaiting_completion.is_empty() && matches!(self.phase, Phase::Watching(_))
        {
            self.complete_all(&Ok(Answer::Done));
        }
    }

    /// Replicas have come or gone, and another number of them is needed from now on: the server is compared with that at once, since too
    /// high a number refuses writes.
    fn compare_anew(&mut self, now: Millis, view: &ServerView) {
        let Some(order) = &self.order else { return };
        let needed = |view: &ServerView| sync_replicas::needed(&order.config, &view.replication);
        let before = self.last_view.as_ref().and_then(needed);
        if let (true, Phase::Watching(watch)) = (needed(view) != before, &mut self.phase) {
            watch.look_now(now);
        }
    }

    /// How many full copies a primary has sent since all its replicas were in the stream: the server counts from its start.
    fn copies_in_vain(&mut self, view: &ServerView) -> Option<u64> {
        let sent = view.full_syncs?;
        let Part::Primary { replicas } = &view.replication.part else { return None };
        let following = replicas.iter().filter(|replica| replica.online).count();
        if following >= self.siblings().len() {
            self.copies_at_rest = None;
        }
        Some(sent.saturating_sub(*self.copies_at_rest.get_or_insert(sent)))
    }

    /// A full look at our server.
    pub(super) fn look(&self) -> ServerCommand {
        let drift = self.order.as_ref().map(|order| order.config.drift).unwrap_or_default();
        ServerCommand::Look(OrderedConfig { directives: self.wanted_config().unwrap_or_default(), drift })
    }

    /// What is wanted of our server's configuration now.
    pub(super) fn wanted_config(&self) -> Option<Vec<Directive>> {
        self.wanted_config_of(self.server.known())
    }

    /// The same of a server that has just shown itself so.
    fn wanted_config_of(&self, view: Option<&ServerView>) -> Option<Vec<Directive>> {
        let order = self.order.as_ref()?;
        let mut ordered = config::directives(&order.config);
        // The engine's own election must not promote a replica that has not caught up (law 13).
        let replica = view.is_some_and(|view| view.replication.role() == Role::Replica);
        if replica && !self.copy_record.sync.electable {
            config::set(&mut ordered, config::NO_FAILOVER, "yes");
        }
        if let Some(Login::Source(source)) = self.login()
            && let Some(user) = source.user
        {
            ordered.push((config::PRIMARY_USER.to_owned(), user));
        }
        if let Some(needed) = view.and_then(|view| sync_replicas::needed(&order.config, &view.replication)) {
            config::set(&mut ordered, config::MIN_REPLICAS, &needed.to_string());
        }
        let refuses = self.host_watch.as_ref().is_some_and(|watch| watch.refuses_writes());
        Some(if refuses { config::refusing_writes(ordered) } else { ordered })
    }

    /// May the ordinary comparison set this directive?
    fn may_set(&self, directive: &str) -> bool {
        self.host_watch.as_ref().is_none_or(|watch| watch.may_set(directive))
    }

    /// Sets what differs from the order and can be set while the server runs.
    pub(super) fn set_live(&mut self, now: Millis, view: &ServerView) {
        let Some(wanted) = self.wanted_config_of(Some(view)) else { return };
        let wanted_names: BTreeSet<String> = wanted.iter().map(|(name, _)| name.clone()).collect();
        let syncing = view.replication.link().is_some_and(|link| link != Link::Up);
        let mut drifted: Vec<Directive> = wanted
            .into_iter()
            .filter(|(name, _)| view.config_drift.contains(name) && self.may_set(name))
            // A returning replica runs without AOF until it is in sync, see `launch`.
            .filter(|(name, _)| !(syncing && name == config::APPENDONLY))
            .collect();
        let back: Vec<String> =
            view.config_drift.iter().filter(|name| !wanted_names.contains(*name)).cloned().collect();
        let stops_aof = |(name, value): &Directive| name == config::APPENDONLY && value == "no";
        if drifted.iter().any(stops_aof) && !self.may_stop_aof(now, view) {
            drifted.retain(|directive| !stops_aof(directive));
        }
        if !drifted.is_empty() {
            self.out.serve(ServerCommand::Configure(drifted), 2_000);
        }
        if !back.is_empty() {
            self.out.serve(ServerCommand::PutBack(back), 2_000);
        }
        let known = self.last_view.as_ref().map(|view| &view.config_altered);
        let altered = view.config_altered.iter().filter(|name| self.may_set(name)).cloned();
        let directives: Vec<String> =
            altered.filter(|name| !known.is_some_and(|known| known.contains(name))).collect();
        if !directives.is_empty() {
            self.out.record(Happened::ConfigPutBack { instance: self.name.clone(), directives });
        }
    }

    /// Is our server as it should be, as far as it can tell itself?
    pub(super) fn settled(&self) -> bool {
        let caught_up =
            |view: &ServerView| view.replication.role() == Role::Primary || self.copy_record.caught_up();
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
