//! Questions and their answers: between agents, from controllers, and to servers. Each is answered once, or times out; what
//! was asked may have been done all the same.

use super::{Fleet, Happening};
use crate::network::Way;
use crate::sabotage::Sabotage;
use std::collections::BTreeSet;
use valkeeper_model::{
    Activity, AgentReport, Answer, Ask, AskFailed, InstanceName, Millis, Observed, Role, Unseen,
};
use valkeeper_plan::agent::{Event, Reply, ServerCommand, ServerError, Token};
use valkeeper_plan::controller::{self, Observing};

/// Who asks.
#[derive(Debug, Clone)]
pub(crate) enum Asker {
    Agent { agent: usize, life: u64, token: Token },
    Controller { controller: usize, life: u64, token: Token },
    Observation { controller: usize, life: u64, round: u64 },
}

/// A question under way.
#[derive(Debug)]
pub(crate) struct AskInFlight {
    asker: Asker,
    to: usize,
    ask: Ask,
}

/// A command to a server under way.
#[derive(Debug)]
pub(crate) struct ServeInFlight {
    pub(crate) server: usize,
    life: u64,
    token: Token,
}

/// An observation under way.
#[derive(Debug)]
pub(crate) struct Round {
    id: u64,
    observing: Observing,
}

impl Fleet {
    pub(crate) fn index_of(&self, name: &InstanceName) -> usize {
        self.members.names.iter().position(|known| known == name).unwrap_or_default()
    }

    fn way_is_open(&self, asker: &Asker, to: usize) -> bool {
        match asker {
            Asker::Agent { agent, .. } => self.network.open(Way::Agents, *agent, to),
            Asker::Controller { controller, .. } | Asker::Observation { controller, .. } => {
                self.network.open(Way::Control, *controller, to)
            }
        }
    }

    pub(crate) fn send_ask(&mut self, asker: Asker, to: usize, mut ask: Ask, within_ms: u64) {
        if self.sabotage == Some(Sabotage::TakeOverWithQuorum)
            && let Ask::Force { incarnation, replaces, .. } = ask
        {
            ask = Ask::Takeover { incarnation, replaces };
        }
        let id = self.id();
        let arrives = self.way_is_open(&asker, to) && !self.network.loses(&mut self.random);
        let by_controller = matches!(asker, Asker::Controller { .. });
        self.asks.insert(id, AskInFlight { asker, to, ask });
        if arrives {
            let mut delay = self.network.hop(&mut self.random);
            if by_controller && self.network.asks_ms > 0 {
                delay += self.random.within(0..=self.network.asks_ms);
            }
            self.clock.after(delay, Happening::Ask { id });
        }
        self.clock.after(within_ms, Happening::AskTimeout { id });
    }

    pub(super) fn ask_arrives(&mut self, id: u64) {
        let Some(AskInFlight { to, ask, .. }) = self.asks.get(&id) else { return };
        let (to, ask) = (*to, ask.clone());
        let host = &self.agents[to];
        if host.agent.is_none() {
            let result = Box::new(Err(AskFailed::Unseen(Unseen::Unreachable)));
            return self.clock.after(1, Happening::Answered { id, result });
        }
        let life = host.life;
        if self.law_of_asks(to, &ask) {
            self.agent_event(to, life, Event::Asked { token: Token(id), ask });
        }
    }

    /// An agent answers; the way back may be shut by now.
    pub(super) fn answer(&mut self, id: u64, result: Result<Answer, AskFailed>) {
        let Some(in_flight) = self.asks.get(&id) else { return };
        if !self.way_is_open(&in_flight.asker, in_flight.to) || self.network.loses(&mut self.random) {
            return;
        }
        let delay = self.network.hop(&mut self.random);
        self.clock.after(delay, Happening::Answered { id, result: Box::new(result) });
    }

    pub(super) fn ask_timed_out(&mut self, id: u64) {
        self.answered(id, Err(AskFailed::Unseen(Unseen::Timeout)));
    }

    pub(super) fn answered(&mut self, id: u64, mut result: Result<Answer, AskFailed>) {
        let Some(AskInFlight { asker, to, ask }) = self.asks.remove(&id) else { return };
        if let Err(AskFailed::Unseen(_)) = &result {
            self.laws.unseen_at[to] = self.clock.now();
        }
        self.spoil(to, &ask, &mut result);
        match asker {
            Asker::Agent { agent, life, token } => {
                self.agent_event(agent, life, Event::Told { token, result });
            }
            Asker::Controller { controller, life, token } => {
                let event = controller::Event::Told { token, result };
                self.controller_event(controller, life, event);
            }
            Asker::Observation { controller, life, round } => {
                self.gathered(controller, life, round, to, result);
            }
        }
    }

    /// Sabotage of what agents hear of each other.
    fn spoil(&mut self, to: usize, ask: &Ask, result: &mut Result<Answer, AskFailed>) {
        match (self.sabotage, ask) {
            (Some(Sabotage::ChooseLowestOffset), Ask::Replication) => {
                if let Ok(Answer::Replication { replication, .. }) = result
                    && replication.role() == Role::Replica
                {
                    replication.offset.0 = u64::MAX / 2 - replication.offset.0;
                }
            }
            (Some(Sabotage::ClaimInSync), Ask::Replication) => {
                if let Ok(Answer::Replication { standing: Some(standing), .. }) = result {
                    standing.caught_up = true;
                }
            }
            (Some(Sabotage::ClaimInSync), Ask::Report { .. }) => {
                if let Ok(Answer::Report(report)) = result
                    && let Some(copy) = &mut report.copy
                {
                    copy.caught_up = true;
                }
            }
            (Some(Sabotage::ForgetPromises), Ask::Heartbeat { .. }) => {
                if let Ok(Answer::Heartbeat { counts, has_quorum, past_promise_window }) = result {
                    (*counts, *has_quorum, *past_promise_window) = (true, true, true);
                }
            }
            (Some(Sabotage::ForceWithoutTestimony), Ask::ConfirmDown { .. }) => {
                *result = Ok(Answer::ConfirmDown { silent_ms: 60_000 });
            }
            (Some(Sabotage::TakeUnknownForDown), Ask::Report { .. } | Ask::Replication) => {
                if !matches!(result, Err(AskFailed::Unseen(_))) {
                    return;
                }
                if matches!(ask, Ask::Replication) {
                    *result = Err(AskFailed::NotRunning);
                } else if let Some(report) = self.last_report(to) {
                    let report = AgentReport {
                        format: valkeeper_model::Format,
                        process: valkeeper_model::Process::Down,
                        server: Observed::Unknown(Unseen::NotRunning),
                        disk_role: valkeeper_model::DiskRole::Lost,
                        has_data: false,
                        disk: valkeeper_model::DiskAccess::Answers,
                        copy: None,
                        activity: Activity::Resting,
                        ..report
                    };
                    *result = Ok(Answer::Report(Box::new(report)));
                }
            }
            _ => {}
        }
    }

    fn last_report(&self, of: usize) -> Option<AgentReport> {
        self.agents
            .iter()
            .find_map(|host| host.agent.as_ref()?.report())
            .map(|report| AgentReport { address: self.servers[of].address.clone(), ..report })
    }

    pub(super) fn send_serve(
        &mut self,
        agent: usize,
        life: u64,
        token: Token,
        mut command: ServerCommand,
        within_ms: u64,
    ) {
        if self.sabotage == Some(Sabotage::ForceInsteadOfHandover)
            && command == ServerCommand::FailoverPlanned
        {
            command = ServerCommand::FailoverForce { replaces: None };
        }
        if let ServerCommand::Configure(directives) = &mut command {
            self.spoil_refusal(directives);
        }
        let id = self.id();
        self.serves.insert(id, ServeInFlight { server: agent, life, token });
        let delay = self.random.within(0..=1);
        self.clock.after(delay, Happening::Serve { id, server: agent, command });
        self.clock.after(within_ms, Happening::ServeTimeout { id });
    }

    pub(super) fn served(&mut self, id: u64, result: Result<Reply, ServerError>) {
        if let Some(ServeInFlight { server, life, token }) = self.serves.remove(&id) {
            self.agent_event(server, life, Event::Served { token, result });
        }
    }

    pub(super) fn serve_timed_out(&mut self, id: u64) {
        self.served(id, Err(ServerError::Silent(Unseen::Timeout)));
    }

    /// Asks every agent for its report.
    pub(super) fn observe(&mut self, controller: usize, life: u64, fresh: bool) {
        let round = self.id();
        let observing = Observing::begin(Millis(self.now()), self.members.names.iter().cloned());
        self.controllers[controller].round = Some(Round { id: round, observing });
        for to in 0..self.agents.len() {
            let asker = Asker::Observation { controller, life, round };
            self.send_ask(asker, to, Ask::Report { fresh }, Observing::ANSWER_WITHIN_MS);
        }
        self.wake_observation(controller, life, round);
    }

    fn observing(&mut self, controller: usize, life: u64, round: u64) -> Option<&mut Observing> {
        let host = &mut self.controllers[controller];
        let current = host.round.as_mut().filter(|current| host.life == life && current.id == round)?;
        Some(&mut current.observing)
    }

    /// Plans its end, which may come sooner than was planned.
    fn wake_observation(&mut self, controller: usize, life: u64, round: u64) {
        if let Some(at) = self.observing(controller, life, round).map(|observing| observing.wake_at().0) {
            self.clock.at(at, Happening::ObservationDue { controller, life, round });
        }
    }

    pub(super) fn observation_is_due(&mut self, controller: usize, life: u64, round: u64) {
        let now = Millis(self.now());
        if self.observing(controller, life, round).is_some_and(|observing| observing.wake_at() <= now) {
            self.observed(controller, life);
        }
    }

    fn gathered(
        &mut self,
        controller: usize,
        life: u64,
        round: u64,
        from: usize,
        result: Result<Answer, AskFailed>,
    ) {
        let (now, name) = (Millis(self.now()), self.name(from).clone());
        let Some(observing) = self.observing(controller, life, round) else { return };
        let planned = observing.wake_at();
        observing.answered(now, name, result);
        let (all_answered, wake_at) = (observing.unanswered().is_empty(), observing.wake_at());
        if all_answered {
            self.observed(controller, life);
        } else if wake_at != planned {
            self.wake_observation(controller, life, round);
        }
    }

    fn observed(&mut self, controller: usize, life: u64) {
        let Some(Round { observing, .. }) = self.controllers[controller].round.take() else { return };
        for silent in observing.unanswered() {
            let silent = self.index_of(silent);
            self.laws.unseen_at[silent] = self.clock.now();
        }
        let observation = observing.finish(BTreeSet::new(), std::collections::BTreeMap::new());
        self.law_of_steps(controller, &observation);
        self.controller_event(controller, life, controller::Event::Observed(observation));
    }
}
