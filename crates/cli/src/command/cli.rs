//! `cli`: sends commands to the cluster.

use crate::conversation::Asked;
use crate::target::Platform;

pub(super) async fn cli(platform: &dyn Platform, asked: Asked<'_>) -> anyhow::Result<()> {
    platform.cluster().await?.converse(asked).await
}
