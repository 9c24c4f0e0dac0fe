//! Clusters on a real Kubernetes: the bed that `cargo xtask bed` makes (docs/testbed.md).

mod bed;
mod cluster;
mod faults;
mod traffic;

pub use bed::Bed;
pub use cluster::{KubeCluster, Shape, WHOLE};
pub use faults::Fault;
pub use traffic::KubeTraffic;
