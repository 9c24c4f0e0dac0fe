//! Becoming primary: by vote, by agreement with the primary, or by decree.

use super::{Body, Effects, Header, MANUAL_FAILOVER_MS, Rise, Server, WRITABLE_DELAY_MS};
use crate::random::Random;
use std::collections::BTreeSet;
use valkeeper_model::Role;
use valkeeper_plan::server::config::NO_FAILOVER;

/// A replica that asks, or is about to ask, for votes.
#[derive(Debug, Clone)]
pub struct Election {
    at: u64,
    epoch: u64,
    asked: bool,
    votes: BTreeSet<usize>,
}

/// `CLUSTER FAILOVER`, with or without FORCE.
#[derive(Debug, Clone)]
pub struct ManualFailover {
    /// Given up then.
    pub until: u64,
    /// On the primary: writes are held.
    pub pausing: bool,
    /// On the replica: FORCE, which waits for no offset.
    force: bool,
    /// On the replica: the election may begin.
    ready: bool,
    /// On the replica: where the primary's stream ends.
    target: Option<u64>,
}

impl Server {
    /// `CLUSTER FAILOVER [FORCE]`.
    pub fn failover(
        &mut self,
        force: bool,
        now: u64,
        random: &mut Random,
        fx: &mut Effects,
    ) -> Result<(), String> {
        let primary = self.followed()?;
        let up = self.in_stream();
        if !force && (self.holds_for_failed(primary) || !up) {
            return Err("ERR Primary is down or failed, please use CLUSTER FAILOVER FORCE".to_owned());
        }
        self.election = None;
        self.manual = Some(ManualFailover {
            until: now + MANUAL_FAILOVER_MS,
            pausing: false,
            force,
            ready: force,
            target: None,
        });
        if force {
            self.consider_election(now, random, fx);
        } else {
            self.send(primary, Body::StartManual, fx);
        }
        self.save();
        Ok(())
    }

    /// `CLUSTER FAILOVER TAKEOVER`.
    pub fn take_over(&mut self, fx: &mut Effects) -> Result<(), String> {
        self.followed()?;
        self.current_epoch = self.highest_epoch() + 1;
        self.rise(self.current_epoch, Rise::Takeover, fx);
        self.save();
        Ok(())
    }

    fn holds_for_failed(&self, index: usize) -> bool {
        self.table.get(index).is_some_and(|peer| peer.failed)
    }

    fn followed(&self) -> Result<usize, String> {
        match self.myself() {
            Some(me) if me.role == Role::Replica => {
                me.primary.ok_or_else(|| "ERR I'm a replica but my primary is unknown to me".to_owned())
            }
            _ => Err("ERR You should send CLUSTER FAILOVER to a replica".to_owned()),
        }
    }

    /// A replica asks the primary to hold its writes.
    pub(super) fn start_pausing(&mut self, from: usize, now: u64, fx: &mut Effects) {
        let mine = self.table[from].role == Role::Replica && self.table[from].primary == Some(self.me);
        if !self.is_primary() || !mine {
            return;
        }
        self.manual = Some(ManualFailover {
            until: now + MANUAL_FAILOVER_MS,
            pausing: true,
            force: false,
            ready: false,
            target: None,
        });
        let body = Body::Ping(self.gossip());
        self.send(from, body, fx);
    }

    /// The primary says that it holds its writes, and where they end.
    pub(super) fn note_pause(&mut self, header: &Header) {
        let followed = self.table[self.me].primary == Some(header.from);
        if header.paused
            && followed
            && let Some(manual) = &mut self.manual
            && !manual.pausing
            && manual.target.is_none()
        {
            manual.target = Some(header.offset);
        }
    }

    pub(super) fn manual_failover_cron(&mut self, now: u64, fx: &mut Effects) {
        if self.manual.as_ref().is_some_and(|manual| manual.until <= now) {
            self.manual = None;
            fx.released = true;
        }
    }

    /// The replica has moved in the stream: is it where its primary's writes end?
    pub fn advanced(&mut self, now: u64, random: &mut Random, fx: &mut Effects) {
        if self.manual.is_some() {
            self.consider_election(now, random, fx);
            self.save();
        }
    }

    pub(super) fn consider_election(&mut self, now: u64, random: &mut Random, fx: &mut Effects) {
        let me = &self.table[self.me];
        let (Role::Replica, Some(primary)) = (me.role, me.primary) else { return };
        let offset = self.data.offset;
        if let Some(manual) = &mut self.manual
            && manual.target == Some(offset)
        {
            manual.ready = true;
        }
        let ready = self.manual.as_ref().is_some_and(|manual| manual.ready);
        let barred = self.config.get(NO_FAILOVER).is_some_and(|value| value == "yes");
        if (!self.holds_for_failed(primary) || barred) && !ready || !self.owners.contains(&Some(primary)) {
            return;
        }
        let patience = (2 * self.members.node_timeout_ms).max(2_000);
        match &self.election {
            None => {
                let at = if ready { now } else { now + self.election_delay(primary, random) };
                self.election = Some(Election { at, epoch: 0, asked: false, votes: BTreeSet::new() });
                if ready {
                    self.ask_for_votes(now, fx);
                }
            }
            Some(election) if !election.asked && election.at <= now => self.ask_for_votes(now, fx),
            Some(election) if election.asked && now > election.at + 2 * patience => self.election = None,
            Some(_) => {}
        }
    }

    /// From 9.0 on: D, plus up to D, plus 2 D for each sibling that is ahead, plus half a second with nothing to offer.
    fn election_delay(&self, primary: usize, random: &mut Random) -> u64 {
        let (base, rank_ms) = if self.version.scales_election_delay() {
            let base = (self.members.node_timeout_ms / 30).min(500);
            (base, 2 * base)
        } else {
            (500, 1_000)
        };
        let ahead = self.table.iter().filter(|(index, peer)| {
            *index != self.me && peer.primary == Some(primary) && peer.offset > self.data.offset
        });
        let rank = u64::try_from(ahead.count()).unwrap_or_default();
        base + random.within(0..=base) + rank * rank_ms + if self.data.offset == 0 { 500 } else { 0 }
    }

    fn ask_for_votes(&mut self, now: u64, fx: &mut Effects) {
        self.current_epoch += 1;
        let epoch = self.current_epoch;
        self.election = Some(Election { at: now, epoch, asked: true, votes: BTreeSet::new() });
        self.dirty = true;
        self.broadcast(&Body::AskVote(self.manual.is_some()), fx);
    }

    pub(super) fn consider_vote(&mut self, header: &Header, waived: bool, fx: &mut Effects) {
        let from = header.from;
        let Some(primary) = header.primary else { return };
        let refused = !self.owns()
            || !self.settled_in()
            || header.current_epoch < self.current_epoch
            || self.last_vote_epoch >= header.current_epoch
            || header.role != Role::Replica
            || !(self.holds_for_failed(primary) || waived);
        if refused {
            return;
        }
        let mut owners = header.claims.minus(self.unclaimed).iter().filter_map(|atom| self.owners[atom]);
        if let Some(owner) = owners.find(|owner| self.table[*owner].config_epoch > header.config_epoch) {
            return self.send_update(from, owner, fx);
        }
        self.last_vote_epoch = header.current_epoch;
        self.dirty = true;
        self.save();
        self.send(from, Body::Vote, fx);
    }

    /// Not in the first two seconds after its start: `ok` is set after them only.
    fn settled_in(&self) -> bool {
        self.ok || self.table.iter().any(|(_, peer)| peer.heard >= self.booted_at + WRITABLE_DELAY_MS)
    }

    pub(super) fn take_vote(&mut self, header: &Header, now: u64, fx: &mut Effects) {
        let patience = (2 * self.members.node_timeout_ms).max(2_000);
        let needed = self.quorum();
        let owner = self.owners.contains(&Some(header.from));
        let Some(election) = &mut self.election else { return };
        if !election.asked || header.current_epoch < election.epoch || !owner || now > election.at + patience
        {
            return;
        }
        election.votes.insert(header.from);
        if election.votes.len() < needed {
            return;
        }
        let epoch = election.epoch;
        let how = match &self.manual {
            Some(manual) if manual.force => Rise::Force,
            Some(manual) if manual.ready => Rise::Planned,
            _ => Rise::Natural,
        };
        self.rise(epoch, how, fx);
    }

    fn rise(&mut self, epoch: u64, how: Rise, fx: &mut Effects) {
        let me = self.me;
        let old = self.table[me].primary;
        let line = &mut self.table[me];
        line.role = Role::Primary;
        line.primary = None;
        line.config_epoch = epoch;
        for (atom, owner) in self.owners.iter_mut().enumerate().filter(|(_, owner)| **owner == old) {
            *owner = Some(me);
            self.unclaimed.remove(atom);
        }
        self.manual = None;
        self.election = None;
        self.mark();
        fx.rose = Some(how);
        fx.turned = true;
        self.announce(fx);
    }
}
