//! What users may ask of a running cluster.

mod resizing;

pub use resizing::ResizeRequest;
mod slots;

use crate::manifest::Annotated;
use crate::{InstanceName, NodeId, ShardName};
use serde::{Deserialize, Serialize};

pub use slots::{RebalanceBy, SlotRequest, WhichSlots};

/// What a user may ask of a running cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "request", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Request {
    /// Swap roles without losing a write.
    Switchover {
        /// In which shard; all in turn if none is named… is refused unless `to` names one.
        shard: Option<ShardName>,
        /// To whom; the best if none is named.
        to: Option<InstanceName>,
    },
    /// Kill the primary and promote a replica.
    Failover {
        /// Of which shard.
        shard: ShardName,
        /// Also if the primary is well.
        force: bool,
        /// Let a shard whose every copy is gone come back empty.
        accept_data_loss: bool,
    },
    /// Keep an instance down.
    Fence {
        /// Which.
        instance: InstanceName,
        /// Also if it is a primary that nobody can follow.
        force: bool,
    },
    /// Let it run again.
    Unfence {
        /// Which.
        instance: InstanceName,
    },
    /// Do the next of what the annotations of the cluster on Kubernetes ask for.
    FollowAnnotations {
        /// What they say.
        annotated: Annotated,
    },
    /// Restart an instance, handing over first.
    Restart {
        /// Which.
        instance: InstanceName,
    },
    /// Remove nodes that are no members from every server's table.
    Forget {
        /// Which.
        nodes: Vec<NodeId>,
    },
    /// Follow the source no more: the designated member becomes the primary.
    Promote,
    /// Let the update under way restart primaries.
    ApprovePrimaries,
    /// Give up the copy that is held back, and take what the source has.
    AcceptSource,
    /// Hold writes until that copy of the cluster is promoted, and follow it then.
    HandOverTo {
        /// Where the copy is.
        copy: Box<crate::Source>,
    },
    /// Do not hand over to a copy any more: writes are taken again.
    CancelHandOver,
    /// Would this spec be followed? Nothing is changed.
    Check {
        /// The spec.
        spec: Box<crate::spec::ClusterSpec>,
    },
    /// A new spec.
    Apply {
        /// The spec.
        spec: Box<crate::spec::ClusterSpec>,
    },
    /// About where instances are.
    #[serde(untagged)]
    Resize(ResizeRequest),
    /// About slots.
    #[serde(untagged)]
    Slots(SlotRequest),
}
