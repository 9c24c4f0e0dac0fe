//! Processes: which there are, and signals to them. Linux only, as it reads `/proc`.

use rustix::process::{Pid, kill_process};
use std::path::{Path, PathBuf};

pub use rustix::process::Signal;

/// Sends a signal to a process that may have ended already.
pub fn signal(pid: u32, signal: Signal) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        let _ = kill_process(pid, signal);
    }
}

/// SIGKILL.
pub fn kill(pid: u32) {
    signal(pid, Signal::KILL);
}

/// When a living process started, in ticks since boot; none if there is no such process, or only what is left of one.
pub fn started_at(pid: u32) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    if matches!(fields.next()?, "Z" | "X") {
        return None;
    }
    fields.nth(18)?.parse().ok()
}

/// The process that started it, as long as that lives.
pub fn parent(pid: u32) -> Option<u32> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()
}

/// Does it live?
pub fn alive(pid: u32) -> bool {
    started_at(pid).is_some()
}

/// The arguments a process shows to everybody.
pub fn arguments(pid: u32) -> String {
    let bytes = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    String::from_utf8_lossy(&bytes).replace('\0', " ").trim().to_owned()
}

/// The living processes that work in this folder or have it in their arguments, with those arguments: what was started for
/// the scenario whose folder it is, and nothing else, since the folder's name is drawn at random.
pub fn of_folder(folder: &Path) -> Vec<(u32, String)> {
    let folder = folder.canonicalize().unwrap_or_else(|_| folder.to_owned());
    let works_there = |pid: u32| {
        let cwd: Option<PathBuf> = std::fs::read_link(format!("/proc/{pid}/cwd")).ok();
        cwd.is_some_and(|cwd| cwd.starts_with(&folder))
    };
    all()
        .filter(|pid| *pid != std::process::id() && alive(*pid))
        .map(|pid| (pid, arguments(pid)))
        .filter(|(pid, arguments)| arguments.contains(&*folder.to_string_lossy()) || works_there(*pid))
        .collect()
}

/// Everybody's processes.
pub fn all() -> impl Iterator<Item = u32> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten();
    entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
}
