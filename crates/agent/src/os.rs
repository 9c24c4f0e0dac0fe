//! What only some systems have. Linux knows the end of a process at once through a pidfd, also of one that is not our child
//! (an adopted server); elsewhere the process is asked for, which takes up to [`POLL`].

use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use std::io;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::time::Duration;

/// How often a process is asked for where nothing tells of its end.
#[cfg_attr(target_os = "linux", expect(dead_code, reason = "Linux has pidfds"))]
const POLL: Duration = Duration::from_millis(5);

/// A process, told apart from a later one with the same id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ProcessId {
    /// Its id.
    pub pid: u32,
    /// When it started, in the system's own units; zero where the system does not tell.
    pub start_time: u64,
}

fn raw(pid: u32) -> io::Result<Pid> {
    i32::try_from(pid).ok().and_then(Pid::from_raw).ok_or_else(|| io::ErrorKind::InvalidInput.into())
}

/// The process with this id, if there is one that is not a zombie.
pub(crate) fn find(pid: u32) -> Option<ProcessId> {
    test_kill_process(raw(pid).ok()?).ok()?;
    system::start_time(pid).map(|start_time| ProcessId { pid, start_time })
}

/// Is this very process alive?
pub(crate) fn alive(process: ProcessId) -> bool {
    find(process.pid).is_some_and(|found| found.start_time == process.start_time)
}

/// SIGKILL, to this very process only.
pub(crate) fn kill(process: ProcessId) {
    signal(process, Signal::KILL);
}

/// SIGTERM, to this very process only. A stopped one has to go on to see it.
pub(crate) fn terminate(process: ProcessId) {
    signal(process, Signal::TERM);
    signal(process, Signal::CONT);
}

fn signal(process: ProcessId, signal: Signal) {
    if alive(process)
        && let Ok(pid) = raw(process.pid)
    {
        // It may end by itself in between; that is what was wanted.
        let _ = kill_process(pid, signal);
    }
}

/// Is the process working in that directory? `None` where the system does not tell.
pub(crate) fn works_in(pid: u32, dir: &Path) -> Option<bool> {
    let cwd: PathBuf = system::working_directory(pid)?;
    Some(dir.canonicalize().is_ok_and(|dir| dir == cwd))
}

/// How a process ended.
pub(crate) struct End {
    /// In words.
    pub(crate) how: String,
    /// By itself, with an error: its last words say why. A process that was told to end has nothing to say.
    pub(crate) by_itself: bool,
}

/// The process that has this file as its standard output, where the system tells.
pub(crate) fn speaks_to(file: &Path) -> Option<ProcessId> {
    system::with_stdout(&file.canonicalize().ok()?).and_then(find)
}

/// Waits until the process has ended, and says how. Our own children are reaped.
pub(crate) async fn ended(process: ProcessId, child: Option<Child>) -> End {
    system::wait(process).await;
    let Some(mut child) = child else {
        return End {
            how: "how is not known: an earlier supervisor started it".to_owned(),
            by_itself: false,
        };
    };
    // The kernel tells of the end when the process is a zombie: reaping does not wait.
    match child.wait() {
        Ok(status) => {
            let told =
                [Signal::KILL, Signal::TERM].iter().any(|signal| status.signal() == Some(signal.as_raw()));
            End { how: status.to_string(), by_itself: !told && !status.success() }
        }
        Err(error) => End { how: error.to_string(), by_itself: false },
    }
}

#[cfg(target_os = "linux")]
mod system {
    use super::{ProcessId, raw};
    use std::path::{Path, PathBuf};
    use tokio::io::Interest;
    use tokio::io::unix::AsyncFd;

    /// Field 22 of `/proc/PID/stat`, clock ticks since boot; `None` for a zombie, which is no process any more.
    pub(super) fn start_time(pid: u32) -> Option<u64> {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The name, in parentheses, may hold anything.
        let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
        let state = fields.next()?;
        if matches!(state, "Z" | "X") {
            return None;
        }
        fields.nth(18)?.parse().ok()
    }

    pub(super) fn with_stdout(file: &Path) -> Option<u32> {
        let pids = std::fs::read_dir("/proc")
            .ok()?
            .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
        let mut pids = pids;
        pids.find(|pid: &u32| {
            std::fs::read_link(format!("/proc/{pid}/fd/1")).is_ok_and(|stdout| stdout == file)
        })
    }

    pub(super) fn working_directory(pid: u32) -> Option<PathBuf> {
        std::fs::read_link(format!("/proc/{pid}/cwd")).ok()
    }

    pub(super) async fn wait(process: ProcessId) {
        let open = || {
            rustix::process::pidfd_open(raw(process.pid).ok()?, rustix::process::PidfdFlags::NONBLOCK).ok()
        };
        let Some(fd) = open() else { return };
        // The id may have been given to another process before the descriptor was opened.
        if !super::alive(process) {
            return;
        }
        // SAFETY: the descriptor is owned by the `AsyncFd`, so that it stays open for as long as it is registered.
        #[expect(unsafe_code, reason = "tokio has no safe way to register an owned descriptor")]
        let registered = unsafe { AsyncFd::register_with_interest(fd, Interest::READABLE) };
        if let Ok(fd) = registered {
            let _ = fd.readable().await;
        }
    }
}

#[cfg(not(target_os = "linux"))]
mod system {
    use super::{POLL, ProcessId};
    use std::path::{Path, PathBuf};

    pub(super) fn start_time(_pid: u32) -> Option<u64> {
        Some(0)
    }

    pub(super) fn with_stdout(_file: &Path) -> Option<u32> {
        None
    }

    pub(super) fn working_directory(_pid: u32) -> Option<PathBuf> {
        None
    }

    pub(super) async fn wait(process: ProcessId) {
        // A child of ours that ended stays as a zombie until it is reaped, and answers to its id until then.
        while super::alive(process) && !zombie(process.pid) {
            tokio::time::sleep(POLL).await;
        }
    }

    fn zombie(pid: u32) -> bool {
        use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};
        let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) else { return true };
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        matches!(waitid(WaitId::Pid(pid), options), Ok(Some(_)))
    }
}
