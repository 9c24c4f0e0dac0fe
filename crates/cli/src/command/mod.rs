//! One file per command, or per kind of command.

mod apply;
mod cli;
mod connect;
mod down;
mod drill;
mod events;
#[cfg(feature = "kubernetes")]
mod kube;
mod logs;
#[cfg(feature = "kubernetes")]
mod remote;
mod up;

use crate::args::{Args, Command};
use crate::ending::Ending;
use crate::status::Status;
use crate::{output, target};
use clap::CommandFactory as _;
use std::time::Duration;

/// A switchover waits for a near moment, a restart for the server to be in sync again.
const REQUEST_WITHIN: Duration = Duration::from_secs(130);

pub(crate) async fn run(args: Args, mut ending: Ending) -> anyhow::Result<()> {
    valkeeper_agent::raise_file_limit();
    #[cfg(feature = "kubernetes")]
    if args.kubernetes.is_meant() && remote::run(&args, &mut ending).await? {
        return Ok(());
    }
    match &args.command {
        Command::Up(up) => up::up(&args, up, &mut ending).await,
        Command::Supervise(supervise) => up::supervise(&args, supervise, &mut ending).await,
        Command::Down(within) => down::down(&args, *within).await,
        Command::Delete { purge } => down::delete(&args, *purge),
        Command::Status { watch, output } => status(&args, *watch, output.format).await,
        Command::Plan { file, zones, output } => apply::plan(&args, file, zones, output.format).await,
        Command::Apply { file, wait, within } => apply::apply(&args, file, *wait, *within).await,
        Command::Switchover { .. }
        | Command::Failover { .. }
        | Command::Fence { .. }
        | Command::Unfence { .. }
        | Command::Restart { .. }
        | Command::Forget { .. } => request(&args).await,
        Command::Events { follow, output } => events::events(&args, *follow, output.format).await,
        Command::Logs { instance, follow, lines } => logs::logs(&args, instance, *follow, *lines).await,
        Command::Connect { output } => connect::connect(&args, output.format),
        Command::Cli { command, timeout, output } => {
            cli::cli(&args, command, Duration::from_secs(*timeout), output.format).await
        }
        Command::Drill(event) => drill::drill(&args, event, &mut ending).await,
        #[cfg(feature = "kubernetes")]
        Command::Operator(operator) => kube::operator(operator, &mut ending).await,
        #[cfg(feature = "kubernetes")]
        Command::Kube(command) => kube::kube(command),
        #[cfg(feature = "kubernetes")]
        Command::Agent => kube::agent(&mut ending).await,
        #[cfg(feature = "kubernetes")]
        Command::Install { folder } => kube::install(folder),
        #[cfg(feature = "kubernetes")]
        Command::TuneKernel => kube::tune_kernel(),
        #[cfg(feature = "kubernetes")]
        Command::Inside => remote::inside::inside().await,
        Command::Completions { shell } => {
            clap_complete::generate(*shell, &mut Args::command(), "valkeeper", &mut std::io::stdout());
            Ok(())
        }
    }
}

async fn request(args: &Args) -> anyhow::Result<()> {
    let Some(request) = args.command.request() else { return Ok(()) };
    let dir = target::cluster(args)?;
    target::request(&dir, request, REQUEST_WITHIN).await
}

async fn status(args: &Args, watch: bool, format: crate::args::Format) -> anyhow::Result<()> {
    let dir = target::cluster(args)?;
    let mut shown = None;
    loop {
        let status = Status::of(&dir).await?;
        if shown.as_ref() != Some(&status) {
            output::value(format, &status, || status.page())?;
            if watch && format == crate::args::Format::Table {
                output::text("\n")?;
            }
        }
        if !watch {
            return Ok(());
        }
        shown = Some(status);
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}
