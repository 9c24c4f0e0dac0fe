//! Where fetched things are kept: outside the checkout, so that a fresh clone on the same machine downloads nothing, by the
//! hash of what they were made from, with links from the checkout.
//!
//! A folder appears there by one rename, after it was made and checked: what is there is whole. A killed run leaves only a
//! temporary folder, which the next one removes.

use std::env;
use std::ffi::OsString;
use std::fmt::Write as _;
use std::fs::{self, File, TryLockError};
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use sha2::{Digest, Sha256};

/// The folder for things of one kind.
pub(crate) fn folder(kind: &str) -> Result<PathBuf> {
    Ok(base(env::var_os("XDG_CACHE_HOME"), env::var_os("HOME"))?.join("valkeeper").join(kind))
}

fn base(xdg: Option<OsString>, home: Option<OsString>) -> Result<PathBuf> {
    // The XDG rules say to ignore a relative path.
    let base = xdg.map(PathBuf::from).filter(|path| path.is_absolute());
    let base = base.or_else(|| home.map(|home| PathBuf::from(home).join(".cache")));
    base.context("no cache folder\nhint: set HOME or XDG_CACHE_HOME")
}

/// One run at a time fills the folder of a kind; the others wait and then find it full.
pub(crate) fn lock(folder: &Path, kind: &str) -> Result<File> {
    fs::create_dir_all(folder).with_context(|| {
        format!("cannot create {}\nhint: set XDG_CACHE_HOME to a folder you may write", folder.display())
    })?;
    let path = folder.join("lock");
    let file = File::create(&path).with_context(|| format!("cannot create {}", path.display()))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            eprintln!("waiting for another `cargo xtask {kind}` to finish");
            file.lock()?;
        }
        Err(TryLockError::Error(error)) => {
            return Err(error).with_context(|| format!("cannot lock {}", path.display()));
        }
    }
    Ok(file)
}

/// Makes `kept` what `put` puts into a new folder on the same shelf. Under the lock only.
pub(crate) fn fill<T>(
    shelf: &Path,
    name: &str,
    kept: &Path,
    put: impl FnOnce(&Path) -> Result<T>,
) -> Result<T> {
    eprintln!("{name}: fetching");
    fs::create_dir_all(shelf)?;
    let begun = format!("{name}.new.");
    for entry in fs::read_dir(shelf)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with(&begun) {
            remove(&entry.path())?;
        }
    }
    // A name of its own: the downloader of a killed run may still be writing into the old one.
    let new = shelf.join(format!("{begun}{}", std::process::id()));
    fs::create_dir(&new)?;
    let made = put(&new)?;
    // Only a folder that no longer answers is replaced, so nothing that runs loses its files.
    remove(kept)?;
    fs::rename(&new, kept)?;
    Ok(made)
}

fn remove(folder: &Path) -> Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", folder.display()))
        }
        _ => Ok(()),
    }
}

/// Makes the link lead there, whatever it led to before.
pub(crate) fn point(link: &Path, kept: &Path) -> Result<()> {
    let folder = link.parent().context("link without a folder")?;
    fs::create_dir_all(folder)?;
    let name = link.file_name().context("link without a name")?.to_string_lossy();
    let new = folder.join(format!(".{name}.{}", std::process::id()));
    symlink(kept, &new)?;
    fs::rename(&new, link)
        .inspect_err(|_| drop(fs::remove_file(&new)))
        .with_context(|| format!("something else is at {}\nhint: move it away", link.display()))
}

pub(crate) fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().fold(String::new(), |mut hex, byte| {
        write!(hex, "{byte:02x}").ok();
        hex
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_relative_xdg_folder_is_ignored() {
        let home = Some("/home/me".into());
        assert_eq!(base(Some("/x".into()), home.clone()).unwrap(), Path::new("/x"));
        assert_eq!(base(Some("x".into()), home).unwrap(), Path::new("/home/me/.cache"));
        assert!(base(None, None).is_err());
    }

    #[test]
    fn sha256_matches_the_published_vector() {
        assert_eq!(sha256(b"abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    }

    #[test]
    fn what_could_not_be_made_does_not_replace_what_is_there() {
        let shelf = env::temp_dir().join(format!("valkeeper-cache-{}", std::process::id()));
        let kept = shelf.join("kept");
        let write = |text: &'static str| {
            move |new: &Path| {
                fs::write(new.join("file"), text)?;
                anyhow::ensure!(!text.is_empty(), "nothing to put");
                Ok(())
            }
        };
        fill(&shelf, "kept", &kept, write("one")).unwrap();
        fill(&shelf, "kept", &kept, write("")).unwrap_err();
        assert_eq!(fs::read_to_string(kept.join("file")).unwrap(), "one");
        fill(&shelf, "kept", &kept, write("two")).unwrap();
        assert_eq!(fs::read_to_string(kept.join("file")).unwrap(), "two");
        assert_eq!(fs::read_dir(&shelf).unwrap().count(), 1, "what was begun is gone");
        fs::remove_dir_all(shelf).unwrap();
    }
}
