//! A server, or a file system for tests, out of Debian packages, unpacked beside the system: apt works on lists and a cache of its own in a temporary
//! folder, so no root is needed and the machine stays as it is.
//!
//! libssl3 and libsystemd0 are not fetched: python3 and apt themselves bring them.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;

use super::{files_in, sha256_of};
use crate::command;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Debian {
    programs: Vec<String>,
    pub(super) packages: Vec<Pin>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Pin {
    name: String,
    version: String,
    /// Debian removes a revision once it has published the next, so a version that starts like this is good as well:
    /// apt has checked its signature.
    accept: String,
    /// By Debian's name of the architecture.
    pub(super) sha256: BTreeMap<String, String>,
}

#[derive(Debug, PartialEq)]
enum Verdict {
    Pinned,
    /// Not the pinned file, but one that apt vouches for and the pin accepts.
    Signed,
}

impl Debian {
    pub(super) fn fetch(&self, into: &Path) -> Result<()> {
        let apt = Apt::new(&into.join("apt"))?;
        let debs = apt.download(&self.packages)?;
        let root = into.join("root");
        for deb in debs {
            command::output(Command::new("dpkg").arg("-x").arg(deb).arg(&root))?;
        }
        fs::remove_dir_all(&apt.folder)?;
        for program in &self.programs {
            let path = into.join(program);
            fs::write(&path, wrapper(program, &apt.multiarch))?;
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
        }
        Ok(())
    }
}

/// `exec` keeps the process id, so who starts the wrapper holds the server. No `readlink`: no extra process at start.
fn wrapper(program: &str, multiarch: &str) -> String {
    format!(
        "#!/bin/sh\n\
         root=${{0%/*}}/root\n\
         LD_LIBRARY_PATH=$root/usr/lib/{multiarch}:$root/lib/{multiarch}${{LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}}\n\
         export LD_LIBRARY_PATH\n\
         exec \"$root/usr/bin/{program}\" \"$@\"\n"
    )
}

struct Apt {
    folder: PathBuf,
    debs: PathBuf,
    architecture: String,
    multiarch: String,
}

impl Apt {
    fn new(folder: &Path) -> Result<Self> {
        let hint = "this server comes from Debian's packages\nhint: needs a Debian 12 with apt and dpkg; valkey-* do not";
        let architecture = command::output(Command::new("dpkg").arg("--print-architecture"))
            .context(hint)?
            .trim()
            .to_owned();
        let multiarch = match architecture.as_str() {
            "amd64" => "x86_64-linux-gnu",
            "arm64" => "aarch64-linux-gnu",
            other => bail!("no redis-server is known for the architecture {other}"),
        };
        let debs = folder.join("debs");
        for part in [&debs, &folder.join("state/lists/partial"), &folder.join("cache/archives/partial")] {
            fs::create_dir_all(part)?;
        }
        let apt = Self { folder: folder.to_path_buf(), debs, architecture, multiarch: multiarch.to_owned() };
        command::output(apt.get().arg("update")).context("apt could not read the package lists")?;
        Ok(apt)
    }

    fn get(&self) -> Command {
        let mut command = Command::new("apt-get");
        command.current_dir(&self.debs).arg("-qq");
        for (key, value) in [
            ("Dir::State", self.folder.join("state").display().to_string()),
            ("Dir::State::status", "/var/lib/dpkg/status".to_owned()),
            ("Dir::Cache", self.folder.join("cache").display().to_string()),
            // As root apt would drop to a user that may not enter our folder.
            ("APT::Sandbox::User", "root".to_owned()),
            ("APT::Get::AllowUnauthenticated", "false".to_owned()),
            ("Acquire::AllowInsecureRepositories", "false".to_owned()),
            ("Acquire::Retries", "3".to_owned()),
        ] {
            command.arg("-o").arg(format!("{key}={value}"));
        }
        command
    }

    fn download(&self, pins: &[Pin]) -> Result<Vec<PathBuf>> {
        let exact: Vec<String> = pins.iter().map(|pin| format!("{}={}", pin.name, pin.version)).collect();
        if command::output(self.get().arg("download").args(&exact)).is_err() {
            // Some pinned revision is gone: ask for what there is, and judge each below.
            command::output(self.get().arg("download").args(pins.iter().map(|pin| &pin.name)))
                .context("apt could not download the packages")?;
        }
        pins.iter().map(|pin| self.judge(pin)).collect()
    }

    fn judge(&self, pin: &Pin) -> Result<PathBuf> {
        let mut verdicts = Vec::new();
        for (file, path) in files_in(&self.debs)? {
            if file.starts_with(&format!("{}_", pin.name)) {
                let version = command::output(Command::new("dpkg-deb").arg("-f").arg(&path).arg("Version"))?
                    .trim()
                    .to_owned();
                let verdict = verdict(pin, &self.architecture, &version, &sha256_of(&path)?)?;
                verdicts.push((verdict, version, path));
            }
        }
        // A first try that failed half way may have left the pinned file beside the one on offer.
        verdicts.sort_by_key(|(verdict, ..)| *verdict != Verdict::Pinned);
        let (verdict, version, path) =
            verdicts.into_iter().next().with_context(|| format!("apt brought no {}", pin.name))?;
        if verdict == Verdict::Signed {
            eprintln!(
                "note: {} {version} ({}) taken where servers.lock pins {}: apt has checked its signature",
                pin.name, self.architecture, pin.version
            );
        }
        Ok(path)
    }
}

fn verdict(pin: &Pin, architecture: &str, version: &str, sum: &str) -> Result<Verdict> {
    if version == pin.version
        && let Some(pinned) = pin.sha256.get(architecture)
    {
        ensure!(pinned == sum, "{} {version} has sha256 {sum}, servers.lock pins {pinned}", pin.name);
        return Ok(Verdict::Pinned);
    }
    ensure!(
        version.starts_with(&pin.accept),
        "apt offers {} {version}, servers.lock pins {} and accepts {}*\nhint: needs the packages of Debian 12",
        pin.name,
        pin.version,
        pin.accept
    );
    Ok(Verdict::Signed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pin() -> Pin {
        let sha256 = BTreeMap::from([("amd64".to_owned(), "11".to_owned())]);
        Pin { name: "redis-server".into(), version: "5:7.0.15-1".into(), accept: "5:7.0.".into(), sha256 }
    }

    #[test]
    fn the_pinned_version_must_have_the_pinned_checksum() {
        assert_eq!(verdict(&pin(), "amd64", "5:7.0.15-1", "11").unwrap(), Verdict::Pinned);
        verdict(&pin(), "amd64", "5:7.0.15-1", "22").unwrap_err();
    }

    #[test]
    fn a_newer_revision_or_an_unpinned_architecture_rests_on_the_signature() {
        assert_eq!(verdict(&pin(), "amd64", "5:7.0.15-2", "22").unwrap(), Verdict::Signed);
        assert_eq!(verdict(&pin(), "arm64", "5:7.0.15-1", "22").unwrap(), Verdict::Signed);
    }

    #[test]
    fn another_release_is_refused() {
        let error = verdict(&pin(), "amd64", "5:8.0.2-3", "22").unwrap_err().to_string();
        assert!(error.contains("Debian 12"), "{error}");
    }

    #[test]
    fn the_wrapper_finds_its_libraries_beside_itself() {
        let text = wrapper("redis-server", "x86_64-linux-gnu");
        assert!(text.contains("exec \"$root/usr/bin/redis-server\" \"$@\""), "{text}");
        let libraries =
            "LD_LIBRARY_PATH=$root/usr/lib/x86_64-linux-gnu:$root/lib/x86_64-linux-gnu${LD_LIBRARY_PATH:+";
        assert!(text.contains(libraries), "{text}");
    }
}
