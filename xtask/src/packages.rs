//! What a command needs from the system's package manager. Root installs what is missing; others are told what to install.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::command;

/// A file of a package, as a name on PATH or as an absolute path, and the Debian package that has it.
pub(crate) type Need = (&'static str, &'static str);

/// Makes sure that all are there.
pub(crate) fn provide(needs: &[Need]) -> Result<()> {
    let path = std::env::var("PATH").unwrap_or_default();
    let wanted = missing(needs, &path);
    if wanted.is_empty() {
        return Ok(());
    }
    let hint = format!("hint: as root: apt-get install {}", wanted.join(" "));
    eprintln!("installing {}", wanted.join(" "));
    let install = || {
        let mut apt = Command::new("apt-get");
        apt.env("DEBIAN_FRONTEND", "noninteractive").arg("-qq");
        apt
    };
    command::output(install().arg("update")).with_context(|| format!("no package lists\n{hint}"))?;
    command::output(install().args(["install", "-y", "--no-install-recommends"]).args(&wanted))
        .with_context(|| format!("cannot install {}\n{hint}", wanted.join(", ")))?;
    let still = missing(needs, &path);
    ensure!(still.is_empty(), "{} is installed but not what we look for\n{hint}", still.join(", "));
    Ok(())
}

fn missing(needs: &[Need], path: &str) -> Vec<&'static str> {
    let on_path = |file: &str| std::env::split_paths(path).any(|folder| folder.join(file).exists());
    let there = |file: &str| if file.starts_with('/') { Path::new(file).exists() } else { on_path(file) };
    let gone = needs.iter().filter(|(file, _)| !there(file));
    gone.map(|(_, package)| *package).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_named_by_its_package() {
        let needs =
            [("sh", "dash"), ("/bin/sh", "dash"), ("no-such-program", "absent"), ("/no/such/file", "gone")];
        assert_eq!(missing(&needs, "/usr/bin:/bin"), ["absent", "gone"]);
        assert_eq!(missing(&needs[1..2], ""), [""; 0]);
    }
}
