//! `up`: check everything that can be checked beforehand, then supervise, here or in the background.

use crate::args::{Args, Supervise, Up, Within};
use crate::ending::Ending;
use crate::failure::{Failure, Kind};
use crate::patience::Patience;
use crate::status::Status;
use crate::{manifest_file, output, program, target};
use anyhow::Context as _;
use std::os::unix::process::CommandExt as _;
use std::process::Stdio;
use std::time::{Duration, Instant};
use tokio::sync::broadcast::error::RecvError;
use valkeeper_local::{ClusterDir, Supervisor, SupervisorError, SupervisorSetup, Watching};

fn setup(args: &Args, supervise: &Supervise) -> anyhow::Result<SupervisorSetup> {
    let spec = manifest_file::read(&supervise.file)?;
    let state = target::state_dir(args)?;
    if let Some(name) = args.cluster.as_ref().filter(|name| **name != spec.name) {
        let what = format!("the manifest is of cluster `{}`, not of `{name}`", spec.name);
        return Err(Failure::new(Kind::Usage, what, "leave --cluster out").into());
    }
    let dir = state.cluster(&spec.name);
    manifest_file::check(&supervise.file, &dir, &spec, &supervise.zones)?;
    let base_port = supervise.base_port;
    if base_port.is_some() && !dir.running_servers()?.is_empty() {
        return Err(Failure::new(
            Kind::Unsafe,
            "ports cannot move while servers run",
            "`valkeeper down` first",
        )
        .into());
    }
    let program = program::find(&state, supervise.server.as_deref())?;
    manifest_file::refuse_invalid_config(&supervise.file, &spec, &state, &program)?;
    let password_overlap = supervise.password_overlap;
    Ok(SupervisorSetup { state, spec, zones: supervise.zones.clone(), program, base_port, password_overlap })
}

fn claim(setup: SupervisorSetup) -> anyhow::Result<(Supervisor, Watching)> {
    Supervisor::claim(setup).map_err(failure)
}

fn failure(error: SupervisorError) -> anyhow::Error {
    match error {
        SupervisorError::Refused(refusal) => Failure::from(refusal).into(),
        SupervisorError::State(valkeeper_local::StateError::Supervised { .. }) => Failure::new(
            Kind::Unsafe,
            error.to_string(),
            "`valkeeper status` shows it, `valkeeper down` ends it",
        )
        .into(),
        SupervisorError::State(valkeeper_local::StateError::NotText { .. }) => {
            Failure::new(Kind::Usage, error.to_string(), "choose another folder with --state-dir").into()
        }
        SupervisorError::State(_) => Failure::new(
            Kind::Failed,
            error.to_string(),
            "is the state directory writable, and is there space left?",
        )
        .into(),
        SupervisorError::Socket(_) => {
            Failure::new(Kind::Failed, error.to_string(), "give a shorter --state-dir").into()
        }
    }
}

/// The supervisor itself: until SIGTERM, SIGINT or `down`.
pub(crate) async fn supervise(args: &Args, supervise: &Supervise, ending: &mut Ending) -> anyhow::Result<()> {
    let (supervisor, _) = claim(setup(args, supervise)?)?;
    supervisor.run(ending.told()?).await.map_err(failure)
}

pub(crate) async fn up(args: &Args, up: &Up, ending: &mut Ending) -> anyhow::Result<()> {
    if up.detach { detached(args, up).await } else { foreground(args, &up.supervise, ending).await }
}

/// In the foreground: what happens is said as it happens, until Ctrl-C.
async fn foreground(args: &Args, supervise: &Supervise, ending: &mut Ending) -> anyhow::Result<()> {
    let setup = setup(args, supervise)?;
    let name = setup.spec.name.clone();
    let dir = setup.state.cluster(&name);
    eprintln!(
        "cluster {name}: {} {} from {}",
        setup.program.engine,
        setup.program.version,
        setup.program.path.display()
    );
    let (supervisor, mut watching) = claim(setup)?;
    let begun = Instant::now();
    let talk = async {
        loop {
            let said = match watching.events.recv().await {
                Ok(line) => line.message,
                Err(RecvError::Lagged(missed)) => {
                    format!("({missed} events left out; `valkeeper events` has them)")
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
        let status = Status::of(&dir).await?;
        output::text(&status.page())?;
        eprintln!("`valkeeper connect` says how to connect; Ctrl-C stops the cluster, data is kept");
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
async fn detached(args: &Args, up: &Up) -> anyhow::Result<()> {
    // Everything that can be refused is refused here, where somebody reads it.
    let setup = setup(args, &up.supervise)?;
    let dir = setup.state.cluster(&setup.spec.name);
    if let Some(pid) = dir.supervisor() {
        return Err(failure(valkeeper_local::StateError::Supervised { pid: Some(pid) }.into()));
    }
    dir.make().map_err(|error| failure(error.into()))?;
    let path = dir.supervisor_log();
    let log =
        std::fs::OpenOptions::new().create(true).append(true).open(&path).map_err(|source| {
            failure(valkeeper_local::StateError::Io { path: path.clone(), source }.into())
        })?;
    let said_before = log.metadata().map_or(0, |metadata| metadata.len());
    let mut supervisor = std::process::Command::new(std::env::current_exe().context("find this program")?);
    supervisor
        .arg("--verbose")
        .arg("--state-dir")
        .arg(setup.state.path())
        .arg("supervise")
        .arg(std::path::absolute(&up.supervise.file)?)
        .arg("--zones")
        .arg(up.supervise.zones.iter().map(ToString::to_string).collect::<Vec<_>>().join(","))
        .arg("--server")
        .arg(&setup.program.path)
        .arg("--password-overlap")
        .arg(format!("{}ms", setup.password_overlap.as_millis()));
    if let Some(port) = up.supervise.base_port {
        supervisor.arg("--base-port").arg(port.to_string());
    }
    let mut child = supervisor
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .process_group(0)
        .spawn()
        .context("start the supervisor")?;
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
    let status = wait(&dir, up.within, || match child.try_wait() {
        Ok(Some(status)) => Err(ended(status)),
        _ => Ok(()),
    })
    .await?;
    if status.supervisor_pid != Some(child.id()) {
        // Somebody else's supervisor was faster; ours has found the lock taken.
        return Err(ended(child.wait().context("wait for the supervisor")?).into());
    }
    output::text(&status.page())
}

/// Waits until the cluster is healthy, and says what it waits for.
pub(crate) async fn wait(
    dir: &ClusterDir,
    within: Within,
    mut alive: impl FnMut() -> Result<(), Failure>,
) -> anyhow::Result<Status> {
    let mut patience = Patience::new(within);
    loop {
        alive()?;
        let status = Status::of(dir).await?;
        if patience.is_over(&status)? {
            return Ok(status);
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
