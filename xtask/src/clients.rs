//! `cargo xtask clients`: the libraries of other people's clients, pinned by the lock files in `testkit/clients/`, in a
//! cache outside the checkout and linked into `.clients/`. Scenarios run them beside events: testkit/tests/clients.

mod report;

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::{cache, command};

#[derive(clap::Args, Default)]
pub(crate) struct Args {
    /// Run the scenarios with them and put what they saw into docs/clients.md
    #[arg(long)]
    report: bool,
}

/// What one language's clients are made from and how.
struct Kit {
    name: &'static str,
    /// What decides over the outcome, in `testkit/clients/NAME/`.
    inputs: &'static [&'static str],
    /// Makes the kit in the second folder from the inputs, which lie there too.
    make: fn(&Path) -> Command,
    /// Says the versions; fails if the kit is not usable.
    check: fn(&Path) -> Command,
    says: &'static [&'static str],
    hint: &'static str,
}

const KITS: &[Kit] = &[
    Kit {
        name: "python",
        inputs: &["requirements.txt"],
        // No virtual environment: Debian has its module in a package of its own, and it knows its absolute path.
        make: |folder| {
            let mut pip = in_folder("python3", folder);
            pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"])
                .args(["--root-user-action", "ignore", "--only-binary", ":all:", "--require-hashes"])
                .args(["--target", "site", "--requirement", "requirements.txt"]);
            pip
        },
        check: |folder| {
            let mut python = in_folder("python3", folder);
            python.env("PYTHONPATH", "site").args(["-c", "import redis; print(redis.__version__)"]);
            python
        },
        says: &["8.1.0"],
        hint: "needs python3 3.10 or newer with pip (Debian: python3-pip) and a way to PyPI",
    },
    Kit {
        name: "node",
        inputs: &["package.json", "package-lock.json"],
        make: |folder| {
            let mut npm = in_folder("npm", folder);
            npm.args(["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel", "error"]);
            npm
        },
        check: |folder| {
            let mut node = in_folder("node", folder);
            let versions = "require('redis'); require('ioredis'); \
                            console.log(require('redis/package.json').version, require('ioredis/package.json').version)";
            node.args(["-e", versions]);
            node
        },
        says: &["6.3.1", "5.11.1"],
        hint: "needs node 20 or newer with npm (Debian: nodejs npm) and a way to npm's registry",
    },
    Kit {
        name: "go",
        inputs: &["go.mod", "go.sum", "main.go"],
        make: |folder| {
            let mut go = in_folder("go", folder);
            // The toolchain that is there: another one is not fetched behind anybody's back.
            go.env("GOTOOLCHAIN", "local").args(["build", "-trimpath", "-mod=readonly", "-o", "client", "."]);
            go
        },
        check: |folder| {
            let mut go = in_folder("go", folder);
            go.args(["version", "-m", "client"]);
            go
        },
        says: &["github.com/redis/go-redis/v9\tv9.22.0"],
        hint: "needs go 1.25 or newer (Debian: golang-go, from backports if need be) and a way to the Go module proxy",
    },
];

fn in_folder(program: &str, folder: &Path) -> Command {
    let mut command = Command::new(program);
    command.current_dir(folder);
    command
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let root = command::checkout()?;
    let cache = cache::folder("clients")?;
    let mut failed = Vec::new();
    for kit in KITS {
        match provide(kit, &root, &cache) {
            Ok(()) => println!("{:<7} {}", kit.name, kit.says.join(", ").replace('\t', " ")),
            Err(error) => {
                eprintln!("error: {}: {}", kit.name, command::explain(&error));
                failed.push(kit.name);
            }
        }
    }
    ensure!(failed.is_empty(), "no clients in {}", failed.join(", "));
    if args.report { report::run(&root) } else { Ok(()) }
}

fn provide(kit: &Kit, root: &Path, cache: &Path) -> Result<()> {
    let source = root.join("testkit/clients").join(kit.name);
    let kept = cache.join(format!("{}-{}", kit.name, hash(kit, &source)?));
    if check(kit, &kept).is_err() {
        let guard = cache::lock(cache, "clients")?;
        if check(kit, &kept).is_err() {
            cache::fill(cache, kit.name, &kept, |new| make(kit, &source, new))?;
        }
        drop(guard);
    }
    cache::point(&root.join(".clients").join(kit.name), &kept)
}

/// Of names and contents, so that a change of any pin makes another folder.
fn hash(kit: &Kit, source: &Path) -> Result<String> {
    let mut all = Vec::new();
    for input in kit.inputs {
        let path = source.join(input);
        let bytes = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        all.extend_from_slice(format!("{input} {}\n", bytes.len()).as_bytes());
        all.extend_from_slice(&bytes);
    }
    Ok(cache::sha256(&all)[..16].to_owned())
}

fn make(kit: &Kit, source: &Path, new: &Path) -> Result<()> {
    for input in kit.inputs {
        fs::copy(source.join(input), new.join(input))?;
    }
    command::output(&mut (kit.make)(new))
        .with_context(|| format!("could not be made\nhint: {}", kit.hint))?;
    check(kit, new)
}

fn check(kit: &Kit, folder: &Path) -> Result<()> {
    ensure!(folder.is_dir(), "{} is not there", folder.display());
    let said = command::output(&mut (kit.check)(folder))
        .with_context(|| format!("does not run\nhint: {}", kit.hint))?;
    for word in kit.says {
        ensure!(said.contains(word), "expected `{word}`, it said: {said}");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(kit: &Kit) -> std::path::PathBuf {
        command::checkout().unwrap().join("testkit/clients").join(kit.name)
    }

    #[test]
    fn every_kit_is_pinned_to_what_it_must_say() {
        for kit in KITS {
            let inputs = kit.inputs.iter().map(|input| fs::read_to_string(source(kit).join(input)).unwrap());
            let pins = inputs.collect::<String>().replace(' ', "\t");
            for word in kit.says {
                assert!(pins.contains(word), "{}: {word} is not what the lock files pin", kit.name);
            }
        }
    }

    #[test]
    fn another_pin_is_another_folder() {
        let python = &KITS[0];
        let other = Kit { inputs: &["client.py"], ..*python };
        assert_ne!(hash(python, &source(python)).unwrap(), hash(&other, &source(python)).unwrap());
        assert_eq!(hash(python, &source(python)).unwrap().len(), 16);
    }
}
