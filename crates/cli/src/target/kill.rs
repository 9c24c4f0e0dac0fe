//! The end of a server on purpose.

use anyhow::Context as _;

/// As an out-of-memory killer would.
pub(super) fn kill(pid: u32) -> anyhow::Result<()> {
    let pid = rustix::process::Pid::from_raw(i32::try_from(pid)?).context("no process id")?;
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).context("kill the primary")
}
