//! `apply`: makes the cluster what a manifest says.

use crate::args::{AcceptLoss, Within};
use crate::called::called;
use crate::output;
use crate::patience::until_healthy;
use crate::target::Platform;
use std::path::Path;

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
            let status = until_healthy(within, async || applied.next().await).await?;
            output::text(&applied.settled(status).await?.page())
        }
    }
}
