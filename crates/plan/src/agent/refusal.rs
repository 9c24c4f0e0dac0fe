//! A primary on a host of its own refuses writes while it has no lease (see [`crate::hostwatch::rule`]), and takes them again.

use super::machine::{Agent, Phase};
use super::neighbours::{Part, Refusing};
use super::{Reply, ServerCommand, ServerError, Token};
use crate::hostwatch::rule::{CONFIRM_MS, FENCE_AFTER_MS};
use crate::server::config::{self, Directive};
use valkeeper_model::{Happened, Millis, Role};

/// Before a server that did not take the order to refuse writes is told again.
const FENCE_AGAIN_MS: u64 = 20;
/// How long a server may take to take writes again.
const LIFT_WITHIN_MS: u64 = 2_000;

impl Agent {
    /// What is wanted of our server's configuration now.
    pub(super) fn wanted_config(&self) -> Option<Vec<Directive>> {
        let order = self.order.as_ref()?;
        let mut ordered = config::directives(&order.config);
        // The engine's own election must not promote a replica that has not caught up (law 13).
        let replica = self.server.known().is_some_and(|view| view.replication.role() == Role::Replica);
        if replica && !self.keeper.sync.electable {
            config::set(&mut ordered, config::NO_FAILOVER, "yes");
        }
        let refuses = self.neighbours.as_ref().is_some_and(|neighbours| neighbours.refuses());
        Some(if refuses { config::refusing_writes(ordered) } else { ordered })
    }

    /// May the ordinary comparison set this directive? What makes the server refuse writes is set here alone, and not taken back
    /// while there is no lease: our predecessor may have set it.
    pub(super) fn may_set(&self, directive: &str) -> bool {
        let Some(neighbours) = &self.neighbours else { return true };
        let settled = !neighbours.refuses() && neighbours.lifting.is_none();
        settled && (neighbours.part == Part::Other || neighbours.given) || !config::refuses_writes(directive)
    }

    /// Before anything else: a primary whose lease has ended refuses writes. After a time in which we were frozen this is the first
    /// thing that is done, whatever comes next.
    pub(super) fn guard(&mut self, now: Millis) {
        let running = self.incarnation().filter(|_| !matches!(self.phase, Phase::Stopping(_)));
        let has_order = self.order.is_some();
        let Some(neighbours) = &mut self.neighbours else { return };
        let (holds, given) = (neighbours.holds(now), neighbours.is_given(now));
        if holds {
            neighbours.unheld_since = None;
            neighbours.was_held = true;
        } else {
            neighbours.unheld_since.get_or_insert(now);
        }
        neighbours.given = given;
        if running.is_none() {
            return;
        }
        if neighbours.part == Part::Other || given {
            return self.take_writes_again();
        }
        if holds {
            return;
        }
        if !has_order {
            // There is no way to tell a server anything whose address is not known yet.
            return self.kill(now);
        }
        match neighbours.refusing {
            Refusing::No => self.refuse_writes(now, now),
            Refusing::Again { since, .. } if now.since(since) >= CONFIRM_MS => {
                self.kill_silent(now, CONFIRM_MS);
            }
            Refusing::Again { since, at } if at <= now => self.refuse_writes(now, since),
            Refusing::Again { .. } | Refusing::Told { .. } | Refusing::Yes => {}
        }
        self.tell_isolation(now);
    }

    fn refuse_writes(&mut self, now: Millis, since: Millis) {
        let Some(order) = &self.order else { return };
        let wanted = config::refusing_writes(config::directives(&order.config));
        let fence = wanted.into_iter().filter(|(name, _)| config::refuses_writes(name)).collect();
        let within = CONFIRM_MS.saturating_sub(now.since(since)).max(1);
        let token = self.out.serve(ServerCommand::Configure(fence), within);
        if let Some(neighbours) = &mut self.neighbours {
            neighbours.refusing = Refusing::Told { since, token };
        }
    }

    fn take_writes_again(&mut self) {
        let Some(order) = self.order.clone() else { return };
        let Some(neighbours) = &mut self.neighbours else { return };
        if neighbours.refuses() {
            let ordered = config::directives(&order.config);
            let lift = ordered.into_iter().filter(|(name, _)| config::refuses_writes(name)).collect();
            neighbours.refusing = Refusing::No;
            neighbours.lifting = Some(self.out.serve(ServerCommand::Configure(lift), LIFT_WITHIN_MS));
        }
        if std::mem::take(&mut neighbours.told)
            && let Some(shard) = self.shard()
        {
            self.out.record(Happened::IsolationEnded { instance: self.name.clone(), shard });
        }
    }

    /// Told once, and not of a server that has only just been started.
    fn tell_isolation(&mut self, now: Millis) {
        let Some(shard) = self.shard() else { return };
        let instance = self.name.clone();
        let Some(neighbours) = &mut self.neighbours else { return };
        let lasting = neighbours.was_held || now.since(neighbours.part_since) >= 2 * FENCE_AFTER_MS;
        if neighbours.part == Part::Primary && lasting && !neighbours.told {
            neighbours.told = true;
            self.out.record(Happened::Isolated { instance, shard });
        }
    }

    /// Our server replied to an order to refuse writes, or to take them again.
    pub(super) fn refusal_served(&mut self, now: Millis, token: Token, result: &Result<Reply, ServerError>) {
        let Some(neighbours) = &mut self.neighbours else { return };
        if let Ok(Reply::Replication(seen)) = result
            && seen.role() == Role::Replica
        {
            neighbours.replica_at = Some(now);
        }
        if neighbours.lifting == Some(token) {
            neighbours.lifting = None;
            // It may have overtaken the order that came after it.
            if let Refusing::Told { since, .. } | Refusing::Again { since, .. } = neighbours.refusing {
                neighbours.refusing = Refusing::Again { since, at: now };
            } else if neighbours.refuses() {
                neighbours.refusing = Refusing::No;
            }
            return;
        }
        let Refusing::Told { since, token: sent } = neighbours.refusing else { return };
        if sent != token {
            return;
        }
        neighbours.refusing = match result {
            Ok(_) => Refusing::Yes,
            // What is not loaded yet takes no writes.
            Err(ServerError::Loading) => Refusing::Again { since: now, at: now.plus(FENCE_AGAIN_MS) },
            Err(_) => Refusing::Again { since, at: now.plus(FENCE_AGAIN_MS) },
        };
    }

    /// Our server is being started as that. Returns whether it is to refuse writes from the first moment.
    pub(super) fn starts_as(&mut self, now: Millis, primary: bool) -> bool {
        let Some(neighbours) = &mut self.neighbours else { return false };
        if primary {
            neighbours.becomes(Part::Primary, now);
        } else {
            neighbours.becomes(Part::Other, now);
            neighbours.witness.follows();
            neighbours.replica_at = Some(now);
        }
        let refuses = primary && !neighbours.holds(now);
        neighbours.refusing = if refuses { Refusing::Yes } else { Refusing::No };
        neighbours.lifting = None;
        refuses
    }

    /// The cluster is founded just now.
    pub(super) fn founds(&mut self, now: Millis) {
        if let Some(neighbours) = &mut self.neighbours {
            neighbours.witness.founded(now);
        }
    }

    /// Our server has been succeeded.
    pub(super) fn was_succeeded(&mut self, now: Millis) {
        if let Some(neighbours) = &mut self.neighbours {
            neighbours.becomes(Part::Other, now);
        }
    }

    /// Our server has ended.
    pub(super) fn refuses_no_more(&mut self) {
        if let Some(neighbours) = &mut self.neighbours {
            neighbours.refusing = Refusing::No;
            neighbours.lifting = None;
            neighbours.accusation = None;
        }
    }
}
