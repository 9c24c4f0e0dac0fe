//! The nodes that a server knows: it starts with those of its nodes.conf, meets others, hears of others still from those it knows, and
//! forgets what it is told to forget.

use super::{Body, Effects, Message, Server};
use std::collections::BTreeMap;
use std::ops::{Index, IndexMut};
use std::sync::Arc;
use valkeeper_model::{Address, NodeId, Role};

/// `cluster-blacklist-ttl`: who was forgotten is not taken up again by gossip for so long.
pub const FORGOTTEN_MS: u64 = 60_000;

/// Another node, or itself, as a server knows it.
#[derive(Debug, Clone)]
pub struct Peer {
    /// Primary or replica.
    pub role: Role,
    /// Whose replica.
    pub primary: Option<usize>,
    /// Its configuration epoch.
    pub config_epoch: u64,
    /// Where it is believed to be.
    pub address: Address,
    /// Suspected by this server alone.
    pub suspected: bool,
    /// Held for failed.
    pub failed: bool,
    /// Since when.
    pub failed_since: u64,
    /// Last sign of life.
    pub heard: u64,
    /// When the ping that is still unanswered was sent.
    pub ping_sent: Option<u64>,
    /// When to ping next.
    pub ping_due: u64,
    /// Its replication offset by its last header.
    pub offset: u64,
    /// Who else holds it for failed, and since when.
    pub reports: BTreeMap<usize, u64>,
}

impl Peer {
    /// One of which nothing is known but where it is.
    pub fn at(address: Address, now: u64) -> Self {
        Self {
            role: Role::Primary,
            primary: None,
            config_epoch: 0,
            address,
            suspected: false,
            failed: false,
            failed_since: now,
            heard: now,
            ping_sent: None,
            ping_due: 0,
            offset: 0,
            reports: BTreeMap::new(),
        }
    }
}

/// The nodes that a server knows, by index.
#[derive(Debug, Clone, Default)]
pub struct NodeTable(Vec<Option<Peer>>);

impl NodeTable {
    /// A node, if it is known.
    pub fn get(&self, index: usize) -> Option<&Peer> {
        self.0.get(index)?.as_ref()
    }

    /// A node, if it is known, to be changed.
    pub fn get_mut(&mut self, index: usize) -> Option<&mut Peer> {
        self.0.get_mut(index)?.as_mut()
    }

    /// Is it known?
    pub fn knows(&self, index: usize) -> bool {
        self.get(index).is_some()
    }

    /// Takes a node up.
    pub fn insert(&mut self, index: usize, peer: Peer) {
        if self.0.len() <= index {
            self.0.resize(index + 1, None);
        }
        self.0[index] = Some(peer);
    }

    /// Removes a node.
    pub fn remove(&mut self, index: usize) {
        if let Some(line) = self.0.get_mut(index) {
            *line = None;
        }
    }

    /// All, in the order of their indices.
    pub fn iter(&self) -> impl Iterator<Item = (usize, &Peer)> {
        self.0.iter().enumerate().filter_map(|(index, line)| Some((index, line.as_ref()?)))
    }

    /// All, to be changed.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = (usize, &mut Peer)> {
        self.0.iter_mut().enumerate().filter_map(|(index, line)| Some((index, line.as_mut()?)))
    }

    /// Higher than all indices in it.
    pub fn end(&self) -> usize {
        self.0.len()
    }
}

impl Index<usize> for NodeTable {
    type Output = Peer;
    fn index(&self, index: usize) -> &Peer {
        self.get(index).unwrap_or_else(|| panic!("node {index} is not known"))
    }
}

impl IndexMut<usize> for NodeTable {
    fn index_mut(&mut self, index: usize) -> &mut Peer {
        self.get_mut(index).unwrap_or_else(|| panic!("node {index} is not known"))
    }
}

/// What a message says of other nodes.
#[derive(Debug, Clone)]
pub struct Gossip {
    /// Those that the sender suspects or holds for failed.
    pub troubled: Vec<usize>,
    /// Those that it knows, and where.
    known: Arc<[(usize, Address)]>,
    /// Those that it was told to forget, and until when.
    forgotten: BTreeMap<usize, u64>,
}

impl Server {
    /// What it tells others of those it knows.
    pub(super) fn gossip(&mut self) -> Gossip {
        let troubled = self.table.iter().filter(|(_, peer)| peer.suspected || peer.failed);
        let troubled = troubled.map(|(index, _)| index).collect();
        let spreads = self.version.spreads_forgetting();
        let forgotten = if spreads { self.forgotten.clone() } else { BTreeMap::new() };
        let me = self.me;
        let known = self.known.get_or_insert_with(|| {
            let others = self.table.iter().filter(|(index, _)| *index != me);
            others.map(|(index, peer)| (index, peer.address.clone())).collect()
        });
        Gossip { troubled, known: Arc::clone(known), forgotten }
    }

    /// `CLUSTER MEET`.
    pub fn meet(&mut self, who: usize, address: Address, now: u64, fx: &mut Effects) {
        if !self.table.knows(who) {
            self.handshakes.insert(who, now + self.members.node_timeout_ms.max(1_000));
        }
        fx.sends.push((who, address, Message { header: self.header(), body: Body::Meet }));
    }

    /// Is a message of this one listened to? One of somebody unknown is only when it meets us, or answers our meeting it.
    pub(super) fn listens(&mut self, now: u64, from: usize, address: &Address, body: &Body) -> bool {
        if self.table.knows(from) {
            return true;
        }
        let until = self.handshakes.remove(&from);
        let met =
            matches!(body, Body::Meet) || matches!(body, Body::Pong(_)) && until.is_some_and(|at| now <= at);
        if met {
            self.forgotten.remove(&from);
            self.take_up(from, address, now);
        }
        met
    }

    fn take_up(&mut self, index: usize, address: &Address, now: u64) {
        self.table.insert(index, Peer::at(address.clone(), now));
        self.mark();
    }

    /// Takes up what the sender knows and this one does not, and forgets what that one was told to.
    pub(super) fn take_acquaintances(&mut self, now: u64, gossip: &Gossip) {
        self.forgotten.retain(|_, until| *until > now);
        let hears = self.version.spreads_forgetting();
        for (index, until) in gossip.forgotten.iter().filter(|_| hears) {
            let follows = self.myself().is_some_and(|me| me.primary == Some(*index));
            if *until > now && *index != self.me && !follows && !self.forgotten.contains_key(index) {
                self.drop_node(*index, *until);
            }
        }
        for (index, address) in gossip.known.iter() {
            if *index != self.me && !self.table.knows(*index) && !self.forgotten.contains_key(index) {
                self.take_up(*index, address, now);
            }
        }
    }

    /// `CLUSTER FORGET`: for a minute gossip does not bring it back, and gossip tells the others to forget it too.
    pub fn forget(&mut self, id: NodeId, now: u64) -> Result<(), String> {
        let index = self.members.index_of(id);
        let banned = index.and_then(|index| self.forgotten.get(&index)).is_some_and(|until| *until > now);
        let Some(index) = index.filter(|index| self.table.knows(*index)) else {
            return if banned { Ok(()) } else { Err("ERR Unknown node".to_owned()) };
        };
        if index == self.me {
            return Err("ERR I tried hard but I can't forget myself...".to_owned());
        }
        if self.myself().is_some_and(|me| me.primary == Some(index)) {
            return Err("ERR Can't forget my master!".to_owned());
        }
        self.drop_node(index, now + FORGOTTEN_MS);
        self.save();
        Ok(())
    }

    fn drop_node(&mut self, index: usize, until: u64) {
        self.forgotten.insert(index, until);
        if !self.table.knows(index) {
            return;
        }
        self.table.remove(index);
        for owner in self.owners.iter_mut().filter(|owner| **owner == Some(index)) {
            *owner = None;
        }
        for (_, peer) in self.table.iter_mut() {
            peer.reports.remove(&index);
            peer.primary = peer.primary.filter(|primary| *primary != index);
        }
        self.mark();
    }
}
