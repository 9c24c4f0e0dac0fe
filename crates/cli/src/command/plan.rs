//! `plan`: what a manifest would change.

use crate::args::{AcceptLoss, Format};
use crate::output;
use crate::target::Platform;
use std::path::Path;
use valkeeper_model::ZoneName;

pub(super) async fn plan(
    platform: &dyn Platform,
    file: &Path,
    (zones, loss): (&[ZoneName], AcceptLoss),
    format: Format,
) -> anyhow::Result<()> {
    let plan = platform.manifest(file, loss).await?.plan(zones).await?;
    for harm in &plan.above_limit {
        eprintln!("warning: {harm}");
    }
    output::value(format, &plan, || plan.page())
}
