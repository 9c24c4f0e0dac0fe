//! `cargo xtask images`: what the Kubernetes bed runs, as archives in a folder. Images of others are kept in a cache outside
//! the checkout; the one of Valkeeper is built from it.

mod archive;
mod product;
mod servers;

use std::env;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::{cache, command};
use archive::Image;
pub(crate) use product::Product;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// The folder for the archives
    out: PathBuf,
    #[command(flatten)]
    product: Product,
}

/// What makes an image besides its inputs. An archive from another recipe is another archive.
const RECIPE: &[&str] = &[include_str!("images/archive.rs"), include_str!("images/servers.rs")];

const PAUSE: &str = "testkit/bed/pause.c";

pub(crate) fn run(args: &Args) -> Result<()> {
    for archive in write(&args.out, &args.product)? {
        println!("{}", archive.display());
    }
    Ok(())
}

/// Where the program of the product's image is, once that has been written.
pub(crate) fn program(product: &Product) -> Result<PathBuf> {
    product::program(product)
}

/// Where they are written if nobody says where.
pub(crate) fn usual_folder() -> Result<PathBuf> {
    Ok(product::target(&command::checkout()?).join("images"))
}

/// Writes all into the folder and returns their paths.
pub(crate) fn write(out: &Path, product: &Product) -> Result<Vec<PathBuf>> {
    fs::create_dir_all(out).with_context(|| format!("cannot create {}", out.display()))?;
    let mut written = Vec::new();
    let kept = of_others()?;
    for name in names() {
        let to = out.join(&name);
        link(&kept.join(name), &to)?;
        written.push(to);
    }
    for (image, name) in product::images(product)?.iter().zip(["valkeeper.tar", "valkeeper-next.tar"]) {
        let to = out.join(name);
        put(image, &to)?;
        written.push(to);
    }
    Ok(written)
}

fn names() -> impl Iterator<Item = String> {
    servers::VALKEY.iter().map(|(server, _)| *server).chain(["pause"]).map(|name| format!("{name}.tar"))
}

fn of_others() -> Result<PathBuf> {
    let pause = command::checkout()?.join(PAUSE);
    let source = fs::read_to_string(&pause).with_context(|| format!("cannot read {}", pause.display()))?;
    let inputs = [crate::servers::LOCK, &source, env::consts::ARCH].into_iter().chain(RECIPE.iter().copied());
    let key = cache::sha256(inputs.collect::<Vec<_>>().join("\0").as_bytes());
    let shelf = cache::folder("images")?;
    let kept = shelf.join(&key[..16]);
    let is_whole = || names().all(|name| kept.join(name).is_file());
    if !is_whole() {
        let guard = cache::lock(&shelf, "images")?;
        if !is_whole() {
            cache::fill(&shelf, "images", &kept, |new| {
                for (server, name) in servers::VALKEY {
                    put(&servers::valkey(server, name)?, &new.join(format!("{server}.tar")))?;
                }
                put(&servers::pause(&pause, new)?, &new.join("pause.tar"))
            })?;
        }
        drop(guard);
    }
    Ok(kept)
}

/// Writes the archive unless the stamp beside it says that it is there already.
fn put(image: &Image, to: &Path) -> Result<()> {
    let (archive, hash) = image.archive(architecture()?)?;
    let stamp = to.with_extension("sha256");
    if to.is_file() && fs::read_to_string(&stamp).is_ok_and(|stamped| stamped == hash) {
        return Ok(());
    }
    forget(&stamp)?;
    let new = to.with_extension("new");
    fs::write(&new, archive)?;
    fs::rename(&new, to)?;
    fs::write(&stamp, hash)?;
    Ok(())
}

/// As images name it.
fn architecture() -> Result<&'static str> {
    match env::consts::ARCH {
        "x86_64" => Ok("amd64"),
        "aarch64" => Ok("arm64"),
        other => bail!("no image is made for the architecture {other}"),
    }
}

/// The cached archive by another name; a copy where the cache is on another disk.
fn link(kept: &Path, to: &Path) -> Result<()> {
    let is = |path: &Path| fs::metadata(path).map(|meta| (meta.dev(), meta.ino())).ok();
    if is(kept) == is(to) {
        return Ok(());
    }
    forget(to)?;
    if fs::hard_link(kept, to).is_err() {
        fs::copy(kept, to).with_context(|| format!("cannot write {}", to.display()))?;
    }
    Ok(())
}

fn forget(file: &Path) -> Result<()> {
    match fs::remove_file(file) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot replace {}", file.display()))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(text: &str) -> Image {
        let mut tree = archive::Tree::default();
        tree.file("x", text.into(), 0o644);
        Image { name: "local.test/x:1", tree, entrypoint: "/x", folder: "/" }
    }

    #[test]
    fn an_archive_is_written_again_only_when_its_content_has_changed() {
        let folder = tempfile::tempdir().unwrap();
        let to = folder.path().join("x.tar");
        let inode = || fs::metadata(&to).unwrap().ino();
        put(&image("one"), &to).unwrap();
        let first = inode();
        put(&image("one"), &to).unwrap();
        assert_eq!(inode(), first);
        put(&image("two"), &to).unwrap();
        let archive = fs::read(&to).unwrap();
        assert_eq!(archive, image("two").archive(architecture().unwrap()).unwrap().0);
    }

    #[test]
    fn a_linked_archive_is_replaced_and_the_kept_one_never_written() {
        let folder = tempfile::tempdir().unwrap();
        let [kept, to] = ["kept.tar", "x.tar"].map(|name| folder.path().join(name));
        fs::write(&kept, "kept").unwrap();
        fs::write(&to, "old").unwrap();
        link(&kept, &to).unwrap();
        link(&kept, &to).unwrap();
        assert_eq!(fs::read_to_string(&to).unwrap(), "kept");
        put(&image("new"), &to).unwrap();
        assert_eq!(fs::read_to_string(&kept).unwrap(), "kept");
    }
}
