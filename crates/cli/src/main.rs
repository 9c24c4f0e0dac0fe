//! `valkeeper`: runs Valkey and Redis clusters from one manifest.

mod args;
mod boxed;
mod called;
mod command;
mod complete;
mod conversation;
#[cfg_attr(not(feature = "kubernetes"), expect(dead_code, reason = "some of it is said of Kubernetes alone"))]
mod document;
mod ending;
mod failure;
mod load;
mod manifest_file;
mod manifest_text;
mod output;
mod patience;
mod program;
mod target;
mod watch;
mod weighing;

use args::{Args, Command, InnerArgs};
use clap::{CommandFactory as _, FromArgMatches as _, Parser as _};
use std::path::PathBuf;
use std::process::ExitCode;

fn main() -> ExitCode {
    // A shell that wants to know what may follow: answered and ended here.
    clap_complete::CompleteEnv::with_factory(Args::command).complete();
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
            tracing_subscriber::EnvFilter::new(if args.common.verbose || args.command.talks() {
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

/// What is asked, by people or by this program itself.
fn parse() -> Args {
    let mut words = std::env::args_os();
    let name = words.next().map(PathBuf::from);
    // Its own commands come first, before all options.
    let inner = words.next().filter(|word| InnerArgs::command().find_subcommand(word).is_some());
    if inner.is_some() {
        let InnerArgs { common, command } = InnerArgs::parse();
        return Args { common, command: Command::Inner(command) };
    }
    let mut command = Args::command().bin_name(called::by_name(name.as_deref(), false).to_string());
    let matches = command.clone().get_matches();
    let mut args = Args::from_arg_matches(&matches).unwrap_or_else(|error| error.format(&mut command).exit());
    args.common.heed_name(called::by_name(name.as_deref(), false));
    called::note(called::by_name(name.as_deref(), args.common.is_on_kubernetes()));
    args
}
