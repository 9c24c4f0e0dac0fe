//! The image of Valkeeper itself: one static program, so that it runs beside any server, whatever libc is there.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::archive::{Image, ROOT, Tree};
use crate::command;

#[derive(clap::Args, Default)]
pub(crate) struct Product {
    /// Take this program instead of building one
    #[arg(long, value_name = "PATH", conflicts_with = "profile")]
    binary: Option<PathBuf>,
    /// How to build it
    #[arg(long, value_enum, default_value_t)]
    profile: Profile,
}

#[derive(clap::ValueEnum, Clone, Copy, Default)]
enum Profile {
    Dev,
    #[default]
    Release,
}

/// The image, and one of the same program with a word more at its end: to agents that is another version, to be upgraded to.
pub(super) fn images(args: &Product) -> Result<[Image; 2]> {
    let program = match &args.binary {
        Some(path) => path.clone(),
        None => build(args.profile)?,
    };
    let program = fs::read(&program).with_context(|| format!("cannot read {}", program.display()))?;
    let next = [&program[..], b"next"].concat();
    Ok([
        image("docker.io/valkeeper/valkeeper:dev", program),
        image("docker.io/valkeeper/valkeeper:next", next),
    ])
}

fn image(name: &'static str, program: Vec<u8>) -> Image {
    let mut tree = Tree::default();
    tree.file("valkeeper", program, 0o755);
    tree.folder("tmp", 0o1777, ROOT);
    Image { name, tree, entrypoint: "/valkeeper", folder: "/" }
}

/// Where the program is, once the images have been written.
pub(super) fn program(args: &Product) -> Result<PathBuf> {
    match &args.binary {
        Some(path) => Ok(fs::canonicalize(path)?),
        None => built(args.profile),
    }
}

fn built(profile: Profile) -> Result<PathBuf> {
    let folder = target(&command::checkout()?).join("static");
    let triple = format!("{}-unknown-linux-gnu", env::consts::ARCH);
    let profile = match profile {
        Profile::Dev => "debug",
        Profile::Release => "release",
    };
    Ok(folder.join(triple).join(profile).join("valkeeper"))
}

fn build(profile: Profile) -> Result<PathBuf> {
    let root = command::checkout()?;
    // A folder of its own: other flags in the usual one would make every build start anew.
    let folder = target(&root).join("static");
    let triple = format!("{}-unknown-linux-gnu", env::consts::ARCH);
    let name = match profile {
        Profile::Dev => "dev",
        Profile::Release => "release",
    };
    let mut cargo = Command::new("cargo");
    cargo.current_dir(&root).args(["build", "--locked", "--package", "valkeeper"]);
    // With a target the flags are for what is shipped only, not for what runs during the build.
    cargo.args(["--profile", name, "--target", &triple]).arg("--target-dir").arg(&folder);
    if has_feature(&fs::read_to_string(root.join("crates/cli/Cargo.toml"))?, "kubernetes") {
        cargo.args(["--features", "kubernetes"]);
    }
    let flags = env::var("RUSTFLAGS").unwrap_or_default();
    cargo.env_remove("CARGO_ENCODED_RUSTFLAGS");
    cargo.env("RUSTFLAGS", format!("{flags} -C target-feature=+crt-static").trim());
    let status = cargo.status().context("cannot start cargo")?;
    ensure!(
        status.success(),
        "the static program could not be built\nhint: needs a static libc (Debian: libc6-dev)"
    );
    built(profile)
}

/// Where cargo builds.
pub(super) fn target(root: &Path) -> PathBuf {
    env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), |folder| root.join(folder))
}

fn has_feature(manifest: &str, name: &str) -> bool {
    let table = manifest.lines().map(str::trim).skip_while(|line| *line != "[features]").skip(1);
    let mut keys = table.take_while(|line| !line.starts_with('[')).filter_map(|line| line.split_once('='));
    keys.any(|(key, _)| key.trim() == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_feature_is_asked_for_only_where_it_is() {
        let manifest = "[features]\ndefault = []\nkubernetes = [\"dep:x\"]\n[dependencies]\nkube = \"1\"\n";
        assert!(has_feature(manifest, "kubernetes"));
        assert!(!has_feature(manifest, "kube"));
        assert!(!has_feature("[dependencies]\nkubernetes = \"1\"\n", "kubernetes"));
    }
}
