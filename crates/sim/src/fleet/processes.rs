//! Servers as processes: started, told things, frozen, ended.

use super::{Fleet, Happening, Held};
use crate::sabotage::Sabotage;
use crate::server::{CRON_MS, Connection, Effects, NodesFileState, Process};
use std::collections::BTreeMap;
use valkeeper_model::{ReplicationId, StartFailure, Unseen};
use valkeeper_plan::agent::{Event, ExitCause, Reply, ServerCommand, ServerError, StartPlan};
use valkeeper_plan::failover::succession::may_replace;
use valkeeper_plan::server::config::{APPENDONLY, NO_FAILOVER, OrderedConfig};

impl Fleet {
    pub(super) fn start(&mut self, agent: usize, life: u64, plan: &StartPlan) {
        let refused = if self.servers[agent].alive() {
            Some(StartFailure::PortTaken { port: plan.address.port })
        } else if self.agents[agent].starts_fail > 0 {
            self.agents[agent].starts_fail -= 1;
            Some(StartFailure::ProgramUnusable { detail: "fault".to_owned() })
        } else {
            None
        };
        if let Some(failure) = refused {
            return self.tell_agent(agent, life, Event::StartFailed(failure));
        }
        let owner = self.owner_mark(agent);
        let now = self.now();
        let random_replid = ReplicationId::from_bytes(self.random.id());
        let server = &mut self.servers[agent];
        for aside in &plan.set_aside {
            server.set_aside(aside.what);
        }
        let run = valkeeper_model::Incarnation(server.run + 1);
        server.keep(valkeeper_model::CopyRecord { run, ..plan.record.clone() });
        if let Some(conf) = &plan.nodes_conf {
            server.disk.conf = NodesFileState::Written(conf.clone());
        }
        server.disk.owner = Some(owner);
        server.address = plan.address.clone();
        let mut config = plan.config.clone();
        self.spoil_refusal(&mut config);
        let config: BTreeMap<_, _> = config.into_iter().collect();
        let server = &mut self.servers[agent];
        if let Err(detail) = server.exec(config, random_replid) {
            return self.tell_agent(agent, life, Event::StartFailed(StartFailure::Exited { detail }));
        }
        server.started_at = now;
        let run = server.run;
        let (role, tips) = (if server.is_primary() { "primary" } else { "replica" }, server.data.tips);
        let (name, writes) = (self.name(agent).clone(), self.history.size(&tips));
        self.note(|| format!("{name} starts as {role} with {writes} writes (run {run})"));
        // Most copies are small; now and then one takes longer to read than a node timeout.
        let load = match self.random.index(50) {
            0 => self.random.within(2_000..=9_000),
            1 | 2 => self.random.within(300..=2_000),
            _ => self.random.within(3..=40),
        };
        let load = self.agents[agent].loads_for.take().unwrap_or(load);
        self.clock.after(load, Happening::Ready { server: agent, run });
        let event =
            Event::Started { incarnation: valkeeper_model::Incarnation(run), pid: u32::try_from(run).ok() };
        self.tell_agent(agent, life, event);
    }

    pub(super) fn ready(&mut self, server: usize, run: u64) {
        if self.servers[server].run != run || self.servers[server].process != Process::Loading {
            return;
        }
        let now = self.now();
        self.servers[server].ready(now);
        if self.servers[server].owns() {
            self.law_of_succession(server, crate::server::Rise::Boot);
        }
        if self.servers[server].is_primary() {
            self.servers[server].data.resumable = true;
        } else {
            self.turn(server);
        }
        let delay = self.random.within(1..=CRON_MS);
        self.clock.after(delay, Happening::Cron { server, run });
    }

    /// The first rewrite of an AOF begins. It takes as long as the data is large.
    pub(super) fn begin_appending(&mut self, server: usize) {
        if !self.servers[server].wants_aof() {
            return;
        }
        let delay = match self.random.index(20) {
            0 => self.random.within(1_000..=8_000),
            _ => self.random.within(20..=150),
        };
        let run = self.servers[server].run;
        self.clock.after(delay, Happening::Appending { server, run });
    }

    pub(super) fn now_appending(&mut self, server: usize, run: u64) {
        if self.servers[server].process == Process::Hung && self.servers[server].run == run {
            return self.clock.after(100, Happening::Appending { server, run });
        }
        let server = &mut self.servers[server];
        let copying = server.upstream.as_ref().is_some_and(|upstream| upstream.state == Connection::Copying);
        if server.run == run && server.awake() && server.wants_aof() && !copying {
            server.appending = true;
            server.aof_unlinked = false;
            server.disk.aof_format = server.version.dump_format();
            server.append();
        }
    }

    pub(super) fn saved(&mut self, server: usize, run: u64) {
        if self.servers[server].run == run && self.servers[server].awake() {
            self.servers[server].write_rdb();
            let shard = self.servers[server].shard();
            self.law_of_copies(shard, "a save");
        }
    }

    /// The save points: seldom, and at no time that anybody could rely on.
    pub(super) fn save_by_itself(&mut self, server: usize) {
        if self.servers[server].wants_rdb() && self.random.in_thousand(4) {
            let run = self.servers[server].run;
            self.saved(server, run);
        }
    }

    /// Ends a process at once: SIGKILL, or a crash.
    pub(crate) fn kill(&mut self, server: usize, how: &'static str) {
        if self.servers[server].alive() {
            let run = self.servers[server].run;
            self.end(server, run, how);
        }
    }

    pub(super) fn kill_command(&mut self, agent: usize, run: u64) {
        if self.servers[agent].run != run || !self.servers[agent].alive() {
            return;
        }
        if self.sabotage == Some(Sabotage::NoFence) && self.servers[agent].process == Process::Hung {
            // The agent is told what it waits for; the process is left to wake up again.
            let event = Event::Exited {
                incarnation: valkeeper_model::Incarnation(run),
                how: "not killed: sabotage".to_owned(),
                cause: ExitCause::Other,
            };
            let life = self.agents[agent].life;
            return self.tell_agent(agent, life, event);
        }
        self.law_of_stops(agent, "killed");
        self.kill(agent, "killed by its agent");
    }

    pub(super) fn terminate(&mut self, agent: usize, run: u64) {
        if self.servers[agent].run != run {
            return;
        }
        match self.servers[agent].process {
            Process::Down | Process::Leaving => {}
            Process::Loading => self.end(agent, run, "stopped while loading"),
            Process::Hung => self.agents[agent].terminate_when_awake = Some(run),
            Process::Running => {
                self.law_of_stops(agent, "stopped");
                self.servers[agent].process = Process::Leaving;
                let delay = self.random.within(3..=40);
                self.clock.after(delay, Happening::End { server: agent, run, how: "stopped" });
            }
        }
    }

    pub(super) fn end(&mut self, server: usize, run: u64, how: &'static str) {
        if self.servers[server].run != run || !self.servers[server].alive() {
            return;
        }
        if self.servers[server].process == Process::Leaving && self.servers[server].wants_rdb() {
            self.servers[server].write_rdb();
        }
        let name = self.name(server).clone();
        self.note(|| format!("{name} ended: {how}"));
        self.sever_replicas_of(server);
        self.servers[server].end();
        self.note_quorum();
        for held in std::mem::take(&mut self.waiting[server]) {
            if let Held::Write { writer, id } = held {
                self.reply_to_writer(writer, id, server, crate::writers::Wrote::Refused);
            }
        }
        let broken: Vec<u64> =
            self.serves.iter().filter(|(_, serve)| serve.server == server).map(|(id, _)| *id).collect();
        for id in broken {
            let result = Box::new(Err(ServerError::Silent(Unseen::Unreachable)));
            self.clock.after(0, Happening::Served { id, result });
        }
        let shard = self.servers[server].shard();
        self.law_of_deaths(server, shard);
        let life = self.agents[server].life;
        let cause = ExitCause::Other;
        let event =
            Event::Exited { incarnation: valkeeper_model::Incarnation(run), how: how.to_owned(), cause };
        if self.sabotage != Some(Sabotage::MissDeaths) {
            self.tell_agent(server, life, event);
        }
    }

    /// SIGSTOP.
    pub(crate) fn hang(&mut self, server: usize) -> bool {
        if self.servers[server].process != Process::Running {
            return false;
        }
        self.servers[server].process = Process::Hung;
        true
    }

    /// SIGCONT: first what waits in the sockets of clients, then the rest.
    pub(crate) fn thaw(&mut self, server: usize, run: u64) {
        let frozen = self.agents[server].frozen.is_some();
        if self.servers[server].run != run || self.servers[server].process != Process::Hung || frozen {
            return;
        }
        let name = self.name(server).clone();
        self.note(|| format!("{name} is awake again"));
        self.servers[server].process = Process::Running;
        self.servers[server].awake_since = self.now();
        let mut messages = Vec::new();
        for held in std::mem::take(&mut self.waiting[server]) {
            match held {
                Held::Write { writer, id } => self.write_arrives(writer, server, id),
                Held::Command { id, command } => self.serve(id, server, command),
                Held::Message(message) => messages.push(message),
            }
        }
        for message in messages {
            let at = self.servers[server].address.clone();
            self.bus(server, &at, message);
        }
        if let Some(upstream) = &self.servers[server].upstream {
            let connection = upstream.connection;
            self.clock.after(0, Happening::Stream { server, connection });
        }
        if self.agents[server].terminate_when_awake.take() == Some(run) {
            self.terminate(server, run);
        }
    }

    /// Writes that were held for a pause: it is over, or there is somebody else to send them to.
    pub(crate) fn release(&mut self, server: usize) {
        let now = self.now();
        if self.waiting[server].is_empty() || !self.servers[server].awake() {
            return;
        }
        // Who is held by CLIENT PAUSE stays held when the server has become a replica (docs/engine-facts.md).
        if self.servers[server].pauses(now) {
            return;
        }
        for held in std::mem::take(&mut self.waiting[server]) {
            match held {
                Held::Write { writer, id } => self.write_arrives(writer, server, id),
                other => self.waiting[server].push(other),
            }
        }
    }

    /// A command reaches its server. Perhaps nobody waits for the reply any more: it is carried out all the same.
    pub(super) fn serve(&mut self, id: u64, server: usize, command: ServerCommand) {
        let result = match self.servers[server].process {
            Process::Down => Err(ServerError::Silent(Unseen::Unreachable)),
            Process::Loading => Err(ServerError::Loading),
            Process::Hung => {
                if matches!(command, ServerCommand::FailoverTakeover { .. }) {
                    self.laws.takeover_came_at[server] = Some(self.now());
                }
                self.waiting[server].push(Held::Command { id, command });
                return;
            }
            Process::Running | Process::Leaving => self.carry_out(server, command),
        };
        if self.network.loses(&mut self.random) {
            return;
        }
        let delay = self.network.hop(&mut self.random);
        self.clock.after(delay, Happening::Served { id, result: Box::new(result) });
    }

    fn carry_out(&mut self, server: usize, command: ServerCommand) -> Result<Reply, ServerError> {
        let now = self.now();
        let mut fx = Effects::default();
        let name = self.name(server).clone();
        if !matches!(
            command,
            ServerCommand::Look(_)
                | ServerCommand::Replication
                | ServerCommand::Flush
                | ServerCommand::HoldsWrites
        ) {
            self.note(|| format!("{name} is told {command:?}"));
        }
        if let ServerCommand::FailoverForce { replaces } | ServerCommand::FailoverTakeover { replaces } =
            command
            && !may_replace(self.servers[server].follows(), replaces)
        {
            return Err(ServerError::Refused("it follows another primary by now".to_owned()));
        }
        self.law_of_promotions(server, &command);
        let target = &mut self.servers[server];
        let done = match command {
            ServerCommand::Look(OrderedConfig { directives: wanted, .. }) => {
                let attached = self.attached(server);
                let view = self.servers[server].view(&wanted, attached, &self.history);
                return Ok(Reply::View(Box::new(view)));
            }
            ServerCommand::Replication => {
                let attached = self.attached(server);
                return Ok(Reply::Replication(self.servers[server].replication(attached)));
            }
            ServerCommand::FailoverForce { .. } => target.failover(true, now, &mut self.random, &mut fx),
            ServerCommand::FailoverPlanned => target.failover(false, now, &mut self.random, &mut fx),
            ServerCommand::FailoverTakeover { .. } => target.take_over(&mut fx),
            // No primary refuses its replicas `psync` here, so that no link is made anew for that.
            ServerCommand::Flush
            | ServerCommand::PutBack(_)
            | ServerCommand::CloseClients
            | ServerCommand::Relink => Ok(()),
            ServerCommand::HoldsWrites => {
                let holds = target.manual.as_ref().is_some_and(|manual| manual.pausing);
                return Ok(Reply::HoldsWrites(holds));
            }
            ServerCommand::PauseWrites(ms) => {
                target.paused_until = target.paused_until.max(now + ms);
                Ok(())
            }
            ServerCommand::UnpauseWrites => {
                target.paused_until = 0;
                fx.released = true;
                Ok(())
            }
            ServerCommand::Follow(primary) => {
                target.config.insert(NO_FAILOVER.to_owned(), "yes".to_owned());
                target.replicate(primary, &mut fx)
            }
            ServerCommand::FollowAt(source, _) => target.replicate_from(Some(source.socket()), &mut fx),
            ServerCommand::Promote => target.replicate_from(None, &mut fx),
            ServerCommand::Meet { address, .. } => {
                if let Some(who) = self.servers.iter().position(|other| other.address == address) {
                    self.servers[server].meet(who, address, now, &mut fx);
                }
                Ok(())
            }
            ServerCommand::Forget(nodes) => nodes.into_iter().try_for_each(|node| target.forget(node, now)),
            // No scenario moves slots yet.
            ServerCommand::MoveSlots(_) => Err("it is not simulated".to_owned()),
            ServerCommand::TakeSlots(slots) => target.take_slots(&slots, &mut fx),
            ServerCommand::Configure(directives) => {
                let mut begins = false;
                for (directive, value) in directives {
                    if directive == APPENDONLY {
                        begins = value == "yes" && target.config.get(APPENDONLY) != Some(&value);
                        target.appending &= value == "yes";
                    }
                    target.config.insert(directive, value);
                }
                if begins {
                    self.begin_appending(server);
                }
                Ok(())
            }
            ServerCommand::RewriteAof => {
                self.begin_appending(server);
                Ok(())
            }
            ServerCommand::Save => {
                let (run, delay) = (target.run, self.random.within(20..=100));
                self.clock.after(delay, Happening::Saved { server, run });
                Ok(())
            }
        };
        self.apply(server, fx);
        done.map(|()| Reply::Done).map_err(ServerError::Refused)
    }
}
