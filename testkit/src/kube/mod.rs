//! Clusters on a real Kubernetes: the bed that `cargo xtask bed` makes (docs/testbed.md).

mod bed;
mod cluster;
mod faults;
mod through_service;
mod traffic;

pub use bed::Bed;
pub use cluster::{KubeCluster, SET, Shape, WHOLE};
pub use faults::Fault;
pub use through_service::{ThroughService, Written};
pub use traffic::KubeTraffic;
pub use valkeeper_model::Mode;
