//! What Valkeeper's objects on Kubernetes look like and are called. Whoever talks to Kubernetes agrees with the others
//! through this crate: operator, webhook, agent and command line. No client, no I/O.

pub mod crd;
pub mod names;
mod object;
mod redis_cluster;
mod redis_cluster_request;
mod status;

pub use redis_cluster::RedisCluster;
pub use redis_cluster_request::{RedisClusterRequest, RequestSpec, RequestStatus};
pub use status::{
    ClusterState, ConditionType, Facts, InstanceStatus, PromotionStatus, RedisClusterStatus,
    ReplicaModeStatus, ShardStatus, SlotRangeStatus, SourceStatus, StageWord, Verdict, WaitingStatus,
};
