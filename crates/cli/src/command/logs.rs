//! `logs`: what a server says.

use crate::output;
use crate::target::{LogPart, Platform};
use valkeeper_model::InstanceName;

pub(super) async fn logs(
    platform: &dyn Platform,
    instance: &InstanceName,
    part: LogPart,
) -> anyhow::Result<()> {
    let mut log = platform.cluster().await?.logs(instance, part).await?;
    while let Some(bytes) = log.next().await? {
        output::bytes(&bytes)?;
    }
    Ok(())
}
