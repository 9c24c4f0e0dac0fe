//! One file per command, or per kind of command.

pub(crate) mod apply;

mod connect;
pub(crate) mod done;
mod down;
pub(crate) mod drill;
pub(crate) mod events;
#[cfg(feature = "kubernetes")]
mod kube;
mod logs;
mod up;

use crate::args::{Args, Command, Inner};
use crate::document::status::Status;
use crate::ending::Ending;
use crate::watch::Screen;
use crate::{output, target};
use anyhow::Context as _;
use std::time::Duration;

/// A switchover waits for a near moment, a restart for the server to be in sync again.
pub(crate) const REQUEST_WITHIN: Duration = Duration::from_secs(130);

/// Between looks of `status --watch`.
const LOOK_EVERY: Duration = Duration::from_millis(200);

pub(crate) async fn run(args: Args, mut ending: Ending) -> anyhow::Result<()> {
    valkeeper_agent::raise_file_limit();
    #[cfg(feature = "kubernetes")]
    if args.common.kubernetes.is_meant() && target::kubernetes::run(&args, &mut ending).await? {
        return Ok(());
    }
    match &args.command {
        Command::Up(up) => up::up(&args, up, &mut ending).await,
        Command::Down(within) => down::down(&args, *within).await,
        Command::Delete { purge } => down::delete(&args, *purge),
        Command::Status { watch, output } => status(&args, *watch, output.format, &mut ending).await,
        Command::Plan { manifest, zones, output } => {
            apply::plan(&args, manifest.path(), zones, output.format).await
        }
        Command::Apply { manifest, wait, within } => {
            apply::apply(&args, manifest.path(), *wait, *within).await
        }
        Command::Switchover { .. }
        | Command::Failover { .. }
        | Command::Fence { .. }
        | Command::Unfence { .. }
        | Command::Restart { .. }
        | Command::Forget { .. } => request(&args).await,
        Command::Events { follow, only, output } => events::events(&args, *follow, only, output.format).await,
        Command::Logs { instance, follow, lines } => logs::logs(&args, instance, *follow, *lines).await,
        Command::Connect { output } => connect::connect(&args, output.format),
        Command::Cli { command, to, timeout, output } => {
            crate::conversation::cli(&args, command, to, *timeout, output.format).await
        }
        Command::Drill(event) => drill::drill(&args, event, &mut ending).await,
        #[cfg(feature = "kubernetes")]
        Command::Operator(operator) => kube::operator(operator, &mut ending).await,
        #[cfg(feature = "kubernetes")]
        Command::Kube(command) => kube::kube(command),
        Command::Completions { shell } => completions(*shell),
        Command::Inner(Inner::Supervise(supervise)) => up::supervise(&args, supervise, &mut ending).await,
        #[cfg(feature = "kubernetes")]
        Command::Inner(Inner::Agent) => kube::agent(&mut ending).await,
        #[cfg(feature = "kubernetes")]
        Command::Inner(Inner::Install { folder }) => kube::install(folder),
        #[cfg(feature = "kubernetes")]
        Command::Inner(Inner::TuneKernel) => kube::tune_kernel(),
        #[cfg(feature = "kubernetes")]
        Command::Inner(Inner::Inside) => target::in_pod::inside().await,
    }
}

/// The lines that a shell takes to ask this program what may follow: names of clusters, shards and instances are known here alone.
fn completions(shell: clap_complete::Shell) -> anyhow::Result<()> {
    let name = shell.to_string();
    let shells = clap_complete::env::Shells::builtins();
    let completer = shells.completer(&name).with_context(|| format!("{name} is not supported"))?;
    let program = std::env::current_exe().context("find this program")?;
    let mut text = Vec::new();
    completer.write_registration(
        "COMPLETE",
        "valkeeper",
        "valkeeper",
        &program.to_string_lossy(),
        &mut text,
    )?;
    output::bytes(&text)
}

async fn request(args: &Args) -> anyhow::Result<()> {
    let Some(request) = args.command.request() else { return Ok(()) };
    let dir = target::cluster(&args.common)?;
    let before = Status::of(&dir).await?;
    target::request(&dir, request.clone(), REQUEST_WITHIN).await?;
    let after = Status::of(&dir).await?;
    eprintln!("{}", done::told(&request, &before, &after));
    Ok(())
}

async fn status(
    args: &Args,
    is_watched: bool,
    format: crate::args::Format,
    ending: &mut Ending,
) -> anyhow::Result<()> {
    let dir = target::cluster(&args.common)?;
    if !is_watched {
        let status = Status::of(&dir).await?;
        output::value(format, &status, || status.page())?;
        return status.verdict();
    }
    let mut screen = Screen::open(format, ending)?;
    loop {
        screen.show(&Status::of(&dir).await?)?;
        if screen.is_left_within(LOOK_EVERY).await? {
            return Ok(());
        }
    }
}
