//! A server's data directory: whose it is, what it holds, and its nodes.conf, which is replaced whole or not at all.

use crate::copy_files::{self, ServerIs};
use crate::record_file;
use serde::{Deserialize, Serialize};
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use valkeeper_model::nodes_conf::{self, NodesConf};
use valkeeper_model::{ClusterId, CopyRecord, InstanceName};
use valkeeper_plan::agent::SetAside;
use valkeeper_plan::failover::restart_decision::{Disk, NodesFile, Owner};

const NODES_CONF: &str = "nodes.conf";
const MARKER: &str = "valkeeper.json";
/// A nodes.conf of 3,000 members is half a megabyte.
const LONGEST_NODES_CONF: u64 = 64 << 20;

/// Says whose data this is (law 10). Written after the first nodes.conf: a directory that has one was founded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Marker {
    /// The cluster.
    pub cluster: ClusterId,
    /// The instance.
    pub instance: InstanceName,
}

/// A data directory.
#[derive(Debug, Clone)]
pub struct DataDir {
    path: PathBuf,
}

impl DataDir {
    /// At that place; it need not exist.
    pub fn new(path: PathBuf) -> Self {
        Self { path }
    }

    /// Where.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What it holds. An error is a directory that cannot be read, never an empty one.
    pub(crate) fn inspect(&self, ours: &Marker) -> io::Result<Disk> {
        let owner = match read(&self.path.join(MARKER), 1 << 16)? {
            None => Owner::Nobody,
            Some(text) => match serde_json::from_slice::<Marker>(&text) {
                Ok(marker) if marker == *ours => Owner::Ours,
                Ok(marker) => Owner::Other(format!("{} of cluster {}", marker.instance, marker.cluster)),
                Err(error) => Owner::Other(format!("somebody whose {MARKER} cannot be read ({error})")),
            },
        };
        let nodes_conf = match read(&self.path.join(NODES_CONF), LONGEST_NODES_CONF)? {
            None => NodesFile::Missing,
            Some(text) => match std::str::from_utf8(&text).ok().map(nodes_conf::parse) {
                Some(Ok(conf)) if conf.vars.is_some() && conf.myself().is_some() => NodesFile::Intact(conf),
                Some(Ok(_)) => NodesFile::Damaged("its end is missing".to_owned()),
                Some(Err(error)) => NodesFile::Damaged(error.to_string()),
                None => NodesFile::Damaged("it is not text".to_owned()),
            },
        };
        let home = self.path.parent().ok_or(io::ErrorKind::InvalidInput)?;
        let record = record_file::load(&self.path)?;
        Ok(Disk {
            owner,
            nodes_conf,
            files: copy_files::inspect(&self.path, record.as_ref().map(|record| &record.aof))?,
            record,
            beside: record_file::load_beside(home)?,
        })
    }

    /// Makes the directory, for its owner only.
    pub(crate) fn make(&self) -> io::Result<()> {
        make_private_dir(&self.path)
    }

    /// Removes what children of earlier runs began to write and did not finish, each as large as all data. Only while no server
    /// runs here: a snapshot that is being written has such a name.
    pub(crate) fn remove_unfinished(&self) -> io::Result<()> {
        for entry in fs::read_dir(&self.path)? {
            let entry = entry?;
            if entry.file_name().to_str().is_some_and(is_unfinished) && entry.file_type()?.is_file() {
                fs::remove_file(entry.path())?;
            }
        }
        Ok(())
    }

    /// Replaces nodes.conf.
    pub(crate) fn write_nodes_conf(&self, conf: &NodesConf) -> io::Result<()> {
        replace(&self.path.join(NODES_CONF), nodes_conf::render(conf).as_bytes())
    }

    /// Replaces nodes.conf in a directory that is this instance's.
    pub(crate) fn keep_roles(&self, roles: &NodesConf, ours: &Marker) -> io::Result<()> {
        match read(&self.path.join(MARKER), 1 << 16)?.map(|text| serde_json::from_slice::<Marker>(&text)) {
            Some(Ok(marker)) if marker == *ours => self.write_nodes_conf(roles),
            _ => Err(io::Error::other("the data directory is not marked as this instance's")),
        }
    }

    /// Writes the record of the copy.
    pub(crate) fn keep(&self, record: &CopyRecord, server: ServerIs) -> io::Result<()> {
        let home = self.path.parent().ok_or(io::ErrorKind::InvalidInput)?;
        record_file::store(home, &self.path, record, server)
    }

    /// Replaces the record of the copy, if the directory is the one that was recorded last.
    pub(crate) fn update_record(&self, record: &CopyRecord, server: ServerIs) -> io::Result<()> {
        let home = self.path.parent().ok_or(io::ErrorKind::InvalidInput)?;
        record_file::update(home, &self.path, record, server)
    }

    /// Moves files out of the engine's way.
    pub(crate) fn set_aside(&self, aside: &SetAside) -> io::Result<()> {
        copy_files::set_aside(&self.path, aside)
    }

    /// Marks the directory as ours.
    pub(crate) fn mark(&self, ours: &Marker) -> io::Result<()> {
        replace(&self.path.join(MARKER), &serde_json::to_vec(ours).map_err(io::Error::other)?)
    }
}

/// `temp-PID.rdb`, `temp-TIME.PID.rdb`, `temp-rewriteaof-PID.aof`, `temp-rewriteaof-bg-PID.aof`: nothing else of these names is ours.
fn is_unfinished(name: &str) -> bool {
    let numbers = |text: &str| {
        text.split('.').all(|part| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit()))
    };
    let Some(rest) = name.strip_prefix("temp-") else { return false };
    match (rest.strip_prefix("rewriteaof-"), rest.strip_suffix(".rdb")) {
        (Some(aof), _) => {
            aof.strip_suffix(".aof").is_some_and(|aof| numbers(aof.strip_prefix("bg-").unwrap_or(aof)))
        }
        (None, Some(rdb)) => numbers(rdb),
        (None, None) => false,
    }
}

/// A small file; `None` if there is none.
pub(crate) fn read(path: &Path, longest: u64) -> io::Result<Option<Vec<u8>>> {
    match fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
        Ok(metadata) if metadata.len() > longest => {
            return Err(io::Error::other(format!("{} is too large", path.display())));
        }
        Ok(_) => {}
    }
    fs::read(path).map(Some)
}

/// Makes a directory that only its owner may enter.
pub fn make_private_dir(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// Replaces a file whole or not at all, readable by its owner only: a new file beside it, written through to the disk, then
/// renamed over it, then the directory written through.
pub fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    use std::os::unix::fs::OpenOptionsExt as _;
    let dir = path.parent().ok_or(io::ErrorKind::InvalidInput)?;
    let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?.to_string_lossy();
    let fresh = dir.join(format!(".{name}.new"));
    let written = (|| {
        let mut file =
            fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&fresh)?;
        file.write_all(content)?;
        file.sync_all()
    })();
    if let Err(error) = written {
        // A full disk must not be left with half a file of ours on it.
        let _ = fs::remove_file(&fresh);
        return Err(error);
    }
    fs::rename(&fresh, path)?;
    fs::File::open(dir)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_a_dead_child_left_is_unfinished() {
        for name in [
            "temp-4711.rdb",
            "temp-1795850163.4711.rdb",
            "temp-rewriteaof-4711.aof",
            "temp-rewriteaof-bg-4711.aof",
        ] {
            assert!(is_unfinished(name), "{name}");
        }
        for name in [
            "dump.rdb",
            "temp-.rdb",
            "temp-mine.rdb",
            "temp-4711.rdb.bak",
            "temp-4711.aof",
            "temp-rewriteaof-x.aof",
        ] {
            assert!(!is_unfinished(name), "{name}");
        }
    }
}
