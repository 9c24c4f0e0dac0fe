//! The laws of `docs/safety.md` as functions. Each is used by the decisions, by the linter and by the simulator.

pub mod copy;
pub mod disruption;
pub mod isolation;
pub mod start;
pub mod succession;
pub mod takeover;
pub mod zones;
