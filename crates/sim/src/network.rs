//! Who reaches whom, how fast, and what gets lost.

use crate::random::Random;
use std::collections::BTreeSet;

/// The ways that messages take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Way {
    /// Between servers: bus and replication.
    Bus,
    /// Between agents.
    Agents,
    /// Between controllers and agents: `from` is the controller.
    Control,
}

/// The network's state.
#[derive(Debug)]
pub struct Network {
    cut: BTreeSet<(Way, usize, usize)>,
    /// Hosts that nothing gets to or from.
    pub hosts_cut: BTreeSet<usize>,
    /// Nobody gets to the register.
    pub register_cut: bool,
    /// Of a thousand messages between agents and controllers, so many are lost; half of these on the way back, when what was
    /// asked for has been done.
    pub lost_in_thousand: u64,
    /// Answers take up to this much longer.
    pub slowness_ms: u64,
    /// What controllers ask beside reports arrives up to this much later.
    pub asks_ms: u64,
    /// By server: what it gets of a stream comes so much later.
    pub lag_ms: Vec<u64>,
    arrivals: Vec<u64>,
    nodes: usize,
    /// When a cut was last in force.
    pub last_cut: Option<u64>,
    /// When a cut of single ways was last in force.
    pub last_cut_in_part: Option<u64>,
}

impl Network {
    /// A network that works.
    pub fn new(nodes: usize) -> Self {
        Self {
            cut: BTreeSet::new(),
            hosts_cut: BTreeSet::new(),
            register_cut: false,
            lost_in_thousand: 0,
            slowness_ms: 0,
            asks_ms: 0,
            lag_ms: vec![0; nodes],
            arrivals: vec![0; nodes * nodes],
            nodes,
            last_cut: None,
            last_cut_in_part: None,
        }
    }

    /// There are more nodes now.
    pub fn grow(&mut self, nodes: usize) {
        let at =
            |from: usize, to: usize| self.arrivals.get(from * self.nodes + to).copied().unwrap_or_default();
        let old =
            |from: usize, to: usize| if from < self.nodes && to < self.nodes { at(from, to) } else { 0 };
        self.arrivals = (0..nodes * nodes).map(|pair| old(pair / nodes, pair % nodes)).collect();
        self.lag_ms.resize(nodes, 0);
        self.nodes = nodes;
    }

    /// Cuts the ways between one and all others, or between two.
    pub fn cut(&mut self, way: Way, a: usize, b: usize) {
        self.cut.insert((way, a, b));
        if way != Way::Control {
            self.cut.insert((way, b, a));
        }
    }

    /// Mends everything.
    pub fn mend(&mut self, now: u64) {
        if !self.cut.is_empty() {
            self.last_cut_in_part = Some(now);
        }
        if !self.cut.is_empty() || !self.hosts_cut.is_empty() {
            self.last_cut = Some(now);
        }
        self.cut.clear();
        self.hosts_cut.clear();
        self.register_cut = false;
        self.lost_in_thousand = 0;
        self.slowness_ms = 0;
        self.asks_ms = 0;
        self.lag_ms.fill(0);
    }

    /// Does a message get from one to the other?
    pub fn open(&self, way: Way, from: usize, to: usize) -> bool {
        let host_cut = |host: &usize| !self.hosts_cut.is_empty() && self.hosts_cut.contains(host);
        // A controller is on no host of an instance.
        let apart = host_cut(&to) && (way == Way::Control || from != to)
            || way != Way::Control && from != to && host_cut(&from);
        !apart && (self.cut.is_empty() || !self.cut.contains(&(way, from, to)))
    }

    /// Is anything of that kind cut?
    pub fn is_cut(&self, way: Way) -> bool {
        !self.hosts_cut.is_empty() || self.is_cut_in_part(way)
    }

    /// Is anything of that kind cut for some and not for the whole host?
    pub fn is_cut_in_part(&self, way: Way) -> bool {
        self.cut.iter().any(|(cut, ..)| *cut == way)
    }

    /// When a bus message sent now arrives: in order between two nodes.
    pub fn bus_arrival(&mut self, from: usize, to: usize, now: u64, random: &mut Random) -> u64 {
        let delay = if random.in_thousand(20) { random.within(3..=40) } else { random.within(0..=2) };
        let last = &mut self.arrivals[from * self.nodes + to];
        *last = (*last).max(now + delay);
        *last
    }

    /// How long a message between agents, controllers and clients takes.
    pub fn hop(&self, random: &mut Random) -> u64 {
        let slow = if self.slowness_ms > 0 { random.within(0..=self.slowness_ms) } else { 0 };
        slow + if random.in_thousand(30) { random.within(2..=30) } else { random.within(0..=1) }
    }

    /// Is this message lost?
    pub fn loses(&self, random: &mut Random) -> bool {
        self.lost_in_thousand > 0 && random.in_thousand(self.lost_in_thousand)
    }
}
