//! Asking the other agents, at the addresses of the last order. Their certificates say whether they are who is meant.

use crate::wire::{AskOf, Caller, Repeat, Who, path};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;
use valkeeper_agent::{AgentHandle, Boxed, Peers};
use valkeeper_model::{AgentOrder, Answer, Ask, AskFailed, InstanceName, Unseen};

/// Our own agent, once it runs: it asks itself as it asks others.
pub(super) type OwnAgent = Arc<OnceLock<AgentHandle>>;

pub(super) struct PodPeers {
    caller: Arc<Caller>,
    me: InstanceName,
    own: OnceLock<OwnAgent>,
    addresses: Mutex<BTreeMap<InstanceName, SocketAddr>>,
}

impl PodPeers {
    pub(super) fn new(caller: Arc<Caller>, me: InstanceName) -> Self {
        Self { caller, me, own: OnceLock::new(), addresses: Mutex::default() }
    }

    pub(super) fn know_oneself(&self, own: &OwnAgent) {
        let _ = self.own.set(Arc::clone(own));
    }

    /// Uses the addresses of this order from now on.
    pub(super) fn learn(&self, order: &AgentOrder) {
        let addresses = order
            .members
            .iter()
            .filter_map(|(name, member)| {
                let address = member.address.as_ref()?;
                Some((name.clone(), (address.ip, crate::AGENT_PORT).into()))
            })
            .collect();
        *self.addresses.lock().unwrap_or_else(PoisonError::into_inner) = addresses;
    }
}

impl Peers for PodPeers {
    fn ask(&self, to: &InstanceName, ask: Ask, within: Duration) -> Boxed<Result<Answer, AskFailed>> {
        if *to == self.me {
            let own = self.own.get().and_then(|own| own.get()).cloned();
            return Box::pin(async move {
                match own {
                    Some(own) => own.ask(ask, within).await,
                    None => Err(AskFailed::Unseen(Unseen::NotAsked)),
                }
            });
        }
        let address = self.addresses.lock().unwrap_or_else(PoisonError::into_inner).get(to).copied();
        let (caller, to) = (Arc::clone(&self.caller), Who::Agent(to.clone()));
        Box::pin(async move {
            match address {
                Some(address) => ask_agent(&caller, &to, address, ask, within).await,
                None => Err(AskFailed::Unseen(Unseen::NotAsked)),
            }
        })
    }
}

/// Asks an agent over the network.
pub(crate) async fn ask_agent(
    caller: &Caller,
    to: &Who,
    at: SocketAddr,
    ask: Ask,
    within: Duration,
) -> Result<Answer, AskFailed> {
    let within_ms = u64::try_from(within.as_millis()).unwrap_or(u64::MAX);
    let repeat = if ask.may_arrive_twice() { Repeat::Yes } else { Repeat::IfUnsent };
    let answer: Result<Result<Answer, AskFailed>, _> =
        caller.call(to, at, path::ASK, &AskOf { ask, within_ms }, repeat, within).await;
    answer.unwrap_or_else(|error| {
        tracing::debug!(to = to.claim(), %at, %error, "not answered");
        Err(AskFailed::Unseen(error.unseen()))
    })
}
