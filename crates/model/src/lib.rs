//! The words of Valkeeper as types: what is wanted (spec), chosen (layout), seen (observation), done next (steps) and
//! explained (report). No I/O, no async, no clock.

mod agent;
mod copy;
mod happened;
mod ids;
mod kubernetes;
mod layout;
pub mod manifest;
pub mod nodes_conf;
mod report;
mod request;
mod server;
mod slots;
pub mod spec;
mod waiting;

pub use agent::{
    Activity, AgentOrder, AgentReport, Answer, Ask, AskFailed, DiskRole, Member, Process, ReplicaStanding,
    Run, Whereabouts,
};
pub use copy::{AofRecord, AofTail, CopyRecord, CopySource, CopyState, HeldCopy, Position};
pub use happened::{AsideCause, Happened};
pub use ids::{
    Address, ClusterId, ClusterName, Epoch, Generation, Incarnation, InstanceName, InvalidId, Millis, NodeId,
    Observed, Offset, ReplicationId, ShardId, ShardName, Unseen, ZoneName,
};
pub use kubernetes::{Bytes, ImagePullPolicy, KubernetesSpec, Maintenance, Storage};
pub use layout::{Instance, Layout, ServerConfig, Shard};
pub use report::{InstanceReport, Observation, Phase, Report, ShardReport};
pub use request::{Impossible, Refusal, Request, Unfit};
pub use server::{
    AofStatus, AttachedReplica, Link, Part, Replication, Role, ServerView, Topology, TopologyNode,
};
pub use slots::{InvalidSlot, Slot, SlotRange, SlotSet};
pub use spec::{ClusterSpec, MaxMemory, MaxMemoryPolicy, Persistence, ZonePolicy};
pub use waiting::{StartFailure, UnseenWord, Waiting};
