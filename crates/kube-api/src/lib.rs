//! What Valkeeper's objects on Kubernetes look like and are called. Whoever talks to Kubernetes agrees with the others
//! through this crate: operator, webhook, agent and command line. No client, no I/O.

pub mod names;
mod object;
mod redis_cluster;

pub use redis_cluster::{RedisCluster, RedisClusterStatus};
