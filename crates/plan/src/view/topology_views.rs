//! What servers believe the cluster to be. Servers that agree share one topology, so that each is examined once, however many
//! hold it: a look at 3,000 servers is 3,000 nodes to examine, not nine million.

use crate::view::cluster_view::{ClusterView, InstanceView};
use std::collections::BTreeMap;
use std::sync::Arc;
use valkeeper_model::{ServerView, Topology};

/// The distinct topologies of all views.
#[derive(Debug)]
pub struct TopologyViews<'a> {
    distinct: Vec<&'a Topology>,
    /// Where each one is in memory, and its number: views that agree mostly share theirs. Looked up only, never walked:
    /// addresses differ from run to run.
    known: BTreeMap<usize, usize>,
}

impl<'a> TopologyViews<'a> {
    /// Of everything that was seen.
    pub fn of(cluster_view: &ClusterView<'a>) -> Self {
        let mut beliefs = Self { distinct: Vec::new(), known: BTreeMap::new() };
        for view in
            cluster_view.shards.values().flat_map(|shard| &shard.instances).filter_map(InstanceView::view)
        {
            let place = place(&view.topology);
            if beliefs.known.contains_key(&place) {
                continue;
            }
            let topology = &*view.topology;
            let equal = beliefs.distinct.iter().position(|known| *known == topology);
            let number = equal.unwrap_or_else(|| {
                beliefs.distinct.push(topology);
                beliefs.distinct.len() - 1
            });
            beliefs.known.insert(place, number);
        }
        beliefs
    }

    /// Something that is to be known of each topology, worked out once for each.
    pub fn each<T>(&self, examine: impl FnMut(&'a Topology) -> T) -> Examined<'_, T> {
        Examined { known: &self.known, findings: self.distinct.iter().copied().map(examine).collect() }
    }
}

/// What was found out about each topology.
#[derive(Debug)]
pub struct Examined<'b, T> {
    known: &'b BTreeMap<usize, usize>,
    findings: Vec<T>,
}

impl<T> Examined<'_, T> {
    /// About that of this view; `None` if the view was not there to be seen.
    pub fn of(&self, view: &ServerView) -> Option<&T> {
        self.known.get(&place(&view.topology)).and_then(|number| self.findings.get(*number))
    }

    /// The same, to add to.
    pub fn of_mut(&mut self, view: &ServerView) -> Option<&mut T> {
        self.known.get(&place(&view.topology)).and_then(|number| self.findings.get_mut(*number))
    }

    /// About all of them.
    pub fn all(&self) -> impl Iterator<Item = &T> {
        self.findings.iter()
    }
}

fn place(topology: &Arc<Topology>) -> usize {
    Arc::as_ptr(topology).addr()
}
