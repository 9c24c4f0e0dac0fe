//! Hosts as a whole: each instance on one of its own, cut off, frozen or lost with all that runs there.

use crate::faults::{Fault, Planned, target};
use crate::fleet::{Fleet, Happening};
use crate::random::Random;
use crate::sabotage::Sabotage;
use crate::setup::Setup;
use valkeeper_plan::server::config::{Directive, refuses_writes};

/// Adds what happens to hosts to what happens anyhow, or puts it in the place of that: alone it shows what the rule for lost
/// hosts is worth.
pub(crate) fn add_faults(random: &mut Random, setup: &mut Setup) {
    let calm = setup.faults.iter().map(|planned| planned.at).max().unwrap_or(6_000);
    if random.in_thousand(500) {
        setup.faults.retain(|planned| planned.fault == Fault::Calm);
    }
    let mut at = random.within(4_000..=calm.max(7_000));
    let mut last = 0;
    for _ in 0..random.within(1..=3) {
        let whom = target(random, setup);
        let ms = match random.index(4) {
            0 => random.within(300..=1_300),
            1 => random.within(1_300..=2_500),
            _ => random.within(2_500..=9_000),
        };
        let fault = match random.index(10) {
            0..=4 => Fault::CutHost(whom),
            5..=6 => Fault::FreezeHost(whom, ms),
            _ => Fault::LoseHost(whom, ms),
        };
        setup.faults.push(Planned { at, fault });
        if let Fault::CutHost(_) = fault {
            setup.faults.push(Planned { at: at + ms, fault: Fault::Mend });
        }
        last = last.max(at + ms);
        at += if random.in_thousand(400) { random.within(0..=300) } else { random.within(300..=6_000) };
    }
    let end = calm.max(last + random.within(0..=1_000));
    for planned in setup.faults.iter_mut().filter(|planned| planned.fault == Fault::Calm) {
        planned.at = end;
    }
    setup.faults.sort_by_key(|planned| planned.at);
}

impl Fleet {
    pub(crate) fn cut_host(&mut self, host: usize) {
        let name = self.name(host).clone();
        self.note(|| format!("the host of {name} is cut off"));
        self.network.hosts_cut.insert(host);
    }

    pub(crate) fn freeze_host(&mut self, host: usize, ms: u64) {
        if self.agents[host].agent.is_none() || self.agents[host].frozen.is_some() {
            return;
        }
        let name = self.name(host).clone();
        self.note(|| format!("the host of {name} is frozen"));
        self.hang(host);
        self.agents[host].frozen = Some(Vec::new());
        self.agents[host].freeze += 1;
        let freeze = self.agents[host].freeze;
        self.clock.after(ms, Happening::HostThaws { host, freeze });
    }

    pub(crate) fn host_thaws(&mut self, host: usize, freeze: u64) {
        if self.agents[host].freeze == freeze {
            self.thaw_host(host);
        }
    }

    /// Server and agent go on; which of them does first is chance.
    pub(crate) fn thaw_host(&mut self, host: usize) {
        let Some(backlog) = self.agents[host].frozen.take() else { return };
        let name = self.name(host).clone();
        self.note(|| format!("the host of {name} is thawed"));
        self.agents[host].thawed_at = Some(self.now());
        let delay = self.random.within(0..=3);
        for (life, event) in backlog {
            self.clock.after(delay, Happening::Agent { agent: host, life, event: Box::new(event) });
        }
        let run = self.servers[host].run;
        let delay = self.random.within(0..=3);
        self.clock.after(delay, Happening::Thaw { server: host, run });
    }

    pub(crate) fn lose_host(&mut self, host: usize, ms: u64) {
        if self.agents[host].lost || self.agents[host].agent.is_none() {
            return;
        }
        let name = self.name(host).clone();
        self.note(|| format!("the host of {name} is lost"));
        self.agents[host].frozen = None;
        self.agent_ends(host);
        self.agents[host].lost = true;
        self.network.hosts_cut.insert(host);
        self.kill(host, "its host is lost");
        self.clock.after(ms, Happening::HostBack { host });
    }

    pub(crate) fn host_back(&mut self, host: usize) {
        if !std::mem::take(&mut self.agents[host].lost) {
            return;
        }
        let name = self.name(host).clone();
        self.note(|| format!("the host of {name} is back"));
        self.network.hosts_cut.remove(&host);
        self.agent_up(host);
    }

    /// Sabotage: what is to make a server refuse writes is left out.
    pub(crate) fn spoil_refusal(&self, directives: &mut [Directive]) {
        if self.sabotage == Some(Sabotage::NeverRefuseWrites) {
            for (_, value) in directives.iter_mut().filter(|(name, _)| refuses_writes(name)) {
                "0".clone_into(value);
            }
        }
    }
}
