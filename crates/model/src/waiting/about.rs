//! What a reason is about, and what kind of reason it is.

use super::{KubernetesWaiting, RollWaiting, Waiting};
use crate::{InstanceName, RegisterFault, ShardName};

impl Waiting {
    /// The instance it is about, if it is about one.
    pub fn instance(&self) -> Option<&InstanceName> {
        match self {
            Self::AgentUnknown { instance, .. }
            | Self::PodNotRunning { instance, .. }
            | Self::InstanceDown { instance }
            | Self::ServerUnknown { instance, .. }
            | Self::Loading { instance }
            | Self::Fenced { instance, .. }
            | Self::Isolated { instance }
            | Self::PrimaryUnheard { instance }
            | Self::DownUnconfirmed { instance, .. }
            | Self::StartFailed { instance, .. }
            | Self::SiblingsUnknown { instance, .. }
            | Self::CopyOnSibling { instance, .. }
            | Self::CopyDoubtful { instance, .. }
            | Self::DirectoryLost { instance }
            | Self::AofIncomplete { instance }
            | Self::TopologyUnknown { instance }
            | Self::NobodyToJoin { instance, .. }
            | Self::NameElsewhere { instance }
            | Self::ViewDiffers { instance }
            | Self::HeldForFailed { instance, .. }
            | Self::OpenSlots { instance }
            | Self::OldOrder { instance }
            | Self::ConfigDiffers { instance, .. }
            | Self::RestartNeeded { instance, .. }
            | Self::PersistenceFailing { instance }
            | Self::MemoryFull { instance, .. }
            | Self::Disturbed { instance, .. }
            | Self::ClusterStateFail { instance } => Some(instance),
            Self::ReplicaMode(waiting) => waiting.instance(),
            Self::Roll(waiting) => waiting.instance(),
            Self::Sentinel(waiting) => Some(waiting.sentinel()),
            Self::Resize(waiting) => Some(waiting.instance()),
            _ => None,
        }
    }

    /// The shard it is about, if it is about one.
    pub fn shard(&self) -> Option<&ShardName> {
        match self {
            Self::AllCopiesMissing { shard }
            | Self::CopyDoubtful { shard, .. }
            | Self::NobodyToJoin { shard, .. }
            | Self::NoPrimary { shard }
            | Self::FailingOver { shard }
            | Self::SwitchingOver { shard }
            | Self::Disturbed { shard, .. }
            | Self::RegisterUnusable { shard, .. }
            | Self::ReplicasMissing { shard, .. }
            | Self::ZoneShared { shard, .. } => Some(shard),
            _ => None,
        }
    }

    /// Is the cluster not whole for it? Zones that hold what they should not after a failover or a switchover are told, and mended by
    /// the controller, names follow pods in their own time, and what operations go on is no fault of it; the cluster is whole all the same.
    pub fn is_flaw(&self) -> bool {
        !matches!(
            self,
            Self::ZoneMajority { .. }
                | Self::ZoneShared { .. }
                | Self::NameElsewhere { .. }
                | Self::Disturbed { .. }
                | Self::OperationWaits { .. }
                | Self::OperationUnknown { .. }
                | Self::RegisterUnusable { why: RegisterFault::None, .. }
                | Self::Kubernetes(KubernetesWaiting::AnnotationsWait { .. })
                | Self::ConfigByHand { .. }
                | Self::UsersByHand { .. }
        )
    }

    /// Is it what a new order looks like until everybody obeys it?
    pub fn is_order_on_its_way(&self) -> bool {
        matches!(self, Self::OldOrder { .. } | Self::ConfigDiffers { .. })
    }

    /// Does this last until a user acts, however long one waits?
    pub fn lasts(&self) -> bool {
        matches!(
            self,
            Self::ForeignNode { .. }
                | Self::SlotsTaken { .. }
                | Self::Fenced { .. }
                | Self::Roll(RollWaiting::RollReturned { .. })
        )
    }

    /// Does an instance wait until the user accepts a loss (`valkeeper failover SHARD --accept-data-loss`)?
    pub fn asks_for_loss(&self) -> bool {
        matches!(self, Self::AllCopiesMissing { .. } | Self::CopyDoubtful { .. })
    }

    /// Is some key not served while this lasts, or may soon not be, as nobody could be voted for?
    pub fn is_outage(&self) -> bool {
        matches!(
            self,
            Self::SlotsUnserved { .. }
                | Self::SlotsDisowned { .. }
                | Self::NoPrimary { .. }
                | Self::NoQuorum { .. }
        )
    }
}
