//! What process 1 owes to processes without a parent: a snapshot's child whose server was killed becomes ours, and stays a
//! zombie until somebody asks how it ended. Only those are asked: the server itself is asked by its own watch.

use rustix::process::{Pid, WaitOptions, getpid, waitpid};
use tokio::signal::unix::{SignalKind, signal};

/// How long somebody else may take to ask.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(2);

/// Asks, for ever.
pub(super) fn reap() -> std::io::Result<()> {
    let mut ended = signal(SignalKind::child())?;
    tokio::spawn(async move {
        while ended.recv().await.is_some() {
            // The watch over the server asks within milliseconds. Who is a zombie for longer is nobody's child but ours.
            let before = zombies();
            tokio::time::sleep(PATIENCE).await;
            for pid in zombies().into_iter().filter(|pid| before.contains(pid)) {
                let _ = waitpid(Some(pid), WaitOptions::NOHANG);
            }
        }
    });
    Ok(())
}

/// Our children that have ended and that nobody has asked.
fn zombies() -> Vec<Pid> {
    let own = getpid().as_raw_nonzero().to_string();
    let Ok(entries) = std::fs::read_dir("/proc") else { return Vec::new() };
    let zombie = |entry: std::fs::DirEntry| {
        let pid: i32 = entry.file_name().to_str()?.parse().ok()?;
        let stat = std::fs::read_to_string(entry.path().join("stat")).ok()?;
        // The name in parentheses may hold anything.
        let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
        (fields.next()? == "Z" && fields.next()? == own).then(|| Pid::from_raw(pid))?
    };
    entries.filter_map(Result::ok).filter_map(zombie).collect()
}
