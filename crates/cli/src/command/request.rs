//! What is asked of a running cluster and is nothing else than that: `switchover`, `failover`, `fence`, `unfence`, `restart`, `forget`.

use super::done;
use crate::ending::Ending;
use crate::target::{Interrupts, Platform};
use std::time::Duration;
use valkeeper_model::Request;

/// A switchover waits for a near moment, a restart for the server to be in sync again.
const REQUEST_WITHIN: Duration = Duration::from_secs(130);

pub(super) async fn request(
    platform: &dyn Platform,
    request: Request,
    ending: &mut Ending,
) -> anyhow::Result<()> {
    let cluster = platform.cluster().await?;
    let before = cluster.status().await?;
    cluster.request(request.clone(), REQUEST_WITHIN, Interrupts::Target(ending)).await?;
    let after = cluster.status().await?;
    eprintln!("{}", done::told(&request, &before, &after));
    Ok(())
}
