//! The scenarios on a real Kubernetes, all in one bed, one after the other: they cut its nodes off and stop its components.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};

use super::tally::Tally;
use crate::images;

/// Each cluster takes two volumes of each node, and a volume is not used twice.
const VOLUMES: &str = "90";

/// Builds what the bed needs with the time that others do not: most of the other tests' time is waited. What goes wrong is told by
/// [`run`], which meets it again.
pub(super) fn provide() {
    let Ok(program) = std::env::current_exe() else { return };
    let Ok(images) = images::usual_folder() else { return };
    for args in [&["kube".as_ref()][..], &["images".as_ref(), images.as_os_str()]] {
        let mut command = Command::new("nice");
        command.args(["-n", "19"]).arg(&program).args(args);
        let _ = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
    }
}

/// Runs them; `only` are parts of their names.
pub(super) fn run(root: &Path, only: &[String]) -> Result<Tally> {
    let tests = build(root)?;
    let program = std::env::current_exe().context("where is this program?")?;
    let mut command = Command::new(program);
    command.current_dir(root).args(["bed", "3", "--volumes", VOLUMES, "--"]).arg(tests);
    command.args(["--test-threads=1", "--nocapture"]).args(only).env("RUST_BACKTRACE", "0");
    super::tallied(command)
}

/// Builds the test program and says where it is. With the features of the tests before it: what they are built of is there already.
fn build(root: &Path) -> Result<PathBuf> {
    let mut cargo = Command::new("cargo");
    cargo.current_dir(root).args([
        "test",
        "--workspace",
        "--all-features",
        "--test",
        "kubernetes",
        "--no-run",
    ]);
    cargo.args(["--message-format", "json-render-diagnostics"]).stdout(Stdio::piped());
    let built =
        cargo.spawn().and_then(std::process::Child::wait_with_output).context("cannot start cargo")?;
    ensure!(built.status.success(), "the scenarios do not compile");
    let messages = String::from_utf8_lossy(&built.stdout);
    let values = messages.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    let program = values
        .filter(|value| value["target"]["name"] == "kubernetes")
        .find_map(|value| value["executable"].as_str().map(PathBuf::from));
    match program {
        Some(program) => Ok(program),
        None => bail!("cargo does not say where the scenarios are"),
    }
}
