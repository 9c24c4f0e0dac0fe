//! Full and read-only file systems, and such that hang. They are mounted in a mount namespace of the scenario's own, so that they vanish with it
//! however it ends, and so that no privilege is needed where users may make namespaces.

use crate::{process, program, waiting};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// Set for a test that runs in a namespace of its own.
const INSIDE: &str = "VALKEEPER_TESTKIT_NAMESPACE";

/// Runs the test of that name in a mount namespace of its own: in a process of its own, whose failure is this one's.
pub fn in_namespace(test: &str, scenario: impl FnOnce()) {
    if std::env::var_os(INSIDE).is_some() {
        return scenario();
    }
    let program = std::env::current_exe().expect("a test knows its program");
    let mut command = unshare(&["--mount"]);
    command.arg("--").arg(program).args(["--exact", test, "--include-ignored", "--nocapture"]);
    let output = command.env(INSIDE, "1").output().expect("unshare can be run");
    let said = String::from_utf8_lossy(&output.stdout);
    let complained = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && said.contains("1 passed"),
        "{test} in a namespace of its own: {}\n{said}\n{complained}",
        output.status
    );
}

/// `unshare` with these namespaces, with no privilege where users may make them.
pub fn unshare(namespaces: &[&str]) -> Command {
    let mut command = Command::new("unshare");
    if !rustix::process::getuid().is_root() {
        command.args(["--user", "--map-root-user"]);
    }
    command.args(namespaces);
    command
}

fn mount(args: &[&str], at: &Path) {
    let output = Command::new("mount").args(args).arg(at).output().expect("mount can be run");
    assert!(output.status.success(), "mount {args:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Mounts a small file system there.
pub fn small(at: &Path, kilobytes: u32) {
    std::fs::create_dir_all(at).expect("a mount point can be made");
    mount(&["-t", "tmpfs", "-o", &format!("size={kilobytes}k,mode=700"), "tmpfs"], at);
}

/// Unmounts what is mounted there, if this runs in a namespace of its own.
pub(crate) fn unmount(at: &Path) {
    if std::env::var_os(INSIDE).is_some() {
        let _ = Command::new("umount").args(["--lazy", "--quiet"]).arg(at).status();
    }
}

/// Makes a file system that was mounted here read-only.
pub fn freeze(at: &Path) {
    mount(&["-o", "remount,ro"], at);
}

/// Makes it writable again.
pub fn thaw(at: &Path) {
    mount(&["-o", "remount,rw"], at);
}

/// A folder on a file system that hangs when it is told to: whoever reads or writes there waits in the kernel, as with a network disk
/// whose server is gone. Goes on when dropped.
#[derive(Debug)]
pub struct HangingDisk {
    server: Child,
    at: PathBuf,
}

impl HangingDisk {
    /// In place of the folder there, with all that is in it, which is kept in the other place.
    pub fn under(at: &Path, kept: &Path) -> Self {
        std::fs::rename(at, kept).expect("the folder can be moved");
        std::fs::create_dir(at).expect("a mount point can be made");
        let mut bindfs = Command::new(program::fetched("bindfs-1.14/bindfs"));
        bindfs.arg("-f").arg(kept).arg(at).stdin(Stdio::null()).stdout(Stdio::null());
        let server = bindfs.spawn().expect("bindfs can be run");
        let disk = Self { server, at: at.to_owned() };
        waiting::until("the file system is mounted", || {
            let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap_or_default();
            mounts.contains(&*at.to_string_lossy()).then_some(())
        });
        disk
    }

    /// Nothing is answered from now on.
    pub fn hang(&self) {
        process::signal(self.server.id(), process::Signal::STOP);
    }

    /// What waits is answered, and everything else from now on.
    pub fn go_on(&self) {
        process::signal(self.server.id(), process::Signal::CONT);
    }
}

impl Drop for HangingDisk {
    fn drop(&mut self) {
        self.go_on();
        unmount(&self.at);
        // Those who still wait for it get an error.
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}
