//! Lost hosts: when a primary has to refuse writes because it may have been replaced, and when a replica may replace a primary that
//! nobody can ask any more. A lease, kept by silence: agents on hosts of their own send each other heartbeats.
//!
//! | file | what it decides |
//! | --- | --- |
//! | `machine.rs` | which event goes where |
//! | `lease.rs` | until when a primary may take writes |
//! | `voter.rs` | whose heartbeats count, and who is confirmed as down |
//! | `heartbeats.rs` | to whom heartbeats go, and what the answers are worth |
//! | `write_fence.rs` | a primary without a lease refuses writes, and takes them again |
//! | `failure_detector.rs` | a primary that is not heard is replaced |
//! | `register_seat.rs` | the register as one more seat, where agents vote and their number is even |
//!
//! # Actors
//!
//! - **P**, the agent of a primary. Its host may be cut off.
//! - **R**, the agent of a replica of P's server.
//! - **V**, a *voter*: the agent of another shard's primary. The voters and P sit on the *seats*: one a shard that owns slots.
//!
//! ```text
//! ms       P, cut off                       R                               each V
//! 0        last heartbeat that got through  heard                           heard
//! 600                                       reports that P is not heard
//! 1,200    its lease has ended: P's server
//!          is told to refuse writes
//! 1,500    it has confirmed that, or its
//!          process is killed
//! 1,700                                     asks every V: is P down?  ───►  confirms, and promises: for 8 s
//!                                                                           no heartbeat of P counts
//! 1,800                                     has a majority: promotes  ◄───
//!                                           the best replica by vote
//! ```
//!
//! # The rule
//!
//! 1. P holds its lease while it has, from a majority of the seats (its own counted), an answer that counts to a heartbeat that was
//!    **sent** less than [`FENCE_AFTER_MS`] ago ([`lease::Lease`]).
//! 2. V confirms that P is down when V has not **received** a heartbeat of P for [`DOWN_AFTER_MS`]. From then on V answers for
//!    [`PROMISE_MS`] that P's heartbeats do not count ([`voter::Voter`]).
//! 3. R has the best replica promoted when a majority of all seats, P's own not counted, has confirmed ([`voter::may_force`]).
//!
//! Why no replica is promoted by this rule while P's server takes writes: docs/safety.md, "Lost hosts", step by step. The numbers are checked below.
//!
//! # What else the rule has to hold for
//!
//! *A seat changes hands.* V's server is succeeded by W's. What V answered last must not be forgotten with V. W confirms only what W has
//! not heard since it took the seat: 1,700 ms later at the earliest. V renews nothing any more by then: V handed over itself (and gives
//! no answer that counts, from before the handover on), or V's server is dead and V knows, or V was replaced by this very rule, and was
//! then without answers itself for 500 ms before. That is why an answer renews a lease only if the voter who gives it *has a quorum*: a
//! majority of the seats answers that its own heartbeats count. (Two rounds of heartbeats then give a lease to all at a start. If an
//! answer needed a lease in place of a quorum, no lease would ever begin.) The same goes for a new primary's heartbeats: no voter can
//! have missed them before it was a primary. Silence counts from the time at which its role was seen, and the new primary may take writes
//! for [`FENCE_AFTER_MS`] from the last time at which it was seen to be a replica.
//!
//! *An agent starts anew.* It may have promised what it does not remember. For [`PROMISE_MS`] its answers prolong the leases of those
//! that hold one, against which there is no majority, and give none to those that do not. The same holds for W above: what V
//! promised, W does not know.
//!
//! *An agent replaces itself by another program* (`exec`). It leaves that one the end of its lease ([`crate::agent::Agent::lease_until`]):
//! the lease is the same, whichever agent looks after it.
//!
//! *Which primary is confirmed as down?* One that the voter's own server knows as a primary. While a primary is not heard, each voter looks
//! at its server every 50 ms, so that none confirms, or replaces, a primary that has a successor already.
//!
//! *After a promise.* P is back and has not heard of its successor yet. V knows of the successor, by its own server, before its promise
//! ends, and answers that P's heartbeats do not count until V sees P become a primary again. If P does so by a newer claim (a higher
//! configuration epoch), a majority has elected it since: the promise is void, or P would refuse writes for what is left of it
//! after it was handed its role back.
//!
//! *Fewer than three seats.* No server is ever promoted by this rule, and none needs a lease: of two, one cannot tell which is cut off.
//!
//! *Majorities of what?* Each side counts the seats that its own server knows, and not fewer than the shards of its order: a server may hear
//! that a primary was deposed before it hears of the successor. Majorities of n and of n + 1 share a seat too. A host that was cut
//! off while more than one seat was added may not share one with the others.
//!
//! What the rule leaves to others: the engine's own election, which asks no agent; and a host that is frozen as a whole, which cannot
//! refuse anything while it is frozen: see docs/safety.md.

mod failure_detector;
mod heartbeats;
pub mod lease;
mod machine;
mod register_seat;
pub mod voter;
mod write_fence;

pub(crate) use machine::{Adopted, Run, VoteKept};
pub use machine::{Effect, HostWatch, Situation};

/// Between heartbeats.
pub const HEARTBEAT_MS: u64 = 200;
/// A replica reports that it does not hear its primary after this.
pub const SUSPECT_MS: u64 = 600;
/// A lease lasts so long from the sending of the heartbeat that renewed it.
pub const FENCE_AFTER_MS: u64 = 1_200;
/// A server that has not confirmed within this that it refuses writes is killed.
pub const CONFIRM_MS: u64 = 300;
/// A primary that was not heard for so long may be replaced.
pub const DOWN_AFTER_MS: u64 = 1_700;
/// For so long after its confirmation a voter's answers to the primary do not count. Longer than a promotion can take from the question for
/// the confirmations that it rests on: see the assertion below.
pub const PROMISE_MS: u64 = 8_000;
/// R chooses the replica within this of its question.
pub const PERMIT_MS: u64 = 500;
/// The replica's agent takes the order within this of the look that the choice rests on, by its own clock: a later one was too long on its way.
pub const FORCED_WITHIN_MS: u64 = 400;
/// The replica's server is asked whom it follows and then told to become primary: each may take so long.
const SERVER_TAKES_MS: u64 = 2 * crate::agent::SERVE_MS;
/// The engine gives a promotion up after this.
const ENGINE_GIVES_UP_MS: u64 = 5_000;
/// An agent that adopted a running server, and was not told until when its predecessor held the lease, takes it for good so long: the
/// predecessor let the server take writes up to 1,200 ms after the last heartbeat, and they must be refused for certain 1,700 ms after it.
pub const ADOPTED_MS: u64 = 100;

const _: () = assert!(FENCE_AFTER_MS + ADOPTED_MS + CONFIRM_MS < DOWN_AFTER_MS);
// What is left is for the voters to hear of the new primary.
const _: () =
    assert!(PERMIT_MS + FORCED_WITHIN_MS + SERVER_TAKES_MS + ENGINE_GIVES_UP_MS + 1_000 < PROMISE_MS);

/// Fewer seats than this cannot tell which is cut off.
const SEATS_NEEDED: usize = 3;
