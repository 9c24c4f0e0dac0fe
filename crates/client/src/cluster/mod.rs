//! Commands sent to where their slot is.

mod client;
mod redirect;
mod shard_map;

pub use client::{ClusterClient, ClusterError, Delivered};
pub(crate) use redirect::Redirect;
pub use shard_map::{Guides, MappedNode, MappedShard, ShardMap};
