//! Hosts that are lost or cut off: the lease that a primary needs, and who may replace one that nobody hears.

pub mod rule;
