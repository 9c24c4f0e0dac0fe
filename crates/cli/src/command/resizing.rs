//! `replace` and `zone`: where instances are.

use super::done;
use crate::args::ResizeCommand;
use crate::ending::Ending;
use crate::output;
use crate::patience::until_at_rest;
use crate::target::{Interrupts, Platform};
use std::time::Duration;

/// The layout is changed at once; what follows on it goes on by itself.
const REQUEST_WITHIN: Duration = Duration::from_secs(30);

pub(super) async fn resizing(
    platform: &dyn Platform,
    command: &ResizeCommand,
    ending: &mut Ending,
) -> anyhow::Result<()> {
    let cluster = platform.cluster().await?;
    let before = cluster.status().await?;
    let request = command.request();
    cluster.request(request.clone(), REQUEST_WITHIN, Interrupts::Target(ending)).await?;
    let Some(within) = command.waits() else {
        let after = cluster.status().await?;
        eprintln!("{}", done::told(&request, &before, &after));
        return Ok(());
    };
    let mut looks = cluster.watch_status();
    let status = until_at_rest(within, async || looks.next().await).await?;
    output::text(&status.page())
}
