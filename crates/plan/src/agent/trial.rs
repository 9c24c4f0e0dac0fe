//! A configuration that the server program refuses never ends a server that runs, and never keeps one down that ran before: it is tried
//! first, and the one that worked last is used instead.

use super::About;
use super::machine::{Agent, Phase};
use super::{Command, Token};
use std::collections::BTreeSet;
use valkeeper_model::{
    AgentOrder, Answer, AskFailed, InvalidDirective, Millis, PasswordFault, RestartTurn, ServerConfig,
    ServerVersion, ServerView, Trial,
};

/// What is known of configurations, and of the password.
#[derive(Debug, Default)]
pub(super) struct Trials {
    /// What came of the last trial of an ordered configuration.
    verdict: Option<(ServerConfig, Trial)>,
    /// It is being tried.
    pending: Option<ServerConfig>,
    /// The server last ran with it, as it was ordered.
    working: Option<ServerConfig>,
    /// Directives that a server did not take while it ran with this ordered.
    unset: Option<(ServerConfig, BTreeSet<String>)>,
    /// The program of the last trial of what was ordered.
    with: Option<ServerVersion>,
    /// Who waits for a restart until its configuration has been tried.
    restarts: Vec<Token>,
    /// Why the wanted password cannot be used.
    pub(super) password: Option<PasswordFault>,
}

impl Trials {
    fn verdict(&self, config: &ServerConfig) -> Option<&Trial> {
        self.verdict.as_ref().filter(|(tried, _)| tried == config).map(|(_, trial)| trial)
    }
}

impl Agent {
    /// The same agent, which knows the configuration that its server last ran with as it was ordered.
    #[must_use]
    pub fn with_working_config(mut self, working: Option<ServerConfig>) -> Self {
        self.trials.working = working;
        self
    }

    pub(super) fn try_for(&mut self, about: About, config: ServerConfig, version: Option<ServerVersion>) {
        self.out.push(Command::Try { about, config: Box::new(config), version });
    }

    /// Tries what is ordered.
    fn try_ordered(&mut self, about: About, order: &AgentOrder) {
        self.trials.with.clone_from(&order.version);
        self.try_for(about, order.config.clone(), order.version.clone());
    }

    /// Another program is ordered: what came of trials with the former one says nothing of it.
    pub(super) fn forget_trials(&mut self) {
        self.trials.verdict = None;
        self.trials.pending = None;
    }

    /// A restart is asked for: not before it is known that the server would come back.
    pub(super) fn try_before_restart(&mut self, token: Token) {
        let Some(order) = self.order.clone() else { return };
        self.trials.restarts.push(token);
        self.try_ordered(About::Restart, &order);
    }

    /// Tries the configuration in force, once.
    fn try_order(&mut self) {
        let Some(order) = self.order.clone() else { return };
        if self.trials.verdict(&order.config).is_none() && self.trials.pending.as_ref() != Some(&order.config)
        {
            self.trials.pending = Some(order.config.clone());
            self.try_ordered(About::Order, &order);
        }
    }

    /// A start has failed: is it the configuration? Asked only if there is another one to start with.
    pub(super) fn doubt_config(&mut self) {
        let Some(order) = &self.order else { return };
        if self.trials.working.as_ref().is_some_and(|working| *working != order.config) {
            self.try_order();
        }
    }

    pub(super) fn tried(&mut self, now: Millis, about: About, config: ServerConfig, trial: Trial) {
        if let About::Question(token) = about {
            return self.out.push(Command::Answer { token, result: Ok(Answer::Tried(trial)) });
        }
        if self.trials.pending.as_ref() == Some(&config) {
            self.trials.pending = None;
        }
        // One with a program that is not ordered any more says nothing.
        let current = self.order.as_ref().is_some_and(|order| order.version == self.trials.with);
        if current {
            self.trials.verdict = Some((config, trial));
        }
        if about == About::Restart {
            self.restart_tried(now);
        } else if let Some(watch) = self.phase.watch_mut() {
            watch.look_now(now);
        }
    }

    fn restart_tried(&mut self, now: Millis) {
        let Some(order) = self.order.clone() else { return };
        let current = self.trials.verdict(&order.config).is_some();
        if !current {
            // Ordered meanwhile.
            return self.try_ordered(About::Restart, &order);
        }
        let tokens = std::mem::take(&mut self.trials.restarts);
        let refusal = match (self.trials.verdict(&order.config).cloned(), self.trials.password.clone()) {
            (Some(Trial::Refuses { directives }), _) => Some(AskFailed::ConfigInvalid { directives }),
            (_, Some(fault)) => Some(AskFailed::PasswordUnusable(fault)),
            _ if !matches!(self.phase, Phase::Watching(_)) => {
                Some(AskFailed::Refused(super::answer::BUSY.to_owned()))
            }
            _ => None,
        };
        match refusal {
            Some(refusal) => {
                let answers = tokens.into_iter().map(|token| (token, refusal.clone()));
                for (token, refusal) in answers {
                    self.out.push(Command::Answer { token, result: Err(refusal) });
                }
            }
            None if tokens.is_empty() => {}
            None => {
                self.awaiting_completion.extend(tokens);
                self.restart(now);
            }
        }
    }

    /// What the server is to be started with: what is ordered, but for values of the user's that its program refuses, and for those that wait
    /// for its turn in a roll.
    pub(super) fn config_to_start_with(&self, order: &AgentOrder) -> ServerConfig {
        match (self.trials.verdict(&order.config), &self.trials.working) {
            (Some(Trial::Refuses { .. }), Some(working)) => ServerConfig {
                directives: working.directives.clone(),
                max_memory: working.max_memory,
                max_memory_policy: working.max_memory_policy,
                ..order.config.clone()
            },
            (_, Some(working)) if order.turn == RestartTurn::Awaited => {
                self.config_before_turn(&order.config, working)
            }
            _ => order.config.clone(),
        }
    }

    /// What was set while the server ran stays as it was set: a lower `maxmemory` of before would evict keys. What it was not seen to take
    /// comes with its turn.
    fn config_before_turn(&self, ordered: &ServerConfig, working: &ServerConfig) -> ServerConfig {
        let known = self.trials.unset.as_ref().filter(|(with, _)| with == ordered).map(|(_, unset)| unset);
        let of = |name: &str| {
            let was_set = known.is_some_and(|unset| !unset.contains(name));
            if was_set { ordered } else { working }
        };
        let names = ordered.directives.keys().chain(working.directives.keys());
        let directives = names.filter_map(|name| of(name).directives.get_key_value(name));
        ServerConfig {
            directives: directives.map(|(name, value)| (name.clone(), value.clone())).collect(),
            max_memory: of("maxmemory").max_memory,
            max_memory_policy: of("maxmemory-policy").max_memory_policy,
            ..ordered.clone()
        }
    }

    /// Notes what the server has not taken of what is ordered now.
    pub(super) fn note_unset(&mut self) {
        let (Some(order), Some(view)) = (&self.order, self.server.known()) else { return };
        if !matches!(&self.phase, Phase::Watching(watch) if watch.is_current()) {
            return;
        }
        let invalid = view.config_invalid.iter().filter_map(|one| one.name.as_ref());
        let unset = view.config_drift.iter().chain(&view.config_refused).chain(invalid).cloned().collect();
        self.trials.unset = Some((order.config.clone(), unset));
    }

    /// Our server runs as it was ordered to.
    pub(super) fn keep_working_config(&mut self) {
        let (Some(order), Some(view)) = (&self.order, self.server.known()) else { return };
        let current = matches!(&self.phase, Phase::Watching(watch) if watch.is_current());
        let as_ordered =
            view.config_drift.is_empty() && view.config_refused.is_empty() && view.config_invalid.is_empty();
        if current && as_ordered && self.trials.working.as_ref() != Some(&order.config) {
            self.trials.working = Some(order.config.clone());
            self.out.push(Command::KeepWorkingConfig(Box::new(order.config.clone())));
        }
    }

    /// What a server cannot set while it runs may be set by a restart only if its program takes it: that is tried before anybody is told.
    pub(super) fn judge_config(&mut self, view: &mut ServerView) {
        if view.config_refused.is_empty() && view.config_invalid.is_empty() {
            return;
        }
        self.try_order();
        let Some(order) = &self.order else { return };
        match self.trials.verdict(&order.config) {
            Some(Trial::Refuses { directives }) => {
                let named = |one: &InvalidDirective| one.name.clone();
                view.config_invalid.retain(|one| !directives.iter().any(|tried| tried.name == one.name));
                view.config_invalid.extend(directives.iter().cloned());
                let invalid: Vec<_> = view.config_invalid.iter().filter_map(named).collect();
                view.config_refused.retain(|name| !invalid.contains(name));
            }
            None if self.trials.pending.is_some() => {
                view.config_drift.append(&mut view.config_refused);
            }
            Some(_) | None => {}
        }
    }
}
