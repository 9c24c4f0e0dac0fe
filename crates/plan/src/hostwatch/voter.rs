//! Whose heartbeats count, and which primary is confirmed as down: rules 2 and 3 of [`crate::hostwatch`].

use super::{DOWN_AFTER_MS, PROMISE_MS, SEATS_NEEDED};
use crate::placement::zones::quorum;
use std::collections::BTreeMap;
use valkeeper_model::{Epoch, InstanceName, Millis};

/// May a primary be replaced after these answers (milliseconds of silence, one of each other seat), of so many seats in all?
pub fn may_force(silences: impl Iterator<Item = u64>, of: usize) -> bool {
    of >= SEATS_NEEDED && silences.filter(|silent_ms| *silent_ms >= DOWN_AFTER_MS).count() >= quorum(of)
}

/// A primary, as the voter's own server knows it.
#[derive(Debug, Clone, Copy)]
struct Seated {
    /// Since when.
    since: Millis,
    /// Of its claim.
    epoch: Epoch,
}

/// What an agent has to say in votes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seat {
    /// Nothing: its server is no slot-owning primary, or about to be none.
    None,
    /// Its server is one, and a majority of the seats does not say so.
    WithoutQuorum,
    /// A majority says so.
    WithQuorum,
}

/// What an agent has heard of the primaries, and what it has promised.
#[derive(Debug)]
pub struct Voter {
    begun: Millis,
    heard: BTreeMap<InstanceName, Millis>,
    promised_until: BTreeMap<InstanceName, Millis>,
    /// The primaries that the agent's own server knows.
    primaries: BTreeMap<InstanceName, Seated>,
    /// Former primaries, and the epochs of their last claims.
    former: BTreeMap<InstanceName, Epoch>,
    seat_since: Option<Millis>,
    /// The first seat is one that nobody had before.
    founds: bool,
    /// Since when a majority answers that this agent's heartbeats count.
    quorum_since: Option<Millis>,
    promise_window_until: Millis,
}

impl Voter {
    /// One that has heard nothing. Silence counts from the time at which it learns which servers are primaries.
    pub fn new(now: Millis) -> Self {
        Self {
            begun: now,
            promise_window_until: now.plus(PROMISE_MS),
            heard: BTreeMap::new(),
            promised_until: BTreeMap::new(),
            primaries: BTreeMap::new(),
            former: BTreeMap::new(),
            seat_since: None,
            founds: false,
            quorum_since: None,
        }
    }

    /// The cluster is being founded: no agent can have promised anything.
    pub fn founded(&mut self, now: Millis) {
        self.promise_window_until = now;
        self.founds = true;
    }

    /// The agent's server begins as a replica: a seat that it takes later was another's.
    pub fn follows(&mut self) {
        self.founds = false;
    }

    /// Is the time over in which this agent, or the one whose seat it took, may have promised what it does not know?
    pub fn is_past_promise_window(&self, now: Millis) -> bool {
        self.promise_window_until <= now
    }

    /// A heartbeat came.
    pub fn heard(&mut self, from: &InstanceName, now: Millis) {
        self.heard.insert(from.clone(), now);
    }

    /// The agent's server says that these are the slot-owning primaries, with the configuration epochs of their claims.
    pub fn saw(&mut self, primaries: &BTreeMap<InstanceName, Epoch>, now: Millis) {
        for (primary, epoch) in primaries {
            if self.former.remove(primary).is_some_and(|last| last < *epoch) {
                self.promised_until.remove(primary);
            }
            let seated =
                self.primaries.entry(primary.clone()).or_insert(Seated { since: now, epoch: *epoch });
            seated.epoch = *epoch;
        }
        let gone: Vec<_> =
            self.primaries.keys().filter(|known| !primaries.contains_key(*known)).cloned().collect();
        for gone in gone {
            if let Some(seated) = self.primaries.remove(&gone) {
                self.former.insert(gone, seated.epoch);
            }
        }
    }

    /// Whether the agent's own server is a slot-owning primary and going to stay one, and whether a majority answers that its heartbeats count.
    pub fn set_seat(&mut self, seat: Seat, now: Millis) {
        let (sits, has_quorum) = (seat != Seat::None, seat == Seat::WithQuorum);
        if sits && self.seat_since.is_none() && !std::mem::take(&mut self.founds) {
            self.promise_window_until = self.promise_window_until.max(now.plus(PROMISE_MS));
        }
        self.seat_since = sits.then(|| self.seat_since.unwrap_or(now));
        self.quorum_since = has_quorum.then(|| self.quorum_since.unwrap_or(now));
    }

    /// Do the heartbeats of this primary count?
    pub fn counts(&self, primary: &InstanceName, now: Millis) -> bool {
        let promised = self.promised_until.get(primary).is_some_and(|until| now < *until);
        self.seat_since.is_some() && !promised && !self.former.contains_key(primary)
    }

    /// Was it replaced, as far as the agent's own server knows?
    pub fn knows_a_successor(&self, of: &InstanceName) -> bool {
        self.former.contains_key(of)
    }

    /// Since when this primary has not been heard; `None` if the agent's own server knows it as none.
    pub fn silent_since(&self, primary: &InstanceName) -> Option<Millis> {
        let known = self.primaries.get(primary)?.since;
        Some(self.heard.get(primary).map_or(known, |heard| known.max(*heard)))
    }

    /// Has this one not been heard for so long that a lease which rests on this voter's answers has ended?
    pub fn misses(&self, instance: &InstanceName, now: Millis) -> bool {
        let heard = self.heard.get(instance).map_or(self.begun, |heard| self.begun.max(*heard));
        now.since(heard) >= DOWN_AFTER_MS
    }

    /// Is there a primary, but for this one, that has not been heard for so long?
    pub fn misses_one(&self, but: &InstanceName, ms: u64, now: Millis) -> bool {
        let mut others = self.primaries.keys().filter(|primary| *primary != but);
        others.any(|primary| self.silent_since(primary).is_some_and(|since| now.since(since) >= ms))
    }

    /// For how many milliseconds this primary has not been heard. An answer of [`DOWN_AFTER_MS`] or more confirms that it is down, and is
    /// a promise. `None`: the agent has no seat, or is cut off itself, or was so just before: it hears no primary then.
    pub fn confirm_down(&mut self, primary: &InstanceName, now: Millis) -> Option<u64> {
        let quorum_since = self.quorum_since?;
        let since = self.silent_since(primary).map_or(now, |since| since.max(quorum_since));
        let silent_ms = now.since(since);
        if silent_ms >= DOWN_AFTER_MS {
            self.promised_until.insert(primary.clone(), now.plus(PROMISE_MS));
        }
        Some(silent_ms)
    }
}
