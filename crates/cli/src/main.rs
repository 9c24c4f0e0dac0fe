//! `valkeeper`: runs Valkey and Redis clusters from one manifest.

mod args;
mod command;
mod ending;
mod failure;
mod manifest_file;
mod output;
mod patience;
mod program;
mod status;
mod target;

use clap::Parser as _;
use std::process::ExitCode;

fn main() -> ExitCode {
    // One thread does: the work is waiting, and the fewer threads, the less memory at rest.
    let begun = tokio::runtime::Builder::new_current_thread().enable_all().build().and_then(|runtime| {
        let ending = {
            let _within = runtime.enter();
            ending::Ending::listen()?
        };
        Ok((runtime, ending))
    });
    let (runtime, ending) = match begun {
        Ok(begun) => begun,
        Err(error) => {
            eprintln!("error: cannot start: {error}");
            return ExitCode::from(1);
        }
    };
    let args = parse();
    tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::try_from_env("VALKEEPER_LOG").unwrap_or_else(|_| {
            tracing_subscriber::EnvFilter::new(if args.verbose || args.command.talks() {
                "info"
            } else {
                // What its client says of a failure, the failure itself says better.
                "warn,kube_client=off"
            })
        }))
        .with_writer(std::io::stderr)
        .with_target(false)
        .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()))
        .init();
    let result = runtime.block_on(command::run(args, ending));
    // Nothing that is still in the background is worth waiting for.
    runtime.shutdown_background();
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failure::tell(&error),
    }
}

#[cfg(not(feature = "kubernetes"))]
fn parse() -> args::Args {
    args::Args::parse()
}

/// Called as a plugin of kubectl, it is about Kubernetes.
#[cfg(feature = "kubernetes")]
fn parse() -> args::Args {
    use clap::{CommandFactory as _, FromArgMatches as _};
    let called = std::env::args_os().next().map(std::path::PathBuf::from);
    let name = called.as_deref().and_then(std::path::Path::file_stem);
    if name.is_none_or(|name| name != "kubectl-valkeeper") {
        return args::Args::parse();
    }
    let mut command = args::Args::command().bin_name("kubectl valkeeper");
    let matches = command.clone().get_matches();
    let mut args =
        args::Args::from_arg_matches(&matches).unwrap_or_else(|error| error.format(&mut command).exit());
    args.kubernetes.asked = true;
    args
}
