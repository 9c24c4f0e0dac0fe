//! Talking to servers: [`AdminConnection`] asks one server typed questions, [`ClusterClient`] sends commands where
//! the slots are, [`Load`] writes to every shard and keeps a ledger of what was acknowledged.

pub mod admin;
pub mod cluster;
mod endpoint;
pub mod load;
mod password;

pub use admin::{AdminConnection, AskError, NotSet, SlotStats, out_of_descriptors};
pub use cluster::{ClusterClient, ClusterError, Delivered, Guides, MappedNode, MappedShard, ShardMap};
pub use endpoint::{Endpoint, InvalidEndpoint};
pub use load::{Load, LoadConfig, LoadError, LoadReport};
pub use password::Password;

/// A reply as the server gave it.
pub use redis::Value;
