//! What others have changed at our server: its role, whom it follows, its node id.

use super::Command;
use super::machine::{Agent, Phase, Then};
use crate::failover::restart_decision::{Disk, NodesFile};
use valkeeper_model::nodes_conf::NodeLine;
use valkeeper_model::{Happened, Millis, NodeId, Observed, Role, ServerView, StartFailure, Unseen, Waiting};

/// A rise that was seen so long after somebody was told of it here is that one's: a vote that is lost is repeated for some seconds.
const OURS_MS: u64 = 8_000;

impl Agent {
    /// Tells of a role that was changed, unless that was our doing. The first look at a server compares with nothing.
    pub(super) fn tell_role_by_hand(&mut self, now: Millis, view: &ServerView) {
        let (Some(before), Some(shard)) = (&self.last_view, self.shard()) else { return };
        let instance = self.name.clone();
        let was = before.replication.role();
        let ours = self.promotion_requested_at.is_some_and(|at| now.since(at) < OURS_MS);
        let sibling = |id: NodeId| {
            let order = self.order.as_ref()?;
            let (name, member) = order.member_with(id)?;
            (member.shard == shard).then(|| name.clone())
        };
        let is_source = |id: NodeId| self.order.as_ref().is_some_and(|order| order.is_source(id));
        let happened = match view.replication.role() {
            Role::Primary if was == Role::Replica && view.is_shard_primary() && !ours => {
                let from = before.primary().and_then(sibling);
                Happened::RoseByItself { shard, instance, from }
            }
            Role::Primary if was == Role::Replica && !view.is_shard_primary() => {
                Happened::Rewired { instance, follows: None }
            }
            Role::Replica if view.primary() != before.primary() => match view.primary() {
                Some(primary) if sibling(primary).is_none() && !is_source(primary) => {
                    Happened::Rewired { instance, follows: Some(primary) }
                }
                _ => return,
            },
            Role::Primary | Role::Replica => return,
        };
        self.out.record(happened);
    }

    /// Law 10: what answers with another id is not our server. Nothing is told to it, and nothing believed. It may be ours all the same,
    /// after `CLUSTER RESET HARD`: what lies in its directory tells.
    pub(super) fn saw_another(&mut self, view: &ServerView) {
        let failure = StartFailure::WrongIdentity { found: view.node_id };
        self.waiting = Some(Waiting::StartFailed { instance: self.name.clone(), failure });
        self.server = Observed::Unknown(Unseen::Garbled);
        let holds_nothing = view.keys == 0 && !view.is_shard_primary();
        if holds_nothing && self.stranger != Some(view.node_id) && matches!(self.phase, Phase::Watching(_)) {
            self.stranger = Some(view.node_id);
            self.out.push(Command::Inspect);
        }
    }

    /// The directory was looked at while the server runs: is the one that answers with another id the one that runs in it? It holds
    /// nothing, so that it is started again as who it is, with a nodes.conf that the others tell.
    pub(super) fn restart_if_reset(&mut self, now: Millis) {
        let Some(found) = self.stranger else { return };
        let conf = self.disk.as_ref().map(|disk| &disk.nodes_conf);
        let Some(NodesFile::Intact(conf)) = conf else { return };
        if conf.myself().map(|me: &NodeLine| me.id) == Some(found) && self.wanted_up() {
            self.stranger = None;
            self.out.record(Happened::IdentityReset { instance: self.name.clone(), found });
            self.terminate(now, Then::Restart);
        }
    }

    /// A nodes.conf of another node is none of ours.
    pub(super) fn without_foreign_nodes_conf(&self, disk: Disk) -> Disk {
        let NodesFile::Intact(conf) = &disk.nodes_conf else { return disk };
        let found = conf.myself().map(|me| me.id);
        if found.is_none() || found == self.node_id() {
            return disk;
        }
        Disk { nodes_conf: NodesFile::Damaged("it is of another node id".to_owned()), ..disk }
    }
}
