//! Developer commands, started as `cargo xtask COMMAND`. One file per command.

mod bed;
mod cache;
mod clients;
mod command;
mod crds;
mod files;
mod images;
mod kube;
mod layers;
mod packages;
mod rust_text;
mod servers;
mod sim;
mod test;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "cargo xtask", about = "Developer commands of Valkeeper")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Put the real servers that tests and the demo run into .servers/
    Servers(servers::Args),
    /// Put the clients that scenarios run beside an event into .clients/
    Clients(clients::Args),
    /// Build the programs of the Kubernetes that scenarios run on and print their folder
    Kube,
    /// Write the images that the Kubernetes bed runs into a folder
    Images(images::Args),
    /// Run a command in a Kubernetes of its own, which ends with it
    Bed(bed::Args),
    /// Prove that crates depend on each other downwards only and that the pure ones are pure
    Layers,
    /// Check the text of the repository: sizes, names, lint exceptions, paths of one machine
    Files,
    /// Write the definitions of our kinds on Kubernetes, or check those that lie in the repository
    Crds(crds::Args),
    /// Run seeds through the simulator, or one with its transcript
    Sim(sim::Args),
    /// Run everything `make test` stands for and print one total
    Test(test::Args),
}

fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Command::Servers(args) => servers::run(&args),
        Command::Clients(args) => clients::run(&args),
        Command::Kube => kube::run(),
        Command::Images(args) => images::run(&args),
        Command::Bed(args) => bed::run(&args),
        Command::Layers => layers::run(),
        Command::Files => files::run(),
        Command::Crds(args) => crds::run(&args),
        Command::Sim(args) => sim::run(&args),
        Command::Test(args) => test::run(&args),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {}", command::explain(&error));
            ExitCode::FAILURE
        }
    }
}
