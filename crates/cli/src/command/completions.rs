//! `completions`: names of clusters, shards and instances are known here alone, so a shell asks this program what may follow.

use crate::output;
use anyhow::Context as _;

/// The lines that a shell takes for that.
pub(super) fn completions(shell: clap_complete::Shell) -> anyhow::Result<()> {
    let name = shell.to_string();
    let shells = clap_complete::env::Shells::builtins();
    let completer = shells.completer(&name).with_context(|| format!("{name} is not supported"))?;
    let program = std::env::current_exe().context("find this program")?;
    let mut text = Vec::new();
    completer.write_registration(
        "COMPLETE",
        "valkeeper",
        "valkeeper",
        &program.to_string_lossy(),
        &mut text,
    )?;
    output::bytes(&text)
}
