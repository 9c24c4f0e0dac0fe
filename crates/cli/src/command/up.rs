//! `up`: check everything that can be checked beforehand, then supervise, here or in the background.

use crate::args::{Args, Supervise, Up};
use crate::called::called;
use crate::ending::Ending;
use crate::failure::{Failure, Kind};
use crate::patience::until_healthy;
use crate::target::Feed as _;
use crate::target::local::LocalPlatform;
use crate::target::local::manifest::LOOK_EVERY;
use crate::target::local::status::{Looks, status};
use crate::target::local::supervisor::supervised;
use crate::{manifest_file, manifest_text, output, program};
use anyhow::Context as _;
use std::io::Write as _;
use std::net::SocketAddr;
use std::os::unix::process::CommandExt as _;
use std::process::Stdio;
use std::time::Instant;
use tokio::sync::broadcast::error::RecvError;
use valkeeper_agent::metrics_endpoint;
use valkeeper_local::{
    ClusterDir, MetricsAddress, ProgramChoice, StateDir, StateError, Supervisor, SupervisorError,
    SupervisorSetup, Watching,
};
use valkeeper_model::manifest::{Manifest, Target};
use valkeeper_model::{Address, ClusterSpec, Persistence};

fn setup(platform: &LocalPlatform, supervise: &Supervise) -> anyhow::Result<SupervisorSetup> {
    let file = supervise.manifest.path();
    let Manifest { mut spec, image, .. } = manifest_file::read_for(Target::Local, file)?;
    supervise.loss.add_to(&mut spec);
    let state = platform.state_dir()?;
    manifest_file::refuse_another(platform.common(), &spec.name)?;
    let dir = state.cluster(&spec.name);
    manifest_file::check(file, &dir, &spec, &supervise.zones, None)?;
    refuse_too_few_files(&spec, supervise.metrics.as_ref())?;
    let base_port = base_port(supervise, &spec, &state, &dir)?;
    let named = program::named(supervise.server.as_deref());
    let program = match (&named, image) {
        (None, Some(image)) => {
            let program = program::of_image(&state, &image)
                .map_err(|error| manifest_file::about(file, "spec.imageName", error))?;
            spec.version = Some(program.version());
            program
        }
        (_, _) => program::find(&state, supervise.server.as_deref())?,
    };
    manifest_file::refuse_invalid_config(file, &spec, &state, &program)?;
    Ok(SupervisorSetup {
        state,
        spec,
        zones: supervise.zones.clone(),
        program,
        chosen_by: if named.is_some() { ProgramChoice::Named } else { ProgramChoice::Manifest },
        base_port,
        password_overlap: supervise.password_overlap,
        metrics: supervise.metrics.clone(),
    })
}

/// Where ports are to move, if they would.
fn base_port(
    supervise: &Supervise,
    spec: &ClusterSpec,
    state: &StateDir,
    dir: &ClusterDir,
) -> anyhow::Result<Option<u16>> {
    refuse_too_few_ports(supervise.base_port, spec)?;
    let Some(from) = supervise.base_port else { return Ok(None) };
    if dir.running_servers()?.is_empty() {
        return Ok(Some(from));
    }
    if valkeeper_local::would_move(state, dir, from)? {
        let hint = format!("`{} down` first, or leave --base-port out", called());
        return Err(Failure::new(Kind::Unsafe, "ports cannot move while servers run", hint).into());
    }
    Ok(None)
}

/// All instances have ports from there on, and each its bus port above.
fn refuse_too_few_ports(base_port: Option<u16>, spec: &ClusterSpec) -> Result<(), Failure> {
    let Some(base_port) = base_port else { return Ok(()) };
    let instances = u64::from(spec.instances());
    let highest = u64::from(u16::MAX - Address::BUS_OFFSET);
    if u64::from(base_port) + instances <= highest + 1 {
        return Ok(());
    }
    let what = format!(
        "there is no room for {instances} instances from port {base_port} on: the highest is {highest}, as bus ports are {} \
         above",
        Address::BUS_OFFSET
    );
    let hint = format!("--base-port {} at most", (highest + 1).saturating_sub(instances));
    Err(Failure::new(Kind::Usage, what, hint))
}

/// Files that a supervisor has open for itself and for each instance, at most: connections to its server, a file or two, and room for clients
/// that ask it.
const FILES: u64 = 32;
const FILES_FOR_EACH: u64 = 8;

/// Without files it could neither watch its servers nor say so.
fn refuse_too_few_files(spec: &ClusterSpec, metrics: Option<&MetricsAddress>) -> Result<(), Failure> {
    let scrapes = metrics.map_or(0, |_| metrics_endpoint::CONNECTIONS as u64 + 1);
    let needed = FILES + scrapes + FILES_FOR_EACH * u64::from(spec.instances());
    match valkeeper_agent::file_limit() {
        Some(limit) if limit < needed => {
            let what = format!(
                "a process may have {limit} files open; for {} instances {needed} are needed",
                spec.instances()
            );
            Err(Failure::new(Kind::Failed, what, "raise the hard limit (`ulimit -Hn`)"))
        }
        _ => Ok(()),
    }
}

async fn claim(setup: SupervisorSetup) -> anyhow::Result<(Supervisor, Watching)> {
    let dir = setup.state.cluster(&setup.spec.name);
    match Supervisor::claim(setup) {
        Ok(claimed) => Ok(claimed),
        Err(SupervisorError::State(StateError::Supervised { by })) => Err(supervised(&dir, by).await.into()),
        Err(error) => Err(failure(error)),
    }
}

fn failure(error: SupervisorError) -> anyhow::Error {
    match error {
        SupervisorError::Refused(refusal) => Failure::from(refusal).into(),
        SupervisorError::State(StateError::NotText { .. }) => {
            Failure::new(Kind::Usage, error.to_string(), "choose another folder with --state-dir").into()
        }
        SupervisorError::State(ref state) => {
            let hint = state.hint(called());
            let hint = hint
                .unwrap_or_else(|| "is the state directory writable, and is there space left?".to_owned());
            Failure::new(Kind::Failed, error.to_string(), hint).into()
        }
        SupervisorError::Metrics { ref source, .. } => {
            Failure::new(Kind::Failed, error.to_string(), metrics_hint(source)).into()
        }
        SupervisorError::Socket { ref path, source: ref why } => {
            let hint = match why.kind() {
                // A path that does not fit the kernel's structure.
                std::io::ErrorKind::InvalidInput => "give a shorter --state-dir".to_owned(),
                std::io::ErrorKind::PermissionDenied => {
                    format!("may {} be written by you?", path.parent().unwrap_or(path).display())
                }
                _ => "is there space left, and are file descriptors?".to_owned(),
            };
            Failure::new(Kind::Failed, error.to_string(), hint).into()
        }
    }
}

fn metrics_hint(why: &std::io::Error) -> &'static str {
    match why.kind() {
        std::io::ErrorKind::AddrInUse => "another program has that port; `--metrics 0` takes a free one",
        std::io::ErrorKind::AddrNotAvailable => {
            "this machine has no such address; `--metrics PORT` takes 127.0.0.1"
        }
        std::io::ErrorKind::PermissionDenied => "ports below 1024 take rights; `--metrics 9121` takes none",
        _ => "is the host in --metrics a name or an address of this machine?",
    }
}

fn tell_metrics(at: Option<SocketAddr>) {
    if let Some(at) = at {
        eprintln!("metrics: http://{at}/metrics");
    }
}

/// The supervisor itself: until SIGTERM, SIGINT, SIGHUP or `down`.
pub(super) async fn supervise(args: &Args, supervise: &Supervise, ending: &mut Ending) -> anyhow::Result<()> {
    let platform = LocalPlatform::new(args.common.clone());
    let (supervisor, watching) = claim(setup(&platform, supervise)?).await?;
    tell_metrics(watching.metrics);
    supervisor.run(ending.told()?).await.map_err(failure)
}

pub(super) async fn up(platform: &LocalPlatform, up: &Up, ending: &mut Ending) -> anyhow::Result<()> {
    if up.detach { detached(platform, up).await } else { foreground(platform, &up.supervise, ending).await }
}

/// In the foreground: what happens is said as it happens, until Ctrl-C.
async fn foreground(
    platform: &LocalPlatform,
    supervise: &Supervise,
    ending: &mut Ending,
) -> anyhow::Result<()> {
    let setup = setup(platform, supervise)?;
    let name = setup.spec.name.clone();
    let keeps_data = setup.spec.persistence != Persistence::None;
    let dir = setup.state.cluster(&name);
    eprintln!(
        "cluster {name}: {} {} from {}",
        setup.program.engine,
        setup.program.version,
        setup.program.path.display()
    );
    let (supervisor, mut watching) = claim(setup).await?;
    tell_metrics(watching.metrics);
    let begun = Instant::now();
    let talk = async {
        loop {
            let said = match watching.events.recv().await {
                Ok(line) => line.message,
                Err(RecvError::Lagged(missed)) => {
                    format!("({missed} events left out; `{} events` has them)", called())
                }
                Err(RecvError::Closed) => std::future::pending().await,
            };
            eprintln!("{:>8.3}s  {said}", begun.elapsed().as_secs_f64());
        }
    };
    let show = async {
        let whole =
            watching.report.wait_for(|report| report.as_ref().is_some_and(|report| report.healthy)).await;
        drop(whole);
        let status = status(&dir).await?;
        output::text(&status.page())?;
        let kept = if keeps_data { "data is kept" } else { "persistence is none: its data goes with it" };
        eprintln!("`{} connect` says how to connect; Ctrl-C stops the cluster, {kept}", called());
        std::future::pending::<anyhow::Result<()>>().await
    };
    let told = ending.told()?;
    let stop = async {
        told.await;
        eprintln!("stopping");
    };
    tokio::select! {
        ended = supervisor.run(stop) => ended.map_err(failure),
        shown = show => shown,
        () = talk => Ok(()),
    }
}

/// In the background: this very program, in a process group of its own. Returns when the cluster is healthy.
async fn detached(platform: &LocalPlatform, up: &Up) -> anyhow::Result<()> {
    // Everything that can be refused is refused here, where somebody reads it.
    let setup = setup(platform, &up.supervise)?;
    let dir = setup.state.cluster(&setup.spec.name);
    // The new supervisor waits for the lock of one that was killed a moment ago.
    if let Some(by) = dir.supervisor().filter(|by| !by.is_ending()) {
        return Err(supervised(&dir, by).await.into());
    }
    if let Some(address) = &setup.metrics {
        let refused = |source| failure(SupervisorError::Metrics { address: address.clone(), source });
        drop(address.listen().map_err(refused)?);
    }
    dir.make().map_err(|error| failure(error.into()))?;
    let path = dir.supervisor_log();
    let log = std::fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(&path)
        .map_err(|source| failure(StateError::Io { path: path.clone(), source }.into()))?;
    let said_before = log.metadata().map_or(0, |metadata| metadata.len());
    let file = up.supervise.manifest.path();
    let through_stdin = manifest_text::is_read_once(file);
    let mut supervisor = std::process::Command::new(std::env::current_exe().context("find this program")?);
    supervisor
        .arg("supervise")
        .arg("--verbose")
        .arg("--state-dir")
        .arg(setup.state.path())
        .arg("--file")
        .arg(if through_stdin { manifest_text::STDIN.into() } else { std::path::absolute(file)? })
        .arg("--zones")
        .arg(up.supervise.zones.iter().map(ToString::to_string).collect::<Vec<_>>().join(","))
        .arg("--password-overlap")
        .arg(format!("{}ms", setup.password_overlap.as_millis()));
    if setup.chosen_by == ProgramChoice::Named {
        supervisor.arg("--server").arg(&setup.program.path);
    }
    if up.supervise.loss.is_given() {
        supervisor.arg("--accept-data-loss");
    }
    if let Some(port) = setup.base_port {
        supervisor.arg("--base-port").arg(port.to_string());
    }
    if let Some(address) = &setup.metrics {
        supervisor.arg("--metrics").arg(address.to_string());
    }
    let mut child = supervisor
        .stdin(if through_stdin { Stdio::piped() } else { Stdio::null() })
        .stdout(log.try_clone()?)
        .stderr(log)
        .process_group(0)
        .spawn()
        .context("start the supervisor")?;
    if let Some(mut stdin) = child.stdin.take() {
        let text = manifest_text::read(file).with_context(|| manifest_text::name(file))?;
        // One that has ended already says why in its log, which is looked at below.
        let _ = stdin.write_all(text.as_bytes());
    }
    let gone = || {
        let said = std::fs::read(&path).unwrap_or_default();
        let said = said.get(usize::try_from(said_before).unwrap_or(0)..).unwrap_or_default();
        String::from_utf8_lossy(said).trim().to_owned()
    };
    let ended = |status: std::process::ExitStatus| Failure {
        kind: if status.code() == Some(3) { Kind::Unsafe } else { Kind::Failed },
        what: format!("the supervisor ended ({status}): {}", gone()),
        hint: Some(format!("its log is {}", path.display())),
    };
    let mut looks = Looks::new(dir, LOOK_EVERY);
    let status = until_healthy(up.within, async || {
        if let Ok(Some(status)) = child.try_wait() {
            return Err(ended(status).into());
        }
        looks.next().await
    })
    .await?;
    if status.supervisor_pid != Some(child.id()) {
        // Somebody else's supervisor was faster; ours has found the lock taken.
        return Err(ended(child.wait().context("wait for the supervisor")?).into());
    }
    tell_metrics(status.metrics);
    output::text(&status.page())
}
