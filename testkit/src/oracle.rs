//! Is the cluster whole, by its servers' own words? Judged here anew, so that `status` is not its own witness.

use crate::cluster::{Cluster, Status};
use std::collections::{BTreeMap, BTreeSet};

const SLOTS: u32 = 16_384;

impl Cluster<'_> {
    /// Waits until `status` and every server say that all is well.
    pub fn until_whole(&self) -> Status {
        let mut last = String::new();
        let begun = std::time::Instant::now();
        loop {
            let status = self.status();
            match self.wrong(&status) {
                None if status.healthy => return status,
                wrong => last = wrong.unwrap_or(last),
            }
            if begun.elapsed() > crate::waiting::DEADLINE {
                self.fail(&format!("the cluster is not whole: {last}"));
            }
            std::thread::sleep(std::time::Duration::from_millis(15));
        }
    }

    /// What the servers say is wrong, if anything.
    pub fn wrong(&self, status: &Status) -> Option<String> {
        if self.is_standalone() {
            return self.wrong_roles(status);
        }
        let addresses = self.addresses();
        let members = addresses.len();
        let ports: BTreeSet<u16> = addresses.iter().map(|(_, port)| *port).collect();
        let mut owners: BTreeMap<String, String> = BTreeMap::new();
        for (instance, _) in &addresses {
            let info: String = match self.ask(instance, &["CLUSTER", "INFO"]) {
                Ok(info) => info,
                Err(error) => return Some(format!("{instance}: {error}")),
            };
            let field = |name: &str| {
                info.lines()
                    .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
                    .unwrap_or_default()
                    .trim()
            };
            let wanted = [
                ("cluster_state", "ok".to_owned()),
                ("cluster_slots_ok", SLOTS.to_string()),
                ("cluster_known_nodes", members.to_string()),
                ("cluster_size", status.shards.len().to_string()),
            ];
            for (name, value) in wanted {
                if field(name) != value {
                    return Some(format!("{instance}: {name} is {}, not {value}", field(name)));
                }
            }
            let nodes: String = self.ask(instance, &["CLUSTER", "NODES"]).ok()?;
            if let Some(wrong) = wrong_nodes(&nodes, &ports, &mut owners) {
                return Some(format!("{instance}: {wrong}"));
            }
            let replication: String = self.ask(instance, &["INFO", "replication"]).ok()?;
            if replication.contains("role:slave") && !replication.contains("master_link_status:up") {
                return Some(format!("{instance}: its link is down"));
            }
        }
        None
    }
}

impl Cluster<'_> {
    /// Of servers without cluster mode: one is a primary, the others follow it, in sync.
    fn wrong_roles(&self, status: &Status) -> Option<String> {
        let primary = status.shards.first()?.primary.as_deref();
        let port = primary.map(|name| self.port(name).to_string());
        for (instance, _) in self.addresses() {
            let info: String = match self.ask(&instance, &["INFO", "replication"]) {
                Ok(info) => info,
                Err(error) => return Some(format!("{instance}: {error}")),
            };
            let field = |name: &str| {
                info.lines()
                    .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
                    .unwrap_or_default()
                    .trim()
            };
            let wanted = if primary == Some(&*instance) {
                vec![("role", "master".to_owned())]
            } else {
                let port = port.clone().unwrap_or_default();
                vec![
                    ("role", "slave".to_owned()),
                    ("master_port", port),
                    ("master_link_status", "up".to_owned()),
                ]
            };
            for (name, value) in wanted {
                if field(name) != value {
                    return Some(format!("{instance}: {name} is {}, not {value}", field(name)));
                }
            }
        }
        None
    }
}

/// Everybody must see the same members, at our ports, and the same owner of the same slots.
fn wrong_nodes(nodes: &str, ports: &BTreeSet<u16>, owners: &mut BTreeMap<String, String>) -> Option<String> {
    for line in nodes.lines() {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let (Some(id), Some(address), Some(flags)) = (fields.first(), fields.get(1), fields.get(2)) else {
            return Some(format!("a line that is none: {line}"));
        };
        let port = address.split(['@', ',']).next().and_then(|place| place.rsplit(':').next()?.parse().ok());
        if !port.is_some_and(|port: u16| ports.contains(&port)) {
            return Some(format!("knows a stranger: {line}"));
        }
        if flags.contains("fail") || flags.contains("noaddr") || flags.contains("handshake") {
            return Some(format!("holds a member for failed: {line}"));
        }
        for slots in fields.get(8..).unwrap_or_default() {
            let owner = owners.entry((*slots).to_owned()).or_insert_with(|| (*id).to_owned());
            if owner != id {
                return Some(format!("{slots} belong to {id}, others say {owner}"));
            }
        }
    }
    None
}
