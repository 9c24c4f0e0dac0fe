//! One file per command, or per kind of command. What differs between platforms is behind `target`.

mod apply;
mod cli;
mod completions;
mod connect;
mod done;
mod down;
mod drill;
mod events;
#[cfg(feature = "kubernetes")]
mod kube;
mod logs;
mod plan;
mod rebalance;
mod request;
mod resizing;
mod secret;
mod servers;
mod slots;
mod status;
mod switch_region;
mod up;

use crate::args::{Args, Command, Inner};
use crate::conversation::{Asked, Manner};
use crate::ending::Ending;
use crate::target::{self, LocalOnly, LogPart};
use apply::WaitFor;
use valkeeper_model::Request;

pub(crate) async fn run(args: Args, mut ending: Ending) -> anyhow::Result<()> {
    valkeeper_agent::raise_file_limit();
    let platform = target::platform(&args)?;
    let platform = platform.as_ref();
    match &args.command {
        Command::Up(up) => up::up(platform.local(LocalOnly::Up)?, up, &mut ending).await,
        Command::Down(within) => down::down(platform.local(LocalOnly::Down)?, *within).await,
        Command::Delete { purge } => down::delete(platform.local(LocalOnly::Delete)?, *purge),
        Command::Status { watch: false, output } => status::status(platform, output.format).await,
        Command::Status { watch: true, output } => status::watch(platform, output.format, &mut ending).await,
        Command::Plan { manifest, zones, loss, output } => {
            plan::plan(platform, manifest.path(), (zones, *loss), output.format).await
        }
        Command::Apply { manifest, wait, loss, within } => {
            let wait_for = if *wait { WaitFor::Health } else { WaitFor::Nothing };
            apply::apply(platform, manifest.path(), *loss, wait_for, *within).await
        }
        Command::Switchover { .. }
        | Command::Failover { .. }
        | Command::Fence { .. }
        | Command::Unfence { .. }
        | Command::Restart { .. }
        | Command::Promote
        | Command::AcceptSource
        | Command::Approve
        | Command::Forget { .. } => match args.command.request() {
            Some(request) => request::request(platform, request, &mut ending).await,
            None => Ok(()),
        },
        Command::Resize(command) => resizing::resizing(platform, command, &mut ending).await,
        Command::SwitchRegion { to: Some(to), .. } => {
            let here = platform.local(LocalOnly::SwitchRegion)?;
            switch_region::switch_region(here, platform.cluster().await?.name(), to, &mut ending).await
        }
        Command::SwitchRegion { to: None, .. } => {
            platform.local(LocalOnly::SwitchRegion)?;
            request::request(platform, Request::CancelHandOver, &mut ending).await
        }
        Command::Slots(command) => slots::slots(platform, command, &mut ending).await,
        Command::Rebalance(args) => rebalance::rebalance(platform, args, &mut ending).await,
        Command::Secret(command) => secret::secret(platform.local(LocalOnly::Secret)?, command),
        Command::Servers(command) => servers::servers(platform.local(LocalOnly::Servers)?, command),
        Command::Events { follow, only, output } => {
            events::events(platform, *follow, only, output.format).await
        }
        Command::Logs { instance, follow, lines } => {
            logs::logs(platform, instance, LogPart { lines: *lines, follow: *follow }).await
        }
        Command::Connect { output } => connect::connect(platform, output.format).await,
        Command::Cli { command, to, timeout, output } => {
            let asked = Asked { command, to, within: *timeout, manner: Manner::here(output.format) };
            cli::cli(platform, asked).await
        }
        Command::Drill(event) => drill::drill(platform, event, &mut ending).await,
        Command::Completions { shell } => completions::completions(*shell),
        Command::Inner(Inner::Supervise(supervise)) => up::supervise(&args, supervise, &mut ending).await,
        #[cfg(feature = "kubernetes")]
        Command::Kubernetes(command) => kube::command(command, &mut ending).await,
        #[cfg(feature = "kubernetes")]
        Command::Inner(Inner::Kubernetes(command)) => kube::inner(command, &mut ending).await,
    }
}
