//! One process that looks after one local cluster: the controller, an agent for each instance, and a socket to ask it.

use crate::control::{self, ControlAnswer, ControlRequest, Seen};
use crate::event_log::{EventLine, EventLog};
use crate::forwarder::Guide;
use crate::lock::Lock;
use crate::metrics::MetricsAddress;
use crate::platform::LocalPlatform;
use crate::ports;
use crate::register::FileRegister;
use crate::sentinels::LocalSentinels;
use crate::state_dir::{ClusterDir, StateDir, StateError};
use crate::store::FileStore;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::io::BufReader;
use tokio::net::{TcpListener, UnixStream};
use tokio::sync::{Notify, broadcast, mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use valkeeper_agent::{Program, Programs, Trials, metrics_endpoint};
use valkeeper_engine::{Clock, Driver, RandomIds};
use valkeeper_model::{
    ClusterSpec, Happened, InstanceName, Refusal, Report, Request, ServerVersion, ZoneName,
};
use valkeeper_plan::controller::Controller;
use valkeeper_plan::placement::resize::zones_of;

/// A client of the socket must have said what it wants by then.
const ASK_WITHIN: Duration = Duration::from_secs(5);

/// What a supervisor needs.
#[derive(Debug)]
pub struct SupervisorSetup {
    /// Where everything is kept.
    pub state: StateDir,
    /// The wanted cluster.
    pub spec: ClusterSpec,
    /// The zones to spread it over.
    pub zones: Vec<ZoneName>,
    /// The server program, where no image decides.
    pub program: Program,
    /// What decides about the program.
    pub chosen_by: ProgramChoice,
    /// Move all instances to ports from here on.
    pub base_port: Option<u16>,
    /// How long servers accept the former password beside a changed one.
    pub password_overlap: Duration,
    /// Where to serve the instances' metrics, if anywhere.
    pub metrics: Option<MetricsAddress>,
}

/// What decides about the server program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProgramChoice {
    /// The manifest's image, if it names one.
    Manifest,
    /// It was named beside the manifest, whose image says nothing then.
    Named,
}

/// Why a supervisor ended, other than by being told to.
#[derive(Debug, thiserror::Error)]
pub enum SupervisorError {
    /// The state cannot be used.
    #[error(transparent)]
    State(#[from] StateError),
    /// The socket cannot be made.
    #[error("cannot listen for commands at {path}: {source}")]
    Socket {
        /// Where.
        path: std::path::PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Metrics cannot be served where they are wanted.
    #[error("cannot serve metrics at {address}: {source}")]
    Metrics {
        /// Where.
        address: MetricsAddress,
        /// Why.
        source: std::io::Error,
    },
    /// The spec cannot be followed.
    #[error("{0}")]
    Refused(#[from] Refusal),
}

/// Events that a listener may be behind.
const EVENTS_KEPT: usize = 1_024;

/// What a supervisor shows while it runs.
#[derive(Debug)]
pub struct Watching {
    /// The newest report.
    pub report: watch::Receiver<Option<Report>>,
    /// Events as they happen.
    pub events: broadcast::Receiver<EventLine>,
    /// Where metrics are served, if anywhere.
    pub metrics: Option<SocketAddr>,
}

type Wish = (Request, oneshot::Sender<Result<(), Refusal>>);

/// A supervisor that has its lock and its socket, and has not begun.
pub struct Supervisor {
    setup: SupervisorSetup,
    dir: ClusterDir,
    lock: Lock,
    listener: tokio::net::UnixListener,
    metrics: Option<MetricsListener>,
    report: watch::Sender<Option<Report>>,
    event: broadcast::Sender<EventLine>,
}

/// Where metrics are served.
struct MetricsListener {
    listener: TcpListener,
    at: SocketAddr,
}

impl MetricsListener {
    fn new(address: &MetricsAddress) -> std::io::Result<Self> {
        let listener = TcpListener::from_std(address.listen()?)?;
        Ok(Self { at: listener.local_addr()?, listener })
    }
}

/// What every connection of the socket shares.
struct Desk {
    wishes: mpsc::UnboundedSender<Wish>,
    down: mpsc::UnboundedSender<oneshot::Sender<Vec<InstanceName>>>,
    report: watch::Receiver<Option<Report>>,
    metrics: Option<SocketAddr>,
    chosen_by: ProgramChoice,
}

impl Supervisor {
    /// Takes the lock. Fails if somebody else has it, or if the state cannot be written.
    pub fn claim(setup: SupervisorSetup) -> Result<(Self, Watching), SupervisorError> {
        let dir = setup.state.cluster(&setup.spec.name);
        dir.make()?;
        let lock = dir.lock()?;
        dir.ensure_password(&setup.state, &setup.spec)?;
        let listener = control::listen(&dir)
            .map_err(|source| SupervisorError::Socket { path: dir.socket_path(), source })?;
        let metrics = match &setup.metrics {
            None => None,
            Some(address) => Some(MetricsListener::new(address).map_err(|source| {
                let address = address.clone();
                SupervisorError::Metrics { address, source }
            })?),
        };
        let (report, reports) = watch::channel(None);
        let (event, events) = broadcast::channel(EVENTS_KEPT);
        let at = metrics.as_ref().map(|metrics| metrics.at);
        let watching = Watching { report: reports, events, metrics: at };
        Ok((Self { setup, dir, lock, listener, metrics, report, event }, watching))
    }

    /// Looks after the cluster until `stop` is over or somebody asks for the end, then stops the servers.
    pub async fn run(self, stop: impl Future<Output = ()>) -> Result<(), SupervisorError> {
        let Self { setup, dir, lock, listener, metrics, report, event } = self;
        let origin = Instant::now();
        let log = Arc::new(EventLog::new(dir.clone()));
        let unsaved: Arc<Mutex<Vec<InstanceName>>> = Arc::default();
        let guide = Guide::new();
        let forwarding = forward_by_role(&setup, &dir, &guide)?;
        let record: Arc<dyn Fn(Happened) + Send + Sync> = {
            let (log, unsaved, guide) = (Arc::clone(&log), Arc::clone(&unsaved), guide.clone());
            Arc::new(move |happened| {
                guide.happened(&happened);
                // A log on the same full disk may not take it.
                if let Happened::EndedUnsaved { instance } = &happened {
                    unsaved.lock().unwrap_or_else(PoisonError::into_inner).push(instance.clone());
                }
                let line = log.add(happened);
                tracing::info!("{}", line.message);
                // Nobody may be listening.
                let _ = event.send(line);
            })
        };
        let nudge = Arc::new(Notify::new());
        let programs = programs(&setup.state, setup.program);
        let platform = Arc::new(LocalPlatform {
            state: setup.state,
            dir: dir.clone(),
            sentinels: Arc::new(LocalSentinels {
                dir: dir.clone(),
                trials: Arc::clone(programs.default_program()),
                record: Arc::clone(&record),
                password_overlap: setup.password_overlap,
                kept: Mutex::default(),
            }),
            programs,
            move_to: Mutex::new(setup.base_port),
            record: Arc::clone(&record),
            nudge: Arc::clone(&nudge),
            origin,
            password_overlap: setup.password_overlap,
            agents: Arc::default(),
            register: FileRegister::at(dir.register_path()),
        });
        let (wishes, requests) = mpsc::unbounded_channel();
        let (down, mut downs) = mpsc::unbounded_channel();
        let desk = Arc::new(Desk {
            wishes,
            down,
            report: report.subscribe(),
            metrics: metrics.as_ref().map(|metrics| metrics.at),
            chosen_by: setup.chosen_by,
        });
        let measuring = metrics.map(|metrics| {
            let (platform, cluster) = (Arc::clone(&platform), dir.name().clone());
            let reports = report.subscribe();
            let told = move || platform.told(&cluster, reports.borrow().as_ref());
            tokio::spawn(metrics_endpoint::serve(metrics.listener, told))
        });
        let lock = Arc::new(lock);
        let (anew, listeners) = mpsc::channel(1);
        let tending = tokio::spawn(control::tend(dir.clone(), Arc::clone(&lock), anew));
        let zones = zones_known(&dir, setup.zones);
        let driver = Driver {
            controller: Controller::new(setup.spec, zones, Box::new(RandomIds)),
            platform: Arc::clone(&platform) as _,
            store: Arc::new(FileStore { dir }),
            record: Arc::clone(&record),
            publish: Arc::new(move |_, _, new| {
                guide.saw(&new);
                let _ = report.send_replace(Some(new));
            }),
            nudge,
            // Ports do not change while a supervisor runs.
            reprovision: Arc::default(),
            clock: Clock(origin),
        };
        let mut driving = tokio::spawn(driver.run(requests));
        let serving = tokio::spawn(serve(listener, listeners, desk));
        let mut told = None;
        let ended = tokio::select! {
            refusal = &mut driving => Err(refusal),
            asked = downs.recv() => { told = asked; Ok(()) }
            () = stop => Ok(()),
        };
        driving.abort();
        for serving in [forwarding, measuring].into_iter().flatten() {
            serving.abort();
        }
        platform.stop().await;
        record(Happened::Stopped);
        if let Some(told) = told {
            let _ = told.send(std::mem::take(&mut *unsaved.lock().unwrap_or_else(PoisonError::into_inner)));
            // The answer has to leave before the process does.
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        serving.abort();
        tending.abort();
        let _ = tending.await;
        drop(lock);
        match ended {
            Ok(()) => Ok(()),
            Err(Ok(refusal)) => Err(refusal.into()),
            Err(Err(error)) => Err(Refusal::Failed { why: format!("the controller failed: {error}") }.into()),
        }
    }
}

/// The zones of the cluster, and the given ones: who starts it again may not name those that it was made with.
fn zones_known(dir: &ClusterDir, given: Vec<ZoneName>) -> Vec<ZoneName> {
    match dir.layout() {
        Ok(Some(layout)) => zones_of(&layout, &given),
        // That it cannot be read is told by who stores it.
        Ok(None) | Err(_) => given,
    }
}

/// The server programs: the given one where no version is ordered, and those that are known.
fn programs(state: &StateDir, given: Program) -> Arc<Programs> {
    let known = state.clone();
    let find = Box::new(move |version: &ServerVersion| known.find_server(version));
    Arc::new(Programs::new(Trials::new(Arc::new(given)), find))
}

/// The ports that lead to the primary, to a replica and to any, in a mode that has one primary.
fn forward_by_role(
    setup: &SupervisorSetup,
    dir: &ClusterDir,
    guide: &Guide,
) -> Result<Option<JoinHandle<()>>, SupervisorError> {
    if setup.spec.mode.has_slots() {
        return Ok(None);
    }
    let ports = ports::assign_for_clients(&setup.state, dir, setup.base_port)?;
    let guide = guide.clone();
    Ok(Some(tokio::spawn(async move { guide.serve(ports).await })))
}

/// Answers commands, at the newest socket.
async fn serve(
    mut listener: tokio::net::UnixListener,
    mut anew: mpsc::Receiver<tokio::net::UnixListener>,
    desk: Arc<Desk>,
) {
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            Some(fresh) = anew.recv() => {
                listener = fresh;
                continue;
            }
        };
        match accepted {
            Ok((stream, _)) => {
                let desk = Arc::clone(&desk);
                tokio::spawn(async move {
                    if let Err(error) = answer(stream, &desk).await {
                        tracing::debug!(%error, "a command's connection ended early");
                    }
                });
            }
            Err(error) => {
                // Out of file descriptors: the cluster is looked after all the same.
                tracing::warn!(%error, "cannot accept a command");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn answer(stream: UnixStream, desk: &Desk) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    let request = match tokio::time::timeout(ASK_WITHIN, control::read_line(&mut stream)).await? {
        Ok(request) => request,
        // A newer version's request. It is told so, rather than left to guess from a connection that ends.
        Err(error) if error.kind() == std::io::ErrorKind::Other => {
            let why =
                format!("the supervisor is of another version and does not know what is asked: {error}");
            let answer = ControlAnswer::Refused(Refusal::Failed { why });
            return control::write_line(stream.get_mut(), &answer).await;
        }
        Err(error) => return Err(error),
    };
    let answer = match request {
        ControlRequest::Status => {
            let report = desk.report.borrow().clone();
            let (supervisor_pid, metrics) = (std::process::id(), desk.metrics);
            ControlAnswer::Status(Box::new(Seen { report, supervisor_pid, metrics }))
        }
        ControlRequest::Do(mut request) => {
            if let (ProgramChoice::Named, Request::Apply { spec } | Request::Check { spec }) =
                (desk.chosen_by, &mut request)
            {
                spec.version = None;
            }
            let (reply, done) = oneshot::channel();
            // A client that has gone while nobody listened to it wants nothing any more; one that goes now withdraws its request.
            if control::has_gone(&mut stream, Duration::ZERO).await {
                return Ok(());
            }
            let _ = desk.wishes.send((request, reply));
            let done = tokio::select! {
                biased;
                done = done => done,
                _ = control::has_gone(&mut stream, Duration::MAX) => return Ok(()),
            };
            match done {
                Ok(Ok(())) => ControlAnswer::Done,
                Ok(Err(refusal)) => ControlAnswer::Refused(refusal),
                Err(_) => ControlAnswer::Refused(Refusal::Failed { why: "the supervisor stops".to_owned() }),
            }
        }
        ControlRequest::Down => {
            if control::has_gone(&mut stream, Duration::ZERO).await {
                return Ok(());
            }
            let (reply, done) = oneshot::channel();
            let _ = desk.down.send(reply);
            match done.await {
                Ok(unsaved) if !unsaved.is_empty() => ControlAnswer::DownUnsaved(unsaved),
                _ => ControlAnswer::Done,
            }
        }
    };
    control::write_line(stream.get_mut(), &answer).await
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that panics has failed, which is what it should do")]

    use super::*;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    #[test]
    fn a_request_of_the_future_is_refused_and_not_taken_for_done() {
        let (wishes, mut requested) = mpsc::unbounded_channel();
        let (down, mut downs) = mpsc::unbounded_channel();
        let (_report, report) = watch::channel(None);
        let desk = Desk { wishes, down, report, metrics: None, chosen_by: ProgramChoice::Named };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        for asked in [r#"{"do":{"request":"paint","colour":"red"}}"#, r#""paint""#] {
            let said = runtime.block_on(async {
                let (mut client, server) = UnixStream::pair().unwrap();
                client.write_all(format!("{asked}\n").as_bytes()).await.unwrap();
                answer(server, &desk).await.unwrap();
                let mut said = String::new();
                client.read_to_string(&mut said).await.unwrap();
                said
            });
            assert!(said.contains("refused") && said.contains("paint"), "{said}");
        }
        assert!(requested.try_recv().is_err() && downs.try_recv().is_err(), "something was done");
    }
}
