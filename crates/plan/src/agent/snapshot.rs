//! When a server writes a snapshot beyond its own save points.
//!
//! A server that comes back continues its primary's stream only if its RDB names a history that the primary still knows: the
//! current one or the one before. Each failover begins a new history, so that after each a snapshot is due; otherwise the
//! second failover of a shard costs a full sync.

use valkeeper_model::{Millis, Persistence, ReplicationId, ServerView};

/// Above this a snapshot costs more than the full sync it may save: left to the save points.
const SMALL_BYTES: u64 = 2 << 30;
/// A failed snapshot (disk full) makes the server refuse writes until one succeeds: tried again this often.
const AGAIN_MS: u64 = 3_000;

/// What has been saved in this run.
#[derive(Debug, Default)]
pub(super) struct Snapshot {
    taken: Option<(ReplicationId, Persistence)>,
    asked_at: Option<Millis>,
}

impl Snapshot {
    /// Is one due? Counts as asked for if so.
    pub(super) fn due(
        &mut self,
        now: Millis,
        view: &ServerView,
        promised: Persistence,
        settled: bool,
    ) -> bool {
        let rested = self.asked_at.is_none_or(|at| now.since(at) >= AGAIN_MS);
        let this = Some((view.replication.replid, promised));
        // Where snapshots are what is promised, the first is due whatever it costs.
        let first_of_kind =
            promised == Persistence::Rdb && self.taken.is_none_or(|(_, before)| before != promised);
        let new_history = self.taken != this && (first_of_kind || view.memory_bytes <= SMALL_BYTES);
        // A new history does not wait: the next death of this shard may come at once.
        let due = view.persistence_failing && rested || settled && new_history;
        if due {
            self.asked_at = Some(now);
            self.taken = this;
        }
        due
    }
}
