//! Who becomes the primary when a cluster that follows is promoted.

use crate::view::cluster_view::{ClusterView, InstanceView};
use valkeeper_model::{Link, Role, ServerView};

/// The designated member: one whose copy is held back from what has emptied the others; or the first instance while its server answers and has a copy, or else the one that has the most of the source's
/// stream. `None` while nobody has a copy. The clients' address of the cluster leads to it.
pub fn choose_member<'a, 's>(cluster_view: &'s ClusterView<'a>) -> Option<&'s InstanceView<'a>> {
    let kept = cluster_view.layout.replica_mode.as_ref().and_then(|mode| mode.held_back.as_ref());
    let all = || cluster_view.shards.values().flat_map(|shard| &shard.instances);
    let first = cluster_view.layout.shards.values().next().map(|shard| &shard.founder);
    let kept = all().filter(|one| kept.is_some_and(|kept| kept.instance == *one.name));
    kept.chain(all().filter(|one| Some(one.name) == first)).find(|one| has_copy(one)).or_else(|| {
        all().filter(|one| has_copy(one)).max_by_key(|one| (rank(one), std::cmp::Reverse(one.name)))
    })
}

/// Does its server answer, and hold data that it has not begun to replace?
fn has_copy(one: &InstanceView<'_>) -> bool {
    let holds = |view: &ServerView| {
        view.replication.role() == Role::Primary
            || matches!(view.replication.link(), Some(Link::Up | Link::Lost))
            || view.replication.link() == Some(Link::NeverUp) && view.keys > 0
    };
    !one.instance.is_fenced() && one.view().is_some_and(holds)
}

/// Offsets are of one history: what follows the same source counts as it does. One whose link was never up in this run may hold another
/// history, and comes after all others.
fn rank(one: &InstanceView<'_>) -> Option<(bool, u64)> {
    let replication = &one.view()?.replication;
    Some((replication.link() != Some(Link::NeverUp), replication.offset.0))
}
