//! Each law broken once on purpose, outside `plan`: what carries out commands lies, forgets or does too much. A simulator
//! that does not notice is worth nothing.

use std::sync::Arc;
use valkeeper_model::Layout;

/// How the fleet is sabotaged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sabotage {
    /// A dead server is started in place at once, before its agent hears of the death (law 3).
    RestartInPlace,
    /// Replicas tell their offsets upside down, so that the worst is promoted (law 3).
    ChooseLowestOffset,
    /// FORCE is carried out as TAKEOVER (law 4).
    TakeOverWithQuorum,
    /// A frozen server is not killed before its replica is promoted (law 3).
    NoFence,
    /// Orders to stay down are delivered as orders to run.
    StartDespiteFence,
    /// Older orders are delivered as if they were new.
    ObeyOlderOrders,
    /// Who does not answer is taken for down and empty (law 1).
    TakeUnknownForDown,
    /// A primary that is to restart is stopped without a handover (law 2).
    StopWithoutHandover,
    /// The data directory of somebody else is taken for ours (law 10).
    TakeForeignData,
    /// The engine's handover is carried out as FORCE, which waits for no offset (law 2).
    ForceInsteadOfHandover,
    /// Reports give no reasons (law 12).
    GiveNoReason,
    /// A replica is placed in its primary's zone (law 7).
    ShareZones,
    /// All primaries hand over at once (law 6).
    DisturbEverybody,
    /// A controller that starts finds nothing of what is disturbed in the layout (law 6).
    ForgetLedger,
    /// A primary that has no lease does not refuse writes.
    NeverRefuseWrites,
    /// Beats count for whoever sends them, whatever was promised.
    ForgetPromises,
    /// Every primary is said not to have been heard for long.
    ForceWithoutTestimony,
    /// Records say that the append-only file is complete, whatever it is (law 13).
    ClaimCompleteAof,
    /// Replicas say that they have caught up, and primaries that they see everybody (law 13).
    ClaimInSync,
    /// Nobody knows the sequences of records (law 13).
    ForgetSequences,
    /// Agents do not hear of deaths: nothing is done about them (liveness).
    MissDeaths,
}

impl Sabotage {
    /// All of them.
    pub const ALL: [Self; 21] = [
        Self::ClaimCompleteAof,
        Self::ClaimInSync,
        Self::ForgetSequences,
        Self::RestartInPlace,
        Self::ChooseLowestOffset,
        Self::TakeOverWithQuorum,
        Self::NoFence,
        Self::StartDespiteFence,
        Self::ObeyOlderOrders,
        Self::TakeUnknownForDown,
        Self::StopWithoutHandover,
        Self::TakeForeignData,
        Self::ForceInsteadOfHandover,
        Self::GiveNoReason,
        Self::ShareZones,
        Self::DisturbEverybody,
        Self::ForgetLedger,
        Self::NeverRefuseWrites,
        Self::ForgetPromises,
        Self::ForceWithoutTestimony,
        Self::MissDeaths,
    ];
}

/// Puts every instance into one zone.
pub(crate) fn share_zones(layout: &mut Layout) {
    let first = layout.instances.values().next().map(|instance| instance.zone.clone());
    if let Some(zone) = first {
        for instance in Arc::make_mut(&mut layout.instances).values_mut() {
            instance.zone = zone.clone();
        }
    }
}
