//! Every decision of Valkeeper, pure. Nothing here reads a clock, draws a random number or does I/O: events and time come
//! in, commands go out. The simulator runs this very code, without a runtime.
//!
//! | where | what is decided |
//! | --- | --- |
//! | [`view`] | what is seen of the cluster: reports and topology views beside the layout, health in typed reasons (law 8), causes, unknown nodes |
//! | [`mode`] | what a mode answers: the nodes.conf that a server starts with |
//! | [`failover`] | who is primary next: succession, promotion, handover, takeover, restart; which copy of the data counts |
//! | [`replica_mode`] | following the primary of another cluster, and the promotion that ends it |
//! | [`hostwatch`] | leases, and who may replace a primary that nobody hears |
//! | [`server`] | the directives and the password of a server |
//! | [`placement`] | which instances exist, in which zone and shard, with which slots |
//! | [`operations`] | what changes a running cluster and no agent can do alone; how much of it may be disturbed at a time |
//! | [`agent`] | what the agent of one server does: start, watch, fail over, hand over, stop |
//! | [`controller`] | what the cluster's controller does: commit, order, take over, rewire, switch back |
//! | [`protocol`] | what goes into an agent's machine and what comes out |
//! | [`lint`] | a layout or a step that breaks a law is refused before it is stored or taken |

pub mod agent;
pub mod controller;
pub mod failover;
pub mod hostwatch;
pub mod lint;
pub mod mode;
pub mod operations;
pub mod placement;
pub mod protocol;
pub mod replica_mode;
pub mod server;
pub mod view;
