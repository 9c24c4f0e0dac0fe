//! What an order changes, and going down on purpose.

use super::Command;
use super::machine::{Agent, Phase, Then};
use std::sync::Arc;
use valkeeper_model::{AgentOrder, Millis, StopsWith};

impl Agent {
    pub(super) fn take_order(&mut self, now: Millis, order: AgentOrder) {
        if order.instance != self.name
            || self.order.as_ref().is_some_and(|last| last.generation > order.generation)
        {
            return;
        }
        let changed = self.order.as_ref().is_some_and(|last| last.config != order.config);
        let other_program = self.order.as_ref().is_some_and(|last| last.version != order.version);
        // What kept the server from starting may be what has changed.
        let again = changed || other_program;
        self.order = Some(Arc::new(order));
        if other_program {
            self.forget_trials();
        }
        if let Phase::RetryAt { until } = &mut self.phase
            && again
        {
            *until = now;
        }
        if let Phase::Watching(watch) | Phase::HandingOver(watch, ..) = &mut self.phase
            && changed
        {
            watch.wanted_changed(now);
        }
        if self.wanted_up() {
            if matches!(self.phase, Phase::Idle) {
                self.waiting = None;
                self.inspect();
            }
            if matches!(self.phase, Phase::Draining(_, _, Then::StayDown)) {
                self.stay();
            }
            if let Phase::Watching(watch) = &mut self.phase {
                watch.look_now(now);
            }
        } else {
            self.come_down(now);
            // The siblings of an instance that stays down ask what its disk holds.
            if matches!(self.phase, Phase::Idle) && self.copy_record.is_unread() {
                self.out.push(Command::Inspect);
            }
        }
    }

    /// Is the shard stopped as a whole? The controller stops a primary when all of its replicas are known to be down.
    fn stops_with_all(&self) -> bool {
        self.order.as_ref().is_some_and(|order| order.stops_with == StopsWith::Shard)
    }

    /// Goes down on purpose, handing over first if that is possible (law 2).
    pub(super) fn come_down(&mut self, now: Millis) {
        match &self.phase {
            Phase::Watching(_) if self.may_hand_over(now) && !self.stops_with_all() => {
                self.hand_over(now, None, Then::StayDown);
            }
            Phase::Watching(_) => self.terminate(now, Then::StayDown),
            Phase::Inspecting | Phase::Consulting(_) | Phase::RetryAt { .. } => self.phase = Phase::Idle,
            Phase::Draining(..) => self.drain_then_stay_down(),
            // A promotion goes on: the shard needs its primary, whatever becomes of us. A start is ended when it is one.
            Phase::Idle
            | Phase::Launching
            | Phase::Promoting(_)
            | Phase::HandingOver(..)
            | Phase::Stopping(_) => {}
        }
    }

    /// The supervisor goes down: all servers do, so that there is nobody to hand over to.
    pub(super) fn stop(&mut self, now: Millis) {
        self.stays_down = true;
        match &mut self.phase {
            Phase::Watching(_) | Phase::HandingOver(..) | Phase::Draining(..) => {
                self.terminate(now, Then::StayDown);
            }
            Phase::Launching => {}
            Phase::Stopping(stop) => stop.then = Then::StayDown,
            _ => self.phase = Phase::Idle,
        }
    }
}
