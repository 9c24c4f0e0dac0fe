//! What goes wrong: crashes, frozen processes, disks, networks, controllers, agents, and users who ask for things meanwhile.

use crate::fleet::{Fleet, Happening};
use crate::network::Way;
use crate::random::Random;
use crate::server::{Disk, NodesFileState, Process};
use crate::setup::Setup;
use std::fmt;
use valkeeper_model::{Request, ShardName};

/// Whom a fault strikes: resolved when it does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// That one.
    Instance(usize),
    /// Who is primary of that shard then.
    PrimaryOf(usize),
    /// The first replica of that shard then.
    ReplicaOf(usize),
}

/// What users ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wish {
    /// `valkeeper switchover`.
    Switchover,
    /// `valkeeper failover --force`.
    Failover,
    /// `valkeeper fence`.
    Fence,
    /// `valkeeper unfence`.
    Unfence,
    /// `valkeeper restart`.
    Restart,
    /// `valkeeper apply` with another directive.
    Apply,
}

/// One thing that goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The process ends at once.
    Crash(Target),
    /// SIGSTOP, and SIGCONT so many milliseconds later.
    Hang(Target, u64),
    /// The data directory is emptied.
    Wipe(Target),
    /// nodes.conf is torn.
    Tear(Target),
    /// The server ends and finds the data directory of another cluster in its place.
    ForeignDisk(Target),
    /// A copy of the data directory is made, as of a host's disk.
    CopyDisk(Target),
    /// All processes end at once, and that server's directory is put back from the copy that was made.
    OldDisk(Target),
    /// All processes end at once, and that server's append-only file is gone.
    LoseAof(Target),
    /// All processes end at once.
    PowerLoss,
    /// All processes of a shard end at once.
    ShardLoss(usize),
    /// The primaries of more than half of the shards end at once.
    MajorityLoss,
    /// A server's bus and replication are cut off from all others.
    CutBus(Target),
    /// An agent is cut off from all other agents.
    CutAgent(Target),
    /// A controller does not reach an agent.
    CutControl(usize, Target),
    /// Of a thousand messages of agents and controllers, so many are lost.
    Lose(u64),
    /// Agents' messages take up to so much longer.
    Slow(u64),
    /// What controllers ask of agents, other than to report, takes up to so much longer.
    SlowAsks(u64),
    /// A replica reads its primary's stream so many milliseconds late.
    Lag(Target, u64),
    /// Nobody reaches the register (mode `standalone`).
    CutRegister,
    /// All networks work again.
    Mend,
    /// The next starts of a server fail.
    StartsFail(Target, u32),
    /// The next start of a server takes so many milliseconds until it has read its data.
    SlowStart(Target, u64),
    /// The next commits fail, or seem to.
    StoreFails(u32),
    /// A second controller starts beside the first.
    SecondController,
    /// A controller dies after so many commands more.
    ControllerDies(usize, u32),
    /// An agent dies after so many commands more.
    AgentDies(Target, u32),
    /// All agents and controllers die at once.
    SupervisorDies,
    /// Everything ends, and all instances come back at other ports.
    MoveAll,
    /// A host is cut off: server, agent and the clients beside it from all others.
    CutHost(Target),
    /// A host is frozen: server and agent, for so many milliseconds.
    FreezeHost(Target, u64),
    /// A host is gone with all that runs on it, and back after so many milliseconds.
    LoseHost(Target, u64),
    /// A replica is added to that shard.
    Join(usize),
    /// A user asks for something.
    User(Wish, Target),
    /// From here on nothing goes wrong any more.
    Calm,
}

/// A fault and its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Planned {
    /// Milliseconds from the beginning.
    pub at: u64,
    /// What.
    pub fault: Fault,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

pub(crate) fn target(random: &mut Random, setup: &Setup) -> Target {
    let shards = usize::try_from(setup.shards).unwrap_or(1);
    let shard = random.index(shards);
    match random.index(10) {
        0..=5 => Target::PrimaryOf(shard),
        6..=7 => Target::ReplicaOf(shard),
        _ => Target::Instance(random.index(shards * usize::try_from(setup.replicas + 1).unwrap_or(1))),
    }
}

/// Draws a schedule.
pub fn schedule(random: &mut Random, setup: &Setup) -> Vec<Planned> {
    let mut planned = Vec::new();
    let mut at =
        if random.in_thousand(250) { random.within(1..=3_000) } else { random.within(4_000..=7_000) };
    for _ in 0..random.within(1..=6) {
        let (fault, lasting) = draw(random, setup);
        planned.push(Planned { at, fault });
        if let Some(ms) = lasting {
            planned.push(Planned { at: at + ms, fault: Fault::Mend });
        }
        // Faults that meet are the interesting ones.
        at += if random.in_thousand(500) { random.within(0..=400) } else { random.within(400..=5_000) };
    }
    let end = planned.iter().map(|planned| planned.at).max().unwrap_or(at).max(at);
    planned.push(Planned { at: end + random.within(0..=2_000), fault: Fault::Calm });
    planned.sort_by_key(|planned| planned.at);
    planned
}

fn draw(random: &mut Random, setup: &Setup) -> (Fault, Option<u64>) {
    let whom = target(random, setup);
    let lasting = Some(random.within(200..=2 * setup.node_timeout_ms.min(8_000)));
    let fault = match random.index(100) {
        0..=16 => Fault::Crash(whom),
        17..=21 => return (Fault::Lag(whom, random.within(20..=1_500)), lasting),
        22..=31 => Fault::Hang(whom, random.within(200..=3 * setup.node_timeout_ms.min(6_000))),
        32..=36 => Fault::Wipe(whom),
        37..=39 => Fault::Tear(whom),
        40 => Fault::ForeignDisk(whom),
        41..=45 => Fault::PowerLoss,
        46..=48 => Fault::ShardLoss(random.index(usize::try_from(setup.shards).unwrap_or(1))),
        49..=52 => Fault::MajorityLoss,
        53..=56 => return (Fault::CutBus(whom), lasting),
        57..=59 => return (Fault::CutAgent(whom), lasting),
        60..=62 => return (Fault::CutControl(0, whom), lasting),
        63..=65 => return (Fault::Lose(random.within(20..=400)), lasting),
        66..=67 => return (Fault::Slow(random.within(20..=700)), lasting),
        68..=69 => Fault::StartsFail(whom, u32::try_from(random.within(1..=6)).unwrap_or(1)),
        70..=71 => Fault::StoreFails(u32::try_from(random.within(1..=3)).unwrap_or(1)),
        72..=75 => Fault::SecondController,
        76..=80 => Fault::ControllerDies(0, u32::try_from(random.within(0..=12)).unwrap_or(0)),
        81..=85 => Fault::AgentDies(whom, u32::try_from(random.within(0..=12)).unwrap_or(0)),
        86..=87 => Fault::SupervisorDies,
        88 => Fault::MoveAll,
        _ => {
            let wishes = [
                Wish::Switchover,
                Wish::Switchover,
                Wish::Failover,
                Wish::Fence,
                Wish::Unfence,
                Wish::Restart,
                Wish::Restart,
                Wish::Apply,
            ];
            Fault::User(wishes[random.index(wishes.len())], whom)
        }
    };
    (fault, None)
}

impl Fleet {
    pub(crate) fn resolve(&self, target: Target) -> usize {
        match target {
            Target::Instance(index) => index.min(self.servers.len() - 1),
            Target::PrimaryOf(shard) => {
                self.laws.primary_of(shard).or_else(|| self.shard_members(shard).next()).unwrap_or_default()
            }
            Target::ReplicaOf(shard) => {
                let primary = self.laws.primary_of(shard);
                let mut members = self.shard_members(shard);
                members.find(|index| Some(*index) != primary).or(primary).unwrap_or_default()
            }
        }
    }

    pub(crate) fn fault_strikes(&mut self, index: usize) {
        let fault = self.setup.faults[index].fault;
        self.strike(fault);
    }

    /// Something goes wrong now.
    pub fn strike(&mut self, fault: Fault) {
        self.note(|| format!("fault: {fault}"));
        let now = self.now();
        match fault {
            Fault::Crash(whom) => self.crash(self.resolve(whom)),
            Fault::Hang(whom, ms) => {
                let server = self.resolve(whom);
                let run = self.servers[server].run;
                if self.hang(server) {
                    self.clock.after(ms, Happening::Thaw { server, run });
                }
            }
            Fault::Wipe(whom) => self.wipe(self.resolve(whom)),
            Fault::Tear(whom) => {
                let server = self.resolve(whom);
                if self.servers[server].disk.conf != NodesFileState::Missing {
                    self.servers[server].disk.conf = NodesFileState::Damaged;
                }
            }
            Fault::ForeignDisk(whom) => {
                let server = self.resolve(whom);
                if self.servers[server].process == Process::Running && self.laws.stashed[server].is_none() {
                    self.crash(server);
                    let foreign = Disk { owner: Some("another/another-0".to_owned()), ..Disk::default() };
                    let own = std::mem::replace(&mut self.servers[server].disk, foreign);
                    self.laws.stashed[server] = Some(own);
                }
            }
            Fault::CopyDisk(_) | Fault::OldDisk(_) | Fault::LoseAof(_) => self.disk_strikes(fault),
            Fault::PowerLoss => (0..self.servers.len()).for_each(|server| self.crash(server)),
            Fault::ShardLoss(shard) => {
                for server in self.shard_members(shard).collect::<Vec<_>>() {
                    self.crash(server);
                }
            }
            Fault::MajorityLoss => {
                for shard in 0..=self.members.shards() / 2 {
                    self.crash(self.resolve(Target::PrimaryOf(shard)));
                }
            }
            Fault::CutBus(whom) => self.cut_off(Way::Bus, self.resolve(whom)),
            Fault::CutAgent(whom) => self.cut_off(Way::Agents, self.resolve(whom)),
            Fault::CutControl(controller, whom) => {
                let whom = self.resolve(whom);
                self.network.cut(Way::Control, controller, whom);
            }
            Fault::Lose(in_thousand) => self.network.lost_in_thousand = in_thousand,
            Fault::Slow(ms) => self.network.slowness_ms = ms,
            Fault::SlowAsks(ms) => self.network.asks_ms = ms,
            Fault::Lag(whom, ms) => {
                let whom = self.resolve(whom);
                self.network.lag_ms[whom] = ms;
            }
            Fault::CutRegister => self.network.register_cut = true,
            Fault::Mend => self.mend(),
            Fault::StartsFail(whom, times) => {
                let agent = self.resolve(whom);
                self.agents[agent].starts_fail = times;
            }
            Fault::SlowStart(whom, ms) => {
                let agent = self.resolve(whom);
                self.agents[agent].loads_for = Some(ms);
            }
            Fault::StoreFails(times) => self.store.fails = times,
            Fault::SecondController => {
                self.controllers.push(crate::fleet::controllers::ControllerHost::default());
                let controller = self.controllers.len() - 1;
                self.clock.after(0, Happening::ControllerUp { controller });
            }
            Fault::ControllerDies(controller, commands) => {
                if let Some(host) = self.controllers.get_mut(controller) {
                    host.dies_after = Some(commands);
                }
            }
            Fault::AgentDies(whom, commands) => {
                let agent = self.resolve(whom);
                if self.agents[agent].agent.is_some() {
                    self.agents[agent].dies_after = Some(commands);
                }
            }
            Fault::SupervisorDies => self.supervisor_dies(),
            Fault::MoveAll => {
                (0..self.servers.len()).for_each(|server| self.crash(server));
                self.supervisor_dies();
                // Nobody is left at the old port, nor any order that names it.
                self.agents.iter_mut().for_each(|host| host.left = None);
                self.laws.moved_by = self.laws.moved_by.wrapping_add(100) % 1_000;
            }
            Fault::CutHost(whom) => self.cut_host(self.resolve(whom)),
            Fault::FreezeHost(whom, ms) => self.freeze_host(self.resolve(whom), ms),
            Fault::LoseHost(whom, ms) => self.lose_host(self.resolve(whom), ms),
            Fault::Join(shard) => self.join(shard),
            Fault::User(wish, whom) => self.wish(wish, self.resolve(whom)),
            Fault::Calm => {
                self.mend();
                self.calm_down();
                self.calm_since = Some(now);
            }
        }
    }

    fn wipe(&mut self, server: usize) {
        let founded = self.store.layout.as_ref().is_some_and(|layout| !layout.is_founding());
        if !founded && !self.setup.wipes_young {
            return;
        }
        self.servers[server].disk = Disk::default();
        self.servers[server].aof_unlinked = true;
        let shard = self.members.shard_of[server];
        self.law_of_deaths(server, shard);
        self.law_of_young_clusters(shard);
    }

    pub(crate) fn crash(&mut self, server: usize) {
        let run = self.servers[server].run;
        let (life, alive) = (self.agents[server].life, self.servers[server].alive());
        self.kill(server, "killed");
        if alive && self.sabotage == Some(crate::Sabotage::RestartInPlace) {
            self.restart_in_place(server, run, life);
        }
    }

    /// Sabotage: what a simple process supervisor does.
    fn restart_in_place(&mut self, server: usize, _run: u64, _life: u64) {
        let replid = valkeeper_model::ReplicationId::from_bytes(self.random.id());
        let config = self.servers[server].config.clone();
        if self.servers[server].exec(config, replid).is_ok() {
            let run = self.servers[server].run;
            self.clock.after(10, Happening::Ready { server, run });
            let life = self.agents[server].life;
            let event = valkeeper_plan::agent::Event::Started {
                incarnation: valkeeper_model::Incarnation(run),
                pid: None,
            };
            // Told only once its agent knows that it died; by then it runs.
            let event = Box::new(event);
            self.clock.after(2, Happening::Agent { agent: server, life, event });
        }
    }

    fn cut_off(&mut self, way: Way, one: usize) {
        for other in (0..self.servers.len()).filter(|other| *other != one) {
            self.network.cut(way, one, other);
        }
    }

    fn mend(&mut self) {
        let now = self.now();
        self.network.mend(now);
        for server in 0..self.servers.len() {
            if let Some(upstream) = &self.servers[server].upstream {
                let connection = upstream.connection;
                self.clock.after(1, Happening::Stream { server, connection });
            }
        }
    }

    fn supervisor_dies(&mut self) {
        for controller in 0..self.controllers.len() {
            if self.controllers[controller].controller.is_some() {
                self.controller_dies(controller);
            }
        }
        for agent in 0..self.agents.len() {
            if self.agents[agent].agent.is_some() && self.agents[agent].frozen.is_none() {
                self.agent_dies(agent);
            }
        }
    }

    fn calm_down(&mut self) {
        self.store.fails = 0;
        for server in 0..self.servers.len() {
            self.thaw_host(server);
            self.host_back(server);
            self.agents[server].starts_fail = 0;
            let run = self.servers[server].run;
            self.thaw(server, run);
            if !self.servers[server].alive()
                && let Some(own) = self.laws.stashed[server].take()
            {
                self.servers[server].disk = own;
            }
        }
        for host in &mut self.controllers {
            host.dies_after = None;
        }
        for host in &mut self.agents {
            host.dies_after = None;
        }
    }

    pub(crate) fn shard_name(shard: usize) -> ShardName {
        ShardName::nth(u32::try_from(shard).unwrap_or_default())
    }

    fn wish(&mut self, wish: Wish, whom: usize) {
        let shard = Self::shard_name(self.members.shard_of[whom]);
        let instance = self.name(whom).clone();
        let request = match wish {
            Wish::Switchover => Request::Switchover { shard: Some(shard), to: None },
            Wish::Failover => Request::Failover { shard, force: true, accept_data_loss: false },
            Wish::Fence => Request::Fence { instance, force: false },
            Wish::Unfence => Request::Unfence { instance },
            Wish::Restart => Request::Restart { instance },
            Wish::Apply => {
                let mut spec = self.spec.clone();
                let value = self.random.within(2..=50).to_string();
                spec.directives.insert("maxmemory-samples".to_owned(), value);
                Request::Apply { spec: Box::new(spec) }
            }
        };
        self.request(request);
    }
}
