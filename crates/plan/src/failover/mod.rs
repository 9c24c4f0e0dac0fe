//! Who is primary next, and how it becomes that: laws 2, 3, 4 and 13 of `docs/safety.md`, one function each, and the two state machines that
//! change a primary.

pub mod copy;
pub mod handover;
pub mod promotion;
pub mod restart_decision;
pub mod succession;
pub mod takeover;
