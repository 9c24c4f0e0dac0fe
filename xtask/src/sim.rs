//! `cargo xtask sim`: seeds through the simulator. It is a product crate, so that cargo builds and starts it.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::command;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// How many seeds
    #[arg(long, default_value_t = 2_000)]
    seeds: u64,
    /// The first of them; by default a random one, which is printed, so that each run is of seeds that nobody has run
    #[arg(long)]
    from: Option<u64>,
    /// Run this one only
    #[arg(long, conflicts_with_all = ["seeds", "from"])]
    seed: Option<u64>,
    /// Print all that happens
    #[arg(long, requires = "seed")]
    transcript: bool,
    /// Leave out every fault that is not needed for the law to be broken
    #[arg(long, requires = "seed")]
    minimise: bool,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let (first, what) = match args.seed {
        Some(seed) if args.minimise => (seed, "minimise".to_owned()),
        Some(seed) if args.transcript => (seed, "transcript".to_owned()),
        Some(seed) => (seed, "1".to_owned()),
        None => (args.from.unwrap_or_else(unused), args.seeds.to_string()),
    };
    if args.seed.is_none() {
        eprintln!("runs {what} seeds from {first}");
    }
    let status = Command::new("cargo")
        .current_dir(command::checkout()?)
        .args(["run", "--quiet", "--release", "--package", "valkeeper-sim", "--example", "seeds", "--"])
        .args([first.to_string(), what])
        .status()
        .context("cannot start cargo")?;
    ensure!(status.success(), "a seed broke a law\nhint: replay it with `--seed S --transcript`");
    Ok(())
}

/// A beginning that no run had before, short enough to be typed.
fn unused() -> u64 {
    RandomState::new().build_hasher().finish() % 1_000_000_000_000
}
