//! Who is primary next, and how it becomes that: laws 2, 3, 4 and 13 of `docs/safety.md`, one function each, and the two state machines that
//! change a primary.
//!
//! | file | what it decides |
//! | --- | --- |
//! | `promotion.rs` | after a death: `Promotion::choose` picks the new primary, and sees that it is elected |
//! | `succession.rs` | which replica may succeed, and which is the best |
//! | `handover.rs` | a switchover, without a lost write |
//! | `takeover.rs` | when a replica may become primary without a vote (law 4) |
//! | `restart_decision.rs` | whether the last owner of a shard's slots may start again, and as what (law 3) |
//! | `copy.rs` | what a data directory holds, and which copy is newer (law 13) |

pub mod copy;
pub mod handover;
pub mod promotion;
pub mod restart_decision;
pub mod succession;
pub mod takeover;
