//! What others may ask of the agent. The controller may ask anything; another agent only what agents ask each other.

use super::agent_upgrade;
use super::order_file::OrderFile;
use super::peers::PodPeers;
use super::setup::PodSetup;
use super::source_password::KeptPassword;
use crate::wire::{About, Answered, AskOf, Handler, Who, path};
use bytes::Bytes;
use hyper::StatusCode;
use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::watch;
use valkeeper_agent::AgentHandle;
use valkeeper_agent::metrics_endpoint::Told;
use valkeeper_model::{Address, AgentOrder, Answer, Ask, AskFailed, Generation, ShardName};

/// Nobody may make the agent wait for longer.
const LONGEST_WAIT: Duration = Duration::from_secs(150);

pub(super) struct AgentServer {
    pub(super) setup: Arc<PodSetup>,
    pub(super) agent: AgentHandle,
    pub(super) peers: Arc<PodPeers>,
    pub(super) order_file: Arc<OrderFile>,
    pub(super) source_password: Arc<KeptPassword>,
    pub(super) replaced: watch::Sender<Option<PathBuf>>,
    /// The last order's generation, held while one is taken, so that files and addresses are of the same order.
    pub(super) ordering: Mutex<Option<Generation>>,
    /// The instance's shard, by the last order.
    pub(super) shard: Mutex<Option<ShardName>>,
}

impl AgentServer {
    /// Takes an order, unless it is older than the last.
    pub(super) fn take_order(&self, mut order: AgentOrder) {
        let mut last = self.ordering.lock().unwrap_or_else(PoisonError::into_inner);
        if order.instance != self.setup.instance || last.is_some_and(|last| last > order.generation) {
            return;
        }
        *last = Some(order.generation);
        // Where we are we know better than anybody: the order may have been written before the pod was started again.
        let own = Address { ip: self.setup.ip, port: crate::CLIENT_PORT, bus_port: crate::BUS_PORT };
        if let Some(myself) = Arc::make_mut(&mut order.members).get_mut(&self.setup.instance) {
            myself.address = Some(own);
            *self.shard.lock().unwrap_or_else(PoisonError::into_inner) = Some(myself.shard.clone());
        }
        self.order_file.keep(&order);
        self.source_password.forget_unless_used(&order);
        self.peers.learn(&order);
        self.agent.order(order);
    }

    /// The instance, for its metrics.
    pub(super) fn told(&self) -> Told {
        Told {
            cluster: self.setup.home.cluster.clone(),
            name: self.setup.instance.clone(),
            shard: self.shard.lock().unwrap_or_else(PoisonError::into_inner).clone(),
            agent: self.agent.clone(),
        }
    }

    async fn ask(&self, from: &Who, asked: AskOf) -> Result<Answer, AskFailed> {
        if !may_ask(from, &asked.ask) {
            return Err(AskFailed::Refused(format!("{} may not ask that", from.claim())));
        }
        self.agent.ask(asked.ask, Duration::from_millis(asked.within_ms).min(LONGEST_WAIT)).await
    }
}

/// What another agent may ask: what a promotion, a handover and a start need.
fn may_ask(from: &Who, ask: &Ask) -> bool {
    match (from, ask) {
        (Who::Controller, _)
        | (
            Who::Agent(_),
            Ask::Report { .. }
            | Ask::Replication
            | Ask::Force { .. }
            | Ask::Succeed { .. }
            | Ask::Flush
            | Ask::ConfirmDown { .. }
            | Ask::Term { .. },
        ) => true,
        // A heartbeat renews a lease, and a vote makes a primary: nobody asks for one for somebody else.
        (
            Who::Agent(name),
            Ask::Heartbeat { from: whose, .. }
            | Ask::Renew { from: whose, .. }
            | Ask::Vote { candidate: whose, .. },
        ) => name == whose,
        (
            Who::Agent(_),
            Ask::Takeover { .. }
            | Ask::HandOver { .. }
            | Ask::Restart
            | Ask::Try { .. }
            | Ask::Kill
            | Ask::AcceptLoss
            | Ask::Follow { .. }
            | Ask::Meet { .. }
            | Ask::TakeSlots { .. }
            | Ask::MoveSlots { .. }
            | Ask::Forget { .. },
        ) => false,
    }
}

impl Handler for AgentServer {
    fn answer(
        self: Arc<Self>,
        from: Who,
        path: String,
        body: Bytes,
    ) -> Pin<Box<dyn Future<Output = Answered> + Send>> {
        Box::pin(async move {
            match (path.as_str(), &from) {
                (path::ASK, _) => match serde_json::from_slice::<AskOf>(&body) {
                    Ok(asked) => Answered::json(&self.ask(&from, asked).await),
                    // A newer version's question. It is told so, and does without.
                    Err(_) => Answered::json(&Err::<Answer, _>(AskFailed::Refused(
                        "this agent does not know what is asked".to_owned(),
                    ))),
                },
                (path::ORDER, Who::Controller) => match serde_json::from_slice(&body) {
                    Ok(order) => {
                        self.take_order(order);
                        Answered::json(&())
                    }
                    Err(error) => {
                        tracing::warn!(%error, "an order that cannot be understood");
                        Answered::status(StatusCode::BAD_REQUEST)
                    }
                },
                (path::SOURCE_PASSWORD, Who::Controller) => {
                    if let Ok(told) = serde_json::from_slice(&body) {
                        self.source_password.learn(told);
                        Answered::json(&())
                    } else {
                        // Without the error, which may quote the password.
                        tracing::warn!("a password of the source that cannot be understood");
                        Answered::status(StatusCode::BAD_REQUEST)
                    }
                }
                (path::ABOUT, Who::Controller) => Answered::json(&About {
                    version: env!("CARGO_PKG_VERSION").to_owned(),
                    program: agent_upgrade::own_digest().unwrap_or_default(),
                }),
                (path::PROGRAM, Who::Controller) => match agent_upgrade::place(&body) {
                    Ok(program) => {
                        self.replaced.send_replace(Some(program));
                        Answered::json(&())
                    }
                    Err(error) => {
                        tracing::warn!(%error, "the program that was sent cannot be used");
                        Answered::status(StatusCode::UNPROCESSABLE_ENTITY)
                    }
                },
                _ => Answered::status(StatusCode::NOT_FOUND),
            }
        })
    }
}
