//! `apply`: makes the cluster what a manifest says.

use crate::args::{AcceptLoss, Within};
use crate::called::called;
use crate::document::status::Status;
use crate::failure::{Failure, Kind};
use crate::output;
use crate::patience::until_at_rest;
use crate::target::Platform;
use std::path::Path;
use valkeeper_model::{RollWaiting, Waiting};

/// What is waited for after a manifest was applied.
#[derive(Debug, Clone, Copy)]
pub(super) enum WaitFor {
    Nothing,
    Health,
}

pub(super) async fn apply(
    platform: &dyn Platform,
    file: &Path,
    loss: AcceptLoss,
    wait_for: WaitFor,
    within: Within,
) -> anyhow::Result<()> {
    let wanted = platform.manifest(file, loss).await?;
    let mut applied = wanted.apply(within.timeout).await?;
    match wait_for {
        WaitFor::Nothing => {
            eprintln!("applied; `{} status` shows how it goes on", called());
            Ok(())
        }
        WaitFor::Health => {
            let status = until_at_rest(within, async || not_given_up(applied.next().await?)).await?;
            output::text(&applied.settled(status).await?.page())
        }
    }
}

/// What was tried and given up does not become healthy: it is waited only until the cluster is back where it was.
fn not_given_up(status: Status) -> anyhow::Result<Status> {
    let given_up = status.waiting.iter().find_map(|one| match &one.what {
        Waiting::Roll(RollWaiting::RollReturned { why }) => Some(why),
        _ => None,
    });
    match given_up.filter(|_| status.progress.is_empty()) {
        Some(why) => {
            let what = format!("given up, and the cluster has what it had before: {why}");
            Err(Failure::new(Kind::Failed, what, "correct the manifest, or apply the old one").into())
        }
        None => Ok(status),
    }
}
