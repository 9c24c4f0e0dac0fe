//! Until when a primary may take writes: rule 1 of [`crate::hostwatch`].

use super::{FENCE_AFTER_MS, SEATS_NEEDED};
use crate::placement::zones::quorum;
use std::collections::BTreeMap;
use valkeeper_model::Millis;

/// What a voter answers to a heartbeat: see [`valkeeper_model::Answer::Heartbeat`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeartbeatAnswer {
    /// The sender may be primary.
    pub counts: bool,
    /// A majority says that of the voter too.
    pub has_quorum: bool,
    /// The voter has no promise that it could have forgotten.
    pub past_promise_window: bool,
}

/// The answers to a primary's heartbeats, by the names of the seats.
#[derive(Debug)]
pub struct Lease<S> {
    /// By seat: when the newest heartbeat that counts was sent.
    counted: BTreeMap<S, Millis>,
    /// The same, by voters that have a quorum themselves.
    renewed: BTreeMap<S, Millis>,
}

impl<S> Default for Lease<S> {
    fn default() -> Self {
        Self { counted: BTreeMap::new(), renewed: BTreeMap::new() }
    }
}

impl<S: Ord + Clone> Lease<S> {
    /// The voter on this seat answered a heartbeat that was sent at `sent_at`. `held`: is the lease held now?
    pub fn answered(&mut self, seat: &S, sent_at: Millis, answer: HeartbeatAnswer, held: bool) {
        let note = |times: &mut BTreeMap<S, Millis>| {
            let newest = times.entry(seat.clone()).or_insert(sent_at);
            *newest = sent_at.max(*newest);
        };
        if answer.counts && (answer.past_promise_window || held) {
            note(&mut self.counted);
            if answer.has_quorum {
                note(&mut self.renewed);
            }
        }
    }

    /// Until when the lease is held with these other seats, of so many in all; `None` if it never was.
    pub fn held_until<'a>(&self, others: impl Iterator<Item = &'a S>, of: usize) -> Option<Millis>
    where
        S: 'a,
    {
        until(&self.renewed, others, of)
    }

    /// Until when its holder has a quorum, whether or not the voters have one themselves.
    pub fn quorum_until<'a>(&self, others: impl Iterator<Item = &'a S>, of: usize) -> Option<Millis>
    where
        S: 'a,
    {
        until(&self.counted, others, of)
    }
}

fn until<'a, S: Ord + 'a>(
    times: &BTreeMap<S, Millis>,
    others: impl Iterator<Item = &'a S>,
    of: usize,
) -> Option<Millis> {
    if of < SEATS_NEEDED {
        return Some(Millis(u64::MAX));
    }
    let mut sent: Vec<Millis> = others.filter_map(|seat| times.get(seat)).copied().collect();
    sent.sort_unstable();
    // Its own seat counts; the oldest of the others that are needed decides.
    let needed = quorum(of) - 1;
    sent.len().checked_sub(needed).and_then(|at| sent.get(at)).map(|oldest| oldest.plus(FENCE_AFTER_MS))
}
