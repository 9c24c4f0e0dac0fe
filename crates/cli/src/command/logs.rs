//! `logs`: what a server says.

use crate::args::Args;
use crate::called::called;
use crate::failure::{Failure, Kind};
use crate::{output, target};
use anyhow::Context as _;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::time::Duration;
use valkeeper_model::InstanceName;

/// Lines are looked for in so many bytes from the end.
const TAIL: u64 = 1 << 20;

pub(crate) async fn logs(
    args: &Args,
    instance: &InstanceName,
    follow: bool,
    lines: usize,
) -> anyhow::Result<()> {
    let dir = target::cluster(&args.common)?;
    if !dir.layout()?.is_some_and(|layout| layout.instances.contains_key(instance)) {
        let what = format!("there is no instance `{instance}`");
        return Err(Failure::new(Kind::Usage, what, format!("`{} status` lists them", called())).into());
    }
    let path = dir.server(instance).log();
    let mut file = std::fs::File::open(&path).with_context(|| format!("open {}", path.display()))?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(TAIL)))?;
    let mut text = Vec::new();
    file.read_to_end(&mut text)?;
    let text = String::from_utf8_lossy(&text);
    let all: Vec<&str> = text.lines().collect();
    let last = all.get(all.len().saturating_sub(lines)..).unwrap_or_default();
    output::text(&output::lines(last))?;
    if !follow {
        return Ok(());
    }
    loop {
        tokio::time::sleep(Duration::from_millis(200)).await;
        let mut more = Vec::new();
        file.read_to_end(&mut more)?;
        output::text(&String::from_utf8_lossy(&more))?;
    }
}
