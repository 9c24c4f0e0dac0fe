//! On a host of its own an agent runs a [`crate::hostwatch`] machine beside its own state: here the two meet.

use super::machine::{Agent, Phase};
use super::{Outbox, Token};
use crate::failover::promotion::Promotion;
use crate::hostwatch::{Adopted, Effect, HostWatch, Run, Situation};
use crate::server::config;
use std::collections::BTreeSet;
use valkeeper_model::{
    Answer, AskFailed, Epoch, InstanceName, LeaseSeats, Millis, NodeId, Process, Renewals, SeenPosition,
    ServerView, Waiting,
};

impl Agent {
    /// The same agent on a host of its own: it and the others watch each other, and a primary that a majority does not hear
    /// refuses writes (see [`crate::hostwatch`]). Say so before the first event. `lease_until`: what the agent of the running
    /// server left when it replaced itself by this one.
    #[must_use]
    pub fn watching_hosts(mut self, lease_until: Option<Millis>, now: Millis) -> Self {
        let adopted = self.incarnation().map(|_| Adopted { lease_left: lease_until });
        self.host_watch = Some(Box::new(HostWatch::new(adopted, now)));
        self
    }

    /// The same on a platform that keeps a register, in a mode in which agents vote.
    #[must_use]
    pub fn with_register(mut self) -> Self {
        if let Some(watch) = &mut self.host_watch {
            watch.has_a_register();
        }
        self
    }

    /// Until when its server may take writes as a primary without another answer of a voter, to be left to the agent that replaces it;
    /// `None` if it is no primary. Past, if it has to refuse them.
    pub fn lease_until(&self) -> Option<Millis> {
        self.host_watch.as_ref()?.lease_until()
    }

    pub(super) fn situation(&self, now: Millis) -> Situation<'_> {
        let run = match (&self.process, &self.phase) {
            (Process::Down, _) => Run::Down,
            (Process::Running { .. }, Phase::Stopping(_)) => Run::Stopping,
            (Process::Running { .. }, Phase::Watching(_)) => Run::Watched,
            (Process::Running { .. }, _) => Run::HandingOver,
        };
        Situation {
            now,
            name: &self.name,
            order: self.order.as_deref(),
            last_view: self.last_view.as_ref(),
            seen_at: self.seen_at,
            run,
            stays_down: self.stays_down,
            vote: self.votes_by_itself().then(|| self.terms.kept()),
        }
    }

    /// Lets the host watch take an event, and does to the own server what follows. `None` without a host watch.
    pub(super) fn with_host_watch<T>(
        &mut self,
        now: Millis,
        event: impl FnOnce(&mut HostWatch, &Situation<'_>, &mut Outbox) -> T,
    ) -> Option<T> {
        let mut watch = self.host_watch.take()?;
        let mut out = std::mem::take(&mut self.out);
        let result = event(&mut watch, &self.situation(now), &mut out);
        let effects = watch.take_effects();
        self.out = out;
        self.host_watch = Some(watch);
        for effect in effects {
            self.do_to_server(now, effect);
        }
        Some(result)
    }

    fn do_to_server(&mut self, now: Millis, effect: Effect) {
        match (effect, &mut self.phase) {
            (Effect::Kill, _) => self.kill(now),
            (Effect::KillUnconfirmed { after_ms }, _) => self.kill_silent(now, after_ms),
            (Effect::AskRegister(wish), _) => self.ask_register(now, &wish),
            (Effect::LookNow, Phase::Watching(watch)) => watch.look_now(now),
            (Effect::LookWithin { ms }, Phase::Watching(watch)) => watch.look_within(now, ms),
            (Effect::LookNow | Effect::LookWithin { .. }, _) => {}
        }
    }

    /// Before anything else: a primary whose lease has ended refuses writes.
    pub(super) fn guard(&mut self, now: Millis) {
        self.with_host_watch(now, HostWatch::guard);
    }

    /// After everything else.
    pub(super) fn watch_hosts(&mut self, now: Millis) {
        self.guard(now);
        self.with_host_watch(now, HostWatch::tick);
    }

    /// What the own server says of itself and of the others.
    pub(super) fn host_watch_saw(&mut self, now: Millis, view: &mut ServerView) {
        let holds_the_fence = self.with_host_watch(now, |watch, situation, _| {
            watch.saw(situation, view);
            watch.holds_the_fence()
        });
        if holds_the_fence == Some(true) {
            view.config_drift.retain(|name| !config::refuses_writes(name));
        }
    }

    /// Another agent answered. True if the question was the host watch's.
    pub(super) fn host_watch_told(
        &mut self,
        now: Millis,
        token: Token,
        result: &Result<Answer, AskFailed>,
    ) -> bool {
        let answered =
            self.with_host_watch(now, |watch, situation, out| watch.answered(situation, token, result, out));
        answered == Some(true)
    }

    /// Another agent says that it lives, and where its server's stream is.
    pub(super) fn heartbeat_came(
        &mut self,
        now: Millis,
        from: &InstanceName,
        position: Option<SeenPosition>,
    ) -> Result<Answer, AskFailed> {
        let came = self.with_host_watch(now, |watch, situation, _| {
            watch.position_came(situation, from, position);
            watch.heartbeat_came(situation, from)
        });
        came.ok_or_else(watches_no_hosts)
    }

    /// Where the stream of its server's primary was, as that one's agent told it last.
    pub(super) fn primary_position(&self) -> Option<SeenPosition> {
        self.host_watch.as_ref()?.primary_position(&self.situation(self.now))
    }

    /// Another agent asks to renew the lease of its server.
    pub(super) fn asked_to_renew(
        &mut self,
        now: Millis,
        from: &InstanceName,
        term: Epoch,
        position: Option<SeenPosition>,
        seats: LeaseSeats,
    ) -> Result<Answer, AskFailed> {
        let renewed = self.with_host_watch(now, |watch, situation, _| {
            watch.position_came(situation, from, position);
            watch.renew(situation, from, term, seats)
        });
        renewed.flatten().ok_or_else(watches_no_hosts)
    }

    /// The members whose leases have ended, as far as they rest on this agent's answers.
    pub(super) fn missed(&self, now: Millis) -> BTreeSet<NodeId> {
        self.host_watch.as_ref().map(|watch| watch.missed(&self.situation(now))).unwrap_or_default()
    }

    /// The same of the leases that rest on the register.
    pub(super) fn unchanged(&self, now: Millis) -> Option<Renewals> {
        self.host_watch.as_ref()?.unchanged(&self.situation(now))
    }

    /// May its server take writes for so long from now on?
    pub(super) fn leads_for(&self, now: Millis, ms: u64) -> bool {
        self.host_watch.as_ref().is_none_or(|watch| watch.holds_for(now, ms))
    }

    /// Another agent asks how long this primary has not been heard.
    pub(super) fn confirm_down(&mut self, now: Millis, primary: &InstanceName) -> Result<Answer, AskFailed> {
        self.with_host_watch(now, |watch, situation, _| watch.confirm_down(situation, primary))
            .unwrap_or_else(|| Err(watches_no_hosts()))
    }

    /// The promotion under way in place of a primary that is not heard.
    pub(super) fn replacing(&self) -> Option<&Promotion> {
        self.host_watch.as_ref()?.replacing()
    }

    pub(super) fn host_watch_waiting(&self) -> Option<Waiting> {
        self.host_watch.as_ref()?.waiting(&self.situation(self.seen_at))
    }

    pub(super) fn host_watch_wake_at(&self) -> Option<Millis> {
        self.host_watch.as_ref()?.wake_at(&self.situation(self.seen_at))
    }
}

fn watches_no_hosts() -> AskFailed {
    AskFailed::Refused("it watches no other hosts".to_owned())
}
