//! `status`: how the cluster is, once or as it changes.

use crate::args::Format;
use crate::ending::Ending;
use crate::output;
use crate::target::Platform;
use crate::watch::Screen;
use std::time::Duration;

/// The clock goes on although nothing changes.
const TICK: Duration = Duration::from_secs(1);

pub(super) async fn status(platform: &dyn Platform, format: Format) -> anyhow::Result<()> {
    let status = platform.cluster().await?.status().await?;
    output::value(format, &status, || status.page())?;
    status.verdict()
}

pub(super) async fn watch(
    platform: &dyn Platform,
    format: Format,
    ending: &mut Ending,
) -> anyhow::Result<()> {
    let mut watched = platform.cluster().await?.watch_status();
    let mut status = watched.next().await?;
    let mut screen = Screen::open(format, ending)?;
    loop {
        let next = watched.next();
        tokio::pin!(next);
        status = loop {
            screen.show(&status)?;
            tokio::select! {
                next = &mut next => break next?,
                left = screen.is_left_within(TICK) => if left? {
                    return Ok(());
                },
            }
        };
    }
}
