//! The cluster as it is seen: what agents report beside what the layout says, what servers believe, and what of it is wrong.
//!
//! | file | what it tells |
//! | --- | --- |
//! | `cluster_view.rs` | layout and reports side by side, by shard |
//! | `topology_views.rs` | what servers hold for the cluster's topology |
//! | `health.rs` | what is wrong, in typed reasons (law 8) |
//! | `reported.rs` | each shard and instance as people are told of it |
//! | `causes.rs` | which reason follows from which |
//! | `foreign.rs` | nodes that are no members |

pub mod causes;
pub mod cluster_view;
pub mod foreign;
pub mod health;
mod reported;
pub mod topology_views;
