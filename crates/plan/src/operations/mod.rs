//! What agents cannot do alone. A step is one command that the agent which carries it out checks again: it names the run it is meant for.
//!
//! Most steps are derived from layout and observation alone: such an operation is a file with a pure function `next`, which says which step is due, if
//! one is. Two controllers may take the same step, and one that is taken twice does no harm: to store it would cost a commit for nothing. So it
//! is with following, meeting, taking slots, coming home and taking over.
//!
//! What disturbs a primary is stored before it is begun, as an [`valkeeper_model::Operation`] with an entry in the ledger (`stored.rs`): a switch
//! for zones, and one for a full disk. The derived step is the wish for it. What takes longer than one command belongs there too.
//!
//! | file | what it brings about |
//! | --- | --- |
//! | `take_over.rs` | a primary without a vote, where no majority can vote (law 4) |
//! | `follow.rs` | a replica that follows another node follows its shard's primary |
//! | `meet.rs` | members that do not know each other's addresses meet, and new ones make themselves known |
//! | `take_slots.rs` | slots that no server owns go back to their shard's primary |
//! | `bring_home.rs` | slots that another shard's member serves go back to their shard |
//! | `leave_full_disk.rs` | a primary that cannot write to its disk hands over |
//! | `leave.rs` | an instance leaves: its primary's role goes to another, it is stopped, and forgotten |
//! | `rezone.rs` | no zone holds a majority of the primaries (law 7) |
//! | `move_slots.rs` | slots move from one shard to another |
//! | `spread.rs` | slots spread over another number of shards |
//! | `roll/` | servers are restarted one after the other, for their configuration or their version |
//! | `stored.rs` | what is due for an operation that stands in the layout |
//! | `ledger.rs` | when a primary counts as disturbed no more |
//! | `step.rs` | a step |
//! | `votes.rs` | who would be elected |
//! | `disruption.rs` | how much of the cluster may be disturbed at a time (law 6) |

mod bring_home;
pub mod disruption;
mod follow;
pub mod leave;
mod leave_full_disk;
pub mod ledger;
mod meet;
pub mod move_slots;
mod rezone;
pub mod roll;
pub mod spread;
mod step;
pub mod stored;
mod take_over;
mod take_slots;
pub mod votes;

pub use step::{Acquaintance, Step};

use crate::operations::disruption::may_succeed;
use crate::operations::votes::is_known_to_voters;
use crate::view::cluster_view::{ClusterView, InstanceView};
use crate::view::topology_views::TopologyViews;
use std::collections::BTreeSet;
use valkeeper_model::{Report, ShardName, StepKey};

/// What is not done although what was seen asks for it.
#[derive(Debug, Clone, Default)]
pub struct Barred {
    /// Shards whose roles a user has chosen lately: they are not switched back for their zones.
    pub chosen: BTreeSet<ShardName>,
    /// Steps that were refused a short time ago: another way is looked for.
    pub refused: BTreeSet<StepKey>,
}

/// All steps that are due by what was seen.
pub fn due(cluster_view: &ClusterView<'_>, report: &Report, barred: &Barred) -> Vec<Step> {
    let mut steps = Vec::new();
    steps.extend(take_over::next(cluster_view));
    for shard in cluster_view.shards.values() {
        steps.extend(shard.instances.iter().filter_map(|instance| follow::next(shard, instance)));
    }
    steps.extend(meet::introduce(cluster_view));
    if !report.healthy {
        let views = TopologyViews::of(cluster_view);
        steps.extend(meet::next(cluster_view, &views));
        steps.extend(
            cluster_view.shards.values().filter_map(|shard| take_slots::next(cluster_view, shard, &views)),
        );
        steps.extend(cluster_view.shards.values().filter_map(|shard| bring_home::next(cluster_view, shard)));
    }
    steps.extend(
        cluster_view.shards.values().filter_map(|shard| leave_full_disk::next(cluster_view, shard, barred)),
    );
    steps.extend(
        cluster_view.shards.values().filter_map(|shard| leave::hand_over(cluster_view, shard, barred)),
    );
    steps.extend(leave::forget(cluster_view));
    steps.extend(rezone::next(cluster_view, barred));
    steps
}

/// Clients that are sent on by name must find it: one that has just got another address is where it was for who asks for its name. One
/// that cannot write to its disk would refuse writes as a primary.
fn may_take_role(
    cluster_view: &ClusterView<'_>,
    primary: &InstanceView<'_>,
    replica: &InstanceView<'_>,
) -> bool {
    may_succeed(primary, replica)
        && is_known_to_voters(cluster_view, replica)
        && !replica.name_leads_elsewhere
        && replica.view().is_some_and(|view| !view.persistence_failing)
}
