//! What changes a running cluster, and how much of it at a time (law 6 of `docs/safety.md`).

pub mod disruption;
