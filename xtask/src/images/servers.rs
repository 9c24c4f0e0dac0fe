//! What the bed runs of others: Valkey under the names of its published images, and the process that holds a pod. Made from
//! the servers of `xtask servers` and from programs of this machine, with the libraries that these load.

use std::env;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::archive::{Image, Owner, ROOT, Tree};
use crate::packages::{self, Need};
use crate::{command, servers};

/// Server of servers.lock, name of its image.
pub(super) const VALKEY: &[(&str, &str)] =
    &[("valkey-9.1.2", "docker.io/valkey/valkey:9.1.2"), ("valkey-9.0.0", "docker.io/valkey/valkey:9.0.0")];

/// The user of the published images.
const USER: Owner = (999, 1000);

/// What `kubectl exec` and probes call. A published image has more; nothing of ours may need it.
const PROGRAMS: &[&str] = &["sh", "cat", "ls", "cp", "rm", "mkdir", "dd", "id", "sleep", "kill", "ps"];

const NEEDS: &[Need] = &[("cc", "gcc"), ("/usr/include/stdio.h", "libc6-dev"), ("ps", "procps")];

pub(super) fn valkey(server: &str, name: &'static str) -> Result<Image> {
    packages::provide(NEEDS)?;
    let mut tree = Tree::default();
    add(&mut tree, "usr/local/bin/valkey-server", &servers::folder(server)?.join("valkey-server"), None)?;
    // The wheels bring no client; the one of Redis speaks the same protocol.
    let redis = servers::folder("redis-7.0")?.join("root/usr");
    let libraries = redis.join("lib").join(format!("{}-linux-gnu", env::consts::ARCH));
    add(&mut tree, "usr/local/bin/valkey-cli", &redis.join("bin/redis-cli"), Some(&libraries))?;
    for program in PROGRAMS {
        add(&mut tree, &format!("bin/{program}"), &on_path(program)?, None)?;
    }
    let (user, group) = USER;
    let users = format!("root:x:0:0:root:/root:/bin/sh\nvalkey:x:{user}:{group}::/data:/bin/sh\n");
    tree.file("etc/passwd", users.into(), 0o644);
    tree.file("etc/group", format!("root:x:0:\nvalkey:x:{group}:\n").into(), 0o644);
    tree.folder("data", 0o755, USER);
    tree.folder("tmp", 0o1777, ROOT);
    Ok(Image { name, tree, entrypoint: "valkey-server", folder: "/data" })
}

pub(super) fn pause(source: &Path, scratch: &Path) -> Result<Image> {
    packages::provide(NEEDS)?;
    let program = scratch.join("pause");
    command::output(Command::new("cc").args(["-Os", "-static", "-s", "-o"]).arg(&program).arg(source))
        .context(
            "pause.c does not compile\nhint: needs a C compiler and a static libc (Debian: gcc libc6-dev)",
        )?;
    let mut tree = Tree::default();
    tree.program("pause", &program)?;
    Ok(Image { name: "local.test/pause:p", tree, entrypoint: "/pause", folder: "/" })
}

fn on_path(program: &str) -> Result<PathBuf> {
    // Not the caller's PATH: what stands in front there may be a wrapper.
    let found =
        ["/bin", "/usr/bin"].iter().map(|folder| Path::new(folder).join(program)).find(|path| path.is_file());
    found.with_context(|| format!("no {program} in /bin or /usr/bin\nhint: needs a Debian 12"))
}

/// A program and what it loads: libraries in /usr/lib, where the loader looks without being told.
fn add(tree: &mut Tree, path: &str, program: &Path, libraries: Option<&Path>) -> Result<()> {
    tree.program(path, program)?;
    for library in loaded(program, libraries)? {
        let name = library.file_name().and_then(OsStr::to_str).context("library without a name")?;
        let path = if name.starts_with("ld-linux") {
            // The one whose path is written into every program.
            library.strip_prefix("/")?.display().to_string()
        } else {
            format!("usr/lib/{name}")
        };
        tree.program(&path, &library)?;
    }
    Ok(())
}

fn loaded(program: &Path, libraries: Option<&Path>) -> Result<Vec<PathBuf>> {
    let mut ldd = Command::new("ldd");
    ldd.arg(program).env_remove("LD_LIBRARY_PATH").env("LC_ALL", "C");
    if let Some(libraries) = libraries {
        ldd.env("LD_LIBRARY_PATH", libraries);
    }
    let done = ldd.output().context("cannot start ldd")?;
    // It fails on a program without any, and says so.
    let said = String::from_utf8_lossy(&[done.stdout, done.stderr].concat()).into_owned();
    let found = paths(&said);
    ensure!(
        !said.contains("not found") && (!found.is_empty() || is_static(&said)),
        "cannot tell what {} loads: {said}",
        program.display()
    );
    Ok(found)
}

fn is_static(said: &str) -> bool {
    said.contains("not a dynamic executable") || said.contains("statically linked")
}

/// Of lines such as `libm.so.6 => /lib/libm.so.6 (0x1)` and `/lib64/ld-linux-x86-64.so.2 (0x2)`.
fn paths(said: &str) -> Vec<PathBuf> {
    let path = |line: &str| {
        let words = line.rsplit("=> ").next()?;
        words.trim().split(" (0x").next().filter(|path| path.starts_with('/')).map(PathBuf::from)
    };
    said.lines().filter(|line| line.contains(" (0x")).filter_map(path).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_are_read_from_what_ldd_says() {
        let said = "\tlinux-vdso.so.1 (0x7f)\n\tlibm.so.6 => /lib/x/libm.so.6 (0x7f)\n\t/lib64/ld-linux-x86-64.so.2 (0x7f)\n";
        assert_eq!(paths(said), ["/lib/x/libm.so.6", "/lib64/ld-linux-x86-64.so.2"].map(PathBuf::from));
        assert!(paths("\tlibx.so => not found\n").is_empty());
        assert!(paths("\tnot a dynamic executable\n").is_empty());
    }

    #[test]
    fn a_program_gets_its_loader_where_it_is_asked_for() {
        let mut tree = Tree::default();
        add(&mut tree, "bin/sh", &on_path("sh").unwrap(), None).unwrap();
        let paths: Vec<&str> = tree.paths().collect();
        assert!(paths.contains(&"usr/lib/libc.so.6"), "{paths:?}");
        assert!(paths.iter().any(|path| path.starts_with("lib") && path.contains("/ld-linux")), "{paths:?}");
    }

    #[test]
    fn every_image_is_of_a_server_that_is_pinned() {
        for (server, name) in VALKEY {
            assert!(servers::LOCK.contains(&format!("\"name\": \"{server}\"")), "{server}");
            assert_eq!(server.split_once('-').unwrap().1, name.rsplit_once(':').unwrap().1);
        }
    }
}
