//! Telling the operator what has changed, at once and until it has heard it. It looks at the instance then; should it not be
//! there, nothing is lost: it looks at everybody when it starts.

use super::setup::PodSetup;
use crate::wire::{Caller, News, Repeat, Who, path};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;
use valkeeper_agent::AgentHandle;
use valkeeper_model::{Epoch, Happened};

/// What happened and was not told yet; the oldest are dropped.
const KEPT: usize = 256;
/// How long the operator may take to hear it.
const WITHIN: Duration = Duration::from_secs(2);
/// Between tries: soon at first, since it may just be starting.
const AGAIN: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// Events that wait to be told.
#[derive(Debug, Default)]
pub(super) struct Kept(Mutex<VecDeque<Happened>>);

impl Kept {
    pub(super) fn add(&self, happened: Happened) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() == KEPT {
            kept.pop_front();
        }
        kept.push_back(happened);
    }

    fn take(&self) -> Vec<Happened> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).drain(..).collect()
    }

    fn put_back(&self, happened: Vec<Happened>) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for one in happened.into_iter().rev() {
            if kept.len() < KEPT {
                kept.push_front(one);
            }
        }
    }
}

/// Tells, for ever.
pub(super) async fn tell(
    setup: Arc<PodSetup>,
    caller: Arc<Caller>,
    agent: AgentHandle,
    kept: Arc<Kept>,
    news: Arc<Notify>,
) {
    loop {
        news.notified().await;
        let mut pause = AGAIN.0;
        loop {
            let primary_of = mandate(&agent).await;
            let happened = kept.take();
            let told = News { ip: setup.ip, pod_uid: setup.pod_uid.clone(), happened, primary_of };
            match send(&setup, &caller, &told).await {
                Ok(()) => break,
                Err(error) => tracing::debug!(%error, "the operator does not hear the news"),
            }
            kept.put_back(told.happened);
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(AGAIN.1);
        }
    }
}

/// Of which term its server is the primary, by the agent's last look.
async fn mandate(agent: &AgentHandle) -> Option<Epoch> {
    let report = agent.report(WITHIN).await?;
    let view = report.view().filter(|view| view.is_shard_primary())?;
    Some(view.myself()?.config_epoch)
}

async fn send(setup: &PodSetup, caller: &Caller, news: &News) -> Result<(), String> {
    let look_up = tokio::net::lookup_host(&setup.operator);
    let found = tokio::time::timeout(WITHIN, look_up).await.map_err(|_| "its name is not found in time")?;
    let at = found.map_err(|error| error.to_string())?.next().ok_or("its name has no address")?;
    caller
        .call(&Who::Controller, at, path::NEWS, news, Repeat::Yes, WITHIN)
        .await
        .map_err(|error| error.to_string())
}
