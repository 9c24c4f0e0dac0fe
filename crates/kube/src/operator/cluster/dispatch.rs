//! What the watches bring, handed to the cluster it is about.

use super::{ClusterHandle, Context, requests};
use crate::operator::cache::Wished;
use crate::wire::Home;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Starts, tells and ends clusters' tasks.
pub(crate) fn dispatch(context: &Arc<Context>, clusters: &mut BTreeMap<Home, ClusterHandle>, wished: Wished) {
    match wished {
        Wished::Cluster(home, object) => match clusters.get(&home) {
            Some(handle) if !handle.is_over() => handle.changed(*object),
            _ if object.metadata.deletion_timestamp.is_some() => {
                clusters.remove(&home);
            }
            _ => {
                let handle = ClusterHandle::start(Arc::clone(context), home.clone(), *object);
                clusters.insert(home, handle);
            }
        },
        Wished::Gone(home) => {
            clusters.remove(&home);
        }
        Wished::Request(request) => {
            let home = requests::home_of(&request);
            match home.and_then(|home| clusters.get(&home)) {
                Some(handle) => handle.asked(request),
                None => requests::nobody(context.client.clone(), *request),
            }
        }
    }
}
