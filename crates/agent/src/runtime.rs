//! Carries out what [`Agent`] decides. One task per agent owns the state machine; everything that takes time runs in tasks of
//! its own and comes back as an event.

mod disk;

use crate::adoption;
use crate::configured::Configured;
use crate::files::{ANSWERS_WITHIN, Files};
use crate::handle::{AgentHandle, AgentSetup, Input, Launched, Neighbours, Run};
use crate::launch::launch;
use crate::os::{self, ProcessId};
use crate::rotation::Rotation;
use crate::sentinel::SentinelLook;
use crate::serving::{Identity, Serving};
use crate::source_look::SourceLook;
use crate::trial::Trials;
use std::collections::BTreeMap;
use std::process::Child;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, oneshot};
use valkeeper_client::AdminConnection;
use valkeeper_model::{
    Activity, Answer, AskFailed, Followed, Happened, Incarnation, InstanceName, Millis, PasswordFault,
    Process, RegisterFault, Role, StartFailure, Trial, Unseen,
};
use valkeeper_plan::agent::{Agent, Command, Event, ExitCause, Reply, ServerError, StartPlan, Token};
use valkeeper_plan::mode::standalone::register::RegisterAsk;
use valkeeper_plan::server::rotation;

/// A start writes a few small files through to the disk; a busy disk takes its time for each.
const STARTS_WITHIN: Duration = Duration::from_secs(5);
/// What is left of a killed process that is still there after this time waits for a disk that hangs.
const DIES_WITHIN: Duration = Duration::from_secs(1);
/// Between two looks at the wanted password while the server is well.
const PASSWORD_EVERY: Duration = Duration::from_secs(2);

/// Starts an agent. A server of its that runs already is taken over as it is.
pub fn spawn(setup: AgentSetup) -> AgentHandle {
    let (sender, mut receiver) = mpsc::unbounded_channel();
    let input = sender.clone();
    tokio::spawn(async move {
        let files = Files::default();
        if let Some(found) = adoption::look(&setup, &files, &mut receiver).await {
            for held in found.held {
                let _ = input.send(held);
            }
            Runner::new(setup, files, input, found.running).run(receiver).await;
        }
    });
    AgentHandle { input: sender }
}

struct Runner {
    setup: AgentSetup,
    agent: Agent,
    files: Files,
    input: mpsc::UnboundedSender<Input>,
    running: Option<Run>,
    serving: Option<Serving>,
    /// The program of the last start.
    trials: Option<Arc<Trials>>,
    /// Of the last run.
    rotation: Option<Rotation>,
    source: SourceLook,
    sentinels: SentinelLook,
    look: Look,
    /// When it is told that the disk does not answer.
    silent_at: Option<Instant>,
    questions: BTreeMap<Token, oneshot::Sender<Result<Answer, AskFailed>>>,
    last_question: u64,
    shown: Option<Shown>,
    /// What the machine knows of the wanted password.
    password_fault: Option<PasswordFault>,
    password_read: Option<Instant>,
    stopped: Option<oneshot::Sender<()>>,
}

/// Looks at the data directory are made one after another, however many are asked for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Look {
    /// None is being made.
    None,
    /// One is.
    One,
    /// One is, and another has been asked for since: what the first finds may be old.
    Another,
}

/// What makes a difference to the controller.
#[derive(PartialEq, Eq)]
struct Shown {
    process: Process,
    role: Option<Role>,
    activity: Activity,
    waiting: bool,
    /// Is there something about its configuration or its password that people should see?
    misconfigured: bool,
    /// Where each Sentinel sends clients.
    sentinels: BTreeMap<InstanceName, Option<Followed>>,
}

impl Runner {
    fn new(
        setup: AgentSetup,
        files: Files,
        input: mpsc::UnboundedSender<Input>,
        running: Option<Run>,
    ) -> Self {
        let adopted = running.as_ref().map(|run| (run.incarnation, Some(run.process.pid)));
        let agent = Agent::new(setup.name.clone(), adopted, now(setup.origin))
            .with_working_config(setup.home.working_config());
        let agent = match setup.neighbours {
            Neighbours::SameProcess => agent,
            Neighbours::OwnHosts { lease_until } => {
                let since_origin = |until: Instant| millis(until.saturating_duration_since(setup.origin));
                let agent = agent.watching_hosts(lease_until.map(since_origin), now(setup.origin));
                if setup.register.is_some() { agent.with_register() } else { agent }
            }
        };
        let runner = Self {
            source: SourceLook::new(Arc::clone(&setup.secrets)),
            sentinels: SentinelLook::new(Arc::clone(&setup.passwords)),
            setup,
            agent,
            files,
            input,
            running,
            serving: None,
            trials: None,
            rotation: None,
            look: Look::None,
            silent_at: None,
            questions: BTreeMap::new(),
            last_question: 0,
            shown: None,
            password_fault: None,
            password_read: None,
            stopped: None,
        };
        if let Some(run) = &runner.running {
            (runner.setup.record)(Happened::Adopted { instance: runner.setup.name.clone() });
            runner.watch_end(run.incarnation, run.process, None);
        }
        runner
    }

    async fn run(mut self, mut receiver: mpsc::UnboundedReceiver<Input>) {
        let mut silent = false;
        loop {
            let wake = self.agent.wake_at().map(|at| self.setup.origin + Duration::from_millis(at.0));
            let event = tokio::select! {
                biased;
                input = receiver.recv() => match input {
                    None => return,
                    Some(Input::Event(event)) => event,
                    Some(Input::Looked(found)) => match self.looked(found) {
                        Some(event) => event,
                        None => continue,
                    },
                    Some(Input::Launched(launched)) => self.launched(launched),
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
                () = until(self.silent_at) => {
                    self.silent_at = None;
                    silent = true;
                    Event::DiskSilent
                }
                () = until(wake) => Event::Tick,
            };
            match &event {
                Event::Exited { incarnation, .. } if self.run_of(*incarnation).is_some() => {
                    self.running = None;
                    self.serving = None;
                }
                Event::Inspected(_) | Event::Started { .. } | Event::Found { .. } | Event::StartFailed(_) => {
                    silent = false;
                }
                _ => {}
            }
            let commands = self.agent.handle(now(self.setup.origin), event);
            for command in commands {
                self.carry_out(command);
            }
            if let Some(rotation) = &self.rotation {
                rotation.logs_in(self.agent.login());
                rotation.lets_in_sentinels(self.agent.lets_in_sentinels());
            }
            self.show();
            // What waits for a disk that does not answer is not waited for.
            if self.stopped.is_some() && self.running.is_none() && (self.agent.at_rest() || silent) {
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
            misconfigured: report.is_misconfigured(),
            sentinels: report.sentinels_led_to(),
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
            Command::Keep(record) => self.keep(*record, None),
            Command::Reclaim(record) => self.keep(*record, self.marker()),
            Command::KeepRoles { number, roles } => self.keep_roles(number, *roles),
            Command::LookAtSource { source, gate, within_ms } => {
                let (look, input) = (self.source.clone(), self.input.clone());
                tokio::spawn(async move {
                    let result = look.look(&source, Duration::from_millis(within_ms)).await.map(Box::new);
                    let gate = match gate {
                        Some(passes) => look.gate(*passes, result.as_deref().ok()).await,
                        None => None,
                    };
                    let _ = input.send(Input::Event(Event::SourceSeen { of: source, result, gate }));
                });
            }
            Command::LookAtSentinels { name, sentinels, within_ms } => {
                let (look, input) = (self.sentinels.clone(), self.input.clone());
                tokio::spawn(async move {
                    let seen = look.look(&name, sentinels, Duration::from_millis(within_ms)).await;
                    let _ = input.send(Input::Event(Event::SentinelsSeen(seen)));
                });
            }
            Command::TellSentinels { announcement, sentinels, within_ms } => {
                let (look, input) = (self.sentinels.clone(), self.input.clone());
                tokio::spawn(async move {
                    let within = Duration::from_millis(within_ms);
                    let seen = look.tell(*announcement, sentinels, within).await;
                    let _ = input.send(Input::Event(Event::SentinelsSeen(seen)));
                });
            }
            Command::Start(plan) => self.start(*plan),
            Command::Kill(incarnation) => self.kill(incarnation),
            Command::Terminate(incarnation) => {
                if let Some(run) = self.run_of(incarnation) {
                    os::terminate(run.process);
                    if let Some(bytes) = os::written(run.process) {
                        self.send(Event::Wrote { incarnation, bytes });
                    }
                    // What it made of the tellings until now. Its disk may hang.
                    let (input, home, files) =
                        (self.input.clone(), self.setup.home.clone(), self.files.clone());
                    tokio::spawn(async move {
                        if files.with(move || home.could_not_save()).await.is_ok_and(|refused| refused) {
                            let _ = input.send(Input::Event(Event::SaveRefused { incarnation }));
                        }
                    });
                }
            }
            Command::Serve { token, command, within_ms } => {
                self.read_password_now_and_then();
                let Some(serving) = self.serving() else {
                    return self
                        .send(Event::Served { token, result: Err(ServerError::Silent(Unseen::NotRunning)) });
                };
                let (input, used) = (self.input.clone(), serving.rotation().used());
                let within = Duration::from_millis(within_ms);
                tokio::spawn(async move {
                    let result = serving.serve(command, within).await;
                    let (answers, refused) =
                        (matches!(result, Ok(Reply::View(_))), result == Err(ServerError::AuthRefused));
                    if refused {
                        serving.rotation().refused(used, within).await;
                    }
                    let _ = input.send(Input::Event(Event::Served { token, result }));
                    if answers {
                        serving.rotation().answers(within).await;
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
            Command::AskRegister { token, ask, within_ms } => {
                self.ask_register(token, *ask, Duration::from_millis(within_ms));
            }
            Command::Answer { token, result } => {
                if let Some(reply) = self.questions.remove(&token) {
                    let _ = reply.send(result);
                }
            }
            Command::Record(happened) => (self.setup.record)(happened),
            Command::Try { about, config, version } => {
                self.read_password();
                let (input, trials) = (self.input.clone(), self.setup.programs.of(version.as_ref()));
                tokio::spawn(async move {
                    let trial = match trials {
                        Ok(trials) => trials.start_with(&config).await,
                        Err(failure) => Trial::Failed { why: failure.to_string() },
                    };
                    let _ = input.send(Input::Event(Event::Tried { about, config, trial }));
                });
            }
            Command::KeepWorkingConfig(config) => self.setup.home.keep_working_config(&config),
        }
    }

    fn ask_register(&self, token: Token, ask: RegisterAsk, within: Duration) {
        let (register, input) = (self.setup.register.clone(), self.input.clone());
        tokio::spawn(async move {
            let result = match register {
                Some(register) => register.ask(ask, within).await,
                None => Err(RegisterFault::None),
            };
            let _ = input.send(Input::Event(Event::RegisterTold { token, result }));
        });
    }

    fn read_password_now_and_then(&mut self) {
        if self.password_read.is_none_or(|at| at.elapsed() >= PASSWORD_EVERY) {
            self.read_password();
        }
    }

    /// Tells the machine when the wanted password cannot be used any more, or can again.
    fn read_password(&mut self) {
        self.password_read = Some(Instant::now());
        let fault = (self.setup.passwords)().err();
        if fault != self.password_fault {
            self.password_fault.clone_from(&fault);
            self.send(Event::Password(fault));
        }
    }

    fn run_of(&self, incarnation: Incarnation) -> Option<&Run> {
        self.running.as_ref().filter(|run| run.incarnation == incarnation)
    }

    fn kill(&self, incarnation: Incarnation) {
        let Some(run) = self.run_of(incarnation) else { return };
        let (process, input) = (run.process, self.input.clone());
        os::kill(process);
        // A process whose disk hangs is killed and not gone: what is left of it waits in the kernel, and nothing of it runs again.
        tokio::spawn(async move {
            // Its threads come to their ends one by one.
            tokio::time::sleep(DIES_WITHIN).await;
            while !matches!(os::alive(process), Ok(false)) {
                tokio::time::sleep(DIES_WITHIN).await;
            }
            let how = "killed; what is left of it waits for its disk".to_owned();
            let _ = input.send(Input::Event(Event::Exited { incarnation, how, cause: ExitCause::Other }));
        });
    }

    fn start(&mut self, plan: StartPlan) {
        let Some(marker) = self.marker() else { return };
        let trials = match self.setup.programs.of(plan.version.as_ref()) {
            Ok(trials) => trials,
            Err(failure) => return self.send(Event::StartFailed(failure)),
        };
        self.trials = Some(Arc::clone(&trials));
        self.silent_at.get_or_insert_with(|| Instant::now() + STARTS_WITHIN);
        let (passwords, files) = (Arc::clone(&self.setup.passwords), self.files.clone());
        let (home, input) = (self.setup.home.clone(), self.input.clone());
        let (last, source) = (self.rotation.clone(), self.source.clone());
        tokio::spawn(async move {
            let program = Arc::clone(trials.program());
            let launch = files
                .with(move || launch(&home, &plan, &program, &passwords, &source, last.as_ref(), &marker));
            let launched = launch.await.unwrap_or_else(|error| {
                Launched::Failed(StartFailure::ProgramUnusable { detail: error.to_string() })
            });
            let _ = input.send(Input::Launched(launched));
        });
    }

    fn launched(&mut self, launched: Launched) -> Event {
        self.silent_at = None;
        let (run, child) = match launched {
            Launched::Failed(failure) => return Event::StartFailed(failure),
            Launched::Started(run, child) => (run, Some(child)),
            Launched::Found(run) => (run, None),
        };
        let (incarnation, pid) = (run.incarnation, Some(run.process.pid));
        let event = if child.is_some() {
            Event::Started { incarnation, pid }
        } else {
            (self.setup.record)(Happened::Adopted { instance: self.setup.name.clone() });
            Event::Found { incarnation, pid }
        };
        self.watch_end(incarnation, run.process, child);
        self.running = Some(run);
        self.serving = None;
        event
    }

    fn watch_end(&self, incarnation: Incarnation, process: ProcessId, child: Option<Child>) {
        let (input, home, files) = (self.input.clone(), self.setup.home.clone(), self.files.clone());
        tokio::spawn(async move {
            let end = os::ended(process, child).await;
            let mut how = end.how;
            let mut cause = ExitCause::Other;
            if end.by_itself {
                let status = how.clone();
                let words = files.with(move || home.ending(status));
                // Its replica does not wait for them.
                if let Ok(Ok(said)) = tokio::time::timeout(ANSWERS_WITHIN, words).await {
                    (how, cause) = said;
                }
            }
            let _ = input.send(Input::Event(Event::Exited { incarnation, how, cause }));
        });
    }

    /// The way to the running server, made when first needed: only then is its address known.
    fn serving(&mut self) -> Option<Serving> {
        let run = self.running.as_ref()?;
        if self.serving.is_none() {
            let address = self.agent.address()?;
            let own = self.setup.home.own_directives(address);
            let machine = rotation::Rotation::new(
                self.setup.name.clone(),
                millis(self.setup.password_overlap).0,
                (self.setup.passwords)().ok(),
                run.passwords.clone(),
                run.overlap.clone(),
            )?;
            let connection = AdminConnection::new(address.socket(), Some(machine.used().clone()));
            let rotation = Rotation::new(
                connection.clone(),
                machine,
                &self.setup,
                self.source.clone(),
                self.files.clone(),
            );
            let ordered = || self.agent.current_order().and_then(|order| order.version.clone());
            let trials = self.trials.clone().or_else(|| self.setup.programs.of(ordered().as_ref()).ok());
            let trials = trials.unwrap_or_else(|| Arc::clone(self.setup.programs.default_program()));
            let configured = Configured::new(trials, self.setup.home.clone(), own, self.setup.origin);
            rotation.logs_in(self.agent.login());
            self.rotation = Some(rotation.clone());
            let identity = self.agent.given_identity().map_or(Identity::Engine, Identity::Given);
            self.serving = Some(Serving::new(connection, rotation, configured, identity));
        }
        self.serving.clone()
    }
}

/// Until then, or for ever.
async fn until(time: Option<Instant>) {
    match time {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}

pub(crate) fn now(origin: Instant) -> Millis {
    millis(origin.elapsed())
}

fn millis(time: Duration) -> Millis {
    Millis(u64::try_from(time.as_millis()).unwrap_or(u64::MAX))
}
