//! What only some systems have. Linux tells the end of a process at once through a pidfd, also of one that is not our child
//! (an adopted server); where it cannot be had, the process is asked for, which takes up to [`POLL`]. What cannot be looked at
//! (no file descriptor left, a system call refused) is not dead: only the system's word that there is no such process is an end.

use rustix::io::Errno;
use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, kill_process, setrlimit, test_kill_process};
use std::io;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus};
use std::time::Duration;

/// How often a process is asked for where nothing tells of its end.
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

/// Takes as many file descriptors as the system grants: with six instances a supervisor needs some forty, and the usual soft
/// limit of 1,024 is used up by a few hundred. Servers inherit the limit, and would raise it themselves.
pub fn raise_file_limit() {
    let limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum
        && let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit })
    {
        tracing::warn!(%error, "the limit of open files stays at {:?}", limit.current);
    }
}

/// How many files this process may have open; `None` without a limit.
pub fn file_limit() -> Option<u64> {
    getrlimit(Resource::Nofile).current
}

fn raw(pid: u32) -> io::Result<Pid> {
    i32::try_from(pid).ok().and_then(Pid::from_raw).ok_or_else(|| io::ErrorKind::InvalidInput.into())
}

/// The process with this id, if there is one that is not a zombie. An error says that nothing is known.
pub(crate) fn find(pid: u32) -> io::Result<Option<ProcessId>> {
    // Any other answer, as of another user's process or a call that is forbidden, is no end: the process's entry tells.
    if test_kill_process(raw(pid)?) == Err(Errno::SRCH) {
        return Ok(None);
    }
    Ok(system::start_time(pid)?.map(|start_time| ProcessId { pid, start_time }))
}

/// Does a process with this id run? One that is past its last instruction does not, although it may still hold files. An error says that
/// nothing is known.
pub fn is_running(pid: u32) -> io::Result<bool> {
    Ok(find(pid)?.is_some())
}

/// Is this very process alive? An error says that nothing is known.
pub(crate) fn alive(process: ProcessId) -> io::Result<bool> {
    Ok(find(process.pid)? == Some(process))
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

/// A process that cannot be looked at now is not signalled: its id may be another's by now. Signals are repeated.
fn signal(process: ProcessId, signal: Signal) {
    if alive(process).is_ok_and(|alive| alive)
        && let Ok(pid) = raw(process.pid)
    {
        // It may end by itself in between; that is what was wanted.
        let _ = kill_process(pid, signal);
    }
}

/// Bytes that the process and its children have caused to be written to disks; `None` where the system does not tell.
pub(crate) fn written(process: ProcessId) -> Option<u64> {
    if !alive(process).ok()? {
        return None;
    }
    system::written(process.pid)
}

/// The command's process is killed when this thread ends, and so when this process does, however it does.
#[cfg(target_os = "linux")]
pub(crate) fn ends_with_us(command: &mut std::process::Command) {
    use rustix::process::{getpid, getppid, set_parent_process_death_signal};
    use std::os::unix::process::CommandExt as _;
    let parent = getpid();
    let set = move || {
        set_parent_process_death_signal(Some(Signal::KILL))?;
        // It may have ended before that.
        if getppid() == Some(parent) { Ok(()) } else { Err(Errno::SRCH.into()) }
    };
    // SAFETY: between fork and exec only system calls are made; nothing is allocated, no lock is taken.
    #[expect(unsafe_code, reason = "the standard library has no safe way to set this in the child")]
    unsafe {
        command.pre_exec(set);
    }
}

/// Elsewhere nothing does that.
#[cfg(not(target_os = "linux"))]
pub(crate) fn ends_with_us(_command: &mut std::process::Command) {}

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

impl End {
    fn told(status: ExitStatus) -> Self {
        let told = [Signal::KILL, Signal::TERM].iter().any(|signal| status.signal() == Some(signal.as_raw()));
        Self { how: status.to_string(), by_itself: !told && !status.success() }
    }
    fn untold(why: &str) -> Self {
        Self { how: format!("how is not known: {why}"), by_itself: false }
    }
}

/// The process that has this file as its standard output, where the system tells.
pub(crate) fn speaks_to(file: &Path) -> io::Result<Option<ProcessId>> {
    let file = match file.canonicalize() {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    system::with_stdout(&file)?.map_or(Ok(None), find)
}

/// What a wait for the end of a process came to.
enum Notice {
    /// It has ended.
    Ended,
    /// Nothing told of its end: look again.
    LookAgain,
}

/// Waits until the process has ended, and says how. Our own children are reaped. Never blocks.
pub(crate) async fn ended(process: ProcessId, mut child: Option<Child>) -> End {
    loop {
        let notice = system::notice(process).await;
        match (child.as_mut().map(Child::try_wait), notice) {
            (Some(Ok(Some(status))), _) => return End::told(status),
            (Some(Err(error)), Notice::Ended) => return End::untold(&error.to_string()),
            (None, Notice::Ended) => return End::untold("an earlier supervisor started it"),
            (Some(Ok(None) | Err(_)), _) | (None, Notice::LookAgain) => tokio::time::sleep(POLL).await,
        }
    }
}

#[cfg(target_os = "linux")]
mod system {
    use super::{Notice, ProcessId, raw};
    use rustix::io::Errno;
    use rustix::process::{PidfdFlags, pidfd_open};
    use std::io;
    use std::path::{Path, PathBuf};
    use tokio::io::Interest;
    use tokio::io::unix::AsyncFd;

    /// `PF_EXITING`: the thread is past its last instruction in user space.
    const EXITING: u64 = 0x4;

    /// SIGKILL among pending signals.
    const KILLED: u64 = 1 << 8;

    /// What `/proc` says of a process or a thread.
    struct Stat {
        state: char,
        flags: u64,
        start_time: u64,
        pending: u64,
    }

    impl Stat {
        /// Does nothing of it run again? So it is with a thread that waits for a disk in the kernel and has SIGKILL pending: when the disk
        /// answers, the thread ends before its next instruction in user space.
        fn is_over(&self) -> bool {
            matches!(self.state, 'Z' | 'X')
                || self.flags & EXITING != 0
                || self.state == 'D' && self.pending & KILLED != 0
        }
    }

    /// `None` if there is no such process.
    fn stat(path: &str) -> io::Result<Option<Stat>> {
        let gone = |error: &io::Error| {
            error.kind() == io::ErrorKind::NotFound
                || error.raw_os_error() == Some(Errno::SRCH.raw_os_error())
        };
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if gone(&error) => return Ok(None),
            Err(error) => return Err(error),
        };
        // The name, in parentheses, may hold anything. The state is field 3, the flags are field 9, the start, in clock ticks
        // since boot, is field 22; the signals that wait for this thread are field 31.
        let fields: Vec<&str> =
            text.rsplit_once(')').map(|(_, rest)| rest.split_whitespace().collect()).unwrap_or_default();
        let number = |index: usize| fields.get(index).and_then(|field| field.parse().ok());
        let state = fields.first().and_then(|field| field.chars().next());
        match (state, number(6), number(19), number(28)) {
            (Some(state), Some(flags), Some(start_time), Some(pending)) => {
                Ok(Some(Stat { state, flags, start_time, pending }))
            }
            _ => Err(io::Error::other(format!("{path} cannot be understood"))),
        }
    }

    /// When it started; `None` if there is no such process, or only what is left of one: a zombie, or one that was killed and
    /// whose threads wait in the kernel for a disk that hangs. Nothing of that runs again.
    pub(super) fn start_time(pid: u32) -> io::Result<Option<u64>> {
        let Some(first) = stat(&format!("/proc/{pid}/stat"))? else { return Ok(None) };
        if !first.is_over() {
            return Ok(Some(first.start_time));
        }
        for thread in std::fs::read_dir(format!("/proc/{pid}/task"))? {
            let path = thread?.path().join("stat");
            if let Some(thread) = stat(&path.to_string_lossy())?
                && !thread.is_over()
            {
                return Ok(Some(first.start_time));
            }
        }
        Ok(None)
    }

    pub(super) fn with_stdout(file: &Path) -> io::Result<Option<u32>> {
        let pids = std::fs::read_dir("/proc")?
            .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok());
        let mut pids = pids;
        Ok(pids
            .find(|pid| std::fs::read_link(format!("/proc/{pid}/fd/1")).is_ok_and(|stdout| stdout == file)))
    }

    pub(super) fn working_directory(pid: u32) -> Option<PathBuf> {
        std::fs::read_link(format!("/proc/{pid}/cwd")).ok()
    }

    pub(super) fn written(pid: u32) -> Option<u64> {
        let of = |pid: u32| -> Option<u64> {
            let text = std::fs::read_to_string(format!("/proc/{pid}/io")).ok()?;
            text.lines().find_map(|line| line.strip_prefix("write_bytes: ")?.parse().ok())
        };
        // The child that writes a snapshot or an AOF anew.
        let children =
            std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
        let children = children.split_whitespace().filter_map(|child| of(child.parse().ok()?));
        Some(of(pid)?.wrapping_add(children.fold(0, u64::wrapping_add)))
    }

    /// Waits for the end as long as a pidfd can be had; answers at once if not.
    pub(super) async fn notice(process: ProcessId) -> Notice {
        let Ok(pid) = raw(process.pid) else { return Notice::Ended };
        let opened = pidfd_open(pid, PidfdFlags::empty());
        // The id may have been given to another process before the descriptor was opened.
        match (super::alive(process), opened) {
            (Ok(false), _) | (_, Err(Errno::SRCH)) => Notice::Ended,
            (Ok(true), Ok(fd)) => {
                // SAFETY: the descriptor is owned by the `AsyncFd`, so that it stays open for as long as it is registered.
                #[expect(unsafe_code, reason = "tokio has no safe way to register an owned descriptor")]
                let registered = unsafe { AsyncFd::register_with_interest(fd, Interest::READABLE) };
                let Ok(fd) = registered else { return Notice::LookAgain };
                if fd.readable().await.is_ok() { Notice::Ended } else { Notice::LookAgain }
            }
            // No descriptor is left, the system has no pidfds, or a filter of system calls forbids them.
            (Err(_), _) | (Ok(true), Err(_)) => Notice::LookAgain,
        }
    }
}

#[cfg(not(target_os = "linux"))]
mod system {
    use super::{Notice, ProcessId};
    use std::io;
    use std::path::{Path, PathBuf};

    pub(super) fn start_time(_pid: u32) -> io::Result<Option<u64>> {
        Ok(Some(0))
    }

    pub(super) fn with_stdout(_file: &Path) -> io::Result<Option<u32>> {
        Ok(None)
    }

    pub(super) fn working_directory(_pid: u32) -> Option<PathBuf> {
        None
    }

    pub(super) fn written(_pid: u32) -> Option<u64> {
        None
    }

    pub(super) async fn notice(process: ProcessId) -> Notice {
        // A child of ours that ended stays as a zombie until it is reaped, and answers to its id until then.
        match super::alive(process) {
            Ok(alive) if !alive || zombie(process.pid) => Notice::Ended,
            _ => Notice::LookAgain,
        }
    }

    fn zombie(pid: u32) -> bool {
        use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};
        let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) else { return true };
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        matches!(waitid(WaitId::Pid(pid), options), Ok(Some(_)))
    }
}
