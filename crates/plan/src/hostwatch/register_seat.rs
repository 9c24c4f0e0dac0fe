//! The register as a seat beside the agents' (mode `standalone`, where their number is even): it renews leases too, and tells how often it has.
//!
//! The register keeps no clock, and whoever answers for it no memory: it counts, and stores the number before it answers. A number that has stayed
//! the same for [`super::DOWN_AFTER_MS`] by the clock of the agent that has read it says that no lease rests on the register: what it renewed
//! was sent before it was counted, and so before it was read. The register compares the number once more in the step that stores its vote.
//!
//! A renewal costs a write, so that a primary asks for one only while the other agents' answers do not suffice.

use super::lease::HeartbeatAnswer;
use super::machine::{Effect, HostWatch, SeatName, Situation};
use super::{DOWN_AFTER_MS, FENCE_AFTER_MS, HEARTBEAT_MS, SUSPECT_MS};
use crate::mode::standalone::register::{RegisterAnswer, RegisterWish, is_seat};
use crate::protocol::Token;
use std::collections::{BTreeMap, BTreeSet};
use valkeeper_model::{InstanceName, LeaseSeats, Millis, NodeId, RegisterFault, RegisterLife, Renewals};

/// The register is asked once the lease that the agents have given lasts no longer than this: they have missed two heartbeats.
const LEAN_MS: u64 = FENCE_AFTER_MS - 2 * HEARTBEAT_MS - HEARTBEAT_MS / 4;
/// Between renewals by the register.
const RENEW_MS: u64 = 400;
/// Between looks at the register while a primary is not heard.
const LOOK_MS: u64 = 200;
/// A look that is older says nothing of the present.
const LOOKED_WITHIN_MS: u64 = 1_000;

/// How many renewals a member had, and since when it is not known to have had more.
#[derive(Debug, Clone, Copy)]
struct Counted {
    count: u64,
    since: Millis,
}

/// What this agent knows of the register, and has asked of it.
#[derive(Debug, Default)]
pub(super) struct RegisterSeat {
    /// The platform keeps one.
    exists: bool,
    life: Option<RegisterLife>,
    counted: BTreeMap<NodeId, Counted>,
    looked_at: Option<Millis>,
    /// When it is asked next at the earliest.
    next: Millis,
    /// The renewals under way, and when each was asked for.
    renewals: BTreeMap<Token, Millis>,
    /// Members whose leases do not rest on the register, by their own word: they may hold one that it knows nothing of.
    without: BTreeSet<InstanceName>,
}

impl RegisterSeat {
    /// The platform keeps a register.
    pub(super) fn exists(&mut self) {
        self.exists = true;
    }

    fn saw(&mut self, renewals: Option<&Renewals>, now: Millis) {
        self.looked_at = Some(now);
        let life = renewals.map(|renewals| renewals.life);
        if self.life != life {
            (self.life, self.counted) = (life, BTreeMap::new());
        }
        for (node, count) in renewals.iter().flat_map(|renewals| &renewals.counts) {
            let fresh = Counted { count: *count, since: now };
            let counted = self.counted.entry(*node).or_insert(fresh);
            if counted.count != *count {
                *counted = fresh;
            }
        }
    }
}

impl HostWatch {
    pub(super) fn has_register(&self, situation: &Situation<'_>) -> bool {
        self.register.exists && situation.vote.is_some() && situation.order.is_some_and(is_seat)
    }

    /// On which seats the own lease rests, for those that are asked to renew it.
    pub(super) fn lease_seats(&self, situation: &Situation<'_>) -> LeaseSeats {
        if self.has_register(situation) { LeaseSeats::WithRegister } else { LeaseSeats::Agents }
    }

    /// Another agent says on which seats its lease rests.
    pub(super) fn rests_on(&mut self, from: &InstanceName, seats: LeaseSeats) {
        match seats {
            LeaseSeats::Agents => self.register.without.insert(from.clone()),
            LeaseSeats::WithRegister => self.register.without.remove(from),
        };
    }

    /// Asks the register, if that is due: to renew the own lease, or whether it has renewed that of a primary that is not heard.
    pub(super) fn ask_register(&mut self, situation: &Situation<'_>) {
        let now = situation.now;
        if !self.has_register(situation) || now < self.register.next {
            return;
        }
        if let Some(due) = self.renewal_due(situation) {
            if let (true, Some(term)) = (due <= now, situation.mandate()) {
                self.register.next = now.plus(RENEW_MS);
                self.effects.push(Effect::AskRegister(RegisterWish::Renew(term)));
            }
        } else if self.unheard.is_some() {
            self.register.next = now.plus(LOOK_MS);
            self.effects.push(Effect::AskRegister(RegisterWish::Exchange));
        }
    }

    /// When the register is to renew the own lease. Once in any case: who was never renewed by it cannot be replaced with its word.
    fn renewal_due(&self, situation: &Situation<'_>) -> Option<Millis> {
        if !self.sends_heartbeats(situation) {
            return None;
        }
        let me = situation.order?.myself()?.node_id;
        let by_agents = self.lease.held_until(self.others.keys(), self.seats);
        let known = self.register.counted.contains_key(&me);
        let at_once = Millis(0);
        Some(by_agents.filter(|_| known).map_or(at_once, |until| Millis(until.0.saturating_sub(LEAN_MS))))
    }

    pub(super) fn register_wakes_at(&self, situation: &Situation<'_>) -> Option<Millis> {
        if !self.has_register(situation) {
            return None;
        }
        match self.renewal_due(situation) {
            Some(due) => Some(due.max(self.register.next)),
            None => self.unheard.as_ref().map(|_| self.register.next),
        }
    }

    /// The register was asked.
    pub(crate) fn register_asked(&mut self, wish: &RegisterWish, token: Token, now: Millis) {
        if matches!(wish, RegisterWish::Renew(_)) {
            self.register.renewals.insert(token, now);
        }
    }

    /// The register answered, whoever of this agent had asked.
    pub(crate) fn register_told(
        &mut self,
        now: Millis,
        token: Token,
        result: &Result<RegisterAnswer, RegisterFault>,
    ) {
        let renewal = self.register.renewals.remove(&token);
        let Ok(answer) = result else { return };
        if matches!(answer, RegisterAnswer::Gathering(_)) {
            return;
        }
        self.register.saw(answer.renewals(), now);
        if let (RegisterAnswer::Renewed { counts, voted, .. }, Some(sent_at)) = (answer, renewal) {
            self.outvoted = self.outvoted.max(*voted);
            let answer = HeartbeatAnswer { counts: *counts, has_quorum: true, past_promise_window: true };
            let held = self.holds(now);
            self.lease.answered(&SeatName::Register, sent_at, answer, held);
        }
    }

    /// What the register has renewed, of those that it has not renewed for so long that no lease rests on it.
    pub(crate) fn unchanged(&self, situation: &Situation<'_>) -> Option<Renewals> {
        let order = situation.order.filter(|_| self.has_register(situation))?;
        let rests = |node: &NodeId| {
            order.member_with(*node).is_some_and(|(name, _)| !self.register.without.contains(name))
        };
        let ended = |counted: &Counted| situation.now.since(counted.since) >= DOWN_AFTER_MS;
        let counted = self.register.counted.iter().filter(|(node, counted)| rests(node) && ended(counted));
        let counts = counted.map(|(node, counted)| (*node, counted.count)).collect();
        Some(Renewals { life: self.register.life?, counts })
    }

    /// For how long the register has not renewed the lease of this primary, if it was looked at just now.
    pub(super) fn silent_at_register(
        &self,
        situation: &Situation<'_>,
        primary: &InstanceName,
    ) -> Option<u64> {
        let now = situation.now;
        let looked = self.register.looked_at.is_some_and(|at| now.since(at) <= LOOKED_WITHIN_MS);
        let node = situation.order?.members.get(primary)?.node_id;
        let counted = self.register.counted.get(&node).filter(|_| looked && self.has_register(situation))?;
        (!self.register.without.contains(primary)).then(|| now.since(counted.since))
    }
}

const _: () = assert!(SUSPECT_MS + 2 * LOOK_MS < DOWN_AFTER_MS);
const _: () = assert!(LEAN_MS > RENEW_MS);
