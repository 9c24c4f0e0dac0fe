//! What agents and controllers do.

use crate::fleet::Fleet;
use crate::fleet::Happening;
use crate::network::Way;
use crate::sabotage::Sabotage;
use crate::server::Process;
use valkeeper_model::{Activity, Ask, Happened, RestartTurn, Run, ServerConfig};
use valkeeper_plan::agent::ServerCommand;
use valkeeper_plan::mode::standalone::REPLICA_OF;
use valkeeper_plan::server::config::{self, APPENDONLY, Directive, MIN_REPLICAS, NO_FAILOVER};

impl Fleet {
    /// A server is told something that changes who is primary.
    pub(crate) fn law_of_promotions(&mut self, server: usize, command: &ServerCommand) {
        if self.servers[server].is_primary() {
            return;
        }
        match command {
            ServerCommand::FailoverForce { .. } => self.is_the_best(server),
            ServerCommand::FailoverTakeover { .. } => {
                // Law 4. What was seen may be some seconds old, so that a quorum lost in these counts as lost.
                self.note_quorum();
                // One that lay in the socket of a stopped server was right when it came (docs/safety.md).
                let came = self.laws.takeover_came_at[server].take().unwrap_or_else(|| self.now());
                if self.laws.no_quorum_at.is_none_or(|at| came > at + 3_000) {
                    let (voters, of) = (self.voters(), self.voting_shards());
                    let what = format!("{} takes over although {voters} of {of} can vote", self.name(server));
                    return self.break_law(4, what);
                }
                self.is_the_best(server);
            }
            _ => {}
        }
    }

    pub(crate) fn note_quorum(&mut self) {
        let of = self.voting_shards();
        if self.voters() < of / 2 + 1 || self.network.is_cut(Way::Bus) {
            self.laws.no_quorum_at = Some(self.now());
        }
    }

    /// Law 2: a primary that serves is not stopped on purpose while a replica can take over.
    pub(crate) fn law_of_stops(&mut self, server: usize, how: &str) {
        let now = self.now();
        let shard = self.servers[server].shard();
        let Some(reign) = self.laws.reigns[shard] else { return };
        let target = &self.servers[server];
        let reigns = reign.primary == server && reign.run == target.run && target.serves();
        if !reigns || self.laws.may_stop[server] > now {
            return;
        }
        let successor = self.shard_members(shard).find(|index| {
            let replica = &self.servers[*index];
            *index != server
                && replica.process == Process::Running
                && replica.in_stream()
                && replica.data.replid == target.data.replid
                && self.agents[*index].agent.is_some()
                && self.agents[*index].newest.as_ref().is_some_and(|order| order.run == Run::Up)
                && self.network.open(Way::Agents, server, *index)
        });
        if let Some(successor) = successor {
            let names = (self.name(server).clone(), self.name(successor).clone());
            self.break_law(2, format!("{} is {how} although {} can take over", names.0, names.1));
        }
    }

    /// Laws 10 and the fence, at the moment when an agent decides to start its server.
    pub(crate) fn law_of_starts(&mut self, agent: usize) {
        let mark = self.owner_mark(agent);
        if let Some(owner) = self.servers[agent].disk.owner.as_ref().filter(|owner| **owner != mark) {
            let what = format!("{} is started on the data of {owner}", self.name(agent));
            self.break_law(10, what);
        }
        let fenced = self.agents[agent].newest.as_ref().is_some_and(|order| order.run == Run::Fenced);
        if fenced {
            self.break_law(2, format!("{} is started although it is fenced", self.name(agent)));
        }
    }

    /// Agents obey the newest order: whatever they do with directives shows which one they have.
    pub(crate) fn law_of_orders(&mut self, agent: usize, directives: &[Directive]) {
        let Some(order) = &self.agents[agent].newest else { return };
        if !are_of(&order.config, directives) {
            self.break_law(1, format!("the agent of {} acts on an older order", self.name(agent)));
        }
    }

    /// The same of a start. Until the server's turn in a roll has come, each directive is the ordered one or the one of before.
    pub(crate) fn law_of_starting_orders(&mut self, agent: usize, directives: &[Directive]) {
        let Some(order) = &self.agents[agent].newest else { return };
        let working = self.agents[agent].working.as_ref().filter(|_| order.turn == RestartTurn::Awaited);
        let Some(working) = working else { return self.law_of_orders(agent, directives) };
        let known = [&order.config, working].map(config::directives).concat();
        let is_known = |one: &Directive| FREE.contains(&one.0.as_str()) || known.contains(one);
        if !directives.iter().filter(|one| one.0 != REPLICA_OF).all(is_known) {
            self.break_law(1, format!("{} is started with what nobody has ordered", self.name(agent)));
        }
    }

    /// Law 6: a majority of primaries is not disturbed on purpose, by however many controllers. Returns whether the question is to be put at all.
    pub(crate) fn law_of_asks(&mut self, to: usize, ask: &Ask) -> bool {
        let disturbs = matches!(ask, Ask::HandOver { .. } | Ask::Restart);
        if disturbs && self.servers[to].owns() {
            let busy = |index: &usize| {
                let report =
                    self.agents[*index].agent.as_ref().and_then(valkeeper_plan::agent::Agent::report);
                report.is_some_and(|report| report.activity == Activity::HandingOver)
            };
            // What an agent does by itself, its directory being empty, is seen by the controller a second later.
            let asked = |index: &usize| self.laws.asked_at[*index].is_some_and(|at| self.now() < at + 30_000);
            let others = (0..self.agents.len()).filter(|index| *index != to);
            let already = others.filter(busy).filter(asked).count();
            let of = self.voting_shards();
            if already + 1 > of - (of / 2 + 1) {
                self.break_law(6, format!("{} primaries of {of} are disturbed at once", already + 1));
            }
            self.laws.asked_at[to] = Some(self.now());
        }
        if self.sabotage == Some(Sabotage::StopWithoutHandover) && *ask == Ask::Restart {
            let run = self.servers[to].run;
            self.clock.after(0, Happening::Terminate { agent: to, run });
            return false;
        }
        if *ask == Ask::Kill {
            // A user who asks for a failover wants the primary killed.
            self.laws.may_stop[to] = self.now() + 1_000;
        }
        true
    }

    /// What an agent records.
    pub(crate) fn law_of_events(&mut self, agent: usize, happened: &Happened) {
        if let Happened::Unresponsive { .. } = happened {
            self.laws.may_stop[agent] = self.now() + 1_000;
        }
    }

    /// An agent that wants to be woken all the time does nothing but burn a core.
    pub(crate) fn law_of_rest(&mut self, agent: usize) {
        let has_order = self.agents[agent].newest.is_some();
        self.break_law(0, format!("the agent of {} finds no rest (order: {has_order})", self.name(agent)));
    }
}

/// Directives that are not the order's alone.
const FREE: [&str; 3] = [APPENDONLY, NO_FAILOVER, MIN_REPLICAS];

/// Are these the directives of that configuration?
fn are_of(ordered: &ServerConfig, directives: &[Directive]) -> bool {
    let newest = config::directives(ordered);
    // Whom a server without cluster mode follows is no matter of the order.
    let directives: Vec<&Directive> = directives.iter().filter(|one| one.0 != REPLICA_OF).collect();
    let mut pairs = newest.iter().zip(directives.iter().copied());
    newest.len() == directives.len()
        && pairs.all(|(a, b)| a == b || a.0 == b.0 && FREE.contains(&a.0.as_str()))
}
