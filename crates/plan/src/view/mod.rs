//! The cluster as it is seen: what agents report beside what the layout says, what servers believe, and what of it is wrong.

pub mod causes;
pub mod cluster_view;
pub mod foreign;
pub mod health;
pub mod topology_views;
