//! The last order, kept beside the data it is about, so that an agent that starts anew looks after its server although no
//! controller can be reached.

use std::path::PathBuf;
use valkeeper_agent::{make_private_dir, replace};
use valkeeper_model::AgentOrder;

/// A file with one order.
#[derive(Debug)]
pub(super) struct OrderFile {
    path: PathBuf,
}

impl OrderFile {
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path }
    }

    /// The kept order, if there is one. One that cannot be read is as good as none: the controller sends another.
    pub(super) fn read(&self) -> Option<AgentOrder> {
        let text = std::fs::read(&self.path).ok()?;
        serde_json::from_slice(&text)
            .inspect_err(|error| tracing::warn!(%error, "the kept order cannot be read"))
            .ok()
    }

    /// Keeps it. A disk that is full must not keep an order from being obeyed.
    pub(super) fn keep(&self, order: &AgentOrder) {
        let kept = || {
            if let Some(folder) = self.path.parent() {
                make_private_dir(folder)?;
            }
            replace(&self.path, &serde_json::to_vec(order).map_err(std::io::Error::other)?)
        };
        if let Err(error) = kept() {
            tracing::warn!(%error, "the order cannot be kept");
        }
    }
}
