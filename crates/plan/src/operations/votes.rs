//! Who would be elected: a primary gives its vote to nobody whom it does not know.

use crate::mode::{self, Voters};
use crate::view::cluster_view::{ClusterView, InstanceView, ShardView};

/// Do all primaries that are seen have this instance in their table, and are they a majority of those that vote? Who is not known to them gets no
/// votes: it holds the data, but nobody could hand over to it, and it could not succeed its primary. Where agents vote all know each other by their
/// orders.
pub fn is_known_to_voters(cluster_view: &ClusterView<'_>, one: &InstanceView<'_>) -> bool {
    if mode::rules(cluster_view.layout.config.mode).voters() == Voters::Agents {
        return true;
    }
    let seen = cluster_view.voters().filter_map(ShardView::primary).filter_map(|primary| primary.view());
    let knows: Vec<bool> = seen.map(|view| view.topology.contains_key(&one.instance.node_id)).collect();
    // One that is not seen may know it or not.
    knows.iter().all(|knows| *knows) && 2 * knows.len() > cluster_view.voters().count()
}
