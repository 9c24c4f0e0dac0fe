//! A primary on a host of its own refuses writes while it has no lease, and takes them again.

use super::machine::{HostWatch, Run, ShardRole, Situation};
use super::{CONFIRM_MS, Effect, FENCE_AFTER_MS};
use crate::protocol::{Outbox, Reply, ServerCommand, ServerError, Token};
use crate::server::config::{self, Directive};
use valkeeper_model::{AgentOrder, Happened, Millis, Role, ServerView};

/// Before a server that did not take the order to refuse writes is told again.
const FENCE_AGAIN_MS: u64 = 20;
/// How long a server may take to take writes again.
const LIFT_WITHIN_MS: u64 = 2_000;

/// Does the own server refuse writes for want of a lease?
#[derive(Debug, Default)]
pub(super) struct Fence {
    state: State,
    /// The order to take writes again, while it may still overtake one to refuse them.
    lifting: Option<Token>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum State {
    #[default]
    Lifted,
    /// Told to since then; the order is under way.
    Told {
        since: Millis,
        token: Token,
    },
    /// The server did not take the order; it is told again then.
    Again {
        since: Millis,
        at: Millis,
    },
    InForce,
}

impl Fence {
    /// Of a server that is being started.
    pub(super) fn of_a_start(refuses: bool) -> Self {
        Self { state: if refuses { State::InForce } else { State::Lifted }, lifting: None }
    }

    pub(super) fn refuses(&self) -> bool {
        self.state != State::Lifted
    }

    /// Nothing is under way.
    fn is_lifted(&self) -> bool {
        !self.refuses() && self.lifting.is_none()
    }

    pub(super) fn wake_at(&self, held_until: Millis) -> Option<Millis> {
        match self.state {
            State::Lifted => Some(held_until).filter(|until| *until < Millis(u64::MAX)),
            State::Again { at, .. } => Some(at),
            State::Told { since, .. } => Some(since.plus(CONFIRM_MS)),
            State::InForce => None,
        }
    }
}

impl HostWatch {
    /// Is the own server to refuse writes?
    pub(crate) fn refuses_writes(&self) -> bool {
        self.fence.refuses()
    }

    /// Are the directives that refuse writes this machine's alone now, so that how they differ from the order is no drift?
    pub(crate) fn holds_the_fence(&self) -> bool {
        !self.fence.is_lifted()
    }

    /// May the ordinary comparison set this directive? What makes the server refuse writes is set here alone, and not taken back while there
    /// is no lease: the agent's predecessor may have set it.
    pub(crate) fn may_set(&self, directive: &str) -> bool {
        let free = self.fence.is_lifted() && (self.role == ShardRole::Other || self.given);
        free || !config::refuses_writes(directive)
    }

    /// A look has shown the own server's configuration.
    pub(super) fn fence_shown(&mut self, view: &ServerView) {
        let differs = view.config_drift.iter().any(|name| config::refuses_writes(name));
        if self.fence.state == State::InForce && differs {
            self.fence.state = State::Lifted;
        }
    }

    /// Before anything else: a primary whose lease has ended refuses writes. After a time in which the agent was frozen this is the first
    /// thing that is done, whatever comes next.
    pub(crate) fn guard(&mut self, situation: &Situation<'_>, out: &mut Outbox) {
        self.seat_agents(situation);
        let now = situation.now;
        let (holds, given) = (self.holds(now), self.is_given(now));
        if holds {
            self.unheld_since = None;
            self.was_held = true;
        } else {
            self.unheld_since.get_or_insert(now);
        }
        self.given = given;
        if matches!(situation.run, Run::Down | Run::Stopping) {
            return;
        }
        if self.role == ShardRole::Other || given {
            return self.take_writes_again(situation, out);
        }
        if holds {
            return;
        }
        let Some(order) = situation.order else {
            // There is no way to tell a server anything whose address is not known yet.
            return self.effects.push(Effect::Kill);
        };
        match self.fence.state {
            State::Lifted => self.refuse_writes(order, now, now, out),
            // However the server answers: what it has not confirmed by now it may not have done.
            State::Told { since, .. } | State::Again { since, .. } if now.since(since) >= CONFIRM_MS => {
                self.effects.push(Effect::KillUnconfirmed { after_ms: CONFIRM_MS });
            }
            State::Again { since, at } if at <= now => self.refuse_writes(order, now, since, out),
            State::Again { .. } | State::Told { .. } | State::InForce => {}
        }
        self.tell_isolation(situation, out);
    }

    fn refuse_writes(&mut self, order: &AgentOrder, now: Millis, since: Millis, out: &mut Outbox) {
        let wanted = config::refusing_writes(config::directives(&order.config));
        let mut fence: Vec<Directive> =
            wanted.into_iter().filter(|(name, _)| config::refuses_writes(name)).collect();
        // They are set one after the other. This one refuses writes; the other only keeps it from being turned off.
        fence.sort_by_key(|(name, _)| name != config::MIN_REPLICAS);
        let within = CONFIRM_MS.saturating_sub(now.since(since)).max(1);
        let token = out.serve(ServerCommand::Configure(fence), within);
        self.fence.state = State::Told { since, token };
    }

    fn take_writes_again(&mut self, situation: &Situation<'_>, out: &mut Outbox) {
        let Some(order) = situation.order else { return };
        if self.fence.refuses() {
            let ordered = config::directives(&order.config);
            let lift = ordered.into_iter().filter(|(name, _)| config::refuses_writes(name)).collect();
            let lifting = out.serve(ServerCommand::Configure(lift), LIFT_WITHIN_MS);
            self.fence = Fence { state: State::Lifted, lifting: Some(lifting) };
        }
        if std::mem::take(&mut self.told)
            && let Some(shard) = situation.shard()
        {
            out.record(Happened::IsolationEnded { instance: situation.name.clone(), shard });
        }
    }

    /// Told once, and not of a server that has only just been started.
    fn tell_isolation(&mut self, situation: &Situation<'_>, out: &mut Outbox) {
        let Some(shard) = situation.shard() else { return };
        let lasting = self.was_held || situation.now.since(self.role_since) >= 2 * FENCE_AFTER_MS;
        if self.role == ShardRole::Primary && lasting && !self.told {
            self.told = true;
            out.record(Happened::Isolated { instance: situation.name.clone(), shard });
        }
    }

    /// The own server replied to whatever it was told.
    pub(crate) fn server_replied(&mut self, now: Millis, token: Token, result: &Result<Reply, ServerError>) {
        if let Ok(Reply::Replication(seen)) = result
            && seen.role() == Role::Replica
        {
            self.replica_at = Some(now);
        }
        let fence = &mut self.fence;
        if fence.lifting == Some(token) {
            // It may have overtaken the order that came after it.
            fence.state = match fence.state {
                State::Told { since, .. } | State::Again { since, .. } => State::Again { since, at: now },
                State::InForce | State::Lifted => State::Lifted,
            };
            fence.lifting = None;
            return;
        }
        let State::Told { since, token: sent } = fence.state else { return };
        if sent != token {
            return;
        }
        fence.state = match result {
            Ok(_) => State::InForce,
            // What is not loaded yet takes no writes.
            Err(ServerError::Loading) => State::Again { since: now, at: now.plus(FENCE_AGAIN_MS) },
            Err(_) => State::Again { since, at: now.plus(FENCE_AGAIN_MS) },
        };
    }
}
