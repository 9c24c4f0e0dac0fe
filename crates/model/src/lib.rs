//! The words of Valkeeper as types: what is wanted (spec), chosen (layout), seen (observation), done next (steps) and
//! explained (report). No I/O, no async, no clock.

mod ids;
mod slots;
pub mod spec;

pub use ids::{
    Address, ClusterId, ClusterName, Epoch, Generation, Incarnation, InstanceName, InvalidId, Millis, NodeId, Observed, Offset,
    ReplicationId, ShardId, ShardName, Unseen, ZoneName,
};
pub use slots::{InvalidSlot, Slot, SlotRange, SlotSet};
pub use spec::{ClusterSpec, MaxMemory, MaxMemoryPolicy, Persistence, ZonePolicy};
