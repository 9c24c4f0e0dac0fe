//! What an agent is started with, and the way to a running one.

use crate::os::ProcessId;
use crate::programs::Programs;
use crate::register::Register;
use crate::server::ServerHome;
use std::future::Future;
use std::pin::Pin;
use std::process::Child;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{Notify, mpsc, oneshot};
use valkeeper_client::Password;
use valkeeper_model::{
    AgentOrder, AgentReport, Answer, Ask, AskFailed, Happened, Incarnation, InstanceName, Observed,
    PasswordFault, StartFailure, Unseen,
};
use valkeeper_plan::agent::Event;
use valkeeper_plan::failover::restart_decision::Disk;
use valkeeper_plan::server::rotation::Overlap;

/// A future in a box, for traits that are used as objects.
pub type Boxed<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// The other agents.
pub trait Peers: Send + Sync {
    /// Asks one of them. Never takes longer than `within`.
    fn ask(&self, to: &InstanceName, ask: Ask, within: Duration) -> Boxed<Result<Answer, AskFailed>>;
}

/// Where passwords come from: asked again every few seconds, and when a server refuses the last one, since it may have been changed.
pub type Passwords = Arc<dyn Fn() -> Result<Password, PasswordFault> + Send + Sync>;

/// The passwords in Secrets, by their names.
pub type Secrets = Arc<dyn Fn(&str) -> Result<Password, PasswordFault> + Send + Sync>;

/// Long enough for a changed password to be everywhere, and for those who use it to hear of it.
pub const PASSWORD_OVERLAP: Duration = Duration::from_secs(600);

/// What an agent needs.
pub struct AgentSetup {
    /// Its instance.
    pub name: InstanceName,
    /// Where its server's files are.
    pub home: ServerHome,
    /// The server programs, and what they take.
    pub programs: Arc<Programs>,
    /// The password of all servers of the cluster.
    pub passwords: Passwords,
    /// Other passwords: that of the source, in a cluster that follows one.
    pub secrets: Secrets,
    /// How long a server accepts the former one beside a changed one; [`PASSWORD_OVERLAP`] if nothing speaks against it.
    pub password_overlap: Duration,
    /// The other agents.
    pub peers: Arc<dyn Peers>,
    /// The register of the cluster; `None` on a platform that keeps none.
    pub register: Option<Arc<dyn Register>>,
    /// Takes what happens.
    pub record: Arc<dyn Fn(Happened) + Send + Sync>,
    /// Told when something has changed that the controller should see.
    pub nudge: Arc<Notify>,
    /// The origin of time.
    pub origin: Instant,
    /// Where the other agents are.
    pub neighbours: Neighbours,
}

/// Where the other agents of a cluster are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Neighbours {
    /// In the same process: what ends it ends all of them.
    SameProcess,
    /// Each on a host of its own: they watch each other, since nobody is left to say so when a host is lost.
    OwnHosts {
        /// Until when its server may take writes, by the agent that replaced itself by this one ([`AgentHandle::leave`]).
        lease_until: Option<Instant>,
    },
}

pub(crate) enum Input {
    Event(Event),
    /// The data directory has been looked at.
    Looked(Result<Box<Disk>, String>),
    /// A start came to this.
    Launched(Launched),
    Ask(Ask, oneshot::Sender<Result<Answer, AskFailed>>),
    Stop(oneshot::Sender<()>),
    Retire(oneshot::Sender<()>),
    Leave(oneshot::Sender<Option<Instant>>),
}

/// What a start came to.
pub(crate) enum Launched {
    /// The server was started.
    Started(Run, Child),
    /// It runs already.
    Found(Run),
    /// Not started.
    Failed(StartFailure),
}

/// A server that runs.
pub(crate) struct Run {
    pub(crate) incarnation: Incarnation,
    pub(crate) process: ProcessId,
    /// Passwords that it may accept.
    pub(crate) passwords: Vec<Password>,
    /// It was started to accept two.
    pub(crate) overlap: Option<Overlap<Password>>,
}

impl Run {
    pub(crate) fn new(
        home: &ServerHome,
        incarnation: Incarnation,
        process: ProcessId,
        overlap: Option<Overlap<Password>>,
    ) -> Self {
        Self { incarnation, process, passwords: home.passwords(), overlap }
    }
}

/// The way to a running agent.
#[derive(Clone)]
pub struct AgentHandle {
    pub(crate) input: mpsc::UnboundedSender<Input>,
}

impl AgentHandle {
    /// Hands it an order.
    pub fn order(&self, order: AgentOrder) {
        let _ = self.input.send(Input::Event(Event::Order(Box::new(order))));
    }

    /// Asks it.
    pub async fn ask(&self, ask: Ask, within: Duration) -> Result<Answer, AskFailed> {
        let (reply, answer) = oneshot::channel();
        if self.input.send(Input::Ask(ask, reply)).is_err() {
            return Err(AskFailed::Unseen(Unseen::Unreachable));
        }
        match tokio::time::timeout(within, answer).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => Err(AskFailed::Unseen(Unseen::Unreachable)),
            Err(_) => Err(AskFailed::Unseen(Unseen::Timeout)),
        }
    }

    /// Stops its server in an orderly way and ends it. For when all servers stop.
    pub async fn stop(&self) {
        self.end(Input::Stop).await;
    }

    /// Stops its server and ends it; a primary hands over first, and sends its clients on for a while.
    pub async fn retire(&self) {
        self.end(Input::Retire).await;
    }

    /// Ends it and leaves its server running, for an agent that follows. Answers until when the server may take writes as a primary
    /// without another word from the other agents; `None` if there is no such time.
    pub async fn leave(&self) -> Option<Instant> {
        let (done, left) = oneshot::channel();
        self.input.send(Input::Leave(done)).ok()?;
        left.await.ok()?
    }

    async fn end(&self, how: impl FnOnce(oneshot::Sender<()>) -> Input) {
        let (done, stopped) = oneshot::channel();
        if self.input.send(how(done)).is_ok() {
            let _ = stopped.await;
        }
    }

    /// What it knows, without a look at the server. [`Unseen::NotAsked`] before its first order.
    pub async fn known(&self, within: Duration) -> Observed<AgentReport> {
        match self.ask(Ask::Report { fresh: false }, within).await {
            Ok(Answer::Report(report)) => Observed::Known(*report),
            Err(AskFailed::Unseen(unseen)) => Observed::Unknown(unseen),
            Ok(_) | Err(_) => Observed::Unknown(Unseen::Garbled),
        }
    }

    /// The same; `None` where nothing is known.
    pub async fn report(&self, within: Duration) -> Option<AgentReport> {
        match self.known(within).await {
            Observed::Known(report) => Some(report),
            Observed::Unknown(_) => None,
        }
    }
}
