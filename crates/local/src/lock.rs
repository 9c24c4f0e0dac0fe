//! Who supervises a cluster: whoever has locked its folder. The folder cannot be removed apart from what it guards, as a file in it
//! can; the file `lock` is held too, for programs that know no other lock, and tells the process.

use crate::file_id::FileId;
use crate::state_dir::StateError;
use rustix::fs::{FlockOperation, flock};
use std::fs::{self, File};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// A program that only looks holds a lock for a moment: the lock is waited for so long.
const LOOK_WITHIN: Duration = Duration::from_millis(50);
/// A supervisor that was killed keeps its lock until the last of its threads has ended, and one that writes to a disk ends when that is
/// done: more than 10 s were seen on a disk that was busy with something else.
const ENDS_WITHIN: Duration = Duration::from_secs(60);
const BETWEEN_TRIES: Duration = Duration::from_millis(5);

/// The supervisor of a cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keeper {
    /// Its process; unknown while the file `lock` is not there.
    pub pid: Option<u32>,
}

impl Keeper {
    /// Is it past its end, and holds the lock only because its files are closed last of all? What cannot be told counts as running.
    pub fn is_ending(&self) -> bool {
        self.pid.is_some_and(|pid| matches!(valkeeper_agent::is_running(pid), Ok(false)))
    }
}

impl std::fmt::Display for Keeper {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.pid {
            Some(pid) => write!(f, "the supervisor (pid {pid})"),
            None => f.write_str("the supervisor"),
        }
    }
}

/// Holding it is supervising the cluster. Given back when the process ends, however it ends.
#[derive(Debug)]
pub(crate) struct Lock {
    root: PathBuf,
    folder: File,
    file: Mutex<File>,
}

impl Lock {
    /// Takes the lock, or says who has it.
    pub(crate) fn take(root: &Path) -> Result<Self, StateError> {
        let folder = File::open(root).map_err(StateError::io(root))?;
        // A file system that locks no folders leaves it to the file.
        if hold(&folder, root) == Ok(false) {
            return Err(StateError::Supervised { by: Keeper { pid: written_pid(root) } });
        }
        let path = path(root);
        match lock_file(root).map_err(StateError::io(&path))? {
            Some(file) => Ok(Self { root: root.to_owned(), folder, file: Mutex::new(file) }),
            None => Err(StateError::Supervised { by: Keeper { pid: written_pid(root) } }),
        }
    }

    /// Is the folder that is held still the one where the cluster is looked for?
    pub(crate) fn is_in_place(&self) -> io::Result<bool> {
        Ok(FileId::at(&self.root)? == Some(FileId::of(&self.folder.metadata()?)))
    }

    /// Holds the file again if it was removed or another stands in its place.
    pub(crate) fn renew(&self) -> io::Result<()> {
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        if FileId::at(&path(&self.root))? != Some(FileId::of(&file.metadata()?))
            && let Some(fresh) = lock_file(&self.root)?
        {
            *file = fresh;
        }
        Ok(())
    }
}

/// Who holds the lock, if anybody does.
pub(crate) fn keeper(root: &Path) -> Option<Keeper> {
    let is_held = |path: &Path| File::open(path).is_ok_and(|file| is_shared_refused(&file));
    (is_held(root) || is_held(&path(root))).then(|| Keeper { pid: written_pid(root) })
}

fn path(root: &Path) -> PathBuf {
    root.join("lock")
}

/// The file, held, with our process in it; none if somebody else holds it.
fn lock_file(root: &Path) -> io::Result<Option<File>> {
    let mut file =
        fs::OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path(root))?;
    if !hold(&file, root)? {
        return Ok(None);
    }
    file.set_len(0)?;
    file.rewind()?;
    write!(file, "{}", std::process::id())?;
    Ok(Some(file))
}

/// Takes the lock; false if another has it.
fn hold(file: &File, root: &Path) -> Result<bool, rustix::io::Errno> {
    let begun = Instant::now();
    loop {
        match flock(file, FlockOperation::NonBlockingLockExclusive) {
            Err(rustix::io::Errno::WOULDBLOCK) => {}
            taken => return taken.map(|()| true),
        }
        let waited = begun.elapsed();
        let is_ending = || Keeper { pid: written_pid(root) }.is_ending();
        if waited >= ENDS_WITHIN || waited >= LOOK_WITHIN && !is_ending() {
            return Ok(false);
        }
        std::thread::sleep(BETWEEN_TRIES);
    }
}

fn is_shared_refused(file: &File) -> bool {
    flock(file, FlockOperation::NonBlockingLockShared) == Err(rustix::io::Errno::WOULDBLOCK)
}

fn written_pid(root: &Path) -> Option<u32> {
    let mut text = String::new();
    File::open(path(root)).ok()?.read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("lock-{name}-{}", std::process::id()));
            fs::create_dir_all(&path).unwrap();
            Self(path)
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn a_lock_whose_file_is_removed_or_replaced_is_held_all_the_same() {
        let folder = Folder::new("kept");
        let lock = Lock::take(&folder.0).unwrap();
        let us = Some(Keeper { pid: Some(std::process::id()) });
        assert_eq!(keeper(&folder.0), us);
        let refused = || matches!(Lock::take(&folder.0), Err(StateError::Supervised { .. }));
        assert!(refused());
        fs::remove_file(path(&folder.0)).unwrap();
        assert!(refused());
        assert!(keeper(&folder.0).is_some());
        fs::write(path(&folder.0), "1").unwrap();
        assert!(refused());
        fs::remove_file(path(&folder.0)).unwrap();
        lock.renew().unwrap();
        assert_eq!(keeper(&folder.0), us);
        drop(lock);
        assert_eq!(keeper(&folder.0), None);
        assert!(Lock::take(&folder.0).is_ok());
    }

    #[test]
    fn one_that_holds_only_the_file_is_a_supervisor() {
        let folder = Folder::new("older");
        let older = File::create(path(&folder.0)).unwrap();
        flock(&older, FlockOperation::NonBlockingLockExclusive).unwrap();
        assert!(keeper(&folder.0).is_some());
        assert!(matches!(Lock::take(&folder.0), Err(StateError::Supervised { .. })));
        drop(older);
        assert!(Lock::take(&folder.0).is_ok());
    }

    /// A process that has ended keeps its lock for a moment: here something else holds it, and the file names a process that is gone.
    #[test]
    fn the_lock_of_a_process_that_ends_is_waited_for() {
        let folder = Folder::new("ending");
        let mut gone = std::process::Command::new("true").spawn().unwrap();
        gone.wait().unwrap();
        let held = File::open(&folder.0).unwrap();
        flock(&held, FlockOperation::NonBlockingLockExclusive).unwrap();
        fs::write(path(&folder.0), gone.id().to_string()).unwrap();
        let root = folder.0.clone();
        let taker = std::thread::spawn(move || Lock::take(&root).map(drop));
        std::thread::sleep(4 * LOOK_WITHIN);
        assert!(!taker.is_finished(), "it is waited for");
        drop(held);
        assert!(taker.join().unwrap().is_ok());
    }

    #[test]
    fn a_folder_that_is_another_by_now_is_told() {
        let folder = Folder::new("moved");
        let lock = Lock::take(&folder.0).unwrap();
        assert!(lock.is_in_place().unwrap());
        let away = Folder(folder.0.with_extension("away"));
        fs::rename(&folder.0, &away.0).unwrap();
        assert!(!lock.is_in_place().unwrap());
        fs::create_dir_all(&folder.0).unwrap();
        assert!(!lock.is_in_place().unwrap());
    }
}
