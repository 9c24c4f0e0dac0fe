//! Every decision of Valkeeper, pure. Nothing here reads a clock, draws a random number or does I/O: events and time come
//! in, commands go out. The simulator runs this very code, without a runtime.
//!
//! | where | what is decided |
//! | --- | --- |
//! | [`placement`] | which instances exist, in which zone and shard, with which slots |
//! | [`safety`] | the laws of `docs/safety.md`, one function each |
//! | [`belief`] | what servers believe the cluster to be, each distinct belief examined once |
//! | [`foreign`] | nodes and claims of slots that the layout does not know |
//! | [`health`] | what is wrong, in typed reasons (law 8) |
//! | [`causes`] | which reasons are causes, and which follow from one |
//! | [`agent`] | what the supervisor of one server does: start, watch, fail over, hand over, stop |
//! | [`controller`] | what the cluster's controller does: commit, order, take over, rewire, switch back |
//! | [`nodes_conf`] | the nodes.conf a server starts with |
//! | [`config`] | the directives a server runs with |

pub mod agent;
pub mod belief;
pub mod causes;
pub mod config;
pub mod controller;
pub mod foreign;
pub mod health;
pub mod lint;
pub mod nodes_conf;
pub mod placement;
pub mod safety;
pub mod sight;
