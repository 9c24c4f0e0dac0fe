//! In mode `sentinel` the agent of the primary has the Sentinels send clients to its server.

use super::Outbox;
use super::ServerCommand;
use super::machine::{Agent, Phase};
use crate::mode::sentinel::{DemotedClients, SentinelWatch, Situation};
use std::collections::BTreeMap;
use valkeeper_model::{InstanceName, Millis, Role, SentinelSeen, ServerView};

/// `CLIENT KILL` is answered within this.
const CLOSE_MS: u64 = 500;

impl Agent {
    /// Time has passed, or the own server is seen in another role.
    pub(super) fn watch_sentinels(&mut self, now: Millis) {
        self.with_sentinels(now, SentinelWatch::tick);
        if self.lets_in_sentinels() {
            self.demoted_clients.seen(now, self.server.known().map(|view| view.replication.role()));
            if self.demoted_clients.take_due(now) {
                self.out.serve(ServerCommand::CloseClients, CLOSE_MS);
            }
        } else {
            self.demoted_clients = DemotedClients::default();
        }
    }

    /// The Sentinels were looked at.
    pub(super) fn sentinels_seen(&mut self, now: Millis, seen: BTreeMap<InstanceName, SentinelSeen>) {
        self.with_sentinels(now, |watch, situation, out| watch.looked(situation, seen, out));
    }

    /// Are Sentinels to log in at the own server?
    pub fn lets_in_sentinels(&self) -> bool {
        self.order.as_ref().is_some_and(|order| order.sentinels.is_some())
    }

    fn with_sentinels(
        &mut self,
        now: Millis,
        event: impl FnOnce(&mut SentinelWatch, &Situation<'_>, &mut Outbox),
    ) {
        let Some(order) = self.order.clone() else { return };
        let Some(told) = &order.sentinels else { return };
        let leads_at = self.address().filter(|_| self.leads()).cloned();
        let situation =
            Situation { now, name: &told.name, sentinels: &told.members, leads_at: leads_at.as_ref() };
        event(&mut self.sentinels, &situation, &mut self.out);
    }

    /// Is the own server the primary by its file, and by its own words? One that hands over, or is about to be put back, sends no clients to
    /// itself.
    fn leads(&self) -> bool {
        let elected = self.terms.known().is_some_and(|known| Some(known.primary) == self.node_id());
        let is_primary = |view: &ServerView| view.replication.role() == Role::Primary;
        elected && matches!(self.phase, Phase::Watching(_)) && self.server.known().is_some_and(is_primary)
    }
}
