//! Up to where in its stream a server's data has changed. A stream goes on without writes too: a primary sends a `PING` to its replicas every 10 s.

use valkeeper_model::{ChangeCount, Position, ServerView};

/// What is known of the last write.
#[derive(Debug, Default)]
pub(super) struct LastWrite {
    count: Option<ChangeCount>,
    position: Option<Position>,
}

impl LastWrite {
    /// A look at the server: if the count is the same as at the look before, nothing was written in between.
    pub(super) fn saw(&mut self, view: &ServerView) {
        let at = view.replication.position();
        let goes_on = self.position.is_some_and(|last| last.history == at.history);
        if !goes_on || view.changes.is_none() || view.changes != self.count {
            self.position = Some(at);
        }
        self.count = view.changes;
    }

    /// No write was seen after this place of the stream.
    pub(super) fn position(&self) -> Option<Position> {
        self.position
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;
    use std::sync::Arc;
    use valkeeper_model::{NodeId, Offset, Part, Replication, ReplicationId};

    fn view(history: u8, offset: u64, since_save: u64) -> ServerView {
        let replid = ReplicationId::from_bytes([history; 20]);
        let part = Part::Primary { replicas: Vec::new() };
        let replication = Replication { part, replid, offset: Offset(offset) };
        let view =
            ServerView::well(NodeId::from_bytes([1; 20]), "9.1.2", replication, Arc::new(BTreeMap::new()));
        ServerView { changes: Some(ChangeCount { since_save, saved_at: 7 }), ..view }
    }

    #[test]
    fn a_stream_that_goes_on_without_changes_moves_no_write() {
        let mut last = LastWrite::default();
        for (seen, expected) in [
            (view(1, 100, 4), 100),
            (view(1, 114, 4), 100),
            (view(1, 155, 5), 155),
            (view(1, 169, 5), 155),
            // Another history counts anew.
            (view(2, 10, 5), 10),
        ] {
            last.saw(&seen);
            assert_eq!(last.position().unwrap().offset.0, expected);
        }
    }
}
