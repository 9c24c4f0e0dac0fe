//! The program under test, and the servers it runs.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// The program, built by cargo if it is missing or older than its source. `VALKEEPER` names another one.
pub fn valkeeper() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| match std::env::var_os("VALKEEPER") {
        Some(path) => path.into(),
        None => build(),
    })
}

/// Beside the running test: `target/PROFILE/deps/TEST` and `target/PROFILE/valkeeper`.
fn build() -> PathBuf {
    let test = std::env::current_exe().expect("a test knows its program");
    let profile = test.ancestors().nth(2).expect("a test lies in target/PROFILE/deps");
    let target = profile.parent().expect("a profile lies in the target directory");
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    // As the tests are built (`cargo xtask test`): with other features everything would be compiled once more.
    cargo.current_dir(checkout()).args(["build", "--quiet", "--workspace", "--all-features"]);
    cargo.args(["--bin", "valkeeper", "--target-dir"]).arg(target);
    if profile.ends_with("release") {
        cargo.arg("--release");
    }
    let built = cargo.status().expect("cargo runs");
    assert!(built.success(), "the program could not be built");
    profile.join("valkeeper")
}

/// The root of the repository.
pub fn checkout() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The server of most scenarios: `VALKEEPER_SERVER`, or the newest one fetched.
pub fn server() -> PathBuf {
    std::env::var_os("VALKEEPER_SERVER").map_or_else(|| fetched("valkey-9.1.2/valkey-server"), PathBuf::from)
}

/// One of the servers that `cargo xtask servers` fetches.
pub fn fetched(name: &str) -> PathBuf {
    let path = checkout().join(".servers").join(name);
    assert!(path.exists(), "{} is missing: run `cargo xtask servers`", path.display());
    path
}
