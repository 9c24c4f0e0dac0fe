//! A replica that follows its primary without knowing where in the stream it is: the primary refused it `psync`, and the engine fell back to
//! the old `SYNC`. Such a link never becomes another one, not even when the right is given back: it has to be made anew
//! (docs/engine-facts.md).

use valkeeper_model::{Link, Millis, ReplicationId, ServerView};

/// How long it is borne first. Each link made anew is a full copy as long as the right is missing, so that it is done later and later.
const FIRST_MS: u64 = 5_000;
/// It is not done less often than that: nobody tells when the right is given back.
const LONGEST_MS: u64 = 300_000;

/// A replica's link, as far as that goes.
#[derive(Debug, Default)]
pub(super) struct Relink {
    /// Since when it is up without a place in the stream.
    since: Option<Millis>,
    /// How often it was made anew for that.
    times: u32,
}

impl Relink {
    /// Is the link to be made anew after a look that found this?
    pub(super) fn due(&mut self, now: Millis, view: &ServerView) -> bool {
        if view.replication.link() != Some(Link::Up) {
            self.since = None;
            return false;
        }
        if view.replication.replid != ReplicationId::NONE {
            *self = Self::default();
            return false;
        }
        let since = *self.since.get_or_insert(now);
        let patience = FIRST_MS.saturating_mul(1 << self.times.min(16)).min(LONGEST_MS);
        if now.since(since) < patience {
            return false;
        }
        self.times += 1;
        self.since = None;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use valkeeper_model::{NodeId, Offset, Part, Replication, Topology};

    fn follows(link: Link, replid: ReplicationId) -> ServerView {
        let replication = Replication { part: Part::Replica { link }, replid, offset: Offset(1) };
        ServerView::well(NodeId::from_bytes([1; 20]), "9.1.2", replication, Arc::new(Topology::new()))
    }

    #[test]
    fn a_link_without_a_place_is_made_anew_later_and_later() {
        let (lost, placed) = (ReplicationId::NONE, ReplicationId::from_bytes([9; 20]));
        let mut relink = Relink::default();
        let mut at = Vec::new();
        for second in 0..60 {
            if relink.due(Millis(second * 1_000), &follows(Link::Up, lost)) {
                at.push(second);
            }
        }
        assert_eq!(at, [5, 16, 37]);
        // One that syncs is on its way, one that has its place is well.
        assert!(!relink.due(Millis(90_000), &follows(Link::Syncing, lost)));
        assert!(!relink.due(Millis(91_000), &follows(Link::Up, placed)));
        assert!(!relink.due(Millis(92_000), &follows(Link::Up, lost)));
        assert!(relink.due(Millis(97_000), &follows(Link::Up, lost)));
    }
}
