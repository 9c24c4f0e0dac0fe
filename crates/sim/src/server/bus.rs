//! The cluster bus: pings, claims and who is held for failed.

use super::{CRON_MS, Effects, Gossip, Process, Server, WRITABLE_DELAY_MS};
use crate::atoms::AtomSet;
use crate::random::Random;
use valkeeper_model::{Address, Role};

/// What every message says of its sender.
#[derive(Debug, Clone)]
pub struct Header {
    /// Who.
    pub from: usize,
    /// Where it is.
    pub address: Address,
    /// Its role.
    pub role: Role,
    /// Whose replica.
    pub primary: Option<usize>,
    /// The atoms it claims; a replica names its primary's.
    pub claims: AtomSet,
    /// Of its claims.
    pub config_epoch: u64,
    /// `currentEpoch`.
    pub current_epoch: u64,
    /// Replication offset.
    pub offset: u64,
    /// Writes are held for a manual failover, and the stream ends at `offset`.
    pub paused: bool,
}

/// What it is about.
#[derive(Debug, Clone)]
pub enum Body {
    /// Are you there?
    Ping(Gossip),
    /// Yes, or: look what I am now.
    Pong(Gossip),
    /// As a ping, to get to know each other.
    Meet,
    /// That one is held for failed.
    Fail(usize),
    /// A vote is asked for; `true` waives that the primary must be held for failed.
    AskVote(bool),
    /// The vote.
    Vote,
    /// Who owns some of what was claimed, and since which epoch: an answer to an old claim.
    Update {
        /// The owner.
        owner: usize,
        /// Its epoch.
        config_epoch: u64,
        /// All that it owns.
        atoms: AtomSet,
    },
    /// A replica wants to take over in an orderly way.
    StartManual,
}

/// A message.
#[derive(Debug, Clone)]
pub struct Message {
    /// Of its sender.
    pub header: Header,
    /// What.
    pub body: Body,
}

impl Server {
    pub(super) fn header(&self) -> Header {
        let me = &self.table[self.me];
        let claimant = if me.role == Role::Primary { Some(self.me) } else { me.primary };
        let claims = claimant.map_or(AtomSet::EMPTY, |who| self.owned_by(who));
        let config_epoch = claimant.map_or(0, |who| self.table[who].config_epoch);
        Header {
            from: self.me,
            address: self.address.clone(),
            role: me.role,
            primary: me.primary,
            claims,
            config_epoch,
            current_epoch: self.current_epoch,
            offset: self.data.offset,
            paused: self.manual.as_ref().is_some_and(|manual| manual.pausing),
        }
    }

    pub(super) fn send(&self, to: usize, body: Body, fx: &mut Effects) {
        if let Some(peer) = self.table.get(to).filter(|_| to != self.me) {
            fx.sends.push((to, peer.address.clone(), Message { header: self.header(), body }));
        }
    }

    pub(super) fn broadcast(&self, body: &Body, fx: &mut Effects) {
        for (to, _) in self.table.iter() {
            self.send(to, body.clone(), fx);
        }
    }

    /// Tells all others at once what it is now.
    pub(super) fn announce(&mut self, fx: &mut Effects) {
        let body = Body::Pong(self.gossip());
        self.broadcast(&body, fx);
    }

    /// Ten times a second.
    pub fn cron(&mut self, now: u64, random: &mut Random, fx: &mut Effects) {
        if self.is_plain() {
            return;
        }
        let timeout = self.members.node_timeout_ms;
        let lucky = random.in_thousand(100).then(|| random.index(self.members.ids.len()));
        let me = self.me;
        for index in (0..self.table.end()).filter(|index| *index != me) {
            let Some(peer) = self.table.get_mut(index) else { continue };
            if peer.ping_due <= now || lucky == Some(index) && peer.ping_sent.is_none() {
                peer.ping_due = now + timeout / 2;
                peer.ping_sent.get_or_insert(now);
                let body = Body::Ping(self.gossip());
                self.send(index, body, fx);
            }
            let peer = &mut self.table[index];
            let waiting = peer.ping_sent.map_or(0, |sent| now - sent);
            if waiting.min(now.saturating_sub(peer.heard)) > timeout && !peer.suspected && !peer.failed {
                peer.suspected = true;
                self.mark();
                self.consider_failed(index, now, fx);
            }
        }
        self.manual_failover_cron(now, fx);
        self.consider_election(now, random, fx);
        self.judge_state(now);
        self.save();
    }

    /// `cluster_state`.
    fn judge_state(&mut self, now: u64) {
        let primary = self.is_primary();
        if primary && !self.ok && now < self.booted_at + WRITABLE_DELAY_MS {
            return;
        }
        let owners = self.owners_known();
        let reachable =
            owners.iter().filter(|owner| !self.table[**owner].suspected && !self.table[**owner].failed);
        let minority = reachable.count() < self.quorum();
        if minority {
            self.minority_at = Some(now);
        } else if !self.ok && primary {
            let rejoin = self.members.node_timeout_ms.clamp(500, 5_000);
            if self.minority_at.is_some_and(|at| now < at + rejoin) {
                return;
            }
        }
        self.ok = !minority;
    }

    fn consider_failed(&mut self, index: usize, now: u64, fx: &mut Effects) {
        let limit = self.members.node_timeout_ms * 2;
        let voters = self.owners_known();
        let peer = &mut self.table[index];
        if !peer.suspected || peer.failed {
            return;
        }
        peer.reports.retain(|_, at| *at + limit > now);
        let mut count = peer.reports.keys().filter(|reporter| voters.contains(reporter)).count();
        count += usize::from(voters.contains(&self.me));
        if count > voters.len() / 2 {
            self.hold_for_failed(index, now);
            if voters.contains(&self.me) {
                self.broadcast(&Body::Fail(index), fx);
            }
        }
    }

    fn hold_for_failed(&mut self, index: usize, now: u64) {
        let peer = &mut self.table[index];
        peer.suspected = false;
        peer.failed = true;
        peer.failed_since = now;
        self.mark();
    }

    /// A message came.
    pub fn receive(&mut self, now: u64, message: &Message, random: &mut Random, fx: &mut Effects) {
        if self.is_plain() || !matches!(self.process, Process::Running | Process::Leaving) {
            return;
        }
        let Message { header, body } = message;
        if self.listens(now, header.from, &header.address, body) {
            self.take_header(now, header, fx);
            self.take_body(now, header, body, random, fx);
        } else if matches!(body, Body::Ping(_)) {
            // Whoever is not known, or not any more, gets its answer all the same.
            let pong = Message { body: Body::Pong(self.gossip()), header: self.header() };
            fx.sends.push((header.from, header.address.clone(), pong));
        }
        self.consider_election(now, random, fx);
        self.save();
    }

    fn take_header(&mut self, now: u64, header: &Header, fx: &mut Effects) {
        let from = header.from;
        let timeout = self.members.node_timeout_ms;
        let owns = self.owners.contains(&Some(from));
        let peer = &mut self.table[from];
        peer.heard = now;
        peer.offset = header.offset;
        let mut changed = std::mem::take(&mut peer.suspected);
        // A slot owner that is back is taken for alive after a while only: its slots may be about to move.
        if peer.failed && (!owns || now >= peer.failed_since + 2 * timeout) {
            peer.failed = false;
            changed = true;
        }
        if peer.address != header.address {
            peer.address = header.address.clone();
            changed = true;
        }
        if header.current_epoch > self.current_epoch {
            self.current_epoch = header.current_epoch;
            self.dirty = true;
        }
        if changed {
            self.mark();
        }
        self.take_role(header, fx);
        if header.role == Role::Primary {
            self.take_claims(from, header.claims, header.config_epoch, fx);
            self.answer_old_claims(from, header, fx);
        } else if let Some(primary) = header.primary {
            self.answer_old_claims(primary, header, fx);
        }
        let mine = &self.table[self.me];
        if header.role == Role::Primary
            && mine.role == Role::Primary
            && header.config_epoch == mine.config_epoch
            && self.members.ids[self.me] < self.members.ids[from]
        {
            self.current_epoch += 1;
            self.table[self.me].config_epoch = self.current_epoch;
            self.mark();
        }
        self.note_pause(header);
    }

    fn take_role(&mut self, header: &Header, fx: &mut Effects) {
        let from = header.from;
        let peer = &mut self.table[from];
        match header.role {
            Role::Primary => {
                if peer.role == Role::Replica {
                    peer.role = Role::Primary;
                    peer.primary = None;
                    self.mark();
                }
                if header.config_epoch > self.table[from].config_epoch {
                    self.table[from].config_epoch = header.config_epoch;
                    self.mark();
                }
            }
            Role::Replica => {
                if peer.role == Role::Primary || peer.primary != header.primary {
                    peer.role = Role::Replica;
                    peer.primary = header.primary;
                    for owner in self.owners.iter_mut().filter(|owner| **owner == Some(from)) {
                        *owner = None;
                    }
                    self.mark();
                }
                // A chain is cut short: my primary's primary is mine.
                let mine = &self.table[self.me];
                if mine.role == Role::Replica
                    && mine.primary == Some(from)
                    && let Some(primary) = header.primary
                    && primary != self.me
                    && self.table.knows(primary)
                {
                    self.follow(primary, fx);
                }
            }
        }
    }

    /// For each atom the higher epoch wins. Who loses all its atoms to one that owns nothing else follows that one; who loses some deletes
    /// their keys (`clusterUpdateSlotsConfigWith`, with `cluster-allow-replica-migration no`).
    fn take_claims(&mut self, who: usize, claims: AtomSet, epoch: u64, fx: &mut Effects) {
        let mine = &self.table[self.me];
        let role = mine.role;
        let ours = if role == Role::Primary { Some(self.me) } else { mine.primary };
        let (mut taken, mut lost) = (AtomSet::EMPTY, AtomSet::EMPTY);
        for atom in claims.iter() {
            match self.owners[atom] {
                Some(owner) if owner == who => self.unclaimed.remove(atom),
                Some(owner) if !self.unclaimed.contains(atom) && self.table[owner].config_epoch >= epoch => {}
                owner => {
                    if owner.is_some() && owner == ours {
                        lost.insert(atom);
                    }
                    taken.insert(atom);
                    self.owners[atom] = Some(who);
                    self.unclaimed.remove(atom);
                }
            }
        }
        self.unclaimed = self.unclaimed.union(self.owned_by(who).minus(claims));
        if !taken.is_empty() {
            self.mark();
        }
        if lost.is_empty() || who == self.me {
            return;
        }
        let left = ours.is_some_and(|ours| self.owners.contains(&Some(ours)));
        if !left && lost == claims {
            self.follow(who, fx);
        } else if role == Role::Primary {
            self.data.tips.clear(lost);
            self.changed_data(fx);
        }
    }

    /// Tells the sender of a claim who owns the first atom of it that has an owner of a higher epoch.
    fn answer_old_claims(&self, claimant: usize, header: &Header, fx: &mut Effects) {
        let claims = header.claims.minus(self.unclaimed);
        let owners = claims.iter().filter_map(|atom| self.owners[atom]);
        let newer =
            |owner: &usize| *owner != claimant && self.table[*owner].config_epoch > header.config_epoch;
        if let Some(owner) = owners.into_iter().find(newer) {
            self.send_update(header.from, owner, fx);
        }
    }

    pub(super) fn send_update(&self, to: usize, owner: usize, fx: &mut Effects) {
        let config_epoch = self.table[owner].config_epoch;
        let atoms = self.owned_by(owner).minus(self.unclaimed);
        self.send(to, Body::Update { owner, config_epoch, atoms }, fx);
    }

    fn take_body(&mut self, now: u64, header: &Header, body: &Body, random: &mut Random, fx: &mut Effects) {
        let from = header.from;
        match body {
            Body::Ping(gossip) => {
                self.take_gossip(now, from, gossip, fx);
                let body = Body::Pong(self.gossip());
                self.send(from, body, fx);
            }
            Body::Meet => {
                let body = Body::Pong(self.gossip());
                self.send(from, body, fx);
            }
            Body::Pong(gossip) => {
                let peer = &mut self.table[from];
                peer.ping_sent = None;
                peer.ping_due = now + self.members.node_timeout_ms / 2 - random.within(0..=CRON_MS);
                self.take_gossip(now, from, gossip, fx);
            }
            Body::Fail(index) => {
                if *index != self.me && self.table.get(*index).is_some_and(|peer| !peer.failed) {
                    self.hold_for_failed(*index, now);
                }
            }
            Body::AskVote(waived) => self.consider_vote(header, *waived, fx),
            Body::Vote => self.take_vote(header, now, fx),
            Body::Update { owner, config_epoch, atoms } => {
                if let Some(line) = self.table.get_mut(*owner)
                    && line.config_epoch < *config_epoch
                {
                    line.role = Role::Primary;
                    line.primary = None;
                    line.config_epoch = *config_epoch;
                    self.mark();
                    if *owner != self.me {
                        self.take_claims(*owner, *atoms, *config_epoch, fx);
                    }
                }
            }
            Body::StartManual => self.start_pausing(from, now, fx),
        }
    }

    fn take_gossip(&mut self, now: u64, from: usize, gossip: &Gossip, fx: &mut Effects) {
        self.take_acquaintances(now, gossip);
        if !self.owners.contains(&Some(from)) {
            return;
        }
        let me = self.me;
        for index in (0..self.table.end()).filter(|index| *index != me && *index != from) {
            let Some(peer) = self.table.get_mut(index) else { continue };
            if gossip.troubled.contains(&index) {
                peer.reports.insert(from, now);
                self.consider_failed(index, now, fx);
            } else {
                peer.reports.remove(&from);
            }
        }
    }
}
