//! `cargo xtask bed`: a command in a Kubernetes of its own. What that is, is in `testkit/bed/bed.sh`.

use std::fs;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::{command, images, kube};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// How many nodes
    #[arg(default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..=99))]
    nodes: u8,
    /// Take ready archives from this folder instead of making them
    #[arg(long, value_name = "FOLDER", conflicts_with_all = ["binary", "profile"])]
    images: Option<PathBuf>,
    #[command(flatten)]
    product: images::Product,
    /// How many local volumes on each node
    #[arg(long, default_value_t = 8)]
    volumes: u8,
    /// Leave logs, certificates and volumes behind
    #[arg(long)]
    keep: bool,
    /// What to run, after `--`
    #[arg(last = true, required = true)]
    command: Vec<std::ffi::OsString>,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let programs = kube::provide()?;
    let images = if let Some(folder) = &args.images {
        let folder = fs::canonicalize(folder).with_context(|| format!("no folder {}", folder.display()))?;
        let hint = "hint: `cargo xtask images FOLDER` writes what the bed needs";
        ensure!(folder.join("pause.tar").is_file(), "{} has no pause.tar\n{hint}", folder.display());
        folder
    } else {
        let folder = images::usual_folder()?;
        images::write(&folder, &args.product)?;
        folder
    };
    let mut bed = Command::new(command::checkout()?.join("testkit/bed/bed.sh"));
    if args.images.is_none() {
        bed.env("VALKEEPER_PROGRAM", images::program(&args.product)?);
    }
    bed.env("BIN", programs).env("IMAGES", images).env("VOLUMES", args.volumes.to_string());
    bed.arg(args.nodes.to_string()).arg("--").args(&args.command);
    if args.keep {
        bed.env("KEEP", "1");
    } else {
        bed.env_remove("KEEP");
    }
    // In our place: signals, our parent's death and the exit code then need nobody to pass them on.
    Err(bed.exec()).context("cannot start testkit/bed/bed.sh")
}
