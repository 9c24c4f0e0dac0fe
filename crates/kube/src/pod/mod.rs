//! The agent in a pod, process 1 of the server's container.
//!
//! | file | what |
//! | --- | --- |
//! | `setup.rs` | what the pod says: names, addresses, files |
//! | `agent_server.rs` | what others may ask of it, and who |
//! | `peers.rs` | asking the other agents |
//! | `register.rs` | the register, in mode `standalone` |
//! | `order_file.rs` | the last order, kept beside the data |
//! | `source_password.rs` | the password of a source that is followed, kept beside the data |
//! | `news.rs` | telling the operator what has changed |
//! | `program_file.rs` | what the server program knows, asked once |
//! | `sentinel.rs` | a Sentinel in a pod of its own, without an agent |
//! | `probe.rs` | liveness and readiness, all that is told to strangers |
//! | `server_log.rs` | the server's log as the container's |
//! | `orphans.rs` | what process 1 owes to processes without a parent |
//! | `agent_upgrade.rs` | going on as another program, the server running on |

mod agent_server;
mod agent_upgrade;
mod news;
mod order_file;
mod orphans;
mod peers;
mod probe;
mod program_file;
pub(crate) mod register;
mod sentinel;
mod server_log;
mod setup;
mod source_password;

pub use agent_upgrade::install;
pub(crate) use agent_upgrade::{digest, own_digest};
pub(crate) use peers::ask_agent;
pub use sentinel::{SentinelPod, run_sentinel};
pub use setup::{PodSetup, SetupError};
pub(crate) use setup::{place, variable};

use crate::wire::{self, Caller, Credentials, Who};
use agent_server::AgentServer;
use order_file::OrderFile;
use peers::{OwnAgent, PodPeers};
use register::LeaseRegister;
use source_password::KeptPassword;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};
use tokio::net::TcpListener;
use tokio::sync::{Notify, watch};
use valkeeper_agent::{AgentSetup, Neighbours, ServerHome, metrics_endpoint};
use valkeeper_client::Password;

/// Certificates are looked at this often: the kubelet brings new ones within a minute or two.
const CREDENTIALS_EVERY: Duration = Duration::from_secs(10);

/// Between two tries to listen for Prometheus.
const METRICS_AGAIN: Duration = Duration::from_secs(60);

/// Why the agent ended.
#[derive(Debug, thiserror::Error)]
pub enum PodError {
    /// The pod is not as an operator makes it.
    #[error(transparent)]
    Setup(#[from] SetupError),
    /// The server program cannot be used.
    #[error(transparent)]
    Program(#[from] valkeeper_agent::ProgramError),
    /// Its certificate cannot be used.
    #[error(transparent)]
    Credentials(#[from] wire::CredentialsError),
    /// The system refused something.
    #[error("{what}: {source}")]
    System {
        /// What.
        what: String,
        /// Why.
        source: std::io::Error,
    },
}

pub(super) fn system(what: impl Into<String>) -> impl FnOnce(std::io::Error) -> PodError {
    move |source| PodError::System { what: what.into(), source }
}

/// Runs the agent until it is told to end (`told` completes); then the server has handed over, if it could, and has ended.
pub async fn run(setup: PodSetup, told: impl Future<Output = ()>) -> Result<(), PodError> {
    let setup = Arc::new(setup);
    orphans::reap().map_err(system("SIGCHLD"))?;
    let program = Arc::new(program_file::probe(&setup.server)?);
    let credentials = Arc::new(Credentials::new(setup.identity()?)?);
    let me = Who::Agent(setup.instance.clone());
    let caller = Arc::new(Caller::new(setup.home.clone(), me, Arc::clone(&credentials)));
    let order_file = Arc::new(OrderFile::new(setup.data.join("order.json")));
    let source_password = Arc::new(KeptPassword::new(setup.data.join("source-password.json")));
    let peers = Arc::new(PodPeers::new(Arc::clone(&caller), setup.instance.clone()));
    let nudge = Arc::new(Notify::new());
    let kept = Arc::new(news::Kept::default());
    let record: Arc<dyn Fn(valkeeper_model::Happened) + Send + Sync> = {
        let (kept, nudge) = (Arc::clone(&kept), Arc::clone(&nudge));
        Arc::new(move |happened| {
            tracing::info!("{happened}");
            kept.add(happened);
            nudge.notify_one();
        })
    };
    let home = ServerHome::new(setup.data.clone()).with_own(setup.own_directives());
    let log = home.log();
    let password_file = setup.password_file();
    let own: OwnAgent = Arc::new(OnceLock::new());
    peers.know_oneself(&own);
    let agent = valkeeper_agent::spawn(AgentSetup {
        register: LeaseRegister::of_this_pod(&setup.home).map(|register| Arc::new(register) as _),
        name: setup.instance.clone(),
        home,
        programs: Arc::new(valkeeper_agent::Programs::only(valkeeper_agent::Trials::new(program))),
        passwords: Arc::new(move || Password::read(std::fs::read(&password_file))),
        secrets: {
            let kept = Arc::clone(&source_password);
            Arc::new(move |name| kept.of(name))
        },
        password_overlap: valkeeper_agent::PASSWORD_OVERLAP,
        peers: Arc::clone(&peers) as _,
        record,
        nudge: Arc::clone(&nudge),
        origin: Instant::now(),
        neighbours: Neighbours::OwnHosts { lease_until: agent_upgrade::lease_left() },
    });
    let _ = own.set(agent.clone());
    let listener =
        TcpListener::bind((setup.listen, crate::AGENT_PORT)).await.map_err(system("the agent's port"))?;
    let probes =
        TcpListener::bind((setup.listen, crate::PROBE_PORT)).await.map_err(system("the probes' port"))?;
    let (replaced, mut replacement) = watch::channel(None);
    let agent_server = Arc::new(AgentServer {
        setup: Arc::clone(&setup),
        agent: agent.clone(),
        peers: Arc::clone(&peers),
        order_file: Arc::clone(&order_file),
        source_password,
        replaced,
        ordering: Mutex::default(),
        shard: Mutex::default(),
    });
    // What was last ordered holds until somebody orders something newer: a container that is started again while no operator
    // runs takes up its server by it.
    if let Some(order) = order_file.read() {
        agent_server.take_order(order);
    }
    tokio::spawn(serve_metrics(Arc::clone(&agent_server)));
    tokio::spawn(wire::serve(listener, setup.home.clone(), Arc::clone(&credentials), agent_server));
    tokio::spawn(probe::serve(probes, agent.clone()));
    tokio::spawn(server_log::follow(log));
    tokio::spawn(news::tell(
        Arc::clone(&setup),
        Arc::clone(&caller),
        agent.clone(),
        kept,
        Arc::clone(&nudge),
    ));
    tokio::spawn(crate::memory::give_back());
    tokio::spawn(renew(Arc::clone(&setup), credentials, caller));
    nudge.notify_one();
    tokio::select! {
        () = told => {}
        _ = replacement.changed() => {
            let Some(program) = replacement.borrow().clone() else { return Ok(()) };
            return Err(agent_upgrade::go_on_as(&program, agent.leave().await));
        }
    }
    tracing::info!("told to end: handing over, then stopping");
    agent.retire().await;
    Ok(())
}

/// Metrics are no reason for a server not to run: a port that somebody else in the pod has is said, and tried again.
async fn serve_metrics(agent_server: Arc<AgentServer>) {
    let at = (agent_server.setup.listen, crate::AGENT_METRICS_PORT);
    let listener = loop {
        match TcpListener::bind(at).await {
            Ok(listener) => break listener,
            Err(error) => {
                tracing::warn!(%error, port = at.1, "cannot serve metrics; tried again");
                tokio::time::sleep(METRICS_AGAIN).await;
            }
        }
    };
    metrics_endpoint::serve(listener, move || vec![agent_server.told()]).await;
}

/// Uses new certificates when the kubelet has brought them.
async fn renew(setup: Arc<PodSetup>, credentials: Arc<Credentials>, caller: Arc<Caller>) {
    loop {
        tokio::time::sleep(CREDENTIALS_EVERY).await;
        match setup
            .identity()
            .map_err(|error| error.to_string())
            .and_then(|identity| credentials.replace(identity).map_err(|error| error.to_string()))
        {
            Ok(true) => {
                caller.forget();
                tracing::info!("the certificate was renewed");
            }
            Ok(false) => {}
            Err(error) => {
                tracing::warn!(%error, "the new certificate cannot be used; the old one stays in use");
            }
        }
    }
}
