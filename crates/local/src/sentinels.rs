//! The Sentinels of a cluster of this machine.

use crate::state_dir::ClusterDir;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::task::JoinSet;
use valkeeper_agent::{SentinelHandle, SentinelSetup, Trials};
use valkeeper_model::{Address, Happened, InstanceName, Layout};
use valkeeper_plan::mode::sentinel;

type Kept = BTreeMap<InstanceName, SentinelHandle>;

/// The Sentinels that are kept running.
pub(crate) struct LocalSentinels {
    pub(crate) dir: ClusterDir,
    pub(crate) trials: Arc<Trials>,
    pub(crate) record: Arc<dyn Fn(Happened) + Send + Sync>,
    pub(crate) password_overlap: Duration,
    pub(crate) kept: Mutex<Kept>,
}

impl LocalSentinels {
    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has the Sentinels of the layout run; others that ran are ended.
    pub(crate) fn provide(&self, layout: &Layout, addresses: &BTreeMap<InstanceName, Address>) {
        let wanted = || layout.sentinels.iter().flat_map(|sentinels| sentinels.members.keys());
        let mut kept = self.kept();
        for name in wanted() {
            let handle = kept.entry(name.clone()).or_insert_with(|| self.keep(name));
            if let Some(order) = sentinel::order(layout, addresses, name) {
                handle.order(order);
            }
        }
        kept.retain(|name, handle| {
            let stays = wanted().any(|one| one == name);
            if !stays {
                let handle = handle.clone();
                tokio::spawn(async move { handle.stop().await });
            }
            stays
        });
    }

    fn keep(&self, name: &InstanceName) -> SentinelHandle {
        let dir = self.dir.clone();
        valkeeper_agent::keep_sentinel(SentinelSetup {
            name: name.clone(),
            home: self.dir.server(name),
            trials: Arc::clone(&self.trials),
            passwords: Arc::new(move || dir.wanted_password()),
            record: Arc::clone(&self.record),
            password_overlap: self.password_overlap,
        })
    }

    /// Ends all of them.
    pub(crate) async fn stop(&self) {
        let kept = std::mem::take(&mut *self.kept());
        let stopping: JoinSet<()> =
            kept.into_values().map(|handle| async move { handle.stop().await }).collect();
        stopping.join_all().await;
    }
}
