//! What there is in Kubernetes, by cluster, and the watches that keep it up to date.
//!
//! | file | what |
//! | --- | --- |
//! | `mod.rs` | all clusters, and the nodes that are not ready |
//! | `seen.rs` | what is there of one cluster |
//! | `pod.rs` | what matters of a pod |
//! | `watches.rs` | what changes in Kubernetes |

mod pod;
mod seen;
mod watches;

pub(crate) use pod::{PodSeen, PodState, PodTrouble, has_started, pod_seen};
pub(crate) use seen::{Object, ObjectSeen, Placed, Seen, SeenObjects};
pub use watches::Scope;
pub(crate) use watches::{Watches, Wished};

use crate::wire::Home;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use valkeeper_kube_api::names::LABEL_CLUSTER;

/// What is there of all clusters, and the nodes that are not ready.
#[derive(Debug, Default)]
pub(crate) struct Cache {
    clusters: Mutex<BTreeMap<Home, Arc<Seen>>>,
    silent: Mutex<BTreeSet<String>>,
}

impl Cache {
    /// What is there of one cluster, whether it exists or not.
    pub(crate) fn of(&self, home: &Home) -> Arc<Seen> {
        let mut clusters = self.clusters.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(clusters.entry(home.clone()).or_default())
    }

    /// Nodes that Kubernetes does not hear of.
    pub(crate) fn silent_nodes(&self) -> BTreeSet<String> {
        self.silent.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Kubernetes hears of a node, or does not. Those with pods there tell of it.
    pub(crate) fn saw_node(&self, node: &str, is_silent: bool) {
        let mut silent = self.silent.lock().unwrap_or_else(PoisonError::into_inner);
        let changed = if is_silent { silent.insert(node.to_owned()) } else { silent.remove(node) };
        drop(silent);
        if !changed {
            return;
        }
        let clusters = self.clusters.lock().unwrap_or_else(PoisonError::into_inner);
        let is_there =
            |seen: &&Arc<Seen>| seen.things().pods.values().any(|pod| pod.node.as_deref() == Some(node));
        for seen in clusters.values().filter(is_there) {
            seen.told.notify_one();
        }
    }
}

/// Whose an object is, by its labels.
pub(crate) fn home_of(namespace: Option<&str>, labels: Option<&BTreeMap<String, String>>) -> Option<Home> {
    let cluster = labels?.get(LABEL_CLUSTER)?.parse().ok()?;
    Some(Home { namespace: namespace?.to_owned(), cluster })
}
