//! What a run is made of: the cluster's shape, the faults, and a sabotage.

use crate::faults::{self, Fault, Planned};
use crate::hosts;
use crate::random::Random;
use crate::sabotage::Sabotage;
use valkeeper_model::{ClusterName, ClusterSpec, Persistence, ZoneName};

/// A run before it is run. Equal setups give equal runs.
#[derive(Debug, Clone)]
pub struct Setup {
    /// All chance comes from it.
    pub seed: u64,
    /// Shards.
    pub shards: u32,
    /// Replicas of each.
    pub replicas: u32,
    /// What survives on disk.
    pub persistence: Persistence,
    /// `nodeTimeout`.
    pub node_timeout_ms: u64,
    /// `unresponsiveAfter`.
    pub unresponsive_after_ms: u64,
    /// Of a thousand reconnecting replicas, so many find that the backlog does not reach back to them.
    pub backlog_gaps: u64,
    /// May a directory be emptied before the cluster has served all its slots? It is taken for a new one then (docs/safety.md).
    pub wipes_young: bool,
    /// Does each agent live on a host of its own? Otherwise all live in one process.
    pub own_hosts: bool,
    /// What goes wrong, and when.
    pub faults: Vec<Planned>,
    /// A law to break on purpose.
    pub sabotage: Option<Sabotage>,
    /// Keep a transcript?
    pub transcript: bool,
}

impl Setup {
    /// A cluster to which nothing happens.
    pub fn quiet(seed: u64) -> Self {
        Self {
            seed,
            shards: 3,
            replicas: 1,
            persistence: Persistence::Aof,
            node_timeout_ms: 5_000,
            unresponsive_after_ms: 1_600,
            backlog_gaps: 0,
            wipes_young: true,
            own_hosts: false,
            faults: Vec::new(),
            sabotage: None,
            transcript: false,
        }
    }

    /// Nothing but these faults, each at its time in milliseconds, to agents on hosts of their own. They come late: a server may take nine
    /// seconds to start.
    pub fn on_hosts(seed: u64, faults: &[(u64, Fault)]) -> Self {
        Self {
            own_hosts: true,
            node_timeout_ms: 15_000,
            unresponsive_after_ms: 5_000,
            faults: faults.iter().map(|(at, fault)| Planned { at: *at, fault: *fault }).collect(),
            transcript: true,
            ..Self::quiet(seed)
        }
    }

    /// A run ends once all is well again after the faults.
    ///
    /// # Panics
    ///
    /// If no [`Fault::Calm`] says that they are over.
    pub(crate) fn must_end(&self) {
        let ends = self.faults.iter().any(|planned| planned.fault == Fault::Calm);
        assert!(ends, "seed {}: no `Fault::Calm` is planned", self.seed);
    }

    /// What the seed says: shape, persistence, faults.
    pub fn random(seed: u64) -> Self {
        let mut random = Random::new(seed ^ 0x05ee_d0ff_a017_0000);
        let mut setup = Self::quiet(seed);
        (setup.shards, setup.replicas) = match random.index(10) {
            0..=4 => (3, 1),
            5 => (3, 0),
            6..=7 => (3, 2),
            _ => (5, 1),
        };
        setup.persistence = match random.index(5) {
            0 | 1 => Persistence::Aof,
            2 | 3 => Persistence::None,
            _ => Persistence::Rdb,
        };
        setup.node_timeout_ms = [2_000, 5_000, 15_000][random.index(3)];
        setup.unresponsive_after_ms = ClusterSpec::default_unresponsive_after_ms(setup.node_timeout_ms);
        setup.wipes_young = false;
        setup.backlog_gaps = [0, 0, 100, 500][random.index(4)];
        setup.faults = faults::schedule(&mut random, &setup);
        // From a source of its own: seeds that were drawn before there were hosts stay what they were.
        let mut random = Random::new(seed ^ 0x0507_0051_0000_0000);
        setup.own_hosts = random.in_thousand(500);
        if setup.own_hosts {
            hosts::add_faults(&mut random, &mut setup);
        }
        setup
    }

    /// The cluster's name.
    pub fn cluster(&self) -> ClusterName {
        "c".parse().unwrap_or_else(|error| panic!("{error}"))
    }

    /// Three zones.
    pub fn zones(&self) -> Vec<ZoneName> {
        ["a", "b", "c"].iter().filter_map(|name| name.parse().ok()).collect()
    }

    /// As a user would write it.
    pub fn spec(&self) -> ClusterSpec {
        let mut spec = ClusterSpec::new(self.cluster());
        spec.shards = self.shards;
        if self.shards == 1 {
            spec.mode = valkeeper_model::Mode::Standalone;
        }
        spec.replicas_per_shard = self.replicas;
        spec.persistence = self.persistence;
        spec.node_timeout_ms = self.node_timeout_ms;
        spec.unresponsive_after_ms = self.unresponsive_after_ms;
        spec
    }
}
