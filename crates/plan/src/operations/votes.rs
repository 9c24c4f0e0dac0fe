//! Who would be elected: a primary gives its vote to nobody whom it does not know.

use crate::mode::{self, Voters};
use crate::view::cluster_view::{ClusterView, InstanceView, ShardView};
use valkeeper_model::ServerView;

/// Do all primaries that are seen know whom this instance follows, and are they a majority of those that vote? A replica that is not known gets no
/// votes: it holds the data, but nobody could hand over to it, and it could not succeed its primary. A primary that has heard of it by gossip alone has
/// it in its table as a replica of nobody, or as the primary that it was before it followed, and refuses its vote (docs/engine-facts.md). Where agents
/// vote all know each other by their orders.
pub fn is_known_to_voters(cluster_view: &ClusterView<'_>, one: &InstanceView<'_>) -> bool {
    if mode::rules(cluster_view.layout.config.mode).voters() == Voters::Agents {
        return true;
    }
    let Some(followed) = one.view().map(ServerView::primary) else { return false };
    let seen = cluster_view.voters().filter_map(ShardView::primary).filter_map(|primary| primary.view());
    let as_it_is = |voter: &ServerView| {
        voter.topology.get(&one.instance.node_id).is_some_and(|known| known.primary == followed)
    };
    let knows: Vec<bool> = seen.map(as_it_is).collect();
    // One that is not seen may know it or not.
    knows.iter().all(|knows| *knows) && 2 * knows.len() > cluster_view.voters().count()
}
