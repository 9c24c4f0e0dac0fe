//! Do clients find a new cluster by its names? Servers send them on by name, and a name of another DNS domain than that of this
//! Kubernetes leads nowhere, however healthy the servers are.

use super::propagation::leads_to;
use crate::wire::Home;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};
use tokio::sync::Notify;
use valkeeper_kube_api::names;
use valkeeper_model::{InstanceName, Waiting};

/// A name should lead to a new pod by then: DNS servers remember for some seconds that there was none.
const WITHIN: Duration = Duration::from_secs(30);
/// Between two questions: a tenth of the time that it has taken, within these.
const AGAIN: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

/// The instances of a cluster that were seen to come to be, each looked for once.
#[derive(Debug, Default)]
pub(crate) struct NewNames(Arc<Mutex<New>>);

#[derive(Debug, Default)]
struct New {
    addresses: BTreeMap<InstanceName, IpAddr>,
    looked_for: BTreeSet<InstanceName>,
    unknown: BTreeMap<InstanceName, String>,
}

impl New {
    /// Whether its name leads to it; true if that is news.
    fn learn(&mut self, name: &InstanceName, host: &str, leads: bool, since: Duration) -> bool {
        if leads {
            self.unknown.remove(name).is_some()
        } else {
            since >= WITHIN && self.unknown.insert(name.clone(), host.to_owned()).is_none()
        }
    }
}

impl NewNames {
    fn things(&self) -> std::sync::MutexGuard<'_, New> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Those that clients do not find.
    pub(crate) fn waiting(&self) -> Vec<Waiting> {
        let unknown = self.things().unknown.clone();
        unknown.into_iter().map(|(instance, host)| Waiting::NameUnknown { instance, host }).collect()
    }

    /// Looks for those that were nowhere `before`; `told` is notified of what comes of it.
    pub(crate) fn follow(
        &self,
        (home, domain): (&Home, &str),
        before: &BTreeMap<InstanceName, IpAddr>,
        now: &BTreeMap<InstanceName, IpAddr>,
        told: &Arc<Notify>,
    ) {
        let mut new = self.things();
        new.addresses.clone_from(now);
        for name in now.keys().filter(|name| !before.contains_key(*name)) {
            if new.looked_for.insert(name.clone()) {
                let host = names::host(&home.cluster, name, &home.namespace, domain);
                tokio::spawn(look(Arc::downgrade(&self.0), name.clone(), host, Arc::clone(told)));
            }
        }
    }
}

/// Until its name leads to where it is, or the cluster is not looked after any more.
async fn look(new: Weak<Mutex<New>>, name: InstanceName, host: String, told: Arc<Notify>) {
    let since = Instant::now();
    loop {
        let address = |new: Arc<Mutex<New>>| {
            new.lock().unwrap_or_else(PoisonError::into_inner).addresses.get(&name).copied()
        };
        let Some(ip) = new.upgrade().and_then(address) else { return };
        let leads = leads_to(&host, ip).await;
        let Some(new) = new.upgrade() else { return };
        if new.lock().unwrap_or_else(PoisonError::into_inner).learn(&name, &host, leads, since.elapsed()) {
            told.notify_one();
        }
        if leads {
            return;
        }
        drop(new);
        tokio::time::sleep((since.elapsed() / 10).clamp(AGAIN.0, AGAIN.1)).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_leads_nowhere_is_told_after_a_while_and_until_it_does() {
        let named = NewNames::default();
        let name: InstanceName = "demo-1".parse().unwrap();
        let learn = |leads, since| named.things().learn(&name, "demo-1.elsewhere", leads, since);
        assert!(!learn(false, Duration::from_secs(1)));
        assert_eq!(named.waiting(), []);
        assert!(learn(false, WITHIN));
        assert!(!learn(false, WITHIN), "told once");
        assert!(named.waiting()[0].to_string().contains("demo-1.elsewhere"));
        assert!(learn(true, WITHIN));
        assert_eq!(named.waiting(), []);
    }
}
