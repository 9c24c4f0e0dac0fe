//! Which shard owns which slots, and where its servers are, as one server believes.

use crate::Endpoint;
use crate::admin::{ClusterNodes, ReplicationRole};
use std::collections::BTreeMap;
use valkeeper_model::nodes_conf::NodeLine;
use valkeeper_model::{NodeId, Role, Slot, SlotSet};

/// The shards that own slots, by their lowest slot.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct ShardMap {
    /// The shards.
    pub shards: Vec<MappedShard>,
    /// Who sends clients to the right server.
    pub guides: Guides,
}

/// Who sends clients to the right server.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub enum Guides {
    /// The servers, by `MOVED`.
    #[default]
    Servers,
    /// Nobody: without cluster mode a replica refuses writes (`READONLY`), and the client looks for the primary.
    Nobody,
    /// Nobody, and nobody here takes writes: the servers follow a primary that is none of them.
    Outside,
}

/// A server without cluster mode, as it shows itself.
#[derive(Debug, Clone)]
pub(super) struct PlainServer {
    pub(super) endpoint: Endpoint,
    pub(super) role: ReplicationRole,
}

impl PlainServer {
    fn replicas(&self) -> Option<usize> {
        match &self.role {
            ReplicationRole::Primary { connected } => Some(connected.len()),
            ReplicationRole::Replica(_) => None,
        }
    }

    /// Certainly the primary, of so many servers?
    pub(super) fn is_followed(&self) -> bool {
        self.replicas().is_some_and(|replicas| replicas > 0)
    }
}

/// One shard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MappedShard {
    /// Takes the writes.
    pub primary: MappedNode,
    /// Follow it.
    pub replicas: Vec<MappedNode>,
    /// The primary's slots.
    pub slots: SlotSet,
}

/// One server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MappedNode {
    /// Its id.
    pub id: NodeId,
    /// Where it answers.
    pub endpoint: Endpoint,
}

impl ShardMap {
    /// From the view of the server at `asked`. Nodes without address are left out, failed ones are not: they may be
    /// back sooner than the view knows.
    pub fn of_view(view: &ClusterNodes, asked: &Endpoint) -> Self {
        let place = |node: &NodeLine| {
            let endpoint = match &node.address {
                Some(address) => address.into(),
                // A server that does not know its own address is the one that was reached at this one.
                None if node.flags.myself => asked.clone(),
                None => return None,
            };
            Some(MappedNode { id: node.id, endpoint })
        };
        let mut replicas: BTreeMap<NodeId, Vec<MappedNode>> = BTreeMap::new();
        for node in view.nodes.iter().filter(|node| node.is_replica()) {
            if let (Some(primary), Some(place)) = (node.primary, place(node)) {
                replicas.entry(primary).or_default().push(place);
            }
        }
        let mut shards: Vec<_> = view
            .nodes
            .iter()
            .filter(|node| node.flags.role == Some(Role::Primary) && !node.slots.is_empty())
            .filter_map(|node| {
                let replicas = replicas.remove(&node.id).unwrap_or_default();
                Some(MappedShard { primary: place(node)?, replicas, slots: node.slots.clone() })
            })
            .collect();
        shards.sort_by_key(|shard| shard.slots.first());
        Self { shards, guides: Guides::Servers }
    }

    /// Of servers without cluster mode: one shard with all slots. Its primary is the one with the most replicas, or the one that is followed
    /// though it does not answer. Where that is none of the `seeds`, the servers follow another cluster: the first of them answers.
    pub(super) fn of_plain(servers: &[PlainServer], seeds: &[Endpoint]) -> Self {
        let primary = servers.iter().filter(|one| one.replicas().is_some()).max_by_key(|one| one.replicas());
        let followed = servers.iter().find_map(|one| match &one.role {
            ReplicationRole::Replica(link) => Some(&link.primary),
            ReplicationRole::Primary { .. } => None,
        });
        let is_ours = |followed: &&Endpoint| seeds.contains(followed);
        let (chosen, guides) = match (primary, followed) {
            (Some(primary), _) => (Some(&primary.endpoint), Guides::Nobody),
            (None, Some(followed)) if !is_ours(&followed) => {
                (servers.iter().map(|one| &one.endpoint).min(), Guides::Outside)
            }
            (None, followed) => (followed, Guides::Nobody),
        };
        let Some(primary) = chosen else { return Self::default() };
        // Such servers have no ids: the place is all that is known of one.
        let node =
            |endpoint: &Endpoint| MappedNode { id: NodeId::from_bytes([0; 20]), endpoint: endpoint.clone() };
        let others = servers.iter().map(|one| &one.endpoint).filter(|endpoint| *endpoint != primary);
        let shard = MappedShard {
            primary: node(primary),
            replicas: others.map(node).collect(),
            slots: SlotSet::all(),
        };
        Self { shards: vec![shard], guides }
    }

    /// Who owns the slot.
    pub fn owner(&self, slot: Slot) -> Option<&MappedShard> {
        self.shards.iter().find(|shard| shard.slots.contains(slot))
    }

    /// Has every slot an owner?
    pub fn is_complete(&self) -> bool {
        self.shards.iter().map(|shard| shard.slots.len()).sum::<u16>() == Slot::COUNT
    }

    /// Where to try a command for the slot: its primary, that one's replicas, then everyone else. Without a slot,
    /// the primaries first.
    pub fn candidates(&self, slot: Option<Slot>) -> Vec<Endpoint> {
        let mine = |shard: &&MappedShard| slot.is_some_and(|slot| shard.slots.contains(slot));
        let (own, others): (Vec<_>, Vec<_>) = self.shards.iter().partition(mine);
        let replicas =
            |shard: &MappedShard| shard.replicas.iter().map(|node| node.endpoint.clone()).collect::<Vec<_>>();
        let mut places = Vec::new();
        for shard in own {
            places.push(shard.primary.endpoint.clone());
            places.extend(replicas(shard));
        }
        places.extend(others.iter().map(|shard| shard.primary.endpoint.clone()));
        places.extend(others.into_iter().flat_map(replicas));
        places
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use valkeeper_model::nodes_conf;

    fn id(n: u8) -> String {
        format!("{n:040x}")
    }

    #[test]
    fn knows_owners_and_whom_to_try() {
        let text = format!(
            "{} :7001@17001 myself,master - 0 0 1 connected 0-8191\n\
             {} 10.0.0.2:7002@17002 master - 0 0 2 connected 8192-16383\n\
             {} 10.0.0.3:7003@17003 slave {} 0 0 2 connected\n\
             {} :0@0 slave,noaddr {} 0 0 2 disconnected\n\
             {} 10.0.0.5:7005@17005 master - 0 0 0 connected\n",
            id(1),
            id(2),
            id(3),
            id(2),
            id(4),
            id(2),
            id(5)
        );
        let map = ShardMap::of_view(&nodes_conf::parse(&text).unwrap(), &Endpoint::new("10.0.0.1", 7001));
        assert!(map.is_complete());
        let slot = Slot::try_from(9000).unwrap();
        assert_eq!(map.owner(slot).unwrap().primary.endpoint.port, 7002);
        let ports = |slot| map.candidates(slot).iter().map(|place| place.port).collect::<Vec<_>>();
        assert_eq!(ports(Some(slot)), [7002, 7003, 7001]);
        assert_eq!(ports(None), [7001, 7002, 7003]);
        assert_eq!(map.candidates(None)[0].host, "10.0.0.1");
    }
}
