//! The real agents, and their commands carried out.

use super::asks::Asker;
use super::{Fleet, Happening};
use crate::sabotage::Sabotage;
use crate::server::NodesFileState;
use crate::transcript;
use valkeeper_model::{AgentOrder, CopyRecord, Generation, Incarnation, Millis, ServerConfig};
use valkeeper_plan::agent::{Agent, Command, Event, Token};
use valkeeper_plan::failover::restart_decision;

/// Where an agent lives. It may be gone; its server stays.
#[derive(Debug, Default)]
pub(crate) struct AgentHost {
    pub(crate) agent: Option<Agent>,
    /// Tells one life from the next.
    pub(crate) life: u64,
    tick_at: Option<u64>,
    /// The newest order delivered in this life, by its own generation.
    pub(crate) newest: Option<AgentOrder>,
    /// What lies beside the data: the configuration that the server last ran with as it was ordered.
    pub(crate) working: Option<ServerConfig>,
    /// Dies when it has carried out so many commands more.
    pub(crate) dies_after: Option<u32>,
    /// So many starts of its server fail.
    pub(crate) starts_fail: u32,
    /// The next start takes so long, milliseconds.
    pub(crate) loads_for: Option<u64>,
    pub(crate) terminate_when_awake: Option<u64>,
    /// What happens to a frozen agent until it is thawed.
    pub(crate) frozen: Option<Vec<(u64, Event)>>,
    /// Tells one time in which it was frozen from the next.
    pub(crate) freeze: u64,
    /// When it was last thawed.
    pub(crate) thawed_at: Option<u64>,
    /// Its host is gone.
    pub(crate) lost: bool,
    /// It replaces itself by another program: the order that it leaves to that one.
    pub(crate) left: Option<AgentOrder>,
    /// And the end of its lease. An agent of an older version leaves none.
    lease_left: Option<Millis>,
    /// Wakes in a row that asked to be woken at once again.
    restless: u32,
}

impl Fleet {
    /// What Valkeeper writes into a data directory to know it again.
    pub(crate) fn owner_mark(&self, agent: usize) -> String {
        format!("{}/{}", self.setup.cluster(), self.name(agent))
    }

    pub(super) fn inspect(&mut self, agent: usize, life: u64) {
        let mark = self.owner_mark(agent);
        let mut disk = self.servers[agent].inspect(&mark);
        if self.sabotage == Some(Sabotage::TakeForeignData)
            && let restart_decision::Owner::Other(_) = disk.owner
        {
            disk.owner = restart_decision::Owner::Ours;
        }
        match (self.sabotage, &mut disk.record) {
            (Some(Sabotage::ClaimCompleteAof), Some(record)) => record.aof.complete = true,
            (Some(Sabotage::ClaimInSync), Some(record)) => record.attached = None,
            (Some(Sabotage::ForgetSequences), Some(record)) => {
                record.seen.clear();
                disk.beside = None;
            }
            _ => {}
        }
        self.tell_agent(agent, life, Event::Inspected(Ok(Box::new(disk))));
    }

    pub(super) fn keep(&mut self, agent: usize, life: u64, record: CopyRecord) {
        if self.agents[agent].life != life {
            return;
        }
        let sequence = record.sequence;
        let server = &mut self.servers[agent];
        // As in `agent::record_file`: a directory that is another than the one recorded last gets no record of this one.
        let same = server.disk.record.as_ref().map(|record| record.sequence) >= server.beside;
        if same {
            server.keep(record);
        }
        let result = if same { Ok(()) } else { Err("another directory".to_owned()) };
        self.tell_agent(agent, life, Event::Kept { sequence, result });
    }

    /// Something happens to an agent, if it still lives that life.
    pub(crate) fn tell_agent(&mut self, agent: usize, life: u64, event: Event) {
        let delay = self.random.within(0..=1);
        self.clock.after(delay, Happening::Agent { agent, life, event: Box::new(event) });
    }

    pub(super) fn agent_tick(&mut self, agent: usize, life: u64, at: u64) {
        if self.agents[agent].life == life && self.agents[agent].tick_at == Some(at) {
            self.agents[agent].tick_at = None;
            self.agent_event(agent, life, Event::Tick);
        }
    }

    pub(crate) fn agent_event(&mut self, agent: usize, life: u64, event: Event) {
        let now = self.now();
        if self.agents[agent].life != life {
            return;
        }
        if let Some(backlog) = &mut self.agents[agent].frozen {
            return backlog.push((life, event));
        }
        let ticked = matches!(event, Event::Tick);
        let host = &mut self.agents[agent];
        let Some(machine) = &mut host.agent else { return };
        let commands = machine.handle(Millis(now), event);
        let wake = machine.wake_at();
        // An agent that wants to be woken at once, again and again, would burn a core.
        let at_once = wake.is_some_and(|at| at.0 <= now) && commands.is_empty();
        host.restless = if ticked && at_once { host.restless + 1 } else { 0 };
        if host.restless > 200 {
            self.law_of_rest(agent);
        }
        for command in commands {
            if let Some(left) = &mut self.agents[agent].dies_after {
                if *left == 0 {
                    return self.agent_dies(agent);
                }
                *left -= 1;
            }
            self.carry_out_for_agent(agent, life, command);
        }
        if let Some(wake) = wake {
            let at = wake.0.max(now + 1);
            let host = &mut self.agents[agent];
            if host.tick_at.is_none_or(|planned| planned > at || planned <= now) {
                host.tick_at = Some(at);
                self.clock.at(at, Happening::AgentTick { agent, life, at });
            }
        }
    }

    /// The agent is gone, whatever it was doing. Its server stays, unless the agent was all that kept the host's pod: then only an
    /// agent that replaces itself leaves its server running, and is back at once.
    pub(crate) fn agent_dies(&mut self, agent: usize) {
        let replaces_itself = self.setup.own_hosts && self.random.in_thousand(500);
        let left = self.agents[agent].newest.clone().filter(|_| replaces_itself);
        let knows_how = replaces_itself && self.random.in_thousand(800);
        let lease_left = self.agents[agent].agent.as_ref().filter(|_| knows_how).and_then(Agent::lease_until);
        self.agent_ends(agent);
        if self.setup.own_hosts && !replaces_itself {
            self.kill(agent, "its agent is gone");
        }
        self.agents[agent].left = left;
        self.agents[agent].lease_left = lease_left;
        let delay = if replaces_itself { self.random.within(5..=60) } else { self.random.within(50..=3_000) };
        self.clock.after(delay, Happening::AgentUp { agent });
    }

    pub(crate) fn agent_ends(&mut self, agent: usize) {
        let name = self.name(agent).clone();
        self.note(|| format!("the agent of {name} is gone"));
        let host = &mut self.agents[agent];
        host.agent = None;
        host.life += 1;
        host.newest = None;
        host.dies_after = None;
        host.tick_at = None;
        host.terminate_when_awake = None;
        host.left = None;
        host.lease_left = None;
    }

    /// An agent starts, and finds its server running or not.
    pub(crate) fn agent_up(&mut self, agent: usize) {
        let now = self.now();
        if self.agents[agent].agent.is_some() || self.agents[agent].lost {
            return;
        }
        let server = &self.servers[agent];
        let running = server.alive().then(|| (Incarnation(server.run), u32::try_from(server.run).ok()));
        let name = self.name(agent).clone();
        let host = &mut self.agents[agent];
        host.life += 1;
        let machine = Agent::new(name, running, Millis(now)).with_working_config(host.working.clone());
        let (life, left, lease_left) = (host.life, host.left.take(), host.lease_left.take());
        host.agent = Some(if self.setup.own_hosts {
            machine.watching_hosts(lease_left, Millis(now)).with_register()
        } else {
            machine
        });
        host.newest.clone_from(&left);
        self.agent_event(agent, life, Event::Tick);
        if let Some(order) = left {
            self.agent_event(agent, life, Event::Order(Box::new(order)));
        }
    }

    fn carry_out_for_agent(&mut self, agent: usize, life: u64, command: Command) {
        if let Some(line) = transcript::command(&command) {
            let name = self.name(agent).clone();
            self.note(|| format!("{name}'s agent: {line}"));
        }
        let soon = self.random.within(0..=1);
        match command {
            Command::Inspect => self.clock.after(soon, Happening::Inspect { agent, life }),
            Command::Keep(record) => {
                let within = self.random.within(1..=20);
                self.clock.after(within, Happening::Keep { agent, life, record });
            }
            Command::Reclaim(record) => {
                let owner = self.owner_mark(agent);
                let server = &mut self.servers[agent];
                server.disk.owner = Some(owner);
                let sequence = record.sequence;
                server.keep(*record);
                self.tell_agent(agent, life, Event::Kept { sequence, result: Ok(()) });
            }
            Command::KeepRoles { number, roles } => {
                self.servers[agent].disk.conf = NodesFileState::Written(*roles);
                self.tell_agent(agent, life, Event::RolesKept { number, result: Ok(()) });
            }
            Command::Start(plan) => {
                self.law_of_starting_orders(agent, &plan.config);
                // Judged when it is decided: an order that comes while the process is being started has it stopped again.
                self.law_of_starts(agent);
                self.clock.after(soon + 1, Happening::Start { agent, life, plan });
            }
            Command::Kill(run) => {
                // An agent on a host of its own that was restarted and has no order yet when the lease ends cannot hand over: it knows nobody
                // (`hostwatch`). Its first order may come while the signal is on its way.
                let machine = self.agents[agent].agent.as_ref();
                if self.setup.own_hosts && machine.is_some_and(|machine| machine.current_order().is_none()) {
                    self.laws.may_stop[agent] = self.laws.may_stop[agent].max(self.now() + soon + 1);
                }
                self.clock.after(soon, Happening::Kill { agent, run: run.0 });
            }
            Command::Terminate(run) => self.clock.after(soon, Happening::Terminate { agent, run: run.0 }),
            Command::Serve { token, command, within_ms } => {
                if let valkeeper_plan::agent::ServerCommand::Look(
                    valkeeper_plan::server::config::OrderedConfig { directives: wanted, .. },
                ) = &command
                    && !wanted.is_empty()
                {
                    self.law_of_orders(agent, wanted);
                }
                self.send_serve(agent, life, token, command, within_ms);
            }
            Command::Tell { token, to, ask, within_ms } => {
                let to = self.index_of(&to);
                self.send_ask(Asker::Agent { agent, life, token }, to, ask, within_ms);
            }
            Command::AskRegister { token, ask, within_ms } => {
                self.ask_register(agent, life, token, *ask, within_ms);
            }
            Command::Answer { token: Token(id), result } => self.answer(id, result),
            Command::Try { about, config, .. } => {
                let trial = valkeeper_model::Trial::Starts;
                self.tell_agent(agent, life, Event::Tried { about, config, trial });
            }
            Command::KeepWorkingConfig(config) => self.agents[agent].working = Some(*config),
            // No cluster of this world follows another, and none has Sentinels.
            Command::LookAtSource { .. }
            | Command::LookAtSentinels { .. }
            | Command::TellSentinels { .. } => {}
            Command::Record(happened) => {
                self.law_of_events(agent, &happened);
                self.nudge();
            }
        }
    }

    /// A controller's order reaches an agent.
    pub(super) fn order_arrives(&mut self, controller: usize, agent: usize, mut order: AgentOrder) {
        if !self.network.open(crate::network::Way::Control, controller, agent) {
            return;
        }
        let life = self.agents[agent].life;
        if self.agents[agent].frozen.is_some() {
            // It lies in a socket.
            return self.clock.after(100, Happening::Order { controller, agent, order: Box::new(order) });
        }
        let Some(machine) = &self.agents[agent].agent else { return };
        let obeyed = machine.generation().unwrap_or(Generation(0));
        if self.agents[agent].newest.as_ref().is_none_or(|newest| newest.generation <= order.generation) {
            self.agents[agent].newest = Some(order.clone());
        }
        match self.sabotage {
            Some(Sabotage::ObeyOlderOrders) => order.generation = order.generation.max(obeyed),
            Some(Sabotage::StartDespiteFence) => order.run = valkeeper_model::Run::Up,
            _ => {}
        }
        self.agent_event(agent, life, Event::Order(Box::new(order)));
        let now_obeyed = self.agents[agent].agent.as_ref().and_then(Agent::generation);
        if now_obeyed.is_some_and(|generation| generation < obeyed) {
            self.break_law(10, format!("the agent of {} went back to an older order", self.name(agent)));
        }
    }
}
