//! Carries out what [`Agent`] decides. One task per agent owns the state machine; everything that takes time runs in tasks of
//! its own and comes back as an event.

use crate::copy_files::ServerIs;
use crate::data_dir::Marker;
use crate::os::{self, ProcessId};
use crate::program::Program;
use crate::rotation::Rotation;
use crate::server::ServerHome;
use crate::server_file;
use crate::serving::Serving;
use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::process::Child;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{Notify, mpsc, oneshot};
use valkeeper_client::{AdminConnection, Password};
use valkeeper_model::{
    Activity, AgentOrder, AgentReport, Answer, Ask, AskFailed, CopyRecord, Happened, Incarnation,
    InstanceName, Millis, Process, Role, Unseen,
};
use valkeeper_plan::agent::{Agent, Command, Event, ExitCause, Reply, ServerError, StartPlan, Token};
use valkeeper_plan::safety::start::{Disk, Owner};

/// A future in a box, for traits that are used as objects.
pub type Boxed<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// The other agents.
pub trait Peers: Send + Sync {
    /// Asks one of them. Never takes longer than `within`.
    fn ask(&self, to: &InstanceName, ask: Ask, within: Duration) -> Boxed<Result<Answer, AskFailed>>;
}

/// Where passwords come from: asked again every few seconds, and when a server refuses the last one, since it may have been changed.
pub type Passwords = Arc<dyn Fn() -> std::io::Result<Password> + Send + Sync>;

/// Long enough for a changed password to be everywhere, and for those who use it to hear of it.
pub const PASSWORD_OVERLAP: Duration = Duration::from_secs(600);

/// What an agent needs.
pub struct AgentSetup {
    /// Its instance.
    pub name: InstanceName,
    /// Where its server's files are.
    pub home: ServerHome,
    /// The server program.
    pub program: Arc<Program>,
    /// The password of all servers of the cluster.
    pub passwords: Passwords,
    /// How long a server accepts the former one beside a changed one; [`PASSWORD_OVERLAP`] if nothing speaks against it.
    pub password_overlap: Duration,
    /// The other agents.
    pub peers: Arc<dyn Peers>,
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

enum Input {
    Event(Event),
    Ask(Ask, oneshot::Sender<Result<Answer, AskFailed>>),
    Stop(oneshot::Sender<()>),
    Retire(oneshot::Sender<()>),
    Leave(oneshot::Sender<Option<Instant>>),
}

/// The way to a running agent.
#[derive(Clone)]
pub struct AgentHandle {
    input: mpsc::UnboundedSender<Input>,
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

    /// What it knows, without a look at the server. `None` before its first order.
    pub async fn report(&self, within: Duration) -> Option<AgentReport> {
        match self.ask(Ask::Report { fresh: false }, within).await {
            Ok(Answer::Report(report)) => Some(*report),
            _ => None,
        }
    }
}

/// Starts an agent. A server of its that runs already is taken over as it is.
pub fn spawn(setup: AgentSetup) -> AgentHandle {
    let (sender, receiver) = mpsc::unbounded_channel();
    let runner = Runner::new(setup, sender.clone());
    tokio::spawn(runner.run(receiver));
    AgentHandle { input: sender }
}

struct Runner {
    setup: AgentSetup,
    agent: Agent,
    input: mpsc::UnboundedSender<Input>,
    running: Option<(Incarnation, ProcessId)>,
    serving: Option<Serving>,
    questions: BTreeMap<Token, oneshot::Sender<Result<Answer, AskFailed>>>,
    last_question: u64,
    shown: Option<Shown>,
    stopped: Option<oneshot::Sender<()>>,
}

/// What makes a difference to the controller.
#[derive(PartialEq, Eq)]
struct Shown {
    process: Process,
    role: Option<Role>,
    activity: Activity,
    waiting: bool,
}

impl Runner {
    fn new(setup: AgentSetup, input: mpsc::UnboundedSender<Input>) -> Self {
        let running = setup.home.running();
        let adopted = running.map(|(incarnation, process)| (incarnation, Some(process.pid)));
        let agent = Agent::new(setup.name.clone(), adopted, now(setup.origin));
        let agent = match setup.neighbours {
            Neighbours::SameProcess => agent,
            Neighbours::OwnHosts { lease_until } => {
                let since_origin = |until: Instant| millis(until.saturating_duration_since(setup.origin));
                agent.watching_hosts(lease_until.map(since_origin), now(setup.origin))
            }
        };
        let runner = Self {
            setup,
            agent,
            input,
            running,
            serving: None,
            questions: BTreeMap::new(),
            last_question: 0,
            shown: None,
            stopped: None,
        };
        if let Some((incarnation, process)) = running {
            (runner.setup.record)(Happened::Adopted { instance: runner.setup.name.clone() });
            runner.watch_end(incarnation, process, None);
        }
        runner
    }

    async fn run(mut self, mut receiver: mpsc::UnboundedReceiver<Input>) {
        loop {
            let wake = self.agent.wake_at().map(|at| self.setup.origin + Duration::from_millis(at.0));
            let sleep = async {
                match wake {
                    Some(at) => tokio::time::sleep_until(at.into()).await,
                    None => std::future::pending().await,
                }
            };
            let event = tokio::select! {
                biased;
                input = receiver.recv() => match input {
                    None => return,
                    Some(Input::Event(event)) => event,
                    Some(Input::Ask(ask, reply)) => {
                        self.last_question += 1;
                        let token = Token(self.last_question);
                        self.questions.insert(token, reply);
                        Event::Asked { token, ask }
                    }
                    Some(Input::Stop(done)) => {
                        self.stopped = Some(done);
                        Event::Stop
                    }
                    Some(Input::Retire(done)) => {
                        self.stopped = Some(done);
                        Event::Retire
                    }
                    Some(Input::Leave(done)) => {
                        let until = self.agent.lease_until();
                        let _ = done.send(
                            until.and_then(|until| self.setup.origin.checked_add(Duration::from_millis(until.0))),
                        );
                        return;
                    }
                },
                () = sleep => Event::Tick,
            };
            if let Event::Exited { .. } = &event {
                self.running = None;
                self.serving = None;
            }
            let commands = self.agent.handle(now(self.setup.origin), event);
            for command in commands {
                self.carry_out(command);
            }
            self.show();
            if self.stopped.is_some() && self.running.is_none() && self.agent.at_rest() {
                if let Some(done) = self.stopped.take() {
                    let _ = done.send(());
                }
                return;
            }
        }
    }

    /// Nudges the controller when something has changed that it should see.
    fn show(&mut self) {
        let Some(report) = self.agent.report() else { return };
        let shown = Shown {
            role: report.role(),
            waiting: report.waiting.is_some(),
            process: report.process,
            activity: report.activity,
        };
        if self.shown.as_ref() != Some(&shown) {
            self.shown = Some(shown);
            self.setup.nudge.notify_one();
        }
    }

    fn send(&self, event: Event) {
        let _ = self.input.send(Input::Event(event));
    }

    fn carry_out(&mut self, command: Command) {
        match command {
            Command::Inspect => self.inspect(),
            Command::Keep(record) => self.keep(*record),
            Command::Start(plan) => self.start(&plan),
            Command::Kill(incarnation) => {
                self.running
                    .filter(|(run, _)| *run == incarnation)
                    .inspect(|(_, process)| os::kill(*process));
            }
            Command::Terminate(incarnation) => {
                self.running
                    .filter(|(run, _)| *run == incarnation)
                    .inspect(|(_, process)| os::terminate(*process));
            }
            Command::Serve { token, command, within_ms } => {
                let Some(serving) = self.serving() else {
                    return self
                        .send(Event::Served { token, result: Err(ServerError::Silent(Unseen::NotRunning)) });
                };
                let (input, passwords) = (self.input.clone(), Arc::clone(&self.setup.passwords));
                let within = Duration::from_millis(within_ms);
                tokio::spawn(async move {
                    let result = serving.serve(command, within).await;
                    let (answers, refused) =
                        (matches!(result, Ok(Reply::View(_))), result == Err(ServerError::AuthRefused));
                    if refused && let Ok(password) = passwords() {
                        serving.rotation().refused(password).await;
                    }
                    let _ = input.send(Input::Event(Event::Served { token, result }));
                    if answers {
                        serving.rotation().follow(|| passwords(), within).await;
                    }
                });
            }
            Command::Tell { token, to, ask, within_ms } => {
                let asking = self.setup.peers.ask(&to, ask, Duration::from_millis(within_ms));
                let input = self.input.clone();
                tokio::spawn(async move {
                    let result = asking.await;
                    let _ = input.send(Input::Event(Event::Told { token, result }));
                });
            }
            Command::Answer { token, result } => {
                if let Some(reply) = self.questions.remove(&token) {
                    let _ = reply.send(result);
                }
            }
            Command::Record(happened) => (self.setup.record)(happened),
        }
    }

    fn marker(&self) -> Option<Marker> {
        Some(Marker { cluster: self.agent.cluster()?, instance: self.setup.name.clone() })
    }

    fn inspect(&self) {
        let Some(marker) = self.marker() else { return };
        // A look at a few small files: in place, so that a dead primary's replica is promoted a thread switch sooner.
        let data = self.setup.home.data();
        let found = data.inspect(&marker).map_err(|error| error.to_string());
        let elsewhere =
            self.running.is_some_and(|(_, process)| os::works_in(process.pid, data.path()) == Some(false));
        // Replaced under a running server, which keeps what it writes in the removed one: as good as wiped.
        let found = found.map(|disk| if elsewhere { Disk { owner: Owner::Nobody, ..disk } } else { disk });
        self.send(Event::Inspected(found.map(Box::new)));
    }

    fn keep(&self, record: CopyRecord) {
        let (input, data) = (self.input.clone(), self.setup.home.data());
        let server = if self.running.is_some() { ServerIs::Running } else { ServerIs::Down };
        tokio::task::spawn_blocking(move || {
            let result = data.update_record(&record, server).map_err(|error| error.to_string());
            if let Err(error) = &result {
                tracing::warn!(%error, "cannot write the record of a copy");
            }
            let _ = input.send(Input::Event(Event::Kept { sequence: record.sequence, result }));
        });
    }

    fn start(&mut self, plan: &StartPlan) {
        let Some(marker) = self.marker() else { return };
        let password = match (self.setup.passwords)() {
            Ok(password) => password,
            Err(error) => {
                let detail = format!("the password cannot be read: {error}");
                return self.send(Event::StartFailed(valkeeper_model::StartFailure::DataUnusable { detail }));
            }
        };
        match self.setup.home.start(plan, &self.setup.program, &password, &marker) {
            Ok((incarnation, process, child)) => {
                self.running = Some((incarnation, process));
                self.serving = None;
                self.watch_end(incarnation, process, Some(child));
                self.send(Event::Started { incarnation, pid: Some(process.pid) });
            }
            Err(failure) => self.send(Event::StartFailed(failure)),
        }
    }

    fn watch_end(&self, incarnation: Incarnation, process: ProcessId, child: Option<Child>) {
        let (input, home) = (self.input.clone(), self.setup.home.clone());
        tokio::spawn(async move {
            let end = os::ended(process, child).await;
            let cause = if end.by_itself { home.exit_cause() } else { ExitCause::Other };
            let how = if end.by_itself { home.last_words(Ok(end.how)) } else { end.how };
            let _ = input.send(Input::Event(Event::Exited { incarnation, how, cause }));
        });
    }

    /// The way to the running server, made when first needed: only then is its address known.
    fn serving(&mut self) -> Option<Serving> {
        self.running?;
        if self.serving.is_none() {
            let address = self.agent.address()?.socket();
            let password = (self.setup.passwords)().ok()?;
            let connection = AdminConnection::new(address, Some(password.clone()));
            let started_with = self.setup.home.started_with();
            let rotation = Rotation::new(
                connection.clone(),
                self.setup.name.clone(),
                password,
                server_file::password(&started_with),
                self.setup.password_overlap,
                Arc::clone(&self.setup.record),
            );
            let program = Arc::clone(&self.setup.program);
            self.serving = Some(Serving::new(connection, rotation, program, started_with));
        }
        self.serving.clone()
    }
}

fn now(origin: Instant) -> Millis {
    millis(origin.elapsed())
}

pub(crate) fn millis(time: Duration) -> Millis {
    Millis(u64::try_from(time.as_millis()).unwrap_or(u64::MAX))
}
