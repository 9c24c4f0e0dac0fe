//! `connect`: how clients reach the cluster.

use crate::args::Format;
use crate::output;
use crate::target::Platform;

pub(super) async fn connect(platform: &dyn Platform, format: Format) -> anyhow::Result<()> {
    let connection = platform.cluster().await?.connection().await?;
    output::value(format, &connection, || connection.page())
}
