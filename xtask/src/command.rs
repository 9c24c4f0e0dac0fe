//! Running other programs: what they said on failure belongs in our error.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

/// The checkout this command works on. Asked at run time, as a shared target folder may hold a binary built elsewhere.
pub(crate) fn checkout() -> Result<PathBuf> {
    let root = match std::env::var_os("CARGO_MANIFEST_DIR") {
        Some(xtask) => PathBuf::from(xtask).parent().context("xtask has no parent folder")?.to_path_buf(),
        None => std::env::current_dir()?,
    };
    ensure!(
        root.join("xtask").is_dir(),
        "{} is no checkout of Valkeeper\nhint: start me as `cargo xtask ...`",
        root.display()
    );
    Ok(root)
}

/// Runs to the end and returns stdout.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let shown = format!("{} ...", command.get_program().to_string_lossy());
    let done = command.output().with_context(|| format!("cannot start {shown}"))?;
    if !done.status.success() {
        let said = String::from_utf8_lossy(&done.stderr);
        bail!("{shown} ended with {}: {}", done.status, tail(&said, 12));
    }
    Ok(String::from_utf8_lossy(&done.stdout).into_owned())
}

/// The causes on one line and the hints, which each cause may carry as a line of its own, below them.
pub(crate) fn explain(error: &anyhow::Error) -> String {
    let mut causes = Vec::new();
    let mut hints = Vec::new();
    for cause in error.chain().map(ToString::to_string) {
        let (hint, what): (Vec<&str>, Vec<&str>) = cause.lines().partition(|line| line.starts_with("hint: "));
        causes.push(what.join("\n"));
        hints.extend(hint.into_iter().map(|hint| format!("\n{hint}")));
    }
    causes.join(": ") + &hints.concat()
}

fn tail(text: &str, lines: usize) -> String {
    let all: Vec<&str> = text.lines().collect();
    all[all.len().saturating_sub(lines)..].join("\n  ")
}

#[cfg(test)]
mod tests {
    use anyhow::anyhow;

    #[test]
    fn hints_come_last() {
        let error = anyhow!("no such file").context("cannot start\nhint: install it").context("pip");
        assert_eq!(super::explain(&error), "pip: cannot start: no such file\nhint: install it");
    }
}
