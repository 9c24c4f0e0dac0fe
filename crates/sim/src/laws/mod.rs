//! What must hold, whatever goes wrong. Checked at the very event that could break it; the exact rule is at each function.
//!
//! | file | laws |
//! | --- | --- |
//! | `mod.rs` | what is remembered to judge |
//! | `data.rs` | 2, 3: no acknowledged write is lost but by what the engine or the mode allows; one primary at a time |
//! | `deeds.rs` | 1, 2, 4, 6, 10: what agents and controllers have done |
//! | `words.rs` | 5, 7, 8, 12: layouts, steps, reports; and that all is well again in time |
//!
//! **Who loses what.** Every write is owed to its client from the moment it is taken. A loss is excused
//! - when a fault, a kill or an orderly stop ends the last process or wipes the last disk that had it,
//! - when a replica is promoted that did not have it: the best one there was, after the old primary's end was certain,
//! - without AOF, when a primary starts from its disk and no live copy has it,
//! - when the engine's own election or a cut network made two primaries: that is the engine's window, not ours.
//!
//! An owed write that is in no copy any more, in memory or on disk, breaks the law at that event; and in the end all that is
//! owed must be on the primaries.

mod data;
mod deeds;
mod words;

use crate::fleet::Fleet;
use crate::server::{Disk, Rise};
use std::collections::BTreeMap;
use valkeeper_model::Request;
use valkeeper_plan::agent::Token;

/// Healthy again within this after the last fault, milliseconds: twice the longest node timeout (the engine's own election
/// and the time until a failure is taken back), and what agents and a user's answers need.
pub const LIVENESS_MS: u64 = 60_000;

/// A broken law.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broken {
    /// Of `docs/safety.md`; 0 is liveness.
    pub law: u8,
    /// What happened.
    pub what: String,
    /// When, milliseconds.
    pub at: u64,
}

/// A shard's primary by the latest promotion.
#[derive(Debug, Clone, Copy)]
struct Reign {
    primary: usize,
    run: u64,
    epoch: u64,
    how: Rise,
    since: u64,
}

/// What is remembered to judge.
#[derive(Debug)]
pub(crate) struct Laws {
    pub(crate) broken: Option<Broken>,
    reigns: Vec<Option<Reign>>,
    /// The run in which an instance was last its shard's primary.
    reigned: Vec<u64>,
    /// When a question to an agent was last not answered.
    pub(crate) unseen_at: Vec<u64>,
    /// Instances' ports are moved by this.
    pub(crate) moved_by: u16,
    /// Data directories that a fault replaced.
    pub(crate) stashed: Vec<Option<Disk>>,
    /// When the votes of a majority could last not be had.
    no_quorum_at: Option<u64>,
    /// When a takeover came to a server that is stopped: it lies in its socket.
    pub(crate) takeover_came_at: Vec<Option<u64>>,
    /// When a controller last said that not all is well.
    told_unwell_at: u64,
    /// When somebody last asked an instance to hand over or to restart.
    asked_at: Vec<Option<u64>>,
    /// Stopping that instance is what somebody wanted, until then.
    pub(crate) may_stop: Vec<u64>,
    /// Shards of which a directory was emptied before the cluster had served all its slots.
    forfeit: Vec<bool>,
    down_since: Vec<Option<u64>>,
    unserved_since: Vec<Option<u64>>,
    requests: BTreeMap<Token, Request>,
    user_acts_at: u64,
    well_since: Option<u64>,
}

impl Laws {
    pub(crate) fn new(shards: usize, instances: usize) -> Self {
        Self {
            broken: None,
            reigns: vec![None; shards],
            reigned: vec![0; instances],
            unseen_at: vec![0; instances],
            moved_by: 0,
            stashed: vec![None; instances],
            no_quorum_at: None,
            takeover_came_at: vec![None; instances],
            told_unwell_at: 0,
            asked_at: vec![None; instances],
            may_stop: vec![0; instances],
            forfeit: vec![false; shards],
            down_since: vec![None; instances],
            unserved_since: vec![None; shards],
            requests: BTreeMap::new(),
            user_acts_at: 0,
            well_since: None,
        }
    }

    /// There are more shards and instances now.
    pub(crate) fn grow(&mut self, shards: usize, instances: usize) {
        self.reigns.resize(shards, None);
        self.forfeit.resize(shards, false);
        self.unserved_since.resize(shards, None);
        self.reigned.resize(instances, 0);
        self.unseen_at.resize(instances, 0);
        self.stashed.resize(instances, None);
        self.takeover_came_at.resize(instances, None);
        self.asked_at.resize(instances, None);
        self.may_stop.resize(instances, 0);
        self.down_since.resize(instances, None);
    }

    /// The primary of a shard by the latest promotion.
    pub(crate) fn primary_of(&self, shard: usize) -> Option<usize> {
        self.reigns[shard].map(|reign| reign.primary)
    }

    /// The shard takes writes, if only between two looks at it.
    pub(crate) fn note_served(&mut self, shard: usize) {
        self.unserved_since[shard] = None;
    }

    pub(crate) fn note_request(&mut self, token: Token, request: &Request, _now: u64) {
        self.requests.insert(token, request.clone());
    }

    pub(crate) fn note_answer(&mut self, token: Token, _done: bool, _now: u64) {
        self.requests.remove(&token);
    }
}

impl Fleet {
    pub(crate) fn break_law(&mut self, law: u8, what: String) {
        let at = self.now();
        self.laws.broken.get_or_insert(Broken { law, what, at });
    }

    /// The shards that have slots, or are to have some: only their primaries vote.
    fn voting_shards(&self) -> usize {
        (0..self.laws.reigns.len()).filter(|shard| !self.atoms_of(*shard).is_empty()).count()
    }

    /// The shards whose primary can vote now.
    fn voters(&self) -> usize {
        let votes = |reign: &Reign| {
            let server = &self.servers[reign.primary];
            server.awake() && server.run == reign.run && server.owns()
        };
        self.laws.reigns.iter().flatten().filter(|reign| votes(reign)).count()
    }
}
