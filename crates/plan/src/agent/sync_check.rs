//! Whether a replica has caught up with its primary since it connected last, and holds the same (law 13).

use super::Token;
use super::copy_record::attached;
use super::machine::{Agent, Phase};
use valkeeper_model::{
    Answer, Ask, AskFailed, Happened, InstanceName, Link, Millis, NodeId, Offset, Position, ReplicationId,
    Role, ServerView,
};

/// How long a primary is given to answer how far its stream is, and between two questions.
const ASK_MS: u64 = 250;
/// Comparisons of a replica's keys with its primary's after a start. Under constant writes the two are never seen at one offset.
const COMPARISONS: u32 = 20;

/// A replica's link, watched.
#[derive(Debug, Default)]
pub(super) struct SyncCheck {
    pub(super) caught_up: bool,
    /// It has caught up, and did not hold its primary for failed then. A primary that is back is held for failed for up to twice
    /// `cluster-node-timeout` more, and a replica that takes part in elections meanwhile is elected beside it.
    pub(super) electable: bool,
    /// Whom it has caught up with, or is to.
    follows: Option<NodeId>,
    pub(super) link: Option<Link>,
    pub(super) asked: Option<(Token, Millis)>,
    pub(super) target: Option<Target>,
    pub(super) compared: u32,
    pub(super) comparing: Option<Token>,
    pub(super) primary_keys: Option<(Position, u64)>,
}

/// Where the primary's stream was after our server had connected.
#[derive(Debug, Clone, Copy)]
pub(super) struct Target {
    history: ReplicationId,
    offset: Offset,
    /// The primary shows our server as online.
    online: bool,
}

impl SyncCheck {
    /// What the primary sends is still to come.
    fn begin_anew(&mut self) {
        self.caught_up = false;
        self.target = None;
    }
}

impl Agent {
    pub(super) fn check_sync(&mut self, now: Millis, view: &ServerView) {
        self.check_link(now, view);
        let sync = &mut self.copy_record.sync;
        let doubted = |node| view.failed.contains(&node) || view.suspected.contains(&node);
        sync.electable = sync.caught_up && (sync.electable || !view.primary().is_some_and(doubted));
    }

    fn check_link(&mut self, now: Millis, view: &ServerView) {
        let link = view.replication.link();
        let sync = &mut self.copy_record.sync;
        let before = std::mem::replace(&mut sync.link, link);
        let follows = view.primary();
        if std::mem::replace(&mut sync.follows, follows).is_some_and(|former| Some(former) != follows) {
            sync.begin_anew();
        }
        match link {
            Some(Link::Up) if before == Some(Link::Up) => {}
            // A new connection: what the primary sent meanwhile is still to come.
            Some(Link::Up) => sync.begin_anew(),
            // Whether it had everything when the link broke is what counts for a succession.
            Some(Link::Lost) => return,
            Some(Link::Syncing | Link::NeverUp) | None => {
                sync.begin_anew();
                return;
            }
        }
        if sync.caught_up {
            return;
        }
        // What is to be dropped for its primary's copy is no copy.
        if self.copy_record.resync {
            return;
        }
        if let Some(target) = self.source_target(view) {
            self.copy_record.sync.target = Some(target);
        }
        let sync = &mut self.copy_record.sync;
        sync.caught_up = sync.target.is_some_and(|target| {
            target.online
                && target.history == view.replication.replid
                && target.offset <= view.replication.offset
        });
        if !sync.caught_up {
            self.ask_primary(now, view);
        }
    }

    pub(super) fn ask_primary(&mut self, now: Millis, view: &ServerView) {
        if self.copy_record.sync.asked.is_some_and(|(_, at)| now.since(at) < ASK_MS) {
            return;
        }
        let Some(primary) = self.member_named(view) else { return };
        let token = self.out.tell(&primary, Ask::Replication, ASK_MS);
        self.copy_record.sync.asked = Some((token, now));
    }

    /// Where the stream of the source was at the last look, of a server that follows it: no agent of ours can tell.
    fn source_target(&self, view: &ServerView) -> Option<Target> {
        let source = self.order.as_ref()?.source.as_ref()?.node_id;
        let at = self.source.position().filter(|_| view.primary() == Some(source))?;
        Some(Target { history: at.history, offset: at.offset, online: true })
    }

    fn member_named(&self, view: &ServerView) -> Option<InstanceName> {
        let (name, _) = self.order.as_ref()?.member_with(view.primary()?)?;
        Some(name.clone())
    }

    /// An answer came. True if it was about our server's sync.
    pub(super) fn sync_told(
        &mut self,
        now: Millis,
        token: Token,
        result: &Result<Answer, AskFailed>,
    ) -> bool {
        let sync = &mut self.copy_record.sync;
        if sync.comparing.take_if(|asked| *asked == token).is_some() {
            if let Ok(Answer::Report(report)) = result
                && let Some(view) = report.view()
                && view.replication.role() == Role::Primary
            {
                let at = view.replication.position();
                sync.primary_keys = Some((at, view.keys.saturating_sub(view.expiring_keys)));
            }
        } else if sync.asked.take_if(|(asked, _)| *asked == token).is_some() {
            let Ok(Answer::Replication { replication, standing, .. }) = result else { return true };
            if replication.role() != Role::Primary {
                return true;
            }
            let order = self.order.as_ref();
            let attached = order.and_then(|order| attached(&order.members, replication));
            // Where the primary sees its replicas under other addresses than their own, the offset alone tells.
            let online = attached.is_none_or(|attached| attached.contains(&self.name));
            self.copy_record.sync.target =
                Some(Target { history: replication.replid, offset: replication.offset, online });
            let view = self.server.known().or(self.last_view.as_ref());
            if let Some(sequence) = standing.and_then(|standing| standing.sequence)
                && let Some(primary) = view.and_then(|view| self.member_named(view))
            {
                self.copy_record.seen.insert(primary, sequence);
            }
        } else {
            return false;
        }
        if let Phase::Watching(watch) = &mut self.phase {
            watch.look_within(now, 25);
        }
        true
    }

    /// Two members of a shard that come up from their disks may differ although their offsets are equal: the engine saves the snapshot
    /// of a FLUSHALL under the offset before it (docs/engine-facts.md). Keys without a time to live are counted, since a replica keeps
    /// expired ones that its primary dropped while loading.
    pub(super) fn compare_keys(&mut self, now: Millis, view: &ServerView) {
        let sync = &mut self.copy_record.sync;
        if !sync.caught_up || sync.compared >= COMPARISONS || self.copy_record.resync {
            return;
        }
        let mine = view.replication.position();
        match sync.primary_keys.take() {
            Some((at, keys)) if at == mine => {
                sync.compared = COMPARISONS;
                let own = view.keys.saturating_sub(view.expiring_keys);
                if own != keys {
                    self.out.record(Happened::CopiesDiffer {
                        instance: self.name.clone(),
                        keys: own,
                        primary_keys: keys,
                    });
                    self.copy_record.resync = true;
                    self.copy_record.sync.caught_up = false;
                    self.restart(now);
                }
            }
            _ if sync.comparing.is_none() => {
                sync.compared += 1;
                if let Some(primary) = self.member_named(view) {
                    let token = self.out.tell(&primary, Ask::Report { fresh: true }, ASK_MS);
                    self.copy_record.sync.comparing = Some(token);
                }
            }
            _ => {}
        }
    }
}
