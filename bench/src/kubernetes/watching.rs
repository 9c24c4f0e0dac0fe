//! When objects change, by a watch: kubectl alone takes longer to start than most of what is measured.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

/// A watch over objects of a namespace.
pub(super) struct Watching {
    child: Child,
    changes: Receiver<(Instant, String)>,
}

const PATH: &str = r#"jsonpath={.status.phase}{" "}{.status.conditions[?(@.type=="Ready")].status}{"\n"}"#;

impl Watching {
    /// Over its clusters: phase and whether it is ready.
    pub(super) fn clusters(namespace: &str) -> anyhow::Result<Self> {
        Self::start(namespace, &["redisclusters", "-o", PATH])
    }

    /// Over its pods: what happened to which.
    pub(super) fn pods(namespace: &str) -> anyhow::Result<Self> {
        Self::start(namespace, &["pods", "--output-watch-events", "--no-headers"])
    }

    fn start(namespace: &str, what: &[&str]) -> anyhow::Result<Self> {
        let mut child = Command::new("kubectl")
            .args(["-n", namespace, "get", "--watch"])
            .args(what)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .stdin(Stdio::null())
            .spawn()?;
        let (sender, changes) = channel();
        if let Some(stdout) = child.stdout.take() {
            std::thread::spawn(move || {
                for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                    if sender.send((Instant::now(), line)).is_err() {
                        return;
                    }
                }
            });
        }
        Ok(Self { child, changes })
    }

    /// Waits for a line like that, and says when it came.
    pub(super) fn until(&self, like: impl Fn(&str) -> bool, within: Duration) -> anyhow::Result<Instant> {
        let end = Instant::now() + within;
        loop {
            match self.changes.recv_timeout(end.saturating_duration_since(Instant::now())) {
                Ok((at, shown)) if like(&shown) => return Ok(at),
                Ok(_) => {}
                Err(RecvTimeoutError::Timeout) => anyhow::bail!("what was waited for did not come in time"),
                Err(RecvTimeoutError::Disconnected) => anyhow::bail!("the watch ended"),
            }
        }
    }

    /// Forgets what came until now.
    pub(super) fn forget(&self) {
        while self.changes.try_recv().is_ok() {}
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
