//! Members that do not know each other's addresses meet, and new ones make themselves known.

use super::Step;
use super::step::Acquaintance;
use crate::view::cluster_view::{ClusterView, InstanceView, ShardView};
use crate::view::topology_views::TopologyViews;
use valkeeper_model::{InstanceLife, ServerView};

/// A server meets so many at once, at most: with these it knows all others soon, as servers tell each other whom they know.
const MEETS_AT_ONCE: usize = 16;

/// Members that run and do not see each other: addresses that changed while a server was down, or a table that was lost.
pub(super) fn next(cluster_view: &ClusterView<'_>, views: &TopologyViews<'_>) -> Vec<Step> {
    let running: Vec<&InstanceView<'_>> = cluster_view
        .shards
        .values()
        .flat_map(|shard| &shard.instances)
        .filter(|instance| instance.view().is_some())
        .collect();
    let unknown = views.each(|topology| {
        let with_address =
            running.iter().enumerate().filter_map(|(at, other)| Some((at, &other.report?.address)));
        let unknown = with_address.filter(|(at, address)| {
            let known = running.get(*at).and_then(|other| topology.get(&other.instance.node_id));
            known.is_none_or(|node| node.address.as_ref() != Some(*address))
        });
        unknown.collect::<Vec<_>>()
    });
    let mut steps = Vec::new();
    for (at, one) in running.iter().enumerate() {
        let Some(unknown) = one.view().and_then(|view| unknown.of(view)) else { continue };
        // Each begins with who comes after it, so that all are met by somebody.
        let next = unknown.partition_point(|(other, _)| *other <= at);
        let in_turn = unknown.iter().skip(next).chain(unknown.iter().take(next));
        for (other, address) in in_turn.filter(|(other, _)| *other != at).take(MEETS_AT_ONCE) {
            let Some(other) = running.get(*other) else { continue };
            let (instance, whom) = (one.name.clone(), other.name.clone());
            // Nobody but who meets a new one can tell the others of it.
            let is_new = other.instance.life == InstanceLife::Joining;
            let acquaintance = if !knows_place(one, other) && (is_new || !knows_place(other, one)) {
                Acquaintance::None
            } else {
                Acquaintance::OneSided
            };
            steps.push(Step::Meet { instance, whom, address: (*address).clone(), acquaintance });
        }
    }
    steps
}

/// Replicas that join make themselves known to the primaries that have heard of them by gossip alone and would refuse them their votes. A `CLUSTER MEET`
/// carries whom its sender follows, and is read by who has the sender in its table: 0.1 s, where the engine's own pings take up to 8 s for six new
/// members (docs/engine-facts.md).
pub(super) fn introduce(cluster_view: &ClusterView<'_>) -> Vec<Step> {
    let joins = |one: &&InstanceView<'_>| one.instance.life == InstanceLife::Joining;
    let joining = cluster_view.shards.values().flat_map(|shard| &shard.instances).filter(joins);
    let to_voters = joining.flat_map(|one| {
        let followed = one.view().and_then(ServerView::primary);
        let voters = cluster_view.voters().filter_map(ShardView::primary);
        voters.filter_map(move |voter| {
            let known = voter.view()?.topology.get(&one.instance.node_id)?;
            if followed.is_none() || known.primary == followed {
                return None;
            }
            Some(Step::Meet {
                instance: one.name.clone(),
                whom: voter.name.clone(),
                address: voter.report?.address.clone(),
                acquaintance: Acquaintance::ByGossip,
            })
        })
    });
    to_voters.collect()
}

/// Does this server know an address of that one, be it an old one?
fn knows_place(one: &InstanceView<'_>, other: &InstanceView<'_>) -> bool {
    let known = one.view().and_then(|view| view.topology.get(&other.instance.node_id));
    known.is_some_and(|node| node.address.is_some())
}
