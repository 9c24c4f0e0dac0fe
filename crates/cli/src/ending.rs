//! Being told to end.

use anyhow::Context as _;
use std::io;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// SIGINT, SIGTERM or SIGHUP, for commands that run until they are told to end. A terminal that is closed says SIGHUP: a supervisor that
/// it ended would leave its servers to nobody.
pub(crate) struct Ending {
    early: Option<Signal>,
}

impl Ending {
    /// To be the first act of a program, within its runtime. The kernel drops a SIGTERM to process 1 of a container while that has no
    /// handler: a pod that is deleted in the instant it starts would wait for its grace period. Any other process is left to
    /// end by default until its command asks for [`told`](Self::told).
    pub(crate) fn listen() -> io::Result<Self> {
        let first = std::process::id() == 1;
        Ok(Self { early: first.then(|| signal(SignalKind::terminate())).transpose()? })
    }

    /// Completes when it was told, also before this call if this is process 1.
    pub(crate) fn told(&mut self) -> anyhow::Result<impl Future<Output = ()> + use<>> {
        let mut interrupt = signal(SignalKind::interrupt()).context("listen for SIGINT")?;
        let mut hangup = signal(SignalKind::hangup()).context("listen for SIGHUP")?;
        let mut terminate = match self.early.take() {
            Some(early) => early,
            None => signal(SignalKind::terminate()).context("listen for SIGTERM")?,
        };
        Ok(async move {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
                _ = hangup.recv() => {}
            }
        })
    }
}
