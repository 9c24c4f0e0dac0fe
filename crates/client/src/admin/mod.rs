//! Typed questions and orders to one server.

mod commands;
mod connection;
mod door;
mod error;
mod info;
mod replication;
mod sentinel;
mod server_info;
mod slot_stats;
mod wire;

pub use commands::{FailoverMode, ShutdownMode};
pub use connection::AdminConnection;
pub use error::{AskError, NotSet, out_of_descriptors};
pub use replication::{ConnectedReplica, PrimaryLink, ReplicaState, ReplicationInfo, ReplicationRole};
pub use sentinel::Hello;
pub use server_info::{ClusterInfo, ServerInfo};
pub use slot_stats::SlotStats;
pub use valkeeper_model::EngineKind;

/// The cluster as one server believes it to be.
pub type ClusterNodes = valkeeper_model::nodes_conf::NodesConf;
