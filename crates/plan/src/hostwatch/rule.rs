//! Lost hosts: when a primary has to refuse writes because it may have been replaced, and when a replica may replace a primary that
//! nobody can ask any more. A lease, kept by silence: agents on hosts of their own tell each other that they live.
//!
//! | milliseconds | the primary P that is cut off | its replica R, and the others |
//! | --- | --- | --- |
//! | 0 | last beat that got through | |
//! | 600 | | R says that it does not hear P |
//! | 1,200 | its lease has ended: writes are refused | |
//! | 1,500 | refused for certain, or its process is killed | |
//! | 1,700 | | R asks the others; a majority has not heard P either, and promises not to let it go on |
//! | 1,800 | | R is promoted by vote |
//!
//! # The rule
//!
//! A *seat* is a shard that owns slots; its primary's agent sits on it. P holds its lease while it has, from a majority of the seats
//! (its own counted), an answer that counts to a beat that was **sent** less than [`FENCE_AFTER_MS`] ago ([`Lease`]). W on another
//! seat testifies against P when it has not **received** a beat of P for [`FORCE_AFTER_MS`], and from then on answers for
//! [`PROMISE_MS`] that P's beats do not count ([`Witness`]). R is promoted when a majority of all seats, P's own not counted, has
//! testified ([`may_force`]).
//!
//! # Why nobody is promoted while P takes writes
//!
//! Any two majorities share a seat, and P does not testify against itself: P's lease needs the answer of some W that testified, at
//! the time t by W's clock. Every beat of P that W ever answered was received, thus sent, before t − 1,700, and whatever it renewed
//! ended before t − 500. P's agent refuses writes then, within [`CONFIRM_MS`] for certain: before t − 200. Until t + [`PROMISE_MS`] no
//! answer of W counts. So from the last testimony on, and until the first promise ends, P takes no write. A promotion is begun
//! within [`PERMIT_MS`] of the question, and the engine gives one up after 5 s: it is over before the first promise is. Nothing in
//! this depends on delays or losses, only on clocks that run at the same rate: each compares times of its own.
//!
//! *Seats change hands.* If W on a seat is succeeded by V, what W answered last must not be forgotten with it: V testifies only about
//! what it has not heard since it took the seat, 1,700 ms later at the earliest, and W renews nothing any more: it hands over itself (and
//! answers nothing that counts from before to after), or its server is dead and it knows, or it was replaced by this very rule, and
//! then was itself without answers for 500 ms before. That is why an answer renews a lease only if who gives it *stands*: is let be
//! primary by a majority of the seats itself. (Two rounds of beats then give a lease to all at a start, which it would not if an
//! answer needed a lease.) The same goes for a new primary's beats: nobody can have missed them before it was one, so that
//! silence counts from the time at which its role was seen, and the new primary may take writes for [`FENCE_AFTER_MS`] from the
//! last time at which it was seen to be a replica.
//!
//! *Agents start anew.* One that does may have promised what it does not remember. For [`PROMISE_MS`] its answers prolong the leases
//! of those who hold one, against whom there is no majority, and give none to those who do not. So it is with the answers of V, who has taken
//! the seat of W: what W promised, V does not know.
//!
//! One that replaces itself by another program (`exec`) leaves that one the end of its lease ([`crate::agent::Agent::lease_until`]): the lease
//! is the same, whoever looks after it.
//!
//! *Who is it against?* A testimony is about a primary that the witness's own server knows as one: while somebody is not heard, each agent
//! looks at its server every 50 ms, so that nobody testifies against, or replaces, one that has a successor already.
//!
//! *After a promise.* P is back and has not heard of its successor yet. Who promised knows of the successor, by its own server, before
//! the promise ends, and lets P not be primary any more until it sees it become one again. If it does so by a newer claim (a higher
//! configuration epoch), a majority has elected it since: the promise is void, or P would refuse writes for what is left of it after it
//! was handed its role back.
//!
//! With fewer than three seats nobody is ever promoted by this rule, and nobody needs a lease: of two, one cannot tell which is cut off.
//!
//! *Majorities of what?* Each side counts the seats that its own server knows, and not fewer than the shards of its order: a server may hear
//! that a primary was deposed before it hears of the successor. Majorities of n and of n + 1 share a seat too; who was cut off while more
//! than one seat was added may not.
//!
//! What the rule leaves to others: the engine's own election, which asks nobody's agent; and a host that is frozen as a whole cannot
//! refuse anything while it is frozen: see docs/safety.md.

use crate::placement::zones::quorum;
use std::collections::BTreeMap;
use valkeeper_model::{Epoch, InstanceName, Millis, ShardName};

/// Between beats.
pub const BEAT_MS: u64 = 200;
/// A replica says that it does not hear its primary after this.
pub const SUSPECT_MS: u64 = 600;
/// A lease lasts so long from the sending of the beat that renewed it.
pub const FENCE_AFTER_MS: u64 = 1_200;
/// A server that has not confirmed within this that it refuses writes is killed.
pub const CONFIRM_MS: u64 = 300;
/// A primary that was not heard for so long may be replaced.
pub const FORCE_AFTER_MS: u64 = 1_700;
/// Who testified lets the accused have no lease for so long. Longer than [`PERMIT_MS`] and the 5 s after which the engine
/// gives up a promotion that finds no votes.
pub const PROMISE_MS: u64 = 6_000;
/// A promotion is begun within this of the question for the testimonies it rests on.
pub const PERMIT_MS: u64 = 500;
/// An agent that took over a running server, and was not told until when its predecessor held the lease, takes it for good so long: the
/// predecessor let the server take writes up to 1,200 ms after the last beat, and they must be refused for certain 1,700 ms after it.
pub const ADOPTED_MS: u64 = 100;

const _: () = assert!(FENCE_AFTER_MS + ADOPTED_MS + CONFIRM_MS < FORCE_AFTER_MS);
const _: () = assert!(PERMIT_MS + 5_000 < PROMISE_MS);

/// Fewer seats than this cannot tell who is cut off.
const SEATS_NEEDED: usize = 3;

/// What an agent answers to a beat: see [`valkeeper_model::Answer::Beat`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Word {
    /// The sender may be primary.
    pub counts: bool,
    /// So may who answers.
    pub stands: bool,
    /// It has no promise to forget.
    pub remembers: bool,
}

/// The answers to a primary's beats.
#[derive(Debug, Default)]
pub struct Lease {
    /// By seat: when the newest beat that counts was sent.
    counted: BTreeMap<ShardName, Millis>,
    /// The same, of those who stand themselves.
    renewed: BTreeMap<ShardName, Millis>,
}

impl Lease {
    /// A beat that was sent to this seat at `beat_at` was answered. `held`: is the lease held now?
    pub fn answered(&mut self, seat: &ShardName, beat_at: Millis, word: Word, held: bool) {
        let note = |times: &mut BTreeMap<ShardName, Millis>| {
            let newest = times.entry(seat.clone()).or_insert(beat_at);
            *newest = beat_at.max(*newest);
        };
        if word.counts && (word.remembers || held) {
            note(&mut self.counted);
            if word.stands {
                note(&mut self.renewed);
            }
        }
    }

    /// Until when the lease is held with these other seats, of so many in all; `None` if it was never.
    pub fn held_until<'a>(&self, others: impl Iterator<Item = &'a ShardName>, of: usize) -> Option<Millis> {
        until(&self.renewed, others, of)
    }

    /// Until when its holder is let be primary by a majority, whether or not these are themselves.
    pub fn stands_until<'a>(&self, others: impl Iterator<Item = &'a ShardName>, of: usize) -> Option<Millis> {
        until(&self.counted, others, of)
    }
}

fn until<'a>(
    times: &BTreeMap<ShardName, Millis>,
    others: impl Iterator<Item = &'a ShardName>,
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

/// May a primary be replaced after these testimonies (milliseconds of silence, one of each other seat), of so many seats in all?
pub fn may_force(testimonies: impl Iterator<Item = u64>, of: usize) -> bool {
    of >= SEATS_NEEDED && testimonies.filter(|silent| *silent >= FORCE_AFTER_MS).count() >= quorum(of)
}

/// A primary.
#[derive(Debug, Clone, Copy)]
struct Seated {
    /// Since when we know it.
    since: Millis,
    /// Of its claim.
    epoch: Epoch,
}

/// What an agent has heard of the primaries.
#[derive(Debug)]
pub struct Witness {
    heard: BTreeMap<InstanceName, Millis>,
    promised_until: BTreeMap<InstanceName, Millis>,
    /// Who is primary as far as our server knows.
    primaries: BTreeMap<InstanceName, Seated>,
    /// Who was one and is none any more, and the epoch of its last claim.
    former: BTreeMap<InstanceName, Epoch>,
    seat_since: Option<Millis>,
    /// The first seat is one that nobody had before.
    founds: bool,
    /// Since when we are let be primary by a majority ourselves.
    stands_since: Option<Millis>,
    remembers_from: Millis,
}

impl Witness {
    /// One that has heard nothing. Silence is counted from when it learns who is primary.
    pub fn new(now: Millis) -> Self {
        Self {
            remembers_from: now.plus(PROMISE_MS),
            heard: BTreeMap::new(),
            promised_until: BTreeMap::new(),
            primaries: BTreeMap::new(),
            former: BTreeMap::new(),
            seat_since: None,
            founds: false,
            stands_since: None,
        }
    }

    /// The cluster is being founded: nobody can have promised anything.
    pub fn founded(&mut self, now: Millis) {
        self.remembers_from = now;
        self.founds = true;
    }

    /// Our server begins as a replica: a seat that it takes later was another's.
    pub fn follows(&mut self) {
        self.founds = false;
    }

    /// Can no promise have been forgotten?
    pub fn remembers(&self, now: Millis) -> bool {
        self.remembers_from <= now
    }

    /// A beat came.
    pub fn heard(&mut self, from: &InstanceName, now: Millis) {
        self.heard.insert(from.clone(), now);
    }

    /// Our server says that these are the slot-owning primaries, with the configuration epochs of their claims.
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

    /// Is our own server a slot-owning primary, and going to stay one? Is it let be one by a majority?
    pub fn sits(&mut self, sits: bool, stands: bool, now: Millis) {
        if sits && self.seat_since.is_none() && !std::mem::take(&mut self.founds) {
            self.remembers_from = self.remembers_from.max(now.plus(PROMISE_MS));
        }
        self.seat_since = sits.then(|| self.seat_since.unwrap_or(now));
        self.stands_since = (sits && stands).then(|| self.stands_since.unwrap_or(now));
    }

    /// Do its beats count?
    pub fn lets(&self, be_primary: &InstanceName, now: Millis) -> bool {
        let promised = self.promised_until.get(be_primary).is_some_and(|until| now < *until);
        self.seat_since.is_some() && !promised && !self.former.contains_key(be_primary)
    }

    /// Was it replaced, as far as we know?
    pub fn knows_a_successor(&self, of: &InstanceName) -> bool {
        self.former.contains_key(of)
    }

    /// Since when this primary has not been heard; `None` if it is none as far as we know.
    pub fn silent_since(&self, primary: &InstanceName) -> Option<Millis> {
        let known = self.primaries.get(primary)?.since;
        Some(self.heard.get(primary).map_or(known, |heard| known.max(*heard)))
    }

    /// Is there a primary, but for this one, that has not been heard for so long?
    pub fn misses_one(&self, but: &InstanceName, ms: u64, now: Millis) -> bool {
        let mut others = self.primaries.keys().filter(|primary| *primary != but);
        others.any(|primary| self.silent_since(primary).is_some_and(|since| now.since(since) >= ms))
    }

    /// For how long it has not been heard. To say that it was long is a promise. `None`: we have no seat, or are cut off ourselves:
    /// then it is no wonder that we hear nobody, nor just after.
    pub fn testify(&mut self, against: &InstanceName, now: Millis) -> Option<u64> {
        let stands_since = self.stands_since?;
        let since = self.silent_since(against).map_or(now, |since| since.max(stands_since));
        let silent_ms = now.since(since);
        if silent_ms >= FORCE_AFTER_MS {
            self.promised_until.insert(against.clone(), now.plus(PROMISE_MS));
        }
        Some(silent_ms)
    }
}
