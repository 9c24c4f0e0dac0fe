//! Do clients find who has moved? Servers send them on by name, and a name follows a pod to its next address only after a while: what
//! watches for pods has to hear of it, and resolvers keep what they know. A pod cannot ask for its own: its hosts file answers that.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::{Notify, Semaphore};
use valkeeper_kube_api::names;
use valkeeper_model::InstanceName;

use crate::wire::Home;

/// A resolver that takes longer does not know it.
const WITHIN: Duration = Duration::from_secs(2);
/// So many right answers in a row: there is more than one resolver, and one of them knows it before the others.
const SURE: u32 = 3;
/// Between two questions: a tenth of the time that it has taken, within these.
const AGAIN: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));
/// Lookups at a time, of all clusters: each takes a thread.
static LOOKUPS: Semaphore = Semaphore::const_new(4);

/// Those of a cluster whose names do not lead to them yet, as far as is known, and their addresses.
#[derive(Debug, Clone, Default)]
pub(crate) struct DnsPropagation(Arc<Mutex<BTreeMap<InstanceName, IpAddr>>>);

impl DnsPropagation {
    pub(crate) fn names(&self) -> BTreeSet<InstanceName> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).keys().cloned().collect()
    }

    /// Holds those for lost that were elsewhere `before`, until they are found; then `found` is notified.
    pub(crate) fn follow(
        &self,
        (home, domain): (&Home, &str),
        before: &BTreeMap<InstanceName, IpAddr>,
        now: &BTreeMap<InstanceName, IpAddr>,
        found: &Arc<Notify>,
    ) {
        for (name, ip) in now {
            if before.get(name).is_none_or(|before| before == ip) {
                continue;
            }
            let mut lost = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            if lost.insert(name.clone(), *ip) == Some(*ip) {
                continue;
            }
            drop(lost);
            let host = names::host(&home.cluster, name, &home.namespace, domain);
            tokio::spawn(self.clone().look(name.clone(), *ip, host, Arc::clone(found)));
        }
    }

    /// Until its name leads there, or it has moved on.
    async fn look(self, name: InstanceName, ip: IpAddr, host: String, found: Arc<Notify>) {
        let since = Instant::now();
        let mut right = 0;
        while right < SURE {
            if self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&name) != Some(&ip) {
                return;
            }
            right = if leads_to(&host, ip).await { right + 1 } else { 0 };
            tokio::time::sleep((since.elapsed() / 10).clamp(AGAIN.0, AGAIN.1)).await;
        }
        let mut lost = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if lost.get(&name) == Some(&ip) {
            lost.remove(&name);
            drop(lost);
            found.notify_one();
        }
    }
}

/// Does who asks for that name find that address?
pub(crate) async fn leads_to(host: &str, ip: IpAddr) -> bool {
    let Ok(_turn) = LOOKUPS.acquire().await else { return false };
    match tokio::time::timeout(WITHIN, tokio::net::lookup_host((host, crate::CLIENT_PORT))).await {
        Ok(Ok(mut addresses)) => addresses.any(|address| address.ip() == ip),
        Ok(Err(_)) | Err(_) => false,
    }
}
