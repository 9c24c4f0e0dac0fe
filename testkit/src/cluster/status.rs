//! What `status -o json` tells.

use crate::process;
use serde::Deserialize;

/// `status -o json`.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    /// The cluster.
    pub cluster: String,
    /// In one word.
    pub phase: String,
    /// Is it whole?
    pub healthy: bool,
    /// Who watches it.
    pub supervisor_pid: Option<u32>,
    /// Its shards.
    pub shards: Vec<Shard>,
    /// Its instances.
    pub instances: Vec<Instance>,
    /// What it waits for.
    pub waiting: Vec<Waiting>,
    /// In a mode with one primary: which.
    pub current_primary: Option<String>,
    /// Conditions, as Kubernetes has them.
    #[serde(default)]
    pub conditions: Vec<Condition>,
    /// Of a cluster that follows another.
    pub replica_mode: Option<serde_json::Value>,
    /// Long work under way.
    #[serde(default)]
    pub progress: Vec<serde_json::Value>,
}

/// A condition in it.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Condition {
    /// Which.
    #[serde(rename = "type")]
    pub kind: String,
    /// `True` or `False`.
    pub status: String,
    /// Why, in a word.
    pub reason: String,
    /// Why.
    pub message: String,
}

/// A shard in it.
#[derive(Debug, Clone, Deserialize)]
pub struct Shard {
    /// Its name.
    pub name: String,
    /// Its slots.
    pub slots: String,
    /// Who serves them.
    pub primary: Option<String>,
    /// Who follows.
    pub replicas: Vec<String>,
}

impl Shard {
    /// How many slots it has.
    pub fn slot_count(&self) -> u32 {
        let size = |range: &str| {
            let (first, last) = range.split_once('-').unwrap_or((range, range));
            let number = |text: &str| text.parse::<u32>().expect("a slot");
            number(last) - number(first) + 1
        };
        self.slots.split_whitespace().map(size).sum()
    }
}

/// An instance in it.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Instance {
    /// Its name.
    pub name: String,
    /// Its shard.
    pub shard: String,
    /// Its zone.
    pub zone: String,
    /// Primary or replica.
    pub role: Option<String>,
    /// Where it answers.
    pub address: Option<String>,
    /// Its process.
    pub pid: Option<u32>,
    /// Its version.
    pub version: Option<String>,
    /// How far it is behind.
    pub lag_bytes: Option<u64>,
    /// Is it fenced?
    pub fenced: bool,
}

/// A reason in it.
#[derive(Debug, Clone, Deserialize)]
pub struct Waiting {
    /// Which, for programs.
    pub reason: String,
    /// In words.
    pub message: String,
}

impl Status {
    /// One instance.
    pub fn instance(&self, name: &str) -> &Instance {
        self.instances
            .iter()
            .find(|one| one.name == name)
            .unwrap_or_else(|| panic!("no instance {name}: {self:?}"))
    }
    /// A shard's primary, if it has one.
    pub fn primary(&self, shard: &str) -> Option<&str> {
        self.shards.iter().find(|one| one.name == shard)?.primary.as_deref()
    }
    /// One condition.
    pub fn condition(&self, kind: &str) -> Option<&Condition> {
        self.conditions.iter().find(|one| one.kind == kind)
    }
    /// Is this among the reasons?
    pub fn waits_for(&self, reason: &str) -> bool {
        self.waiting.iter().any(|waiting| waiting.reason == reason)
    }
    /// All reasons in words.
    pub fn reasons(&self) -> String {
        self.waiting.iter().map(|waiting| waiting.message.as_str()).collect::<Vec<_>>().join("; ")
    }
    /// Name, process and its start of every instance that runs.
    pub fn processes(&self) -> Vec<(String, u32, Option<u64>)> {
        let running = |one: &Instance| one.pid.map(|pid| (one.name.clone(), pid, process::started_at(pid)));
        self.instances.iter().filter_map(running).collect()
    }
}
