//! Keeps one Sentinel running: started when it is ordered, started again when it ends, taken over as it is by the next supervisor.

use super::conf::{self, Learned, Places};
use crate::files::Files;
use crate::handle::Passwords;
use crate::os::{self, End, ProcessId};
use crate::server::ServerHome;
use crate::trial::Trials;
use std::process::Child;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use valkeeper_client::{AdminConnection, AskError, Password};
use valkeeper_model::{Followed, Happened, InstanceName, KnownReplica, SentinelOrder, StartFailure};

/// Before the first start after one that failed or ended at once; twice as long each time, up to the second.
const AGAIN: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(30));
/// One that ran for so long has not ended at once.
const RAN: Duration = Duration::from_secs(10);
/// A Sentinel that is told to end writes its file first.
const ENDS_WITHIN: Duration = Duration::from_secs(5);
/// Between two looks at the Sentinel and the wanted password.
const LOOK_EVERY: Duration = Duration::from_secs(2);
const LOOK_WITHIN: Duration = Duration::from_secs(1);
/// One that has not answered for so long is killed.
const SILENT_FOR: Duration = Duration::from_secs(6);
/// A replica that no order names, and that was down for so long, is a ghost: a Sentinel forgets none by itself.
const GHOST_FOR: Duration = Duration::from_secs(30);

/// What keeping a Sentinel running takes.
pub struct SentinelSetup {
    /// Its name.
    pub name: InstanceName,
    /// Where its files are.
    pub home: ServerHome,
    /// The server program.
    pub trials: Arc<Trials>,
    /// The password of the cluster.
    pub passwords: Passwords,
    /// How long the Sentinel accepts the former one beside a changed one.
    pub password_overlap: Duration,
    /// Takes what happens.
    pub record: Arc<dyn Fn(Happened) + Send + Sync>,
}

/// The way to whoever keeps a Sentinel running.
#[derive(Debug, Clone)]
pub struct SentinelHandle {
    orders: Arc<watch::Sender<Option<SentinelOrder>>>,
    stops: mpsc::UnboundedSender<oneshot::Sender<()>>,
}

impl SentinelHandle {
    /// What is wanted from now on.
    pub fn order(&self, order: SentinelOrder) {
        self.orders.send_if_modified(|known| {
            let changed = known.as_ref() != Some(&order);
            *known = Some(order);
            changed
        });
    }

    /// Ends the Sentinel, and waits for that.
    pub async fn stop(&self) {
        let (done, ended) = oneshot::channel();
        if self.stops.send(done).is_ok() {
            let _ = ended.await;
        }
    }
}

/// Keeps a Sentinel running in a task of its own, until it is told to stop.
pub fn keep(setup: SentinelSetup) -> SentinelHandle {
    let (orders, ordered) = watch::channel(None);
    let (stops, stopped) = mpsc::unbounded_channel();
    tokio::spawn(
        Keeper {
            setup,
            files: Files::default(),
            running: None,
            pause: AGAIN.0,
            failed: None,
            password: None,
            former: None,
        }
        .run(ordered, stopped),
    );
    SentinelHandle { orders: Arc::new(orders), stops }
}

struct Keeper {
    setup: SentinelSetup,
    files: Files,
    running: Option<Running>,
    pause: Duration,
    failed: Option<StartFailure>,
    password: Option<Password>,
    former: Option<Former>,
}

/// A password that is accepted until then.
struct Former {
    password: Password,
    until: Instant,
}

struct Running {
    process: ProcessId,
    ended: JoinHandle<End>,
    /// What its file was rendered from; `None` for one that an earlier supervisor started.
    rendered: Option<Rendered>,
    since: Instant,
    /// When it answered last.
    answered: Instant,
    /// Since when it knows ghosts.
    ghosts: Option<Instant>,
}

/// What a start was rendered from.
#[derive(Clone, PartialEq, Eq)]
struct Rendered {
    order: SentinelOrder,
    passwords: conf::Passwords,
}

impl Running {
    fn new(process: ProcessId, child: Option<Child>, rendered: Option<Rendered>) -> Self {
        let ended = tokio::spawn(os::ended(process, child));
        let now = Instant::now();
        Self { process, ended, rendered, since: now, answered: now, ghosts: None }
    }

    /// Must it be started anew to become what is wanted? Addresses of others are learned by the Sentinel itself.
    fn differs(&self, wanted: &Rendered) -> bool {
        self.rendered.as_ref().is_some_and(|now| {
            let place = |one: &Rendered| one.order.myself().cloned();
            now.passwords != wanted.passwords
                || now.order.quorum != wanted.order.quorum
                || place(now) != place(wanted)
        })
    }
}

/// Why the loop goes on.
enum Wake {
    Stop(oneshot::Sender<()>),
    Ended(End),
    Changed,
    Gone,
}

impl Keeper {
    async fn run(
        mut self,
        mut orders: watch::Receiver<Option<SentinelOrder>>,
        mut stops: mpsc::UnboundedReceiver<oneshot::Sender<()>>,
    ) {
        self.take_over().await;
        let mut start_at = Instant::now();
        loop {
            let order = orders.borrow_and_update().clone();
            if let Some(wanted) = self.wanted(order) {
                self.look(&wanted).await;
                if self.running.as_ref().is_some_and(|running| running.differs(&wanted)) {
                    self.end().await;
                }
                if self.running.is_none() && Instant::now() >= start_at && !self.start(wanted).await {
                    start_at = self.back_off();
                }
            }
            match self.wait(&mut orders, &mut stops, start_at).await {
                Wake::Stop(done) => {
                    self.end().await;
                    let _ = done.send(());
                    return;
                }
                Wake::Ended(end) => start_at = self.has_ended(end),
                Wake::Changed => {}
                // The supervisor ends without stopping anything: its successor takes the Sentinel over.
                Wake::Gone => return,
            }
        }
    }

    async fn wait(
        &mut self,
        orders: &mut watch::Receiver<Option<SentinelOrder>>,
        stops: &mut mpsc::UnboundedReceiver<oneshot::Sender<()>>,
        start_at: Instant,
    ) -> Wake {
        // A password is read again now and then; a start waits for its time.
        let again = (Instant::now() + LOOK_EVERY).min(start_at.max(Instant::now() + AGAIN.0));
        let again = if self.running.is_some() { Instant::now() + LOOK_EVERY } else { again };
        let ended = async {
            match &mut self.running {
                Some(running) => (&mut running.ended).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            stop = stops.recv() => stop.map_or(Wake::Gone, Wake::Stop),
            end = ended => end.map_or(Wake::Gone, Wake::Ended),
            changed = orders.changed() => if changed.is_ok() { Wake::Changed } else { Wake::Gone },
            () = tokio::time::sleep_until(again) => Wake::Changed,
        }
    }

    /// One that runs already. While that cannot be seen nothing is started: two would write one file.
    async fn take_over(&mut self) {
        loop {
            let home = self.setup.home.clone();
            match self.files.with(move || home.running()).await.flatten() {
                Ok(found) => {
                    if let Some((_, process)) = found {
                        (self.setup.record)(Happened::Adopted { instance: self.setup.name.clone() });
                        self.running = Some(Running::new(process, None, None));
                    }
                    return;
                }
                Err(error) => {
                    tracing::warn!(%error, sentinel = %self.setup.name, "whether the Sentinel runs cannot be seen");
                    tokio::time::sleep(LOOK_EVERY).await;
                }
            }
        }
    }

    /// What is to run, as far as everything for it is known.
    fn wanted(&mut self, order: Option<SentinelOrder>) -> Option<Rendered> {
        let order = order?;
        // One that cannot be read now leaves the last one in force.
        if let Ok(wanted) = (self.setup.passwords)()
            && self.password.as_ref() != Some(&wanted)
        {
            let until = Instant::now() + self.setup.password_overlap;
            self.former = self.password.replace(wanted).map(|password| Former { password, until });
        }
        self.former.take_if(|former| former.until <= Instant::now());
        let former = self.former.as_ref().map(|former| former.password.clone());
        Some(Rendered { order, passwords: conf::Passwords { wanted: self.password.clone()?, former } })
    }

    /// True if it runs.
    async fn start(&mut self, wanted: Rendered) -> bool {
        let (home, trials, rendered) =
            (self.setup.home.clone(), Arc::clone(&self.setup.trials), wanted.clone());
        let started = self.files.with(move || start(&home, &trials, &rendered)).await;
        let failure = match started {
            Ok(Ok((process, child))) => {
                (self.setup.record)(Happened::Started { instance: self.setup.name.clone() });
                self.running = Some(Running::new(process, Some(child), Some(wanted)));
                self.failed = None;
                return true;
            }
            Ok(Err(failure)) => failure,
            Err(error) => StartFailure::DataUnusable { detail: error.to_string() },
        };
        // Told once, not at every try.
        if self.failed.as_ref() != Some(&failure) {
            (self.setup.record)(Happened::StartFailed {
                instance: self.setup.name.clone(),
                failure: failure.clone(),
            });
        }
        self.failed = Some(failure);
        false
    }

    /// Kills one that does not answer, and ends one that knows ghosts: it starts with what is ordered.
    async fn look(&mut self, wanted: &Rendered) {
        let Some(address) = wanted.order.myself().and_then(|myself| myself.address.as_ref()) else { return };
        let Some(running) = &mut self.running else { return };
        let known = running.rendered.as_ref().unwrap_or(wanted);
        let connection = AdminConnection::new(address.socket(), Some(known.passwords.wanted.clone()));
        let seen = connection.sentinel_view(wanted.order.name.as_str(), LOOK_WITHIN).await;
        let now = Instant::now();
        if !matches!(&seen, Err(error) if !error.alive()) {
            running.answered = now;
        }
        // The password has changed while nobody kept it, or somebody has changed the Sentinel's: it is started with the wanted one.
        if matches!(seen, Err(AskError::AuthRefused)) {
            self.end().await;
            return;
        }
        let silent = running.answered.elapsed();
        if silent >= SILENT_FOR {
            let silent_ms = u64::try_from(silent.as_millis()).unwrap_or(u64::MAX);
            (self.setup.record)(Happened::Unresponsive { instance: self.setup.name.clone(), silent_ms });
            os::kill(running.process);
            return;
        }
        let is_ordered = |at: &Followed| wanted.order.servers.values().any(|server| at.is_at(server));
        let is_ghost = |replica: &KnownReplica| replica.down && !is_ordered(&replica.at);
        let haunted = matches!(seen, Ok(Some(view)) if view.replicas.iter().any(is_ghost));
        running.ghosts = haunted.then(|| running.ghosts.unwrap_or(now));
        if running.ghosts.is_some_and(|since| since.elapsed() >= GHOST_FOR) {
            self.end().await;
        }
    }

    /// When it is started again.
    fn has_ended(&mut self, end: End) -> Instant {
        let Some(running) = self.running.take() else { return Instant::now() };
        let instance = self.setup.name.clone();
        (self.setup.record)(Happened::Died { instance, how: end.how, role: None });
        if running.since.elapsed() >= RAN {
            self.pause = AGAIN.0;
            return Instant::now();
        }
        self.back_off()
    }

    fn back_off(&mut self) -> Instant {
        let at = Instant::now() + self.pause;
        self.pause = (self.pause * 2).min(AGAIN.1);
        at
    }

    /// Has it end, by force if it does not by itself.
    async fn end(&mut self) {
        let Some(mut running) = self.running.take() else { return };
        os::terminate(running.process);
        if tokio::time::timeout(ENDS_WITHIN, &mut running.ended).await.is_err() {
            os::kill(running.process);
            let _ = running.ended.await;
        }
    }
}

fn start(home: &ServerHome, trials: &Trials, wanted: &Rendered) -> Result<(ProcessId, Child), StartFailure> {
    let Rendered { order, passwords } = wanted;
    let learned = std::fs::read_to_string(home.conf()).unwrap_or_default();
    let learned = Learned::read(&learned, order.name.as_str());
    let (data, log, pid_file) = (home.data(), home.log(), home.pid_file());
    let places = Places { data: data.path(), log: &log, pid_file: &pid_file };
    let listens_at = order.myself().and_then(|myself| myself.address.as_ref());
    let file = conf::render(order, &learned, passwords, &places);
    let (Some(address), Some(file)) = (listens_at, file) else {
        return Err(StartFailure::DataUnusable { detail: "its place is not known".to_owned() });
    };
    home.start_sentinel(trials.program(), address, &file)
}
