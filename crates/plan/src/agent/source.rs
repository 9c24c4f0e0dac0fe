//! In a cluster that follows another, an agent looks at the source, has its server follow where the source is, and stands in its place when
//! the cluster is promoted and its server is the designated member: [`crate::replica_mode`].

use super::machine::{Agent, Phase};
use crate::mode::standalone::Terms;
use crate::protocol::{GateSeen, Login};
use crate::replica_mode::{OwnCopy, roles};
use valkeeper_model::nodes_conf::NodesConf;
use valkeeper_model::{
    Address, Link, Millis, Position, Replication, ReplicationId, Role, Source, SourceFault, SourceReport,
    SourceView,
};

impl Agent {
    /// Looks at the source when it is time.
    pub(super) fn watch_source(&mut self, now: Millis) {
        self.look_at_source(now);
        self.promote_if_ordered(now);
    }

    fn look_at_source(&mut self, now: Millis) {
        if let Some(order) = self.order.clone().filter(|order| order.source.is_some()) {
            let copy = self.own_copy();
            self.source.tick(now, &order, copy, &mut self.out);
        }
    }

    pub(super) fn source_wake_at(&self) -> Option<Millis> {
        let follows = self.order.as_ref().is_some_and(|order| order.source.is_some());
        follows.then(|| self.source.wake_at()).flatten()
    }

    /// The source has answered, or not.
    pub(super) fn source_seen(
        &mut self,
        now: Millis,
        of: &Source,
        result: Result<Box<SourceView>, SourceFault>,
        gate: Option<GateSeen>,
    ) {
        let Some(order) = self.order.clone() else { return };
        let was_known = self.source.view().is_some();
        let ours = self.last_view.as_ref().map(|view| view.version.clone());
        self.source.seen(now, of, &order, ours.as_deref(), result.map(|view| *view), gate);
        // What waits for a source goes on once it is seen.
        if !was_known
            && self.source.view().is_some()
            && let Phase::RetryAt { until } = &mut self.phase
        {
            *until = now;
        }
        self.promote_if_ordered(now);
        self.demote_for_source(now);
        if let (Phase::Watching(watch), false) = (&mut self.phase, self.copy_record.caught_up()) {
            watch.look_within(now, 25);
        }
    }

    /// Is the source the primary, by the file of roles? `None` before the file was read.
    fn follows_source(&self) -> Option<bool> {
        let order = self.order.as_ref()?;
        Some(order.source.is_some() && roles::follow_source(self.terms.roles()?, order))
    }

    /// As whom the own server is to follow its primary now; `None` while nobody knows whom it follows.
    pub fn login(&self) -> Option<Login> {
        let order = self.order.as_ref()?;
        if order.source.is_none() {
            return Some(Login::Cluster);
        }
        Some(self.login_with(Some(self.terms.roles()?)))
    }

    /// The same of a server that starts with this file.
    pub(super) fn login_with(&self, roles: Option<&NodesConf>) -> Login {
        let order = self.order.as_ref();
        let source = order.and_then(|order| {
            let source = order.source.as_ref()?;
            roles::follow_source(roles?, order).then(|| source.source.clone())
        });
        source.map_or(Login::Cluster, |source| Login::Source(Box::new(source)))
    }

    /// The file with the source where it was seen; the same if it is there already, or not followed.
    pub(super) fn with_source_address(&self, roles: Option<NodesConf>) -> Option<NodesConf> {
        let order = self.order.as_ref().filter(|order| order.source.is_some());
        let (Some(order), Some(address)) = (order, self.source_address()) else { return roles };
        let current = roles.clone().or_else(|| self.terms.roles().cloned());
        current.and_then(|current| roles::at_address(&current, order, address)).or(roles)
    }

    /// Where the own server's copy is; `None` before the server was looked at in this run. One that has had no link since its start may count
    /// in a history of its own: then its record tells.
    fn own_copy(&self) -> Option<OwnCopy> {
        let view = self.last_view.as_ref()?;
        let Replication { replid, offset, .. } = view.replication;
        let linked = matches!(view.replication.link(), Some(Link::Up | Link::Lost));
        let shown =
            Some(Position { history: replid, offset }).filter(|_| linked && replid != ReplicationId::NONE);
        let position = shown.or_else(|| self.copy_held().histories.last().copied());
        Some(OwnCopy { position, is_empty: view.keys == 0 })
    }

    /// Where the source was seen, if it may be followed there.
    pub(super) fn source_address(&self) -> Option<&Address> {
        self.source.address()
    }

    /// Stands in the source's place if the own server is the designated member of a promotion, and has what the link still gives.
    pub(super) fn promote_if_ordered(&mut self, now: Millis) {
        let ordered = |order: &valkeeper_model::AgentOrder| {
            order.source.as_ref().is_some_and(|source| source.promote.as_ref() == Some(&self.name))
        };
        let ordered = self.order.as_deref().is_some_and(ordered);
        if !ordered || self.follows_source() != Some(true) || self.terms.stands() {
            return;
        }
        let Phase::Watching(watch) = &mut self.phase else { return };
        let Some(view) = self.server.known() else { return };
        if view.replication.role() != Role::Replica {
            return;
        }
        if self.source.may_promote(now, &view.replication) {
            self.with_terms(now, Terms::stand);
        } else {
            watch.look_within(now, 5);
            self.look_at_source(now);
        }
    }

    pub(super) fn source_report(&self) -> Option<Box<SourceReport>> {
        let own = self.server.known().map(|view| &view.replication);
        self.source.report(own).map(Box::new)
    }

    /// A server that begins anew, or that is to follow, needs to know where.
    pub(super) fn waits_for_source(&self, roles: Option<&NodesConf>) -> bool {
        let order = self.order.as_ref();
        let line = order.and_then(|order| {
            let line = roles?.node(order.source.as_ref()?.node_id)?;
            (!line.slots.is_empty()).then_some(line)
        });
        line.is_some_and(|line| line.address.is_none())
    }

    /// Asks the siblings who the primary is: the file names a source that is followed no more.
    pub(super) fn names_former_source(&self) -> bool {
        let Some(order) = self.order.as_ref().filter(|_| self.votes_by_itself()) else { return false };
        let known = self.terms.known().map(|known| known.primary);
        known.is_some_and(|id| order.member_with(id).is_none() && !order.is_source(id))
    }
}
