//! The controller's loop: one task owns the state machine; everything that takes time comes back as an event.

use crate::ports::{Clock, Platform, Store};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::task::JoinSet;
use valkeeper_model::{Ask, Happened, InstanceName, Layout, Observation, Refusal, Report, Request};
use valkeeper_plan::agent::Token;
use valkeeper_plan::controller::{Command, Controller, Event, Observing};

/// What a user asks, and where the answer goes.
pub type Requests = mpsc::UnboundedReceiver<(Request, oneshot::Sender<Result<(), Refusal>>)>;

/// Takes explanations, with the layout and the observation they are of.
pub type Publish = Arc<dyn Fn(&Layout, Option<&Observation>, Report) + Send + Sync>;

/// A controller with its surroundings.
pub struct Driver {
    /// What decides.
    pub controller: Controller,
    /// Where instances live.
    pub platform: Arc<dyn Platform>,
    /// Where the layout is kept.
    pub store: Arc<dyn Store>,
    /// Takes what happens.
    pub record: Arc<dyn Fn(Happened) + Send + Sync>,
    /// Takes the explanation, the layout it explains and what it was made from.
    pub publish: Publish,
    /// Rung by whoever has news.
    pub nudge: Arc<Notify>,
    /// Rung when instances have got other addresses.
    pub reprovision: Arc<Notify>,
    /// Time.
    pub clock: Clock,
}

impl Driver {
    /// Runs until the spec turns out to be impossible to follow; what it waits for otherwise, it publishes.
    pub async fn run(mut self, mut requests: Requests) -> Refusal {
        let (sender, mut events) = mpsc::unbounded_channel::<Event>();
        let mut asked: BTreeMap<Token, oneshot::Sender<Result<(), Refusal>>> = BTreeMap::new();
        let mut last_request = 0;
        loop {
            let wake = self.controller.wake_at().map(|at| self.clock.at(at));
            let sleep = async {
                match wake {
                    Some(at) => tokio::time::sleep_until(at.into()).await,
                    None => std::future::pending().await,
                }
            };
            let event = tokio::select! {
                Some(event) = events.recv() => event,
                Some((request, reply)) = requests.recv() => {
                    last_request += 1;
                    let token = Token(last_request);
                    asked.insert(token, reply);
                    Event::Asked { token, request }
                }
                () = self.reprovision.notified() => Event::Reprovision,
                () = self.nudge.notified() => Event::Nudged,
                () = sleep => Event::Tick,
            };
            // Who has gone meanwhile does not wait for what is begun next.
            let mut happened: Vec<Event> = asked
                .iter()
                .filter(|(_, reply)| reply.is_closed())
                .map(|(token, _)| Event::Withdrawn { token: *token })
                .collect();
            asked.retain(|_, reply| !reply.is_closed());
            happened.push(event);
            let now = self.clock.now();
            let commands: Vec<Command> =
                happened.into_iter().flat_map(|event| self.controller.handle(now, event)).collect();
            for command in commands {
                match command {
                    Command::Answer { token, result } => {
                        if let Some(reply) = asked.remove(&token) {
                            let _ = reply.send(result);
                        }
                    }
                    Command::GiveUp(refusal) => return refusal,
                    Command::Publish(report) => {
                        if let Some(layout) = self.controller.layout() {
                            (self.publish)(layout, self.controller.observation(), *report);
                        }
                    }
                    other => self.carry_out(other, &sender),
                }
            }
        }
    }

    fn carry_out(&self, command: Command, sender: &mpsc::UnboundedSender<Event>) {
        let sender = sender.clone();
        match command {
            Command::Load => {
                let loading = self.store.load();
                tokio::spawn(async move {
                    sender.send(Event::Loaded(loading.await.map(|stored| stored.map(Box::new))))
                });
            }
            Command::Commit { layout, after } => {
                let committing = self.store.commit(*layout, after);
                tokio::spawn(async move { sender.send(Event::Committed(committing.await)) });
            }
            Command::Provision(layout) => {
                let provisioning = self.platform.provision(&layout);
                tokio::spawn(async move { sender.send(Event::Provisioned(provisioning.await)) });
            }
            Command::Order(order) => self.platform.order(*order),
            Command::Observe { fresh } => {
                let names = self
                    .controller
                    .layout()
                    .map(|layout| layout.instances.keys().cloned().collect())
                    .unwrap_or_default();
                let observing = observe(Arc::clone(&self.platform), self.clock, names, Ask::Report { fresh });
                tokio::spawn(async move { sender.send(Event::Observed(observing.await)) });
            }
            Command::Tell { token, to, ask, within_ms } => {
                let asking = self.platform.ask(&to, ask, Duration::from_millis(within_ms));
                tokio::spawn(async move { sender.send(Event::Told { token, result: asking.await }) });
            }
            Command::Record(happened) => (self.record)(happened),
            Command::Answer { .. } | Command::Publish(_) | Command::GiveUp(_) => {}
        }
    }
}

/// Asks every agent at once. Never fails as a whole.
async fn observe(
    platform: Arc<dyn Platform>,
    clock: Clock,
    names: Vec<InstanceName>,
    ask: Ask,
) -> Observation {
    let mut observing = Observing::begin(clock.now(), names.iter().cloned());
    let mut asked = JoinSet::new();
    for name in names {
        let within = Duration::from_millis(Observing::ANSWER_WITHIN_MS);
        let answer = platform.ask(&name, ask.clone(), within);
        asked.spawn(async move { (name, answer.await) });
    }
    while !observing.unanswered().is_empty() {
        // After a pause of this process answers count that came meanwhile.
        tokio::select! {
            biased;
            Some(Ok((name, answer))) = asked.join_next() => observing.answered(clock.now(), name, answer),
            () = tokio::time::sleep_until(clock.at(observing.wake_at()).into()) => break,
        }
    }
    observing.finish(platform.names_elsewhere(), platform.not_starting())
}
